import { expect, test } from 'vitest';
import { type Place, faultOf } from '../src/slice_places';

const AXIAL = [1, 0, 0, 0, 1, 0];
// Sagittal, of a scanner that is turned by 0.1.
const TURNED = [-Math.sin(0.1), Math.cos(0.1), 0, 0, 0, -1];

function places(heights: number[], orientation = AXIAL, normal = [0, 0, 1], tilt = 0): Place[] {
  return heights.map((height) => ({
    position: normal.map((at, axis) => 7 + height * at + tilt * height * orientation[3 + axis]),
    orientation,
  }));
}

test.each([
  ['one slice', places([5]), null],
  ['in any order', places([5, 0, 2.5]), null],
  ['rounded', places([0, 2.5, 5.04, 7.5]), null],
  ['turned', places([0, 3, 6], TURNED, [-Math.cos(0.1), -Math.sin(0.1), 0]), null],
  ['one missing', places([0, 2.5, 7.5]), 'Slices are missing, or not evenly spaced.'],
  ['two times', places([0, 2.5, 0, 2.5]), 'Several slices lie at one place.'],
  ['tilted', places([0, 2.5, 5], AXIAL, [0, 0, 1], 0.28), 'The gantry was tilted.'],
  ['a localizer', [...places([0]), ...places([3], TURNED)], 'The slices lie in several planes.'],
])('%s', (_, given, expected) => {
  expect(faultOf(given)).toBe(expected);
});
