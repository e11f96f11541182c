/** Whether the slices of a series are one even volume. */

/** Of one slice: its first pixel in mm, and the directions of its rows and columns. */
export interface Place {
  position: number[];
  orientation: number[];
}

/** Steps may differ by 5 % and 0.1 mm, as dicom2nifti allows. */
const STEP = { share: 0.05, mm: 0.1 };
/** Sine of the smallest angle between slices and their row that counts as tilted. */
const TILT = 0.01;
/** Difference of two directions that are one. */
const SAME = 0.001;

/** What is wrong with some slices, or `null`. */
export function faultOf(places: Place[]): string | null {
  const [first] = places;
  const { orientation } = first;
  if (places.some((other) => distance(other.orientation, orientation) > SAME)) {
    return 'The slices lie in several planes.';
  }
  const normal = cross(orientation.slice(0, 3), orientation.slice(3, 6));
  const height = ({ position }: Place) => dot(position, normal);
  const sorted = [...places].sort((one, other) => height(one) - height(other));
  const steps = sorted.slice(1).map((place, index) => height(place) - height(sorted[index]));
  if (steps.some((step) => step < STEP.mm)) return 'Several slices lie at one place.';
  const least = Math.min(...steps);
  if (steps.some((step) => step > least + STEP.mm + STEP.share * least)) {
    return 'Slices are missing, or not evenly spaced.';
  }
  const last = sorted[sorted.length - 1];
  const way = last.position.map((at, axis) => at - sorted[0].position[axis]);
  const length = Math.hypot(...way);
  const aside = way.map((at, axis) => at - dot(way, normal) * normal[axis]);
  if (Math.hypot(...aside) > TILT * length) return 'The gantry was tilted.';
  return null;
}

function dot(one: number[], other: number[]): number {
  return one.reduce((sum, value, axis) => sum + value * other[axis], 0);
}

function cross([a, b, c]: number[], [d, e, f]: number[]): number[] {
  return [b * f - c * e, c * d - a * f, a * e - b * d];
}

function distance(one: number[], other: number[]): number {
  return Math.hypot(...one.map((value, axis) => value - other[axis]));
}
