// When to push: at once after a quiet time, and ever more patiently while changes keep coming. The first change of a burst
// is out within a turn of the event loop; the rest are gathered, at most 100 ms, so that a rollout of a thousand pods is
// a few dozen pushes and a single pod is one without delay.

import type { Clock, Timer } from '../../platform/clock.ts';

const FIRST_GAP_MS = 10;
const LONGEST_GAP_MS = 100;

export class PushClock {
  readonly #clock: Clock;
  readonly #push: () => void;
  #timer: Timer | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;
  #gapMs = FIRST_GAP_MS;

  /** @param push  called once for all requests since the last call */
  constructor(clock: Clock, push: () => void) {
    this.#clock = clock;
    this.#push = push;
  }

  /** Something changed. */
  request(): void {
    if (this.#timer !== undefined) return;
    const sinceMs = this.#clock.nowMs() - this.#lastMs;
    if (sinceMs >= LONGEST_GAP_MS) this.#gapMs = FIRST_GAP_MS;
    const waitMs = Math.max(0, this.#gapMs - sinceMs);
    this.#timer = this.#clock.after(waitMs, () => this.#fire(waitMs > 0));
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #fire(busy: boolean): void {
    this.#timer = undefined;
    this.#gapMs = busy ? Math.min(2 * this.#gapMs, LONGEST_GAP_MS) : FIRST_GAP_MS;
    try {
      this.#push();
    } finally {
      this.#lastMs = this.#clock.nowMs();
    }
  }
}
