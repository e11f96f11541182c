/** The page: joins its parts. */
import { the } from './dom';
import { isDicom, seriesOf, toVolumes } from './dicom';
import { onFiles } from './drop';
import { Exports } from './exports';
import { FileList } from './file_list';
import { hasGraphicsCard } from './graphics_card';
import { onKey } from './keys';
import { Live, openCamera } from './live';
import { Models } from './models';
import { isModel, isVideo } from './names';
import { keepOffline } from './offline';
import { type Item, Queue, type Settings } from './queue';
import { type Site, readSite } from './site';
import { Stage } from './stage';
import { WorkerClient } from './worker_client';

/** Milliseconds that a slider rests before results are taken anew. */
const REST = 120;

const model = the<HTMLSelectElement>('model');
const threshold = the<HTMLInputElement>('threshold');
const flips = the<HTMLInputElement>('flips');
const largest = the<HTMLInputElement>('largest');
const gpu = the<HTMLInputElement>('gpu');
const cancel = the<HTMLButtonElement>('cancel');
const clear = the<HTMLButtonElement>('clear');
const camera = the<HTMLButtonElement>('camera');
const saveOne = the<HTMLButtonElement>('save-one');
const saveAll = the<HTMLButtonElement>('save-all');
const saveTable = the<HTMLButtonElement>('save-table');

class Page {
  private settings: Settings = { threshold: 0.5, largest: true, flips: true, gpu: false };
  private worker = new WorkerClient();
  private models: Models;
  private queue: Queue;
  private stage: Stage;
  private exports: Exports;
  /** What was dropped first is taken first. */
  private taking = Promise.resolve();
  private reading = '';
  private live = new Live(this.worker);
  private list = new FileList(the('list'), (item) => void this.show(item));
  private resting: ReturnType<typeof setTimeout> | undefined;

  constructor(site: Site) {
    this.models = new Models(site.models);
    this.queue = new Queue(
      this.worker,
      this.models,
      this.settings,
      () => this.update(),
      (item) => this.finished(item),
    );
    const ruleOf = (item: Item) => this.queue.ruleOf(item);
    this.stage = new Stage(this.worker, ruleOf);
    this.exports = new Exports(this.worker, ruleOf);
    this.fillModels(Models.AUTOMATIC);
    this.listen();
    this.update();
    // Errors come with the files.
    if (site.models.length > 0) this.queue.prepare(site.models[0].kind).catch(() => undefined);
  }

  private listen(): void {
    onFiles((files) => {
      this.taking = this.taking.then(() => this.take(files));
    });
    model.addEventListener('change', () => this.choose(model.value));
    threshold.addEventListener('input', () => {
      this.settings.threshold = Number(threshold.value);
      the('threshold-value').textContent = this.settings.threshold.toFixed(2);
      this.findAnew();
    });
    largest.addEventListener('change', () => {
      this.settings.largest = largest.checked;
      this.findAnew();
    });
    flips.addEventListener('change', () => {
      this.settings.flips = flips.checked;
      this.again();
    });
    gpu.addEventListener('change', () => {
      this.settings.gpu = gpu.checked;
      this.again();
    });
    cancel.addEventListener('click', () => {
      this.live.stop();
      if (this.queue.isRunning) this.queue.cancel();
      else this.queue.goOn();
    });
    camera.hidden = !navigator.mediaDevices;
    camera.addEventListener('click', () => {
      if (this.live.isRunning) this.live.stop();
      else void this.watch('Camera', openCamera);
    });
    clear.addEventListener('click', () => {
      this.live.stop();
      this.stage.clear();
      this.queue.clear();
    });
    saveOne.addEventListener('click', () => this.saveOne());
    saveAll.addEventListener('click', () => void this.exports.saveMasks(this.done()));
    saveTable.addEventListener('click', () => this.exports.saveTable(this.done()));
    onKey({
      j: () => this.step(1),
      k: () => this.step(-1),
      ArrowUp: () => this.stage.climb(1),
      ArrowDown: () => this.stage.climb(-1),
      b: () => this.stage.turnBefore(),
      m: () => this.stage.turnMask(),
      o: () => this.stage.turnOutline(),
      s: () => this.saveOne(),
      Escape: () => {
        this.live.stop();
        this.queue.cancel();
      },
    });
  }

