/** From an image to the probabilities of its pixels. */
import type { Network } from './network';
import { checkRange, fitChannels } from './photograph';
import { predictBatch } from './predict';
import { type Pixels, resizeImage } from './resize';
import { Segmented } from './segmented';
import { type Volume, checkHu } from './volume';

/** Slices predicted at once. */
const BATCH = 4;
/** Highest values of pictures from 0 on; whatever else a network takes are HU. */
const PICTURES = [1, 255, 65535];

export async function segmentPhotograph(
  model: Network,
  photograph: Pixels<Uint8Array>,
  flips: boolean,
): Promise<Segmented> {
  checkRange(model.metadata.inputRange);
  const image = fitChannels(photograph, model.inputShape[3]);
  const height = model.inputShape[1] ?? image.height;
  const width = model.inputShape[2] ?? image.width;
  const { data } = resizeImage(image, height, width);
  const found = await predictBatch(model, Float32Array.from(data), 1, height, width, flips);
  return new Segmented(
    [{ data: found, height, width, channels: model.metadata.numClasses }],
    [image.height, image.width],
    model.metadata,
  );
}

/** Makes sure that a network takes slices of CT. */
export function checkTakesCt(model: Network): void {
  const [low, high] = model.metadata.inputRange;
  if (![1, 3].includes(model.inputShape[3]) || (low === 0 && PICTURES.includes(high))) {
    throw new Error('Expected a model of CT for a volume. The chosen one takes photographs.');
  }
}

/**
 * @param progress is told the share that is done.
 * @param pause is waited for between batches; an error from it ends the work.
 */
export async function segmentVolume(
  model: Network,
  volume: Volume,
  flips: boolean,
  progress: (share: number) => void,
  pause: () => Promise<void>,
): Promise<Segmented> {
  if (model.metadata.inputRange[0] < 0) checkHu(volume);
  const { rows, columns, slices } = volume.grid;
  const height = model.inputShape[1] ?? rows;
  const width = model.inputShape[2] ?? columns;
  const found: Pixels<Float32Array>[] = [];
  for (let start = 0; start < slices; start += BATCH) {
    await pause();
    const count = Math.min(BATCH, slices - start);
    const images = batchOf(volume, start, count, height, width, model.inputShape[3]);
    const batch = await predictBatch(model, images, count, height, width, flips);
    const size = batch.length / count;
    for (let z = 0; z < count; z++) {
      const data = batch.slice(z * size, (z + 1) * size);
      found.push({ data, height, width, channels: model.metadata.numClasses });
    }
    progress((start + count) / slices);
  }
  return new Segmented(found, [rows, columns], model.metadata, volume.grid);
}

/** Slices in the size of a network, each value in all channels. */
function batchOf(
  volume: Volume,
  start: number,
  count: number,
  height: number,
  width: number,
  channels: number,
): Float32Array {
  const { rows, columns } = volume.grid;
  const images = new Float32Array(count * height * width * channels);
  let at = 0;
  for (let z = start; z < start + count; z++) {
    const slice = { data: volume.slice(z), height: rows, width: columns, channels: 1 };
    for (const value of resizeImage(slice, height, width).data) {
      images.fill(value, at, at + channels);
      at += channels;
    }
  }
  return images;
}
