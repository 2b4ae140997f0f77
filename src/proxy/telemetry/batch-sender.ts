// Things on their way to a collector: gathered, sent in batches, one batch at a time. A request never waits for it, and a
// collector that is slow or away costs bounded memory: what does not fit is dropped and counted.

import type { Clock, Timer } from '../../platform/clock.ts';
import type { Counter } from '../../telemetry/registry.ts';

const MOST_QUEUED = 4096;
const BATCH = 512;
const PACE_MS = 1000;
const WARN_EVERY_MS = 60_000;

export interface BatchSenderOptions<T> {
  readonly clock: Clock;
  /** Sends a batch. A batch that fails is lost: collectors that answer late often took it. */
  send(items: readonly T[]): Promise<void>;
  readonly dropped: Counter;
  /** Is told of failures, at most once a minute. */
  warn(problem: string): void;
}

export class BatchSender<T> {
  readonly #options: BatchSenderOptions<T>;
  #queue: T[] = [];
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: BatchSenderOptions<T>) {
    this.#options = options;
  }

  add(item: T): void {
    if (this.#queue.length >= MOST_QUEUED) {
      this.#options.dropped.inc();
      this.#warn('the collector is too slow');
      return;
    }
    this.#queue.push(item);
    if (this.#sending !== undefined) return;
    if (this.#queue.length >= BATCH) this.#start();
    else this.#timer ??= this.#options.clock.after(PACE_MS, () => this.#start());
  }

  /** Resolves when all that was added has left, or could not. */
  async flush(): Promise<void> {
    while (this.#sending !== undefined || this.#queue.length > 0) {
      if (this.#sending === undefined) this.#start();
      await this.#sending;
    }
  }

  #start(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#sending !== undefined || this.#queue.length === 0) return;
    const batch = this.#queue.slice(0, BATCH);
    this.#queue = this.#queue.slice(BATCH);
    this.#sending = this.#send(batch).then(() => {
      this.#sending = undefined;
      if (this.#queue.length >= BATCH) this.#start();
      else if (this.#queue.length > 0) this.#timer ??= this.#options.clock.after(PACE_MS, () => this.#start());
    });
  }

  async #send(batch: readonly T[]): Promise<void> {
    try {
      await this.#options.send(batch);
    } catch (error) {
      this.#options.dropped.inc(batch.length);
      this.#warn(error instanceof Error ? error.message : String(error));
    }
  }

  #warn(problem: string): void {
    const now = this.#options.clock.nowMs();
    if (now - this.#warnedAtMs < WARN_EVERY_MS) return;
    this.#warnedAtMs = now;
    this.#options.warn(problem);
  }
}
