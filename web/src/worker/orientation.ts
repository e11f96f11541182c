/** Where stored voxels lie in the body. */
import type { NiftiHeader } from './nifti_header';

/** Rows of a 3 x 3 matrix. */
export type Matrix = [number, number, number][];

const MILLIMETRES: Record<number, number> = { 0: 1, 1: 1000, 2: 1, 3: 0.001 };

/** For each axis of the body (left-right, front-back, up) the stored one, and its sense. */
export interface BodyAxis {
  stored: number;
  /** Whether stored indices grow towards right, front or up. */
  positive: boolean;
}

/** Millimetres of a unit of the header. */
export function millimetresOf(header: NiftiHeader): number {
  const found = MILLIMETRES[header.units & 7];
  if (found === undefined) {
    throw new Error(
      `Expected a unit of length: 0, 1 (m), 2 (mm) or 3 (micrometre). Received: ${header.units & 7} in xyzt_units.`,
    );
  }
  return found;
}

/** The linear part of the affine, without its offsets: sform, else qform, else pixdim. */
export function linearPart(header: NiftiHeader): Matrix {
  for (const code of [header.sformCode, header.qformCode]) {
    if (!(code >= 0 && code <= 5)) {
      throw new Error(`Expected a sform_code and a qform_code of 0 to 5. Received: ${code}.`);
    }
  }
  const { srow } = header;
  if (header.sformCode > 0) {
    return [0, 4, 8].map((row) => [srow[row], srow[row + 1], srow[row + 2]]);
  }
  const [x, y, z] = header.pixdim.slice(1, 4).map(Math.abs);
  if (header.qformCode === 0) return [[-x, 0, 0], [0, y, 0], [0, 0, z]];
  const [b, c, d] = header.quatern;
  const rest = 1 - (b * b + c * c + d * d);
  if (!(rest > -1e-6)) throw new Error('Expected a qform that is a rotation. It is none.');
  const a = Math.sqrt(Math.max(rest, 0));
  const mirrored = header.pixdim[0] === -1 ? -z : z;
  return [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
  ].map(([one, two, three]) => [one * x, two * y, three * mirrored]);
}

/** Lengths of a matrix's columns. */
export function columnLengths(matrix: Matrix): [number, number, number] {
  return [0, 1, 2].map((column) => Math.hypot(...matrix.map((row) => row[column]))) as [
    number, number, number,
  ];
}

/** The closest stored axis of each axis of the body, as `nibabel.io_orientation` finds it. */
export function bodyAxes(matrix: Matrix): [BodyAxis, BodyAxis, BodyAxis] {
  const lengths = columnLengths(matrix);
  const scaled = matrix.map((row) => row.map((value, at) => value / lengths[at])) as Matrix;
  const rotation = closestRotation(scaled);
  const column = (stored: number) => rotation.map((row) => row[stored]);
  const strongest = (stored: number) => Math.max(...column(stored).map(Math.abs));
  const order = [0, 1, 2].sort((one, other) => strongest(other) - strongest(one));
  const axes: BodyAxis[] = [];
  for (const stored of order) {
    const shares = column(stored).map((value, body) => (axes[body] ? -1 : Math.abs(value)));
    const body = shares.indexOf(Math.max(...shares));
    axes[body] = { stored, positive: rotation[body][stored] > 0 };
  }
  return axes as [BodyAxis, BodyAxis, BodyAxis];
}

/** The orthogonal factor of the polar decomposition, by Newton's iteration. */
function closestRotation(matrix: Matrix): Matrix {
  let found = matrix;
  for (let step = 0; step < 50; step++) {
    const other = transposedInverse(found);
    found = found.map((row, i) => row.map((value, j) => (value + other[i][j]) / 2)) as Matrix;
  }
  return found;
}

function transposedInverse(matrix: Matrix): Matrix {
  const [a, b, c] = matrix;
  const rows = [cross(b, c), cross(c, a), cross(a, b)];
  const determinant = a[0] * rows[0][0] + a[1] * rows[0][1] + a[2] * rows[0][2];
  return rows.map((row) => row.map((value) => value / determinant)) as Matrix;
}

function cross(a: number[], b: number[]): [number, number, number] {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

/** Whether a matrix has an inverse. */
export function isInvertible(matrix: Matrix): boolean {
  const lengths = columnLengths(matrix);
  const [a, b, c] = matrix.map((row) => row.map((value, at) => value / lengths[at]));
  const normal = cross(b, c);
  return Math.abs(a[0] * normal[0] + a[1] * normal[1] + a[2] * normal[2]) > 1e-12;
}
