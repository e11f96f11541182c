/** DICOM: from the files of a study to volumes, by dcm2niix. */
import { Dcm2niix } from '@niivue/dcm2niix';
import { parseDicom } from 'dicom-parser';

/** Where a file says that it is DICOM, behind 128 bytes of any kind. */
const MARK = { at: 128, text: 'DICM' };
/** Bytes in which a file says what series it is of. */
const HEAD = 2 ** 16;
/** How dcm2niix calls what it computes anew: slices in equal steps, or without tilt. */
const RESAMPLED = /_(Eq|Tilt)(_\d+)?\.nii$/;
const UNFIT =
  'Slices are missing or not evenly spaced, the gantry was tilted, or these are no images.';

export async function isDicom(file: File): Promise<boolean> {
  const { at, text } = MARK;
  return (await file.slice(at, at + text.length).text()) === text;
}

/** The files of each series, by its description and number; nothing names the patient. */
export async function seriesOf(files: File[]): Promise<Map<string, File[]>> {
  const names = new Map<string, string>();
  const found = new Map<string, File[]>();
  for (const file of files) {
    const { uid, name } = await readHead(file);
    if (!names.has(uid)) names.set(uid, unlike(name, [...names.values()]));
    const key = names.get(uid)!;
    found.set(key, [...(found.get(key) ?? []), file]);
  }
  return found;
}

/** The volumes of one series; most have one. */
export async function toVolumes(name: string, files: File[]): Promise<File[]> {
  const made = await convert(files);
  if (made.length === 0 || made.some((file) => RESAMPLED.test(file.name))) {
    throw new Error(UNFIT);
  }
  return made.map((file, index) => {
    const number = index === 0 ? '' : `_${index + 1}`;
    return new File([file], `${name}${number}.nii`);
  });
}

/** What dcm2niix makes of some files, nothing if it fails. */
async function convert(files: File[]): Promise<File[]> {
  const program = new Dcm2niix(); // A new one each time: it keeps the files of the last.
  try {
    await program.init();
    const made = await program.input(files).f('volume').b('n').z('n').run();
    return made.filter(({ name }) => name.endsWith('.nii'));
  } catch {
    return [];
  } finally {
    program.worker?.terminate();
  }
}

async function readHead(file: File): Promise<{ uid: string; name: string }> {
  try {
    const start = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
    const said = parseDicom(start, { untilTag: 'x00200011' });
    const parts = [said.string('x0008103e') ?? 'series', said.string('x00200011') ?? ''];
    const name = parts.join('_').replace(/[^\p{L}\p{N}.-]+/gu, '_').replace(/_$/, '');
    return { uid: said.string('x0020000e') ?? '', name };
  } catch {
    return { uid: file.name, name: file.name };
  }
}

function unlike(name: string, taken: string[]): string {
  let found = name;
  for (let number = 2; taken.includes(found); number++) found = `${name}_${number}`;
  return found;
}
