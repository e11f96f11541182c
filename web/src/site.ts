/** What `keras-pamunet page` wrote into the site: `site.json`. */
import type { Kind } from './shared/messages';

export interface SiteModel {
  name: string;
  task: string;
  file: string;
  kind: Kind;
  /** Whether `predict` keeps the largest object alone by default. */
  largest: boolean;
}

export interface Site {
  version: string;
  files: string[];
  models: SiteModel[];
}

export async function readSite(): Promise<Site> {
  const answer = await fetch('site.json');
  if (!answer.ok) throw new Error('This site is not whole: write it anew.');
  return answer.json();
}
