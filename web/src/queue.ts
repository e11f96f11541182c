/** The list of files, and the work on one after the other. */
import type { Model, Models } from './models';
import { kindOf } from './names';
import type { Record } from './results';
import { CANCELLED, type Kind, type ModelInfo, type Rule } from './shared/messages';
import type { WorkerClient } from './worker_client';

export type State = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';

export interface Item {
  key: string;
  file: File;
  kind: Kind;
  state: State;
  /** 0 to 1 of a volume; `null` where nobody knows. */
  progress: number | null;
  error: string;
  record: Record | null;
  /** Whether its model has a threshold. */
  hasThreshold: boolean;
}

export interface Settings {
  threshold: number;
  largest: boolean;
  flips: boolean;
  /** Whether the graphics card computes. */
  gpu: boolean;
}

export class Queue {
  items: Item[] = [];
  isRunning = false;
  private count = 0;
  private loaded: { name: string; info: Promise<ModelInfo> } | null = null;
  private opened = 0;

  /**
   * @param changed called whenever an item is another.
   * @param finished called with an item once its result is there.
   */
  constructor(
    private worker: WorkerClient,
    private models: Models,
    private settings: Settings,
    private changed: () => void,
    private finished: (item: Item) => void,
  ) {}

  add(files: Iterable<File>, said: Partial<Item> = {}): void {
    for (const file of files) {
      this.items.push({
        key: String(this.count++),
        file,
        kind: kindOf(file.name),
        ...untouched(),
        ...said,
      });
    }
    void this.run();
  }

  /** Adds what cannot be worked on, to be told so. */
  addFailed(name: string, error: string): void {
    this.add([new File([], name)], { state: 'failed', error });
  }

  /** Loads the model for a kind of file, before there is one, too. */
  async prepare(kind: Kind): Promise<ModelInfo> {
    return this.load(this.models.of(kind));
  }

  /** Works on all that wait. */
  async run(): Promise<void> {
    this.changed();
    if (this.isRunning) return;
    this.isRunning = true;
    for (;;) {
      const item = this.items.find(({ state }) => state === 'waiting');
      if (!item) break;
      await this.work(item);
      this.changed();
    }
    this.isRunning = false;
    this.changed();
  }

  /** Stops at once; what was not done can be gone on with. */
  cancel(): void {
    for (const item of this.items) {
      if (item.state === 'waiting' || item.state === 'running') item.state = 'cancelled';
    }
    void this.worker.call('cancel', {});
    this.changed();
  }

  goOn(): void {
    this.restart(({ state }) => state === 'cancelled');
  }

  /** Begins anew, as another model or flips give other results. */
  again(): void {
    this.loaded = null;
    void this.worker.call('cancel', {});
    this.restart(() => true);
  }

  clear(): void {
    this.cancel();
    for (const { key } of this.items) void this.worker.call('forget', { key });
    this.items = [];
    this.changed();
  }

  /** Takes results at another threshold. */
  async findAnew(): Promise<void> {
    for (const item of this.items.filter(({ state }) => state === 'done')) {
      if (item.state === 'done' && this.items.includes(item)) await this.find(item);
      this.changed();
    }
  }

  /** How probabilities of an item become labels. */
  ruleOf(item: Item): Rule {
    return this.ruleFor(item.hasThreshold);
  }

  /** The same, of a model with a threshold or without. */
  ruleFor(hasThreshold: boolean): Rule {
    const { threshold, largest } = this.settings;
    return { threshold: hasThreshold ? threshold : 0.5, largest };
  }

  private restart(chosen: (item: Item) => boolean): void {
    for (const item of this.items.filter(chosen)) Object.assign(item, untouched());
    void this.run();
  }

  private async work(item: Item): Promise<void> {
    item.state = 'running';
    this.changed();
    try {
      const model = this.models.of(item.kind);
      const info = await this.load(model);
      if (item.state !== 'running') return;
      item.hasThreshold = info.hasThreshold;
      await this.worker.call(
        'segment',
        { key: item.key, file: item.file, kind: item.kind, flips: this.settings.flips },
        (share) => {
          item.progress = share;
          this.changed();
        },
      );
      if (item.state !== 'running') return;
      await this.find(item);
      if (item.state !== 'running') return;
      item.state = 'done';
      this.finished(item);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (item.state !== 'running' || text === CANCELLED) return;
      item.state = 'failed';
      item.error = text;
    }
  }

  private async load(model: Model): Promise<ModelInfo> {
    if (this.loaded?.name !== model.name) {
      this.loaded = { name: model.name, info: this.open(model) };
    }
    const { loaded } = this;
    try {
      return await loaded.info;
    } catch (error) {
      if (this.loaded === loaded) this.loaded = null;
      throw new Error(`${model.name}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Has the worker load a model, unless another was asked for during its download. */
  private async open(model: Model): Promise<ModelInfo> {
    const number = ++this.opened;
    const file = await model.open();
    if (number !== this.opened) throw new Error(CANCELLED);
    return this.worker.call('load', { file, gpu: this.settings.gpu });
  }

  private async find(item: Item): Promise<void> {
    const { key } = item;
    const { labels: _, ...record } = await this.worker.call('find', { key, rule: this.ruleOf(item) });
    item.record = record;
  }
}

function untouched() {
  return {
    state: 'waiting' as State,
    progress: null,
    error: '',
    record: null,
    hasThreshold: true,
  };
}
