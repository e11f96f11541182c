/** CT volumes in NIfTI files, as stacks of axial slices. */
import { isPacked, packed, unpacked, unpackedStart } from './gzip';
import { labelTable } from './label_table';
import { HEADER_BYTES, type NiftiHeader, labelsHeader, readHeader } from './nifti_header';
import {
  type BodyAxis, bodyAxes, columnLengths, isInvertible, linearPart, millimetresOf,
} from './orientation';

const MAX_AXIS = 2 ** 15 - 1;
const MAX_SLICE = 2 ** 24;
const MAX_BYTES = 2 ** 31 - 1;
const SLACK = 2 ** 16;
/** Deflate makes 1032 bytes of one at most. */
const MAX_RATIO = 1100;
const SAMPLE = 9;
const NORMALIZED = 10;

type Voxels =
  | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array
  | BigInt64Array | BigUint64Array | Float32Array | Float64Array;

/** Arrays of the header's `datatype`. Colours and complex numbers are none. */
const TYPES: Record<number, { new (buffer: ArrayBuffer): Voxels; BYTES_PER_ELEMENT: number }> = {
  2: Uint8Array, 4: Int16Array, 8: Int32Array, 16: Float32Array, 64: Float64Array,
  256: Int8Array, 512: Uint16Array, 768: Uint32Array, 1024: BigInt64Array,
  1280: BigUint64Array,
};

/** Where the voxels of a file lie: enough to lay labels on them. */
export class Grid {
  readonly axes: [BodyAxis, BodyAxis, BodyAxis];
  /** Columns, rows and slices: from the patient's right, from the front, from the feet. */
  readonly columns: number;
  readonly rows: number;
  readonly slices: number;
  /** Millimetres, in the same order. */
  readonly spacing: [number, number, number];
  private starts: number[];
  private steps: number[];

  constructor(readonly header: NiftiHeader) {
    checkShape(header.shape);
    const matrix = linearPart(header);
    const lengths = columnLengths(matrix);
    for (const spacing of [lengths, header.pixdim.slice(1, 4)]) {
      if (!spacing.every((value) => value > 0 && value < Infinity)) {
        throw new Error(`Expected a spacing above 0 mm. Received: ${spacing.join(' x ')}.`);
      }
    }
    if (!isInvertible(matrix)) throw new Error('Expected an affine with an inverse.');
    this.axes = bodyAxes(matrix);
    const millimetres = millimetresOf(header);
    const stored = header.shape;
    const strides = [1, stored[0], stored[0] * stored[1]];
    [this.columns, this.rows, this.slices] = this.axes.map((axis) => stored[axis.stored]);
    this.spacing = this.axes.map((axis) => lengths[axis.stored] * millimetres) as [
      number, number, number,
    ];
    if (this.columns * this.rows > MAX_SLICE) {
      throw new Error(`Expected slices of at most ${MAX_SLICE} voxels.`);
    }
    // Columns run to the left, rows to the back, slices up.
    const reversed = this.axes.map(({ positive }, body) => positive === body < 2);
    const sides = this.axes.map((axis) => strides[axis.stored]);
    this.starts = this.axes.map(({ stored: axis }, body) =>
      reversed[body] ? (stored[axis] - 1) * strides[axis] : 0,
    );
    this.steps = sides.map((side, body) => (reversed[body] ? -side : side));
  }

  get voxelMl(): number {
    return (this.spacing[0] * this.spacing[1] * this.spacing[2]) / 1000;
  }

  /** Calls `visit` with the place of each voxel of a slice in the file, row by row. */
  visit(slice: number, visit: (stored: number, pixel: number) => void): void {
    const [column, row, depth] = this.steps;
    const start = this.starts[0] + this.starts[1] + this.starts[2] + slice * depth;
    let pixel = 0;
    for (let y = 0; y < this.rows; y++) {
      let stored = start + y * row;
      for (let x = 0; x < this.columns; x++, stored += column) visit(stored, pixel++);
    }
  }

  /** A packed NIfTI file of labels, given in the order slices, rows, columns. */
  async toNifti(labels: Uint8Array, classNames: string[]): Promise<Blob> {
    const stored = new Uint8Array(labels.length);
    for (let z = 0; z < this.slices; z++) {
      const start = z * this.rows * this.columns;
      this.visit(z, (at, pixel) => {
        stored[at] = labels[start + pixel];
      });
    }
    const start = labelsHeader(this.header, labelTable(classNames));
    return packed([start as Uint8Array<ArrayBuffer>, stored]);
  }
}

export class Volume {
  private constructor(
    readonly grid: Grid,
    private voxels: Voxels,
  ) {}

