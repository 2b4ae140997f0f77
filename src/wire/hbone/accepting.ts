// What every server's role has, whatever its streams carry: which new streams are let in, and leaving in two steps.

import { type ErrorCode, type Fault, fault } from './errors.ts';
import { MAX_STREAM_ID } from './frames.ts';
import { Session } from './session.ts';
import { Tunnel } from './tunnel.ts';

/** Leaving takes two GOAWAYs, one round trip apart, so that no stream in flight is lost (RFC 9113 §6.8). */
type Leaving = 'no' | 'announced' | 'final';

export abstract class AcceptingSession extends Session {
  private leaving: Leaving = 'no';

  drain(): void {
    if (this.state === 'closed' || this.leaving !== 'no') return;
    this.leaving = 'announced';
    this.setState('draining');
    this.goaway(MAX_STREAM_ID, 'NO_ERROR');
    this.askForRoundTrip();
  }

  protected onDrainAnswered(): void {
    if (this.leaving !== 'announced') return;
    this.leaving = 'final';
    this.goaway(this.lastStreamId, 'NO_ERROR');
    this.finishIfDone();
  }

  protected get mayFinish(): boolean {
    return this.leaving === 'final' || this.peerIsLeaving;
  }

  protected onGoaway(_lastStreamId: number, _code: ErrorCode): void {
    this.finishIfDone(); // the client leaves; its live streams go on
  }

  /**
   * HEADERS that may open a stream.
   * @returns true: take it; otherwise it was answered, or the connection is at fault
   */
  protected admit(streamId: number): true | Fault | undefined {
    if ((streamId & 1) === 0) return fault('PROTOCOL_ERROR', `stream ${streamId} opened by a client`);
    if (streamId <= this.lastStreamId) return this.headersOnClosed(streamId);
    this.lastStreamId = streamId;
    if (this.leaving === 'final') return this.streamError(streamId, 'REFUSED_STREAM', 'after GOAWAY');
    if (this.tunnels.size >= this.limits.maxConcurrentStreams)
      return this.streamError(streamId, 'REFUSED_STREAM', 'too many streams at once');
    return true;
  }

  protected openStream(streamId: number): Tunnel {
    const tunnel = new Tunnel(this, streamId, this.peer.initialWindowBytes, this.limits.streamWindowBytes, undefined);
    tunnel.mayReceive = true;
    this.tunnels.set(streamId, tunnel);
    return tunnel;
  }
}
