// Is the peer still there? A PING after some time, then again that long after each answer; no answer for too long ends
// the connection (Istio: ztunnel pings both ways, 10 s and 20 s). Stands in for TCP keepalive on tunnel connections.

import type { SessionEnvironment } from './types.ts';

const OPAQUE_BYTES = 8;

export class Liveness {
  private readonly environment: SessionEnvironment;
  private readonly intervalMs: number;
  private readonly timeoutMs: number;
  private readonly sendPing: (opaque: Uint8Array) => void;
  private readonly onSilence: () => void;
  private timer: unknown;
  private count = 0;
  private awaiting = false;

  constructor(
    environment: SessionEnvironment,
    times: { readonly pingIntervalMs: number; readonly pingTimeoutMs: number },
    sendPing: (opaque: Uint8Array) => void,
    onSilence: () => void,
  ) {
    this.environment = environment;
    this.intervalMs = times.pingIntervalMs;
    this.timeoutMs = times.pingTimeoutMs;
    this.sendPing = sendPing;
    this.onSilence = onSilence;
    this.rest();
  }

  /** @returns false when the answer is to no PING of ours */
  answered(opaque: Uint8Array): boolean {
    if (!this.awaiting || opaque[OPAQUE_BYTES - 1] !== (this.count & 0xff)) return false;
    this.awaiting = false;
    this.environment.clearTimer(this.timer);
    this.rest();
    return true;
  }

  stop(): void {
    this.environment.clearTimer(this.timer);
  }

  private rest(): void {
    if (this.intervalMs <= 0) return;
    this.timer = this.environment.setTimer(() => {
      const opaque = new Uint8Array(OPAQUE_BYTES);
      opaque[OPAQUE_BYTES - 1] = ++this.count & 0xff;
      this.awaiting = true;
      this.timer = this.environment.setTimer(this.onSilence, this.timeoutMs);
      this.sendPing(opaque);
    }, this.intervalMs);
  }
}
