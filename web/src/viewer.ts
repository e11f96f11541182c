/** Draws an image, its mask and its outline, one above the other. */
import { borderOf } from './outline';
import { COLOURS } from './shared/palette';
import type { Found } from './shared/found';

/** A photograph, or grey values of all slices of a volume. */
export type Picture = ImageBitmap | Uint8Array;

/** What is drawn over the image, and how. */
export interface Look {
  mask: boolean;
  outline: boolean;
  before: boolean;
  /** 0 to 1, of the mask. */
  opacity: number;
}

export class Viewer {
  private shown: { picture: Picture; found: Found } | null = null;
  private slice = 0;

  constructor(
    private picture: HTMLCanvasElement,
    private mask: HTMLCanvasElement,
    private outline: HTMLCanvasElement,
  ) {}

  /** Shows what was found in a picture; of the same one the slice stays. */
  show(picture: Picture, found: Found): void {
    if (this.shown?.picture !== picture) {
      if (this.shown?.picture instanceof ImageBitmap) this.shown.picture.close();
      this.slice = fullest(found);
    }
    this.shown = { picture, found };
    const { columns, rows, spacing } = found;
    for (const canvas of [this.picture, this.mask, this.outline]) {
      canvas.width = columns;
      canvas.height = rows;
      const [x, y] = spacing ?? [1, 1];
      canvas.style.aspectRatio = `${columns * x} / ${rows * y}`;
    }
    this.draw();
  }

  clear(): void {
    if (this.shown?.picture instanceof ImageBitmap) this.shown.picture.close();
    this.shown = null;
  }

  get sliceNumber(): number {
    return this.slice + 1;
  }

  /** Goes to a slice, counted from 1, or to the closest that there is. */
  goTo(number: number): void {
    if (!this.shown?.found.slices) return;
    this.slice = Math.min(Math.max(number, 1), this.shown.found.slices) - 1;
    this.draw();
  }

  look({ mask, outline, before, opacity }: Look): void {
    this.mask.hidden = before || !mask;
    this.outline.hidden = before || !outline;
    this.mask.style.opacity = String(opacity);
  }

  private draw(): void {
    const { picture, found } = this.shown!;
    const { columns, rows } = found;
    const first = this.slice * columns * rows;
    const labels = found.labels.subarray(first, first + columns * rows);
    const context = this.picture.getContext('2d')!;
    if (picture instanceof ImageBitmap) context.drawImage(picture, 0, 0);
    else context.putImageData(grey(picture.subarray(first, first + columns * rows), columns), 0, 0);
    this.mask.getContext('2d')!.putImageData(coloured(labels, columns), 0, 0);
    this.drawOutline(labels, columns, rows);
  }

  private drawOutline(labels: Uint8Array, columns: number, rows: number): void {
    const context = this.outline.getContext('2d')!;
    context.clearRect(0, 0, columns, rows);
    const thickness = Math.max(Math.round(Math.max(columns, rows) / 256), 1);
    const back = Math.floor(thickness / 2);
    for (const at of borderOf(labels, columns, rows)) {
      context.fillStyle = `rgb(${COLOURS[labels[at]].join(' ')})`;
      const [x, y] = [at % columns, Math.floor(at / columns)];
      context.fillRect(x - back, y - back, thickness, thickness);
    }
  }
}

/** The slice that has most of what was found; the middle one if there is nothing. */
function fullest({ labels, slices, columns, rows }: Found): number {
  if (slices === null) return 0;
  let [best, most] = [Math.floor(slices / 2), 0];
  for (let z = 0, at = 0; z < slices; z++) {
    let count = 0;
    for (const end = at + columns * rows; at < end; at++) if (labels[at] > 0) count++;
    if (count > most) [best, most] = [z, count];
  }
  return best;
}

function grey(values: Uint8Array, columns: number): ImageData {
  const pixels = new ImageData(columns, values.length / columns);
  values.forEach((value, at) => pixels.data.set([value, value, value, 255], 4 * at));
  return pixels;
}

function coloured(labels: Uint8Array, columns: number): ImageData {
  const pixels = new ImageData(columns, labels.length / columns);
  labels.forEach((label, at) => {
    if (label > 0) pixels.data.set([...COLOURS[label], 255], 4 * at);
  });
  return pixels;
}
