/** The right side of the page: the file that is looked at, and how. */
import { the } from './dom';
import type { Item } from './queue';
import { describe } from './results';
import type { Found } from './shared/found';
import type { Rule } from './shared/messages';
import { type Picture, Viewer } from './viewer';
import type { WorkerClient } from './worker_client';

const mask = the<HTMLInputElement>('show-mask');
const outline = the<HTMLInputElement>('show-outline');
const opacity = the<HTMLInputElement>('opacity');
const before = the<HTMLButtonElement>('before');
const slice = the<HTMLInputElement>('slice');

export class Stage {
  /** What is chosen; it is drawn once it is done. */
  item: Item | null = null;
  private viewer = new Viewer(the('picture'), the('mask'), the('outline'));
  private picture: { key: string; content: Picture } | null = null;
  private asked = 0;
  private rate: number | null | undefined;

  constructor(
    private worker: WorkerClient,
    private ruleOf: (item: Item) => Rule,
  ) {
    for (const control of [mask, outline, opacity]) {
      control.addEventListener('input', () => this.look());
    }
    before.addEventListener('click', () => this.turnBefore());
    slice.addEventListener('input', () => this.goTo(Number(slice.value)));
    this.look();
  }

  /** Chooses an item, and draws it if it is still the chosen one once all is there. */
  async show(item: Item): Promise<void> {
    this.item = item;
    this.rate = undefined;
    const number = ++this.asked;
    if (item.state !== 'done') {
      this.say(`${item.file.name}: ${item.error || item.state}`);
      return;
    }
    try {
      const { key } = item;
      const found = await this.worker.call('find', { key, rule: this.ruleOf(item) });
      const content = this.picture?.key === key ? this.picture.content : await this.read(item);
      if (number === this.asked) this.draw(item, content, found);
    } catch (error) {
      // What was cleared meanwhile is gone.
      if (number === this.asked) this.say(`${item.file.name}: ${error}`);
    }
  }

  /** Draws a frame of a moving picture; what it says changes as the rate does. */
  showFrame(name: string, frame: ImageBitmap, found: Found, rate: number | null): void {
    this.leave();
    this.open(frame, found);
    if (rate === this.rate) return;
    this.rate = rate;
    const often = rate === null ? '' : ` · ${rate.toFixed(0)} frames a second`;
    this.tell(`${name}: ${describe(found)}${often}`);
  }

  clear(): void {
    this.leave();
    this.say('What is found will be drawn here.');
  }

  /** A text in the place of the picture. */
  say(text: string): void {
    this.viewer.clear();
    this.picture = null;
    the('figure').hidden = true;
    the('empty').hidden = false;
    the('empty').textContent = text;
  }

  /** Opens the picture anew next time: another model may show it in another window. */
  reopen(): void {
    this.picture = null;
  }

  /** Goes up by some slices, or down. */
  climb(by: number): void {
    this.goTo(this.viewer.sliceNumber + by);
  }

  turnMask(): void {
    mask.checked = !mask.checked;
    this.look();
  }

  turnOutline(): void {
    outline.checked = !outline.checked;
    this.look();
  }

  turnBefore(): void {
    before.ariaPressed = String(before.ariaPressed !== 'true');
    this.look();
  }

  private draw(item: Item, content: Picture, found: Found): void {
    this.picture = { key: item.key, content };
    this.open(content, found);
    this.tell(`${item.file.name}: ${describe(found)}`);
  }

  private open(content: Picture, found: Found): void {
    this.viewer.show(content, found);
    the('figure').hidden = false;
    the('empty').hidden = true;
    the('slices').hidden = found.slices === null;
    slice.max = String(found.slices ?? 1);
    this.tellSlice();
  }

  private tell(text: string): void {
    the('layers').setAttribute('aria-label', text);
    the('caption').textContent = text;
  }

  /** Nothing is chosen any more, nor waited for. */
  private leave(): void {
    this.asked++;
    this.item = null;
    this.reopen();
  }

  private async read({ key, file, kind }: Item): Promise<Picture> {
    return kind === 'volume'
      ? this.worker.call('grey', { key, file })
      : createImageBitmap(file, { colorSpaceConversion: 'none' });
  }

  private goTo(number: number): void {
    this.viewer.goTo(number);
    this.tellSlice();
  }

  private tellSlice(): void {
    slice.value = String(this.viewer.sliceNumber);
    the('slice-value').textContent = `${this.viewer.sliceNumber} of ${slice.max}`;
  }

  private look(): void {
    this.viewer.look({
      mask: mask.checked,
      outline: outline.checked,
      before: before.ariaPressed === 'true',
      opacity: Number(opacity.value) / 100,
    });
    the('opacity-value').textContent = `${opacity.value} %`;
  }
}
