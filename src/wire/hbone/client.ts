// The client's role: opens tunnels. Its peers are ztunnels, waypoints and gateways of any make.

import { type Fault, fault } from './errors.ts';
import { readResponse } from './headers.ts';
import type { Field } from './hpack.ts';
import { CLIENT_LIMITS } from './limits.ts';
import { OpeningSession } from './opening.ts';
import type { HeaderBlock } from './session.ts';
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

class Client extends OpeningSession implements ClientSession {
  constructor(options: SessionOptions<SessionEvents>) {
    super('client', { ...CLIENT_LIMITS, ...options.limits }, options);
  }

  open(request: ConnectRequest, sink: TunnelSink): TunnelStream {
    const { authority, headers } = request;
    const fields: Field[] = [[':method', 'CONNECT'], [':authority', authority], ...headers];
    return this.openStream(fields, false, sink, `no tunnel to \`${authority}\``);
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
