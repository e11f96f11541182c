/** What the page and its worker tell each other. */
import type { Found } from './found';

export interface ModelInfo {
  /** Whether a threshold means something: not of classes that exclude each other. */
  hasThreshold: boolean;
}

export type Kind = 'photograph' | 'volume';

export interface Rule {
  threshold: number;
  largest: boolean;
}

/** What the worker does, by name: arguments and result. */
export interface Calls {
  load: { takes: { file: Blob; gpu: boolean }; gives: ModelInfo };
  segment: { takes: { key: string; file: Blob; kind: Kind; flips: boolean }; gives: null };
  /** What there is in one frame of a moving picture, without flips. */
  frame: { takes: { picture: ImageBitmap; rule: Rule }; gives: Found };
  find: { takes: { key: string; rule: Rule }; gives: Found };
  /** Grey values of all slices of a volume, 0 to 255. */
  grey: { takes: { key: string; file: Blob }; gives: Uint8Array };
  mask: { takes: { key: string; rule: Rule }; gives: Blob };
  forget: { takes: { key: string }; gives: null };
  cancel: { takes: Record<string, never>; gives: null };
}

export type Request = {
  [Name in keyof Calls]: { id: number; name: Name; takes: Calls[Name]['takes'] };
}[keyof Calls];

export type Reply =
  | { id: number; progress: number }
  | { id: number; gives: unknown }
  | { id: number; error: string };

/** What the worker says of work that was cancelled. */
export const CANCELLED = 'Cancelled.';
