/** Packing and unpacking by the browser's own gzip. */

export function isPacked(start: Uint8Array): boolean {
  return start[0] === 0x1f && start[1] === 0x8b;
}

/** The first `length` bytes of what was packed, or all if it is shorter. */
export async function unpackedStart(file: Blob, length: number): Promise<Uint8Array> {
  const reader = unpacking(file).getReader();
  const start = new Uint8Array(length);
  let filled = 0;
  try {
    while (filled < length) {
      const { done, value } = await reader.read();
      if (done) break;
      const part = value.subarray(0, length - filled);
      start.set(part, filled);
      filled += part.length;
    }
  } catch {
    throw damaged();
  } finally {
    void reader.cancel().catch(() => undefined);
  }
  return start.subarray(0, filled);
}

/** What was packed, if it has `length` bytes or up to `slack` more. */
export async function unpacked(file: Blob, length: number, slack: number): Promise<Uint8Array> {
  const whole = new Uint8Array(length);
  const reader = unpacking(file).getReader();
  let filled = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw damaged();
    });
    if (done) break;
    if (filled + value.length > length + slack) {
      void reader.cancel();
      throw new Error('It holds more voxels than its header claims.');
    }
    if (filled < length) whole.set(value.subarray(0, length - filled), filled);
    filled += value.length;
  }
  if (filled < length) throw damaged();
  return whole;
}

/** Packs parts of a file. */
export async function packed(parts: Uint8Array<ArrayBuffer>[]): Promise<Blob> {
  const stream = new Blob(parts).stream().pipeThrough(new CompressionStream('gzip'));
  return new Response(stream).blob();
}

function unpacking(file: Blob): ReadableStream<Uint8Array> {
  return file.stream().pipeThrough(new DecompressionStream('gzip'));
}

function damaged(): Error {
  return new Error('The file is damaged or was cut: it cannot be unpacked.');
}
