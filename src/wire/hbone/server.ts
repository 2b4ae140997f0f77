// The server's role: accepts tunnels. Everything a peer may do wrong before a tunnel exists is answered here.

import { AcceptingSession } from './accepting.ts';
import type { Fault } from './errors.ts';
import { readRequest } from './headers.ts';
import { SERVER_LIMITS } from './limits.ts';
import type { HeaderBlock } from './session.ts';
import type { ServerSession, ServerSessionEvents, SessionOptions } from './types.ts';

/** Starts the server's side of a connection whose TLS handshake is done and whose peer was checked. */
export function openServerSession(options: SessionOptions<ServerSessionEvents>): ServerSession {
  return new Server(options);
}

class Server extends AcceptingSession implements ServerSession {
  private readonly onConnect: ServerSessionEvents['onConnect'];

  constructor(options: SessionOptions<ServerSessionEvents>) {
    super('server', { ...SERVER_LIMITS, ...options.limits }, options);
    this.onConnect = (request, stream) => options.events.onConnect(request, stream);
  }

  protected onHeaders(streamId: number, block: HeaderBlock, end: boolean): Fault | undefined {
    if (this.tunnels.has(streamId)) return this.streamError(streamId, 'PROTOCOL_ERROR', 'HEADERS inside a tunnel'); // §8.5
    const admitted = this.admit(streamId);
    if (admitted !== true) return admitted;
    const read = block.kind === 'oversize' ? ({ kind: 'refuse', status: 431 } as const) : readRequest(block.fields);
    if (read.kind === 'malformed') return this.streamError(streamId, 'PROTOCOL_ERROR', `bad request: ${read.why}`);
    const tunnel = this.openStream(streamId);
    if (end) {
      tunnel.remoteEnded = true;
      tunnel.deliverEnd();
    }
    if (read.kind === 'connect') this.onConnect(read.request, tunnel);
    else {
      tunnel.respond(read.status, [], true);
      this.chargeEarlyEnd();
    }
    return undefined;
  }
}
