import { expect, test } from 'vitest';
import { ObjectFinder } from '../src/worker/object_finder';
import { flat, toLayers } from '../src/worker/targets';
import { bytes, fixtures } from './fixtures';

fixtures.components.forEach((sample, number) => {
  const [, rows, columns] = sample.shape;
  const pixels = rows * columns;
  const labels = bytes(sample.labels);

  const filled = (largest: boolean) => {
    const finder = new ObjectFinder(columns, largest);
    for (let start = 0; start < labels.length; start += pixels) {
      const slice = labels.subarray(start, start + pixels);
      finder.add(slice, new Float32Array(pixels).fill(0.75));
    }
    return finder;
  };

  test(`objects of volume ${number} as SciPy finds them`, () => {
    const found = filled(false).objects();
    expect(found.map(({ size }) => size)).toEqual(sample.sizes);
    expect(found.every(({ meanProbability }) => meanProbability === 0.75)).toBe(true);
    const [[first, last], [top, bottom], [left, right]] = sample.box;
    const { firstSlice, lastSlice, x, y, width, height } = found[0];
    expect([firstSlice, lastSlice]).toEqual([first + 1, last]);
    expect([x, y, width, height]).toEqual([left, top, right - left, bottom - top]);
  });

  test(`the largest object of volume ${number}`, () => {
    const finder = filled(true);
    const kept = labels.slice();
    finder.cleanAll(kept, pixels);
    expect(kept).toEqual(bytes(sample.largest));
    expect(finder.objects().map(({ size }) => size)).toEqual(sample.sizes.slice(0, 1));
  });
});

test('labels of each kind of classes', () => {
  const shares = Float32Array.of(0.5, 0.7, 0.6, 0.2, 0.51, 0.9);
  const labels = (masks: 'exclusive' | 'overlapping', classes: number) =>
    toLayers(shares, classes, masks, 0.5).map((layer) => [...layer.labels]);
  expect(labels('exclusive', 1)).toEqual([[0, 1, 1, 0, 1, 1]]);
  expect(labels('exclusive', 2)).toEqual([[1, 0, 1]]);
  expect(labels('overlapping', 2)).toEqual([[0, 1, 1], [2, 0, 2]]);
  expect([...flat([Uint8Array.of(0, 1, 1), Uint8Array.of(2, 0, 2)])]).toEqual([2, 1, 2]);
});
