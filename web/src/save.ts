/** Files for the user to keep. */
import { zipSync } from 'fflate';

export function save(content: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** One file of several, which are packed already. */
export async function zipped(files: [string, Blob][]): Promise<Blob> {
  const entries = await Promise.all(
    files.map(async ([name, blob]) => [name, new Uint8Array(await blob.arrayBuffer())] as const),
  );
  return new Blob([zipSync(Object.fromEntries(entries), { level: 0 })], { type: 'application/zip' });
}
