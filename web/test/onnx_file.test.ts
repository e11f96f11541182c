import { expect, test } from 'vitest';
import { readMetadata } from '../src/worker/onnx_file';
import { bytes, fixtures } from './fixtures';

const sealed = bytes(fixtures.model.sealed);

test('metadata that export wrote', async () => {
  expect(await readMetadata(sealed)).toEqual({
    numClasses: 2,
    masks: 'overlapping',
    classNames: ['liver', 'tumour'],
    mirrorAxes: [2],
    inputRange: [-200, 250],
  });
});

test('a model that export did not write', async () => {
  await expect(readMetadata(bytes(fixtures.model.plain))).rejects.toThrow(/keras-pamunet export/);
});

test('no byte may be changed or missing', async () => {
  for (let at = 0; at < sealed.length; at += 7) {
    const changed = sealed.slice();
    changed[at] ^= 1;
    await expect(readMetadata(changed)).rejects.toThrow();
    await expect(readMetadata(sealed.slice(0, at))).rejects.toThrow();
  }
  await expect(readMetadata(sealed.slice(0, -110))).rejects.toThrow();
});
