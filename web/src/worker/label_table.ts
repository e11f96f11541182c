/** Names and colours of labels in the header of a NIfTI file. */
import { COLOURS } from '../shared/palette';

/** The code of such extensions in NIfTI's own list. */
const CARET = 30;

/** The extension that `keras_pamunet.data.label_table` writes. */
export function labelTable(classNames: string[]): Uint8Array {
  const rows = classNames.map((name, index) => {
    const [red, green, blue] = COLOURS[index + 1].map(share);
    return (
      `<Label Key="${index + 1}" Red="${red}" Green="${green}" Blue="${blue}" Alpha="1">` +
      `${escaped(name)}</Label>`
    );
  });
  const text =
    "<?xml version='1.0' encoding='utf-8'?>\n" +
    '<CaretExtension><VolumeInformation Index="0">' +
    `<LabelTable>${rows.join('')}</LabelTable>` +
    '<VolumeType>Label</VolumeType></VolumeInformation></CaretExtension>';
  const content = new TextEncoder().encode(text);
  const extension = new Uint8Array(Math.ceil((content.length + 8) / 16) * 16);
  const view = new DataView(extension.buffer);
  view.setInt32(0, extension.length, true);
  view.setInt32(4, CARET, true);
  extension.set(content, 8);
  return extension;
}

function share(value: number): string {
  return String(Number((value / 255).toPrecision(6)));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
