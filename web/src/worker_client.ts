/** Calls of the worker as promises. */
import type { Calls, Reply } from './shared/messages';

interface Waiting {
  resolve(gives: unknown): void;
  reject(error: Error): void;
  progress?(share: number): void;
}

export class WorkerClient {
  private worker = new Worker(new URL('./worker/worker.ts', import.meta.url), { type: 'module' });
  private waiting = new Map<number, Waiting>();
  private count = 0;

  constructor() {
    this.worker.addEventListener('message', ({ data }: MessageEvent<Reply>) => this.hear(data));
    this.worker.addEventListener('error', (event) => {
      for (const { reject } of this.waiting.values()) {
        reject(new Error(`The worker failed: ${event.message}`));
      }
      this.waiting.clear();
    });
  }

  call<Name extends keyof Calls>(
    name: Name,
    takes: Calls[Name]['takes'],
    progress?: (share: number) => void,
  ): Promise<Calls[Name]['gives']> {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as Waiting['resolve'], reject, progress });
      this.worker.postMessage({ id, name, takes });
    });
  }

  private hear(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    if (!waiting) return;
    if ('progress' in reply) {
      waiting.progress?.(reply.progress);
      return;
    }
    this.waiting.delete(reply.id);
    if ('error' in reply) waiting.reject(new Error(reply.error));
    else waiting.resolve(reply.gives);
  }
}
