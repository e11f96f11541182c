/** Connected parts of one image or slice. */

/** A part: pixels of one label that touch by a side or a corner. */
export interface Part {
  label: number;
  size: number;
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Sets of numbers that are joined pair by pair. */
export class Joined {
  private parents: number[] = [];

  add(): number {
    return this.parents.push(this.parents.length) - 1;
  }

  /** The smallest number of the set that `number` belongs to. */
  root(number: number): number {
    while (this.parents[number] !== number) {
      this.parents[number] = this.parents[this.parents[number]];
      number = this.parents[number];
    }
    return number;
  }

  join(one: number, other: number): void {
    const [first, second] = [this.root(one), this.root(other)];
    this.parents[Math.max(first, second)] = Math.min(first, second);
  }
}

/** The part of each pixel, counted from 1 and 0 for the background, and all parts. */
export function partsOf(labels: Uint8Array, width: number): [Int32Array, Part[]] {
  const numbers = new Int32Array(labels.length);
  const joined = provisional(labels, width, numbers);
  const finals = new Map<number, number>();
  const parts: Part[] = [];
  for (let at = 0; at < labels.length; at++) {
    if (labels[at] === 0) continue;
    const root = joined.root(numbers[at] - 1);
    let number = finals.get(root);
    const x = at % width;
    const y = (at - x) / width;
    if (number === undefined) {
      const { length } = parts;
      number = parts.push({ label: labels[at], size: 0, left: x, top: y, right: x, bottom: y });
      finals.set(root, length + 1);
    }
    numbers[at] = number;
    const part = parts[number - 1];
    part.size++;
    part.left = Math.min(part.left, x);
    part.right = Math.max(part.right, x);
    part.bottom = y;
  }
  return [numbers, parts];
}

/** Numbers each pixel from the neighbours that come before it; joins what meets. */
function provisional(labels: Uint8Array, width: number, numbers: Int32Array): Joined {
  const joined = new Joined();
  for (let at = 0; at < labels.length; at++) {
    const label = labels[at];
    if (label === 0) continue;
    const x = at % width;
    const before = [
      x > 0 ? at - 1 : -1,
      x > 0 ? at - width - 1 : -1,
      at - width,
      x < width - 1 ? at - width + 1 : -1,
    ];
    for (const neighbour of before) {
      if (neighbour < 0 || labels[neighbour] !== label) continue;
      if (numbers[at] === 0) numbers[at] = numbers[neighbour];
      else joined.join(numbers[at] - 1, numbers[neighbour] - 1);
    }
    if (numbers[at] === 0) numbers[at] = joined.add() + 1;
  }
  return joined;
}
