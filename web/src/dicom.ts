/** DICOM: from the files of a study to volumes, by dcm2niix. */
import { Dcm2niix } from '@niivue/dcm2niix';
import { parseDicom } from 'dicom-parser';
import { type Place, faultOf } from './slice_places';

/** Where a file says that it is DICOM, behind 128 bytes of any kind. */
const MARK = { at: 128, text: 'DICM' };
/** Bytes in which a file says what series it is of. */
const HEAD = 2 ** 18;
/** How dcm2niix calls what it computes anew: slices in equal steps, or without tilt. */
const RESAMPLED = /_(Eq|Tilt)(_\d+)?\.nii$/;

/** Whether a file says so; one that cannot be read does not. */
export async function isDicom(file: File): Promise<boolean> {
  const { at, text } = MARK;
  const found = await file.slice(at, at + text.length).text().catch(() => '');
  return found === text;
}

export interface Series {
  /** Description and number; nothing names the patient. */
  name: string;
  modality: string;
  files: File[];
  /** Where the slices lie, of files that say so. */
  places: Place[];
}

/** The series that some files are of. */
export async function seriesOf(files: File[]): Promise<Series[]> {
  const found = new Map<string, Series>();
  for (const file of files) {
    const { uid, name, modality, place } = await readHead(file);
    let series = found.get(uid);
    if (!series) {
      const names = [...found.values()].map((other) => other.name);
      series = { name: unlike(name, names), modality, files: [], places: [] };
      found.set(uid, series);
    }
    series.files.push(file);
    if (place) series.places.push(place);
  }
  return [...found.values()];
}

/** The volumes of one series; most have one. */
export async function toVolumes({ name, modality, files, places }: Series): Promise<File[]> {
  if (modality !== 'CT') throw new Error(`Expected CT. The modality of this is ${modality}.`);
  const fault = places.length > 0 && faultOf(places);
  if (fault) throw new Error(fault);
  const made = await convert(files);
  if (made.length === 0 || made.some((file) => RESAMPLED.test(file.name))) {
    throw new Error('dcm2niix makes no volume of it.');
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

async function readHead(file: File) {
  try {
    const start = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
    const said = parseDicom(start, { untilTag: 'x00200037' });
    const text = (tag: string) => said.string(tag) ?? '';
    const numbers = (tag: string) => text(tag).split('\\').map(Number);
    const parts = [text('x0008103e') || 'series', text('x00200011')].filter(Boolean);
    return {
      uid: text('x0020000e'),
      name: parts.join('_').replace(/[^\p{L}\p{N}.-]+/gu, '_'),
      modality: text('x00080060') || 'not known',
      place: text('x00200037') && {
        position: numbers('x00200032'),
        orientation: numbers('x00200037'),
      },
    };
  } catch {
    return { uid: file.name, name: file.name, modality: 'not known', place: '' as const };
  }
}

function unlike(name: string, taken: string[]): string {
  let found = name;
  for (let number = 2; taken.includes(found); number++) found = `${name}_${number}`;
  return found;
}
