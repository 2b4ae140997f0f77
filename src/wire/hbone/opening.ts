// What every client's role has, whatever its streams carry: how many streams may be opened, and what GOAWAY means.

import { type ErrorCode, HboneError } from './errors.ts';
import { MAX_STREAM_ID } from './frames.ts';
import type { Field } from './hpack.ts';
import { Session } from './session.ts';
import { Tunnel } from './tunnel.ts';
import type { TunnelSink } from './types.ts';

/** As long as the peer's SETTINGS have not come: what RFC 9113 §6.5.2 asks every peer to allow. */
const ASSUMED_STREAMS = 100;

export abstract class OpeningSession extends Session {
  private nextStreamId = 1;

  get streamLimit(): number {
    const peers = this.state === 'opening' ? ASSUMED_STREAMS : this.peer.maxConcurrentStreams;
    return Math.min(this.limits.maxConcurrentStreams, peers);
  }

  get capacity(): number {
    if (this.state !== 'opening' && this.state !== 'open') return 0;
    return Math.max(0, this.streamLimit - this.tunnels.size);
  }

  /** @param what  for the error's text. @throws HboneError when `capacity` is 0 */
  protected openStream(fields: readonly Field[], endStream: boolean, sink: TunnelSink, what: string): Tunnel {
    if (this.capacity === 0)
      throw new HboneError('REFUSED_STREAM', 'us', `${what}: the connection is full or over`, { retriable: true });
    const id = this.nextStreamId;
    this.sendHeaders(id, fields, endStream);
    this.nextStreamId += 2;
    this.lastStreamId = id;
    const tunnel = new Tunnel(this, id, this.peer.initialWindowBytes, this.limits.streamWindowBytes, sink);
    tunnel.headSent = true;
    if (endStream) tunnel.local = 'ended';
    this.tunnels.set(id, tunnel);
    this.excuseIdleFrame();
    if (this.nextStreamId > MAX_STREAM_ID) this.drain(); // RFC 9113 §5.1.1: ids are used up
    return tunnel;
  }

  drain(): void {
    if (this.state === 'draining' || this.state === 'closed') return;
    this.setState('draining');
    this.goaway(0, 'NO_ERROR');
    this.finishIfDone();
  }

  protected get mayFinish(): boolean {
    return this.state === 'draining';
  }

  protected onDrainAnswered(): void {}

  protected onGoaway(lastStreamId: number, code: ErrorCode): void {
    this.setState('draining');
    const refused = new HboneError(code, 'peer', `the peer is going away (${code}) and did not take the stream`, {
      retriable: true,
    });
    for (const tunnel of [...this.tunnels.values()]) if (tunnel.id > lastStreamId) this.loseTunnel(tunnel, refused);
    this.finishIfDone();
  }
}
