// How long a container waits before it is started again (Kubernetes: 10 s, doubled at each failure, at most 5 minutes,
// forgotten after ten good minutes). The first restart is at once. Pure but for what it remembers.

const FIRST_MS = 10_000;
const MAX_MS = 300_000;
const FORGET_MS = 600_000;

export class RestartBackoff {
  #delayMs = 0;

  /**
   * To be asked when the container has ended.
   * @returns milliseconds from its end until it may start again
   */
  delayAfter(startedMs: number, endedMs: number): number {
    if (endedMs - startedMs > FORGET_MS) this.#delayMs = 0;
    return this.#delayMs;
  }

  /** The container was started again: should it end, it waits longer. The very first start does not count. */
  restarted(): void {
    this.#delayMs = this.#delayMs === 0 ? FIRST_MS : Math.min(MAX_MS, this.#delayMs * 2);
  }
}

/** Delays of an attempt that failed: pulling an image, or what else is tried again. */
export class RetryBackoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  #delayMs = 0;

  constructor(firstMs: number, maxMs: number) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
  }

  next(): number {
    this.#delayMs = this.#delayMs === 0 ? this.#firstMs : Math.min(this.#maxMs, this.#delayMs * 2);
    return this.#delayMs;
  }
}

/** `10s`, `1m20s`, `5m0s`: durations as Go prints them, for messages that people search for. */
export function goDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
