import { Joined, type Part, partsOf } from './parts';
import type { FoundObject } from '../shared/found';

interface Piece extends Part {
  slice: number;
  total: number;
}

/**
 * Finds the connected objects of an image or a volume, slice by slice: a port of
 * `keras_pamunet.inference.object_finder`. Parts of neighbouring slices belong together
 * if pixels of one label lie above each other.
 */
export class ObjectFinder {
  private pieces: Piece[] = [];
  private starts = [0];
  private joined = new Joined();
  private last: { labels: Uint8Array; numbers: Int32Array; start: number } | null = null;

  constructor(
    private width: number,
    private largest: boolean,
  ) {}

  /** Adds the next slice: labels, and the probability of each pixel's own. */
  add(labels: Uint8Array, own: Float32Array): void {
    const [numbers, parts] = partsOf(labels, this.width);
    const start = this.pieces.length;
    const slice = this.starts.length;
    for (const part of parts) {
      this.pieces.push({ ...part, slice, total: 0 });
      this.joined.add();
    }
    for (let at = 0; at < numbers.length; at++) {
      if (numbers[at] === 0) continue;
      const piece = start + numbers[at] - 1;
      this.pieces[piece].total += own[at];
      if (this.last?.numbers[at] && this.last.labels[at] === labels[at]) {
        this.joined.join(piece, this.last.start + this.last.numbers[at] - 1);
      }
    }
    this.last = { labels, numbers, start };
    this.starts.push(this.pieces.length);
  }

  /** The objects that count, the largest first. */
  objects(): FoundObject[] {
    return [...this.groups().values()].map(toObject).sort(inOrder);
  }

  /** Sets to 0, in all slices one after the other, what no object that counts has. */
  cleanAll(labels: Uint8Array, pixels: number): void {
    if (!this.largest) return;
    const kept = this.groups();
    for (let slice = 0; slice < this.starts.length - 1; slice++) {
      const own = labels.subarray(slice * pixels, (slice + 1) * pixels);
      const [numbers] = partsOf(own, this.width);
      for (let at = 0; at < own.length; at++) {
        if (numbers[at] === 0) continue;
        const root = this.joined.root(this.starts[slice] + numbers[at] - 1);
        if (!kept.has(root)) own[at] = 0;
      }
    }
  }

  /** The pieces of each object that counts. */
  private groups(): Map<number, Piece[]> {
    const groups = new Map<number, Piece[]>();
    this.pieces.forEach((piece, number) => {
      const root = this.joined.root(number);
      groups.get(root)?.push(piece) ?? groups.set(root, [piece]);
    });
    if (!this.largest) return groups;
    const best = new Map<number, number>();
    for (const [root, pieces] of groups) {
      const rival = best.get(pieces[0].label);
      if (rival === undefined || sizeOf(pieces) > sizeOf(groups.get(rival)!)) {
        best.set(pieces[0].label, root);
      }
    }
    return new Map([...best.values()].map((root) => [root, groups.get(root)!]));
  }
}

function sizeOf(pieces: Piece[]): number {
  return pieces.reduce((sum, piece) => sum + piece.size, 0);
}

function toObject(pieces: Piece[]): FoundObject {
  const size = sizeOf(pieces);
  const least = (key: 'left' | 'top' | 'slice') =>
    pieces.reduce((found, piece) => Math.min(found, piece[key]), Infinity);
  const most = (key: 'right' | 'bottom' | 'slice') =>
    pieces.reduce((found, piece) => Math.max(found, piece[key]), -Infinity);
  const [x, y] = [least('left'), least('top')];
  return {
    label: pieces[0].label,
    size,
    x,
    y,
    width: most('right') + 1 - x,
    height: most('bottom') + 1 - y,
    firstSlice: least('slice'),
    lastSlice: most('slice'),
    meanProbability: pieces.reduce((sum, piece) => sum + piece.total, 0) / size,
  };
}

function inOrder(one: FoundObject, other: FoundObject): number {
  const keys = (found: FoundObject) => [
    -found.size,
    found.firstSlice,
    found.lastSlice,
    found.x,
    found.y,
    found.width,
    found.height,
  ];
  const [first, second] = [keys(one), keys(other)];
  const at = first.findIndex((value, index) => value !== second[index]);
  return at < 0 ? 0 : first[at] - second[at];
}
