// One timer for many equal timeouts: handshakes, pending connects, answers to CONNECT. Adding and removing is a map
// operation; only the oldest entry is watched.

import type { Clock, Timer } from '../platform/clock.ts';

export interface Expiring {
  /** The time is over; the entry is forgotten already. */
  expired(): void;
}

export class Deadlines {
  readonly #clock: Clock;
  readonly #afterMs: number;
  /** Insertion order is order of expiry, since every entry has the same time. */
  readonly #entries = new Map<Expiring, number>();
  #timer: Timer | undefined;

  constructor(clock: Clock, afterMs: number) {
    this.#clock = clock;
    this.#afterMs = afterMs;
  }

  /** Starts, or starts again, the time of an entry. */
  add(entry: Expiring): void {
    this.#entries.delete(entry);
    this.#entries.set(entry, this.#clock.nowMs() + this.#afterMs);
    this.#timer ??= this.#clock.after(this.#afterMs, this.#fire);
  }

  delete(entry: Expiring): void {
    this.#entries.delete(entry);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The entry that waits longest; for making room. */
  get oldest(): Expiring | undefined {
    return this.#entries.keys().next().value;
  }

  /** Forgets every entry and stops the timer. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#entries.clear();
  }

  /** As if everybody's time were over. */
  expireAll(): void {
    const entries = [...this.#entries.keys()];
    this.close();
    for (const entry of entries) entry.expired();
  }

  readonly #fire = (): void => {
    this.#timer = undefined;
    const nowMs = this.#clock.nowMs();
    for (const [entry, atMs] of this.#entries) {
      if (atMs > nowMs) {
        this.#timer ??= this.#clock.after(atMs - nowMs, this.#fire);
        return;
      }
      this.#entries.delete(entry);
      entry.expired();
    }
  };
}
