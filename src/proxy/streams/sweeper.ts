// One coarse timer for the idle times of all connections, and a clock that costs nothing to read. Times kept by it are
// right to a second or two.

import type { Clock, Timer } from '../../platform/clock.ts';

const PERIOD_MS = 1_000;

export interface Swept {
  /** Looks whether some time is over. */
  sweep(nowMs: number): void;
}

export class Sweeper {
  private readonly clock: Clock;
  private readonly swept = new Set<Swept>();
  private timer: Timer | undefined = undefined;
  /** Unix time of the last sweep, or of when the first connection came; milliseconds. */
  nowMs: number;

  constructor(clock: Clock) {
    this.clock = clock;
    this.nowMs = clock.nowMs();
  }

  add(swept: Swept): void {
    this.swept.add(swept);
    if (this.timer !== undefined) return;
    this.nowMs = this.clock.nowMs();
    this.arm();
  }

  delete(swept: Swept): void {
    this.swept.delete(swept);
  }

  get size(): number {
    return this.swept.size;
  }

  close(): void {
    this.timer?.cancel();
    this.timer = undefined;
    this.swept.clear();
  }

  private arm(): void {
    this.timer = this.clock.after(PERIOD_MS, () => {
      this.timer = undefined;
      this.nowMs = this.clock.nowMs();
      for (const each of [...this.swept]) each.sweep(this.nowMs);
      if (this.swept.size > 0) this.arm();
    });
  }
}
