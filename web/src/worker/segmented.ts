/** One file whose probabilities are known: labels and objects by threshold. */
import type { Found } from '../shared/found';
import type { Rule } from '../shared/messages';
import { ObjectFinder } from './object_finder';
import { toPng } from './png';
import { type Pixels, resizeLinear } from './resize';
import { type Masks, flat, toLayers } from './targets';
import type { Grid } from './volume';


export interface Classes {
  masks: Masks;
  numClasses: number;
  classNames: string[];
}

export class Segmented {
  /**
   * @param probabilities of each slice, or of the photograph, in the network's size.
   * @param size height and width of the photograph or of slices.
   * @param grid of a volume.
   */
  constructor(
    private probabilities: Pixels<Float32Array>[],
    private size: [number, number],
    private classes: Classes,
    private grid: Grid | null = null,
  ) {}

  /** What there is at a threshold. */
  find({ threshold, largest }: Rule): Found {
    const [rows, columns] = this.size;
    const { masks, numClasses } = this.classes;
    const pixels = rows * columns;
    const slices = this.probabilities.length;
    const count = masks === 'overlapping' ? numClasses : 1;
    const layers = Array.from({ length: count }, () => new Uint8Array(slices * pixels));
    const finders = layers.map(() => new ObjectFinder(columns, this.grid !== null && largest));
    this.probabilities.forEach((found, z) => {
      const { data } = resizeLinear(found, rows, columns);
      toLayers(data, numClasses, masks, threshold).forEach(({ labels, own }, index) => {
        layers[index].set(labels, z * pixels);
        finders[index].add(layers[index].subarray(z * pixels, (z + 1) * pixels), own);
      });
    });
    finders.forEach((finder, index) => finder.cleanAll(layers[index], pixels));
    const labels = flat(layers);
    return {
      columns,
      rows,
      slices: this.grid && slices,
      spacing: this.grid && [this.grid.spacing[0], this.grid.spacing[1]],
      voxelMl: this.grid && this.grid.voxelMl,
      classNames: this.classes.classNames,
      size: labels.reduce((sum, label) => sum + (label > 0 ? 1 : 0), 0),
      objects: finders.flatMap((finder) => finder.objects()),
      labels,
    };
  }

  /** The mask as a file: PNG of a photograph, packed NIfTI of a volume. */
  async toFile(rule: Rule): Promise<Blob> {
    const { labels, columns, rows } = this.find(rule);
    if (this.grid) return this.grid.toNifti(labels, this.classes.classNames);
    return toPng(labels, columns, rows, this.classes.numClasses > 1);
  }
}
