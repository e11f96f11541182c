/** The list of files on the screen. */
import type { Item } from './queue';
import { describe } from './results';

const WORDS = { waiting: 'waiting', running: 'working …', cancelled: 'cancelled' };

interface Entry {
  row: HTMLLIElement;
  button: HTMLButtonElement;
  text: HTMLSpanElement;
  bar: HTMLProgressElement;
}

export class FileList {
  private entries = new Map<string, Entry>();

  constructor(
    private list: HTMLUListElement,
    private choose: (item: Item) => void,
  ) {}

  /** Draws what changed: rows stay, so that the keyboard's place does, too. */
  update(items: Item[], chosen: Item | null): void {
    const keys = new Set(items.map(({ key }) => key));
    for (const [key, { row }] of this.entries) {
      if (keys.has(key)) continue;
      row.remove();
      this.entries.delete(key);
    }
    for (const item of items) this.fill(this.entryOf(item), item, item === chosen);
  }

  private entryOf(item: Item): Entry {
    const held = this.entries.get(item.key);
    if (held) return held;
    const row = document.createElement('li');
    const button = document.createElement('button');
    const name = document.createElement('span');
    const text = document.createElement('span');
    const bar = document.createElement('progress');
    button.type = 'button';
    name.className = 'name';
    name.textContent = item.file.name;
    text.className = 'result';
    bar.setAttribute('aria-label', `Progress of ${item.file.name}`);
    button.append(name, text);
    row.append(button, bar);
    button.addEventListener('click', () => this.choose(item));
    this.list.append(row);
    const entry = { row, button, text, bar };
    this.entries.set(item.key, entry);
    return entry;
  }

  private fill({ row, button, text, bar }: Entry, item: Item, isChosen: boolean): void {
    row.dataset.state = item.state;
    button.ariaCurrent = isChosen ? 'true' : 'false';
    text.textContent = textOf(item);
    bar.hidden = item.state !== 'running';
    if (item.progress === null) bar.removeAttribute('value');
    else bar.value = item.progress;
  }
}

function textOf(item: Item): string {
  if (item.state === 'failed') return item.error;
  if (item.state === 'done') return item.record ? describe(item.record) : '';
  return WORDS[item.state];
}
