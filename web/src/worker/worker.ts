/** The worker: all that takes long, so that the page never waits. */
import { CANCELLED, type Calls, type ModelInfo, type Reply, type Request } from '../shared/messages';
import { Network } from './network';
import { readPhotograph, takePixels } from './photograph';
import { checkTakesCt, segmentPhotograph, segmentVolume } from './segment';
import type { Segmented } from './segmented';
import { Volume, toGrey } from './volume';

type Progress = (share: number) => void;

let network: Network | null = null;
/** What the network is needed for: one after the other, so that the last model stays. */
let work: Promise<unknown> = Promise.resolve();
let cancelled = false;
let opened: { key: string; volume: Volume } | null = null;
const segmented = new Map<string, Segmented>();

const CALLS: {
  [Name in keyof Calls]: (
    takes: Calls[Name]['takes'], progress: Progress,
  ) => Promise<Calls[Name]['gives']> | Calls[Name]['gives'];
} = {
  load: ({ file, gpu }) => inTurn(() => replaceNetwork(file, gpu)),
  segment: ({ key, file, kind, flips }, progress) =>
    inTurn(async () => {
      cancelled = false;
      const model = needed(network, 'model');
      if (kind === 'photograph') {
        const image = await readPhotograph(file);
        segmented.set(key, await segmentPhotograph(model, image, flips));
      } else {
        checkTakesCt(model);
        const volume = await openVolume(key, file);
        segmented.set(key, await segmentVolume(model, volume, flips, progress, pause));
      }
      return null;
    }),
  frame: ({ picture, rule }) =>
    inTurn(async () => {
      const model = needed(network, 'model');
      const found = await segmentPhotograph(model, takePixels(picture), false);
      return found.find(rule);
    }),
  find: ({ key, rule }) => needed(segmented.get(key), 'result').find(rule),
  grey: async ({ key, file }) => {
    const [low, high] = needed(network, 'model').metadata.inputRange;
    return toGrey(await openVolume(key, file), low, high);
  },
  mask: ({ key, rule }) => needed(segmented.get(key), 'result').toFile(rule),
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

function inTurn<T>(next: () => Promise<T>): Promise<T> {
  const done = work.then(next);
  work = done.catch(() => undefined);
  return done;
}

async function replaceNetwork(file: Blob, gpu: boolean): Promise<ModelInfo> {
  const loaded = await Network.load(file, gpu);
  await network?.release();
  network = loaded;
  return describe(loaded);
}

/** A volume; the last one stays open. */
async function openVolume(key: string, file: Blob): Promise<Volume> {
  if (opened?.key !== key) opened = { key, volume: await Volume.open(file) };
  return opened.volume;
}

function describe({ metadata }: Network): ModelInfo {
  return { hasThreshold: metadata.masks === 'overlapping' || metadata.numClasses === 1 };
}

function needed<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Error(`There is no ${what} yet.`);
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
