/** The models of the site, and one of the user's own. */
import type { Kind } from './shared/messages';
import type { SiteModel } from './site';

export interface Model {
  name: string;
  task: string;
  largest: boolean;
  open(): Promise<Blob>;
}

/** Which model is chosen: of each kind of file the site's first, or one for all. */
export class Models {
  static readonly AUTOMATIC = 'automatic';
  static readonly OWN = 'own';
  private own: Model | null = null;
  private chosen: string = Models.AUTOMATIC;

  constructor(private site: SiteModel[]) {}

  /** Values and texts to choose from. */
  options(): [string, string][] {
    return [
      [Models.AUTOMATIC, 'The one for the kind of image'],
      ...this.site.map(({ name, task }): [string, string] => [name, `${task} (${name})`]),
      ...(this.own ? [[Models.OWN, this.own.name] as [string, string]] : []),
    ];
  }

  choose(value: string): void {
    this.chosen = value;
  }

  addOwn(file: File): void {
    this.own = { name: file.name, task: 'an own model', largest: false, open: async () => file };
    this.chosen = Models.OWN;
  }

  /** Whether the model for volumes finds one object of each class. */
  keepsLargest(): boolean {
    return this.find('volume')?.largest ?? false;
  }

  /** The model for a kind of file. */
  of(kind: Kind): Model {
    const found = this.find(kind);
    if (!found) throw new Error(`This site has no model for a ${kind}. Choose an own one.`);
    return found;
  }

  private find(kind: Kind): Model | undefined {
    if (this.chosen === Models.OWN && this.own) return this.own;
    const found = this.site.find((model) =>
      this.chosen === Models.AUTOMATIC ? model.kind === kind : model.name === this.chosen,
    );
    return found && { ...found, open: () => download(found.file) };
  }
}

async function download(path: string): Promise<Blob> {
  const answer = await fetch(path).catch(() => {
    throw new Error(`The model cannot be reached: ${path}.`);
  });
  if (!answer.ok) throw new Error(`The model is not there: ${path}.`);
  return answer.blob();
}
