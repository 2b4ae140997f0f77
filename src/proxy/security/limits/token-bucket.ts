// A token bucket that fills in steps: `perFill` tokens at the end of each interval, up to `most`. Filled when it is asked,
// so that an idle bucket costs nothing.

export interface BucketSize {
  readonly maxTokens: number;
  readonly tokensPerFill: number;
  readonly fillIntervalMs: number;
}

export class TokenBucket {
  readonly #size: BucketSize;
  #tokens: number;
  #filledAtMs: number;

  constructor(size: BucketSize, nowMs: number) {
    this.#size = size;
    this.#tokens = size.maxTokens;
    this.#filledAtMs = nowMs;
  }

  /** Whether there is a token now; it is not taken yet. */
  has(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#tokens >= 1;
  }

  take(): void {
    this.#tokens--;
  }

  isFull(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#tokens >= this.#size.maxTokens;
  }

  #fill(nowMs: number): void {
    const { maxTokens, tokensPerFill, fillIntervalMs } = this.#size;
    // A clock that was set back must not stop the filling.
    if (nowMs < this.#filledAtMs) this.#filledAtMs = nowMs;
    const intervals = Math.floor((nowMs - this.#filledAtMs) / Math.max(1, fillIntervalMs));
    if (intervals === 0) return;
    this.#filledAtMs += intervals * Math.max(1, fillIntervalMs);
    this.#tokens = Math.min(maxTokens, this.#tokens + intervals * tokensPerFill);
  }
}
