// The client's role: opens tunnels. Its peers are ztunnels, waypoints and gateways of any make.

import { type ErrorCode, type Fault, fault, HboneError } from './errors.ts';
import { MAX_STREAM_ID } from './frames.ts';
import { readResponse } from './headers.ts';
import { CLIENT_LIMITS } from './limits.ts';
import { type HeaderBlock, Session } from './session.ts';
import { Tunnel } from './tunnel.ts';
import type {
  ClientSession,
  ConnectRequest,
  SessionEvents,
  SessionOptions,
  TunnelSink,
  TunnelStream,
} from './types.ts';

/** Starts the client's side of a connection whose TLS handshake is done: preface and SETTINGS leave at the turn's end. */
export function openClientSession(options: SessionOptions<SessionEvents>): ClientSession {
  return new Client(options);
}

class Client extends Session implements ClientSession {
  private nextStreamId = 1;

  constructor(options: SessionOptions<SessionEvents>) {
    super('client', { ...CLIENT_LIMITS, ...options.limits }, options);
  }

  get streamLimit(): number {
    return Math.min(this.limits.maxConcurrentStreams, this.peer.maxConcurrentStreams);
  }

  get capacity(): number {
    if (this.state !== 'opening' && this.state !== 'open') return 0;
    return Math.max(0, this.streamLimit - this.tunnels.size);
  }

  open(request: ConnectRequest, sink: TunnelSink): TunnelStream {
    if (this.capacity === 0)
      throw new HboneError(
        'REFUSED_STREAM',
        'us',
        `no tunnel to \`${request.authority}\`: the connection is full or over`,
        {
          retriable: true,
        },
      );
    const id = this.nextStreamId;
    this.sendHeaders(id, [[':method', 'CONNECT'], [':authority', request.authority], ...request.headers], false);
    this.nextStreamId += 2;
    this.lastStreamId = id;
    const tunnel = new Tunnel(this, id, this.peer.initialWindowBytes, this.limits.streamWindowBytes, sink);
    tunnel.headSent = true;
    this.tunnels.set(id, tunnel);
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
    const refused = new HboneError(code, 'peer', `the peer is going away (${code}) and did not take the tunnel`, {
      retriable: true,
    });
    for (const tunnel of [...this.tunnels.values()]) if (tunnel.id > lastStreamId) this.loseTunnel(tunnel, refused);
    this.finishIfDone();
  }

  protected onHeaders(streamId: number, block: HeaderBlock, end: boolean): Fault | undefined {
    const tunnel = this.tunnels.get(streamId);
    if (tunnel === undefined)
      return this.isIdle(streamId)
        ? fault('PROTOCOL_ERROR', `HEADERS on stream ${streamId}, which was never opened`)
        : this.headersOnClosed(streamId);
    // RFC 9113 §8.5: a connected stream carries DATA only
    if (tunnel.answered) return this.streamError(streamId, 'PROTOCOL_ERROR', 'HEADERS inside a tunnel');
    if (block.kind === 'oversize') return this.streamError(streamId, 'PROTOCOL_ERROR', 'response head too large');
    const read = readResponse(block.fields);
    if (read.kind === 'malformed') return this.streamError(streamId, 'PROTOCOL_ERROR', `bad response: ${read.why}`);
    if (read.status < 200)
      return end || read.status === 101
        ? this.streamError(streamId, 'PROTOCOL_ERROR', `response ${read.status} out of place`)
        : this.countIdleFrame();
    tunnel.answered = true;
    if (read.status < 300) {
      tunnel.mayReceive = true;
      tunnel.sink?.response?.(read.status, read.headers);
      if (end && !tunnel.gone) this.remoteEnd(tunnel);
      return undefined;
    }
    const sink = tunnel.sink;
    this.cancel(tunnel, 'CANCEL');
    sink?.response?.(read.status, read.headers);
    return undefined;
  }
}
