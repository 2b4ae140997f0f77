// Work by key: a key that is asked for again while it waits is done once, one that fails is tried again, ever later.
// Level-based: the work looks at what is when it runs. A few keys at a time, so that the API is not flooded.

import type { Clock, Timer } from '../platform/clock.ts';

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly concurrency: number;
  /** Stops everything; work that runs is not waited for. */
  readonly signal: AbortSignal;
  readonly onError: (key: string, error: unknown, attempt: number) => void;
}

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 60_000;

export class WorkQueue {
  readonly #work: (key: string) => Promise<void>;
  readonly #options: WorkQueueOptions;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, Timer>();

  constructor(work: (key: string) => Promise<void>, options: WorkQueueOptions) {
    this.#work = work;
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#stop(), { once: true });
  }

  /** Also cuts short the wait of a key that failed: something about it changed. */
  add(key: string): void {
    if (this.#options.signal.aborted) return;
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
    this.#waiting.add(key);
    this.#fill();
  }

  #fill(): void {
    for (const key of this.#waiting) {
      if (this.#running.size >= this.#options.concurrency) return;
      if (this.#running.has(key)) continue;
      this.#waiting.delete(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    this.#running.add(key);
    try {
      await this.#work(key);
      this.#failures.delete(key);
    } catch (error) {
      if (!this.#options.signal.aborted) this.#retry(key, error);
    } finally {
      this.#running.delete(key);
    }
    if (!this.#options.signal.aborted) this.#fill();
  }

  #retry(key: string, error: unknown): void {
    const attempt = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, attempt);
    this.#options.onError(key, error, attempt);
    if (this.#waiting.has(key)) return;
    const delayMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 16));
    this.#timers.set(
      key,
      this.#options.clock.after(delayMs, () => this.add(key)),
    );
  }

  #stop(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    this.#waiting.clear();
  }
}
