/** Masks as PNG files of one byte a pixel, as `keras-pamunet predict` writes them. */
import { COLOURS } from '../shared/palette';

/** 0 and 255 of one class; the labels with a palette of several. */
export async function toPng(
  labels: Uint8Array,
  width: number,
  height: number,
  severalClasses: boolean,
): Promise<Blob> {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  header[9] = severalClasses ? 3 : 0;
  const rows = new Uint8Array((width + 1) * height); // Each row begins with "no filter".
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const label = labels[y * width + x];
      rows[y * (width + 1) + x + 1] = severalClasses ? label : 255 * label;
    }
  }
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const content = new Uint8Array(await new Response(stream).arrayBuffer());
  return new Blob(
    [
      new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
      chunk('IHDR', header),
      ...(severalClasses ? [chunk('PLTE', Uint8Array.from(COLOURS.flat()))] : []),
      chunk('IDAT', content),
      chunk('IEND', new Uint8Array()),
    ],
    { type: 'image/png' },
  );
}

function chunk(name: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes.subarray(4, content.length + 8)));
  return bytes;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export function crc32(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
