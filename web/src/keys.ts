/** The keyboard, where no field has it. */

/** Calls what belongs to a key, unless it is typed into a field or with Ctrl, Alt or Meta. */
export function onKey(actions: Record<string, () => unknown>): void {
  document.addEventListener('keydown', (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (key !== 'Escape' && target instanceof HTMLElement && target.matches('input:not([type=checkbox]), select')) {
      return;
    }
    const action = actions[key.length === 1 ? key.toLowerCase() : key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
