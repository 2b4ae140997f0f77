// Time as an argument: whoever waits, retries or ages things takes a `Clock`, so that tests move time by hand.

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Unix time, milliseconds. */
  nowMs(): number;
  /** Runs `action` once after `delayMs`; the timer keeps the process alive. */
  after(delayMs: number, action: () => void): Timer;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after `delayMs`; rejects with the signal's reason when it is aborted before. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', stop);
      resolve();
    });
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** A clock that stands still until it is told; due timers run in order of their time, then of their making. */
export class ManualClock implements Clock {
  #nowMs: number;
  #timers: { atMs: number; action: () => void }[] = [];

  constructor(nowMs = 0) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), action };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Timers set by timers run too when they fall due within the step. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#timers.reduce<{ atMs: number; action: () => void } | undefined>(
        (best, timer) => (timer.atMs <= untilMs && (best === undefined || timer.atMs < best.atMs) ? timer : best),
        undefined,
      );
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.action();
    }
    this.#nowMs = untilMs;
  }

  /** Timers that have not run yet. */
  get waiting(): number {
    return this.#timers.length;
  }
}
