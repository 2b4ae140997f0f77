// A level-based work queue: keys, not events. A key that is added while it is worked on is worked on again afterwards;
// a failure comes back with exponential back-off. Several keys at a time, one worker a key.

export interface QueueOptions {
  /** Reconciles one key; a number asks to be called again after so many milliseconds. */
  readonly reconcile: (key: string) => Promise<number | undefined>;
  readonly onError: (key: string, error: unknown) => void;
  readonly parallel?: number;
  readonly minBackoffMs?: number;
  readonly maxBackoffMs?: number;
}

export class WorkQueue {
  readonly #options: Required<QueueOptions>;
  readonly #ready = new Set<string>();
  readonly #working = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #stopped = false;
  #scheduled = false;

  constructor(options: QueueOptions) {
    this.#options = { parallel: 4, minBackoffMs: 5, maxBackoffMs: 5000, ...options };
  }

  add(key: string): void {
    if (this.#stopped) return;
    this.#ready.add(key);
    if (this.#scheduled) return;
    // One turn later, so that a burst of events about one key is one reconciliation.
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  addAfter(key: string, delayMs: number): void {
    if (this.#stopped) return;
    clearTimeout(this.#timers.get(key));
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, delayMs);
    timer.unref();
    this.#timers.set(key, timer);
  }

  stop(): void {
    this.#stopped = true;
    this.#ready.clear();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #pump(): void {
    for (const key of this.#ready) {
      if (this.#working.size >= this.#options.parallel) return;
      if (this.#working.has(key)) continue;
      this.#ready.delete(key);
      this.#working.add(key);
      void this.#work(key);
    }
  }

  async #work(key: string): Promise<void> {
    try {
      const again = await this.#options.reconcile(key);
      this.#failures.delete(key);
      if (again !== undefined) this.addAfter(key, again);
    } catch (error) {
      const failures = this.#failures.get(key) ?? 0;
      this.#failures.set(key, failures + 1);
      // A conflict means that somebody else wrote first: look again at once, it is not worth a line.
      if (failures > 0 || !isConflict(error)) this.#options.onError(key, error);
      this.addAfter(
        key,
        Math.min(this.#options.maxBackoffMs, this.#options.minBackoffMs * 2 ** Math.min(failures, 20)),
      );
    }
    this.#working.delete(key);
    if (!this.#stopped) this.#pump();
  }
}

const isConflict = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 409;
