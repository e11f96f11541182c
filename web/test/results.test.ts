import { inflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { maskNames } from '../src/names';
import { describe, toCsv } from '../src/results';
import { COLOURS } from '../src/shared/palette';
import { mirror, predictBatch, subsets } from '../src/worker/predict';
import { crc32, toPng } from '../src/worker/png';
import { fixtures } from './fixtures';

const found = {
  label: 1, size: 6, x: 1, y: 2, width: 3, height: 2, firstSlice: 2, lastSlice: 4,
  meanProbability: 0.75,
};
const image = { columns: 10, rows: 6, slices: null, spacing: null, voxelMl: null };
const volume = { ...image, slices: 10, spacing: [1, 1] as [number, number], voxelMl: 0.5 };

test('what is found in words', () => {
  const own = { classNames: ['polyp'], size: 6, objects: [found] };
  expect(describe({ ...image, ...own })).toBe('10.0 % of the image in 1 object (polyp)');
  expect(describe({ ...volume, ...own })).toBe('3.0 ml, 1.0 % of the volume in 1 object (polyp)');
  expect(describe({ ...image, ...own, size: 0, objects: [] })).toBe('Nothing found.');
});

test('the table has the columns of predict', () => {
  const record = { ...volume, classNames: ['a, "b"'], size: 6, objects: [found] };
  expect(toCsv([['m.nii.gz', record]]).split('\n')).toEqual([
    'mask,kind,object,label,class,size,percent,x,y,width,height,mean_probability,volume_ml,first_slice,last_slice',
    'm.nii.gz,volume,1,,,6,1.0,,,,,0.75,3.0,2,4',
    'm.nii.gz,object,1,1,"a, ""b""",6,1.0,1,2,3,2,0.75,3.0,2,4',
    '',
  ]);
});

test('masks get names of their own', () => {
  expect(maskNames(['a.jpg', 'a.png', 'b.c.nii', 'b.NII.gz'])).toEqual([
    'a_mask.png', 'a_mask_2.png', 'b.c_mask.nii.gz', 'b_mask.nii.gz',
  ]);
});

test('a mask as PNG', async () => {
  const labels = Uint8Array.of(0, 1, 2, 2, 0, 1);
  const png = Buffer.from(await (await toPng(labels, 3, 2, true)).arrayBuffer());
  expect(png.readUInt32BE(16)).toBe(3);
  expect(png.readUInt32BE(20)).toBe(2);
  const at = png.indexOf('IDAT');
  const rows = inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4)));
  expect([...rows]).toEqual([0, 0, 1, 2, 0, 2, 0, 1]);
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
});

test('the colours of Python', () => {
  expect(COLOURS).toEqual(fixtures.colours);
});

test('mirror images are averaged', async () => {
  expect(subsets([1, 2])).toEqual([[], [1], [2], [1, 2]]);
  const values = Float32Array.of(1, 2, 3, 4);
  expect([...mirror(values, [1, 2, 2, 1], [1])]).toEqual([3, 4, 1, 2]);
  expect([...mirror(values, [1, 2, 2, 1], [2])]).toEqual([2, 1, 4, 3]);
  const network = {
    inputShape: [null, null, null, 1] as [null, null, null, number],
    metadata: { mirrorAxes: [1, 2], numClasses: 1 },
    // Finds the first pixel, wherever that comes from.
    predict: async (images: Float32Array) => images.map((value, at) => (at === 0 ? value : 0)),
  };
  const corner = await predictBatch(network, values, 1, 2, 2, true);
  expect([...corner]).toEqual([0.25, 0.5, 0.75, 1]);
  expect([...(await predictBatch(network, values, 1, 2, 2, false))]).toEqual([1, 0, 0, 0]);
});
