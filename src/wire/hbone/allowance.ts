// How much of something odd but legal a peer may do: a token bucket. Every flood that HTTP/2 permits (PING, SETTINGS,
// empty frames, early resets …) has one. The clock is read only when a bucket runs dry.

export class Allowance {
  private tokens: number;
  private readonly burst: number;
  private readonly perSecond: number;
  private filledAtMs: number;

  constructor(burst: number, perSecond: number, nowMs: number) {
    this.tokens = burst;
    this.burst = burst;
    this.perSecond = perSecond;
    this.filledAtMs = nowMs;
  }

  /** Takes one token. False: the peer has had more than its share. */
  spend(now: () => number): boolean {
    if (this.tokens >= 1) {
      this.tokens -= 1;
      return true;
    }
    const nowMs = now();
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.filledAtMs) * this.perSecond) / 1000);
    this.filledAtMs = nowMs;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }

  /** Puts tokens back, for what our own traffic provokes (WINDOW_UPDATE answers DATA). */
  earn(tokens: number): void {
    this.tokens = Math.min(this.burst, this.tokens + tokens);
  }
}
