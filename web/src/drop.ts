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
    take([...(event.dataTransfer?.files ?? [])]);
  });
}
