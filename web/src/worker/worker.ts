/** The worker: all that takes long, so that the page never waits. */
import { CANCELLED, type Calls, type ModelInfo, type Reply, type Request } from '../shared/messages';
import { Network } from './network';
import { checkRange, fitChannels, readPhotograph } from './photograph';
import { predictBatch } from './predict';
import { type Pixels, resizeImage } from './resize';
import { Segmented } from './segmented';
import { Volume, checkHu } from './volume';

/** Slices predicted at once. */
const BATCH = 4;
/** Ranges of pictures; whatever else a network takes are HU. */
const PICTURES = [1, 255, 65535];

type Progress = (share: number) => void;

let network: Network | null = null;
let cancelled = false;
let opened: { key: string; volume: Volume } | null = null;
const segmented = new Map<string, Segmented>();

const CALLS: {
  [Name in keyof Calls]: (
    takes: Calls[Name]['takes'], progress: Progress,
  ) => Promise<Calls[Name]['gives']> | Calls[Name]['gives'];
} = {
  load: async ({ file, gpu }) => {
    const loaded = await Network.load(file, gpu);
    await network?.release();
    network = loaded;
    return describe(loaded);
  },
  segment: async ({ key, file, kind, flips }, progress) => {
    cancelled = false;
    const model = needed(network, 'a model');
    const found =
      kind === 'volume'
        ? await segmentVolume(model, key, file, flips, progress)
        : await segmentPhotograph(model, file, flips);
    segmented.set(key, found);
    return null;
  },
  find: ({ key, rule }) => needed(segmented.get(key), 'a result').find(rule),
  grey: async ({ key, file }) => {
    const [low, high] = needed(network, 'a model').metadata.inputRange;
    const volume = opened?.key === key ? opened.volume : await Volume.open(file);
    opened = { key, volume };
    return toGrey(volume, low, high);
  },
  mask: ({ key, rule }) => needed(segmented.get(key), 'a result').toFile(rule),
  forget: ({ key }) => {
    segmented.delete(key);
    if (opened?.key === key) opened = null;
    return null;
  },
  cancel: () => {
    cancelled = true;
    return null;
  },
};

async function segmentPhotograph(model: Network, file: Blob, flips: boolean) {
  checkRange(model.metadata.inputRange);
  const image = fitChannels(await readPhotograph(file), model.inputShape[3]);
  const height = model.inputShape[1] ?? image.height;
  const width = model.inputShape[2] ?? image.width;
  const { data } = resizeImage(image, height, width);
  const found = await predictBatch(model, Float32Array.from(data), 1, height, width, flips);
  await pause();
  return new Segmented(
    [{ data: found, height, width, channels: model.metadata.numClasses }],
    [image.height, image.width],
    model.metadata,
  );
}

async function segmentVolume(
  model: Network, key: string, file: Blob, flips: boolean, progress: Progress,
) {
  const [low, high] = model.metadata.inputRange;
  const channels = model.inputShape[3];
  if (![1, 3].includes(channels) || (low === 0 && PICTURES.includes(high))) {
    throw new Error('Expected a model of CT for a volume. The chosen one takes photographs.');
  }
  const volume = await Volume.open(file);
  if (low < 0) checkHu(volume);
  opened = { key, volume };
  const { rows, columns, slices } = volume.grid;
  const height = model.inputShape[1] ?? rows;
  const width = model.inputShape[2] ?? columns;
  const found: Pixels<Float32Array>[] = [];
  for (let start = 0; start < slices; start += BATCH) {
    await pause();
    const count = Math.min(BATCH, slices - start);
    const images = new Float32Array(count * height * width * channels);
    for (let z = 0; z < count; z++) {
      const slice = { data: volume.slice(start + z), height: rows, width: columns, channels: 1 };
      const { data } = resizeImage(slice, height, width);
      const first = z * height * width * channels;
      data.forEach((value, at) => images.fill(value, first + at * channels, first + (at + 1) * channels));
    }
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

function toGrey(volume: Volume, low: number, high: number): Uint8Array {
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

function describe({ metadata }: Network): ModelInfo {
  return {
    classNames: metadata.classNames,
    hasThreshold: metadata.masks === 'overlapping' || metadata.numClasses === 1,
    mirrors: metadata.mirrorAxes.length > 0,
    inputRange: metadata.inputRange,
  };
}

function needed<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Error(`There is no ${what.slice(2)} yet.`);
  return value;
}

/** Lets messages in, among them that to cancel. */
async function pause(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
  if (cancelled) throw new Error(CANCELLED);
}

self.addEventListener('message', async ({ data }: MessageEvent<Request>) => {
  const { id, name, takes } = data;
  const reply = (message: Reply, transfer: Transferable[] = []) =>
    self.postMessage(message, { transfer });
  try {
    const call = CALLS[name] as (takes: unknown, progress: Progress) => unknown;
    const gives = await call(takes, (progress) => reply({ id, progress }));
    reply({ id, gives }, buffersOf(gives));
  } catch (error) {
    const text = error instanceof RangeError ? 'There is not enough memory for it.' : undefined;
    reply({ id, error: text ?? (error instanceof Error ? error.message : String(error)) });
  }
});

function buffersOf(value: unknown): Transferable[] {
  if (value instanceof Uint8Array) return [value.buffer];
  if (value && typeof value === 'object' && 'labels' in value) return buffersOf(value.labels);
  return [];
}
