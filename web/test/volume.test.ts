import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { bodyAxes } from '../src/worker/orientation';
import { Volume } from '../src/worker/volume';
import { bytes, fixtures, floats } from './fixtures';

const NAMES = ['liver', 'a <b> & c'];

test('axes of the body as nibabel names them', () => {
  for (const { matrix, axes } of fixtures.orientations) {
    const found = bodyAxes(matrix as [number, number, number][]);
    axes.forEach(([body, sense], stored) => {
      expect(found[body]).toEqual({ stored, positive: sense > 0 });
    });
  }
});

fixtures.volumes.forEach(({ file, spacing, slices, labels, mask }, number) => {
  test(`slices of volume ${number}`, async () => {
    const { grid, ...volume } = await opened(bytes(file));
    spacing.forEach((mm, axis) => expect(grid.spacing[axis]).toBeCloseTo(mm, 6));
    expect(grid.slices).toBe(slices.length);
    slices.forEach((slice, z) => expect(volume.slice(z)).toEqual(floats(slice)));
  });

  test(`labels on volume ${number}, byte for byte`, async () => {
    const { grid } = await opened(bytes(file));
    const written = await grid.toNifti(bytes(labels), NAMES);
    const found = gunzipSync(new Uint8Array(await written.arrayBuffer()));
    expect(Buffer.from(found).equals(Buffer.from(bytes(mask)))).toBe(true);
  });
});

async function opened(content: Uint8Array<ArrayBuffer>) {
  const volume = await Volume.open(new Blob([content]));
  return { grid: volume.grid, slice: (z: number) => volume.slice(z) };
}

test('what is no volume', async () => {
  const whole = bytes(fixtures.volumes[0].file);
  const changed = (at: number, value: number) => {
    const copy = whole.slice();
    new DataView(copy.buffer).setInt16(at, value, true);
    return copy;
  };
  const wrong: [Uint8Array<ArrayBuffer>, RegExp][] = [
    [whole.slice(0, 100), /NIfTI/],
    [new Uint8Array(1000), /NIfTI/],
    [whole.slice(0, -1), /damaged or was cut/],
    [changed(40, 2), /three axes/],
    [changed(42, -3), /three axes/],
    [changed(70, 128), /grey values/],
    [changed(254, 9), /sform_code/],
  ];
  for (const [content, message] of wrong) await expect(opened(content)).rejects.toThrow(message);
});

test('a packed volume, and one that was cut', async () => {
  const stream = new Blob([bytes(fixtures.volumes[0].file)])
    .stream()
    .pipeThrough(new CompressionStream('gzip'));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const { slice } = await opened(packed);
  expect(slice(0)).toEqual(floats(fixtures.volumes[0].slices[0]));
  await expect(opened(packed.slice(0, -20))).rejects.toThrow(/damaged or was cut/);
});
