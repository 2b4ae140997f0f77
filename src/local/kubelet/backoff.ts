// How long a container waits before it is started again. The first restart is at once. Pure but for what it remembers.

export interface RestartTimes {
  /** The second restart waits this long, each further one twice as long as the one before. */
  readonly firstMs: number;
  readonly maxMs: number;
  /** A container that ran this long begins anew. */
  readonly forgetMs: number;
}

/** Kubernetes' own times, which its users know from CrashLoopBackOff. */
const EVERYDAY: RestartTimes = { firstMs: 10_000, maxMs: 300_000, forgetMs: 600_000 };
/** The mesh's own parts: every pod of a node waits for them, so they are back within seconds however often they fall. */
export const MESH_PARTS: RestartTimes = { firstMs: 500, maxMs: 4_000, forgetMs: 30_000 };

export class RestartBackoff {
  readonly #times: RestartTimes;
  #delayMs = 0;

  constructor(times: RestartTimes = EVERYDAY) {
    this.#times = times;
  }

  /**
   * To be asked when the container has ended.
   * @returns milliseconds from its end until it may start again
   */
  delayAfter(startedMs: number, endedMs: number): number {
    if (endedMs - startedMs > this.#times.forgetMs) this.#delayMs = 0;
    return this.#delayMs;
  }

  /** The container was started again: should it end, it waits longer. The very first start does not count. */
  restarted(): void {
    this.#delayMs = this.#delayMs === 0 ? this.#times.firstMs : Math.min(this.#times.maxMs, this.#delayMs * 2);
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

/** `500ms`, `10s`, `1m20s`, `5m0s`: durations as Go prints them, for messages that people search for. */
export function goDuration(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
