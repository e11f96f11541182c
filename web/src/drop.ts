/** Files that are dropped on the page, or chosen in one of its fields. */
import { the } from './dom';

/** Calls `take` with the files, wherever on the page they are dropped. */
export function onFiles(take: (files: File[]) => void): void {
  for (const input of [the<HTMLInputElement>('files'), the<HTMLInputElement>('own')]) {
    input.addEventListener('change', () => {
      take([...(input.files ?? [])]);
      input.value = ''; // The same file may be chosen again.
    });
  }
  const mark = (isOver: boolean) => the('drop').classList.toggle('over', isOver);
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    mark(true);
  });
  document.addEventListener('dragleave', () => mark(false));
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    mark(false);
    if (event.dataTransfer) void filesOf(event.dataTransfer).then(take);
  });
}

/** All files that were dropped, of folders those in them. */
async function filesOf({ items }: DataTransfer): Promise<File[]> {
  // Asked for at once: afterwards the browser forgets them.
  const entries = [...items].map((item) => item.webkitGetAsEntry());
  return (await Promise.all(entries.map((entry) => (entry ? below(entry) : [])))).flat();
}

async function below(entry: FileSystemEntry): Promise<File[]> {
  if (entry instanceof FileSystemFileEntry) {
    return [await new Promise<File>((resolve, reject) => entry.file(resolve, reject))];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: File[] = [];
  for (;;) {
    // The browser gives a hundred at a time, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return found;
    for (const entry of some) found.push(...(await below(entry)));
  }
}
