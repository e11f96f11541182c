/** What the user takes away: masks and the table of results. */
import { maskNames } from './names';
import type { Item } from './queue';
import { toCsv } from './results';
import { save, zipped } from './save';
import type { Rule } from './shared/messages';
import type { WorkerClient } from './worker_client';

export class Exports {
  constructor(
    private worker: WorkerClient,
    private ruleOf: (item: Item) => Rule,
  ) {}

  /** Saves the mask of one item, or those of several in a zip file. */
  async saveMasks(items: Item[]): Promise<void> {
    const files: [string, Blob][] = [];
    for (const [name, item] of named(items)) {
      files.push([name, await this.worker.call('mask', { key: item.key, rule: this.ruleOf(item) })]);
    }
    if (files.length === 1) save(files[0][1], files[0][0]);
    else save(await zipped(files), 'masks.zip');
  }

  saveTable(items: Item[]): void {
    const records = named(items).flatMap(([name, { record }]) => (record ? [[name, record] as const] : []));
    save(new Blob([toCsv(records)], { type: 'text/csv' }), 'results.csv');
  }
}

function named(items: Item[]): [string, Item][] {
  const names = maskNames(items.map(({ file }) => file.name));
  return items.map((item, index) => [names[index], item]);
}
