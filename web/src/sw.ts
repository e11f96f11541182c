/** The service worker: answers from what it keeps, with the headers of the site. */
import headers from '../headers.json';

const scope = self as unknown as ServiceWorkerGlobalScope;
const PREFIX = 'keras-pamunet-';
const NAME = PREFIX + new URL(scope.location.href).searchParams.get('version');
const LIST = 'site.json';

scope.addEventListener('install', (event) => {
  event.waitUntil(keep());
});

scope.addEventListener('activate', (event) => {
  event.waitUntil(takeOver());
});

scope.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== scope.location.origin) return;
  event.respondWith(answer(event.request, url));
});

async function keep(): Promise<void> {
  const cache = await caches.open(NAME);
  const list = await fetch(LIST, { cache: 'no-cache' });
  const { files } = await list.clone().json();
  await cache.put(LIST, list);
  await cache.addAll(['./', ...files].map((file) => new Request(file, { cache: 'no-cache' })));
  await scope.skipWaiting();
}

async function takeOver(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== NAME) await caches.delete(name);
  }
  await scope.clients.claim();
}

/** What is kept; of the list of files, which tells of a new version, the newest. */
async function answer(request: Request, url: URL): Promise<Response> {
  const cache = await caches.open(NAME);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (!kept) return fetched(request, cache);
  if (!url.pathname.endsWith(`/${LIST}`)) return withHeaders(kept);
  return fetch(request).catch(() => withHeaders(kept));
}

/** What is not among the files that all need, such as that for graphics cards. */
async function fetched(request: Request, cache: Cache): Promise<Response> {
  const found = await fetch(request);
  if (found.ok) await cache.put(request, found.clone());
  return found;
}

/** A server that sets none gets what isolates the page, and lets threads share memory. */
function withHeaders(response: Response): Response {
  const all = new Headers(response.headers);
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  return new Response(response.body, { status: response.status, headers: all });
}