  private async take(files: File[]): Promise<void> {
    const own = files.findLast(({ name }) => isModel(name));
    if (own) {
      this.models.addOwn(own);
      this.fillModels(Models.OWN);
      this.choose(Models.OWN);
    }
    const images = files.filter(({ name }) => !isModel(name) && !isVideo(name));
    if (images.length > 0) this.live.stop();
    const areDicom = await Promise.all(images.map(isDicom));
    this.queue.add(images.filter((_, index) => !areDicom[index]));
    const dicom = images.filter((_, index) => areDicom[index]);
    if (dicom.length > 0) void this.takeDicom(dicom);
    const video = files.findLast(({ name }) => isVideo(name));
    if (video) void this.watch(video.name, async () => video);
  }

  private async takeDicom(files: File[]): Promise<void> {
    this.reading = `Reading DICOM, ${files.length} file${files.length === 1 ? '' : 's'}`;
    this.update();
    for (const series of await seriesOf(files)) {
      try {
        this.queue.add(await toVolumes(series));
      } catch (error) {
        this.queue.addFailed(series.name, error instanceof Error ? error.message : String(error));
      }
    }
    this.reading = '';
    this.update();
  }

  /** Shows what is found in a moving picture, in place of all other work. */
  private async watch(name: string, open: () => Promise<MediaStream | File>): Promise<void> {
    this.queue.cancel();
    try {
      const { hasThreshold } = await this.queue.prepare('photograph');
      const rule = () => this.queue.ruleFor(hasThreshold);
      const running = this.live.run(await open(), rule, (...frame) =>
        this.stage.showFrame(name, ...frame),
      );
      this.update();
      await running;
    } catch (error) {
      this.stage.clear();
      this.stage.say(`${name}: ${error instanceof Error ? error.message : error}`);
    }
    this.update();
  }

  private choose(value: string): void {
    this.models.choose(value);
    this.settings.largest = largest.checked = this.models.keepsLargest();
    this.stage.reopen();
    this.again();
  }

  private again(): void {
    this.live.stop();
    this.queue.again();
  }

  private fillModels(value: string): void {
    model.replaceChildren(...this.models.options().map(([key, text]) => new Option(text, key)));
    model.value = value;
  }

  private done(): Item[] {
    return this.queue.items.filter(({ state }) => state === 'done');
  }

  private async show(item: Item): Promise<void> {
    this.live.stop();
    const shown = this.stage.show(item);
    this.update();
    await shown;
  }

  /** Shows the first result, or one that is waited for. */
  private finished(item: Item): void {
    if (this.stage.item === null || this.stage.item === item) void this.show(item);
  }

  private step(by: number): void {
    const { items } = this.queue;
    const at = this.stage.item ? items.indexOf(this.stage.item) : -1;
    const item = items[Math.min(Math.max(at + by, 0), items.length - 1)];
    if (item) void this.show(item);
  }

  private saveOne(): void {
    const { item } = this.stage;
    if (item?.state === 'done') void this.exports.saveMasks([item]);
  }

  /** Takes results by another rule, that which is looked at first. */
  private findAnew(): void {
    clearTimeout(this.resting);
    this.resting = setTimeout(async () => {
      if (this.stage.item) await this.stage.show(this.stage.item);
      await this.queue.findAnew();
    }, REST);
  }

  private update(): void {
    const { items, isRunning } = this.queue;
    const done = this.done();
    const stopped = items.some(({ state }) => state === 'cancelled');
    this.list.update(items, this.stage.item);
    cancel.textContent = !isRunning && stopped ? 'Go on' : 'Cancel';
    cancel.disabled = !isRunning && !stopped;
    the('list-head').hidden = items.length === 0 && !this.reading;
    the('downloads').hidden = done.length === 0;
    camera.textContent = this.live.isRunning ? 'Stop' : 'Use the camera';
    saveOne.disabled = this.stage.item?.state !== 'done';
    threshold.disabled = done.length > 0 && !done.some((item) => item.hasThreshold);
    the('status').textContent = this.reading || progressOf(items);
  }
}

function progressOf(items: Item[]): string {
  if (items.length === 0) return '';
  const count = (state: Item['state']) => items.filter((item) => item.state === state).length;
  const failed = count('failed');
  return `${count('done')} of ${items.length} done${failed ? `, ${failed} could not be used` : ''}`;
}

async function start(): Promise<void> {
  const site = await readSite();
  new Page(site);
  the('gpu-choice').hidden = !(await hasGraphicsCard());
  await keepOffline(site.version, () => {
    the('offline').textContent = 'It now works without a network, too.';
  });
}

start().catch((error) => {
  the('status').textContent = error instanceof Error ? error.message : String(error);
});
