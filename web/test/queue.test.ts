import { expect, test } from 'vitest';
import type { Models } from '../src/models';
import { Queue } from '../src/queue';
import type { WorkerClient } from '../src/worker_client';

/** Remembers what it is asked for; each photograph has one result. */
class FakeWorker {
  asked: unknown[] = [];

  async call(name: string, takes: { file?: unknown }) {
    if (name === 'load' || name === 'segment') this.asked.push([name, takes.file]);
    return name === 'load' ? { hasThreshold: true } : {};
  }
}

function file(name: string): File {
  return new File([], name);
}

test('a model that was chosen during the download of another stays', async () => {
  const worker = new FakeWorker();
  const [slow, own] = [file('slow.onnx'), file('own.onnx')];
  let arrive = (_: File): void => undefined;
  const download = new Promise<File>((resolve) => (arrive = resolve));
  let model = { name: 'slow', open: () => download };
  const queue = new Queue(
    worker as unknown as WorkerClient,
    { of: () => model } as unknown as Models,
    { threshold: 0.5, largest: false, flips: false, gpu: false },
    () => undefined,
    () => undefined,
  );
  queue.prepare('photograph').catch(() => undefined);
  model = { name: 'own', open: async () => own };
  queue.again();
  const photograph = file('photo.png');
  queue.add([photograph]);
  arrive(slow);
  await expect.poll(() => queue.items[0].state).toBe('done');
  expect(worker.asked).toEqual([
    ['load', own],
    ['segment', photograph],
  ]);
});
