/** Files by their names. */
import type { Kind } from './shared/messages';

const NIFTI = /\.nii(\.gz)?$/i;

export function kindOf(name: string): Kind {
  return NIFTI.test(name) ? 'volume' : 'photograph';
}

export function isModel(name: string): boolean {
  return /\.onnx$/i.test(name);
}

export function isVideo(name: string): boolean {
  return /\.(mp4|m4v|mov|webm|ogv)$/i.test(name);
}

/** Names for masks, no two of which are alike. */
export function maskNames(names: string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const isVolume = kindOf(name) === 'volume';
    const stem = isVolume ? name.replace(NIFTI, '') : name.replace(/\.[^.]+$/, '');
    const ending = isVolume ? '.nii.gz' : '.png';
    let found = `${stem}_mask${ending}`;
    for (let number = 2; taken.has(found); number++) {
      found = `${stem}_mask_${number}${ending}`;
    }
    taken.add(found);
    return found;
  });
}
