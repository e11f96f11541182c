/** What `fixtures.py` wrote. */
import held from './fixtures.json';

export const fixtures = held;

export function bytes(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(text, 'base64'));
}

export function floats(text: string): Float32Array {
  return new Float32Array(bytes(text).buffer);
}
