// How many new streams are let in a second: a token bucket that holds one second's worth.

import type { Clock } from '../../platform/clock.ts';

export class RateLimit {
  readonly #perSecond: number;
  readonly #clock: Clock;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#tokens = Math.max(1, perSecond);
    this.#atMs = clock.nowMs();
  }

  /** Whether one more may come now. */
  take(): boolean {
    const nowMs = this.#clock.nowMs();
    this.#tokens = Math.min(
      Math.max(1, this.#perSecond),
      this.#tokens + ((nowMs - this.#atMs) * this.#perSecond) / 1000,
    );
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