  /** Reads a file. Takes no more memory than its size makes plausible. */
  static async open(file: Blob): Promise<Volume> {
    if (file.size > MAX_BYTES) throw new Error('Expected a file below 2 GiB.');
    const first = new Uint8Array(await file.slice(0, HEADER_BYTES).arrayBuffer());
    const isGzip = isPacked(first);
    const header = readHeader(isGzip ? await unpackedStart(file, HEADER_BYTES) : first);
    const grid = new Grid(header);
    const type = TYPES[header.datatype];
    if (type === undefined) {
      throw new Error(`Expected grey values. Received: datatype ${header.datatype}.`);
    }
    const count = grid.columns * grid.rows * grid.slices;
    const claimed = header.voxOffset + count * type.BYTES_PER_ELEMENT;
    if (claimed > (isGzip ? MAX_RATIO * file.size + SLACK : file.size)) {
      throw new Error(
        `The file is damaged or was cut: its header claims ${claimed} bytes, it has ${file.size}.`,
      );
    }
    if (claimed > MAX_BYTES) throw new Error('Expected a volume below 2 GiB.');
    if (!isGzip && file.size > claimed + SLACK) {
      throw new Error('It holds more voxels than its header claims.');
    }
    const bytes = isGzip
      ? await unpacked(file, claimed, SLACK)
      : new Uint8Array(await file.slice(0, claimed).arrayBuffer());
    const own = bytes.slice(header.voxOffset);
    if (!header.littleEndian) swap(own, type.BYTES_PER_ELEMENT);
    return new Volume(grid, new type(own.buffer));
  }

  /** A slice in the values of the file's scaling, such as HU; 0 is the lowest. */
  slice(z: number): Float32Array {
    const { slope, intercept } = scalingOf(this.grid.header);
    const pixels = new Float32Array(this.grid.rows * this.grid.columns);
    const { voxels } = this;
    this.grid.visit(z, (stored, pixel) => {
      pixels[pixel] = Number(voxels[stored]) * slope + intercept;
    });
    if (!pixels.every(Number.isFinite)) {
      throw new Error(`Expected finite voxels. Received: NaN or infinite ones in slice ${z + 1}.`);
    }
    return pixels;
  }
}

/** Makes sure that a volume may be a CT in HU, as `keras_pamunet.data.windows.check_hu`. */
export function checkHu(volume: Volume): void {
  const { slices } = volume.grid;
  const spread = Array.from({ length: SAMPLE }, (_, index) =>
    Math.trunc((index * (slices - 1)) / (SAMPLE - 1)),
  );
  let [low, high] = extremes(volume, [...new Set(spread)]);
  const small = () => -NORMALIZED <= low && high <= NORMALIZED;
  if (low >= 0 || small()) {
    [low, high] = extremes(volume, Array.from({ length: slices }, (_, z) => z));
  }
  if (low === high || !(low >= 0 || small())) return;
  const hint = small()
    ? 'They seem to be scaled: undo that.'
    : 'Nothing is below 0, as in pictures and in HU + 1024.';
  throw new Error(
    `Expected a CT in HU, where air is -1000 and water 0. Received: values from ${low} to ${high}. ${hint}`,
  );
}

/** All slices in grey, 0 to 255, black at `low` and white at `high`. */
export function toGrey(volume: Volume, low: number, high: number): Uint8Array {
  const { rows, columns, slices } = volume.grid;
  const grey = new Uint8Array(rows * columns * slices);
  for (let z = 0, to = 0; z < slices; z++) {
    for (const value of volume.slice(z)) {
      const share = (Math.min(Math.max(value, low), high) - low) / (high - low);
      grey[to++] = Math.round(255 * share);
    }
  }
  return grey;
}

function extremes(volume: Volume, numbers: number[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const z of numbers) {
    for (const value of volume.slice(z)) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return [low, high];
}

function checkShape(shape: number[]): void {
  if (shape.length < 3 || Math.min(...shape) < 1 || Math.max(1, ...shape.slice(3)) > 1) {
    throw new Error(`Expected a volume of three axes. Received: ${shape.join(' x ')}.`);
  }
  if (Math.max(...shape) > MAX_AXIS) {
    throw new Error(`Expected axes of at most ${MAX_AXIS} voxels. Received: ${shape.join(' x ')}.`);
  }
}

function scalingOf({ slope, intercept }: NiftiHeader) {
  if (slope === 0 || Number.isNaN(slope)) return { slope: 1, intercept: 0 };
  if (!Number.isFinite(slope) || !Number.isFinite(intercept)) {
    throw new Error('Expected a finite scaling in the header.');
  }
  return { slope, intercept };
}

function swap(bytes: Uint8Array, size: number): void {
  for (let at = 0; size > 1 && at < bytes.length; at += size) {
    bytes.subarray(at, at + size).reverse();
  }
}
