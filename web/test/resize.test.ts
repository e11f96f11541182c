import { expect, test } from 'vitest';
import { type Pixels, resizeImage, resizeLinear } from '../src/worker/resize';
import { bytes, fixtures, floats } from './fixtures';

for (const sample of fixtures.resizing) {
  const { dtype, channels } = sample;
  const [height, width] = sample.size;
  const [rows, columns] = sample.target;
  const read = dtype === 'uint8' ? bytes : floats;
  const image = { data: read(sample.image), height, width, channels } as Pixels<Uint8Array>;
  const name = `${dtype} of ${height} x ${width} x ${channels} to ${rows} x ${columns}`;

  const compare = (found: Pixels<Uint8Array>, expected: string) => {
    expect([found.height, found.width, found.channels]).toEqual([rows, columns, channels]);
    const truth = read(expected);
    expect(found.data.length).toBe(truth.length);
    const apart = truth.map((value, at) => Math.abs(value - found.data[at]));
    expect(Math.max(...apart)).toBeLessThanOrEqual(dtype === 'uint8' ? 0 : 1e-4);
  };

  test(`an image, ${name}`, () => compare(resizeImage(image, rows, columns), sample.resized));
  test(`between pixels, ${name}`, () => compare(resizeLinear(image, rows, columns), sample.linear));
}
