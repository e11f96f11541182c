/** Keeps the site for use without a network. */

/** Has the service worker keep all files of a version; says when they are there. */
export async function keepOffline(version: string, ready: () => void): Promise<void> {
  if (!('serviceWorker' in navigator)) return;
  const registration = await navigator.serviceWorker.register(`sw.js?version=${version}`);
  const worker = registration.installing ?? registration.waiting ?? registration.active;
  if (!worker) return;
  const tell = () => {
    if (worker.state === 'activated') ready();
  };
  worker.addEventListener('statechange', tell);
  tell();
}
