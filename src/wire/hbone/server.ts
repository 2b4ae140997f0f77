// The server's role: accepts tunnels. Everything a peer may do wrong before a tunnel exists is answered here.

import { type ErrorCode, type Fault, fault } from './errors.ts';
import { MAX_STREAM_ID } from './frames.ts';
import { readRequest } from './headers.ts';
import { SERVER_LIMITS } from './limits.ts';
import { type HeaderBlock, Session } from './session.ts';
import { Tunnel } from './tunnel.ts';
import type { ServerSession, ServerSessionEvents, SessionOptions } from './types.ts';

/** Starts the server's side of a connection whose TLS handshake is done and whose peer was checked. */
export function openServerSession(options: SessionOptions<ServerSessionEvents>): ServerSession {
  return new Server(options);
}

/** Leaving takes two GOAWAYs, one round trip apart, so that no stream in flight is lost (RFC 9113 §6.8). */
type Leaving = 'no' | 'announced' | 'final';

class Server extends Session implements ServerSession {
  private readonly onConnect: ServerSessionEvents['onConnect'];
  private leaving: Leaving = 'no';

  constructor(options: SessionOptions<ServerSessionEvents>) {
    super('server', { ...SERVER_LIMITS, ...options.limits }, options);
    this.onConnect = (request, stream) => options.events.onConnect(request, stream);
  }

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
    this.finishIfDone(); // the client leaves; its live tunnels go on
  }

  protected onHeaders(streamId: number, block: HeaderBlock, end: boolean): Fault | undefined {
    if ((streamId & 1) === 0) return fault('PROTOCOL_ERROR', `stream ${streamId} opened by a client`);
    if (this.tunnels.has(streamId)) return this.streamError(streamId, 'PROTOCOL_ERROR', 'HEADERS inside a tunnel'); // §8.5
    if (streamId <= this.lastStreamId) return this.headersOnClosed(streamId);
    this.lastStreamId = streamId;
    if (this.leaving === 'final') return this.streamError(streamId, 'REFUSED_STREAM', 'after GOAWAY');
    if (this.tunnels.size >= this.limits.maxConcurrentStreams)
      return this.streamError(streamId, 'REFUSED_STREAM', 'too many streams at once');
    const read = block.kind === 'oversize' ? ({ kind: 'refuse', status: 431 } as const) : readRequest(block.fields);
    if (read.kind === 'malformed') return this.streamError(streamId, 'PROTOCOL_ERROR', `bad request: ${read.why}`);
    const tunnel = new Tunnel(this, streamId, this.peer.initialWindowBytes, this.limits.streamWindowBytes, undefined);
    tunnel.mayReceive = true;
    if (end) {
      tunnel.remoteEnded = true;
      tunnel.deliverEnd();
    }
    this.tunnels.set(streamId, tunnel);
    if (read.kind === 'connect') this.onConnect(read.request, tunnel);
    else {
      tunnel.respond(read.status, [], true);
      this.chargeEarlyEnd();
    }
    return undefined;
  }
}
