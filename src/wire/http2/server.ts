// The server's side of an HTTP/2 connection: requests come in, each on a stream. What a peer may do wrong is answered
// here; strictness, flow control and flood limits are those of every session (hbone/session.ts).

import { AcceptingSession } from '../hbone/accepting.ts';
import { type Fault, HboneError } from '../hbone/errors.ts';
import { headersFrames } from '../hbone/frames.ts';
import { encodeHeaders, type Field } from '../hbone/hpack.ts';
import type { HeaderBlock } from '../hbone/session.ts';
import type { Tunnel } from '../hbone/tunnel.ts';
import type { SessionEvents, SessionOptions, TunnelSink } from '../hbone/types.ts';
import type { Fields } from '../http1/index.ts';
import { readTrailers } from './fields.ts';
import { SERVER_LIMITS } from './limits.ts';
import { type RequestHead, readRequest, trailerList } from './messages.ts';

/** A sink of messages: trailers come before the `end` that they are part of. */
export interface MessageSink extends TunnelSink {
  trailers(fields: Fields): void;
}

export interface ServerEvents extends SessionEvents {
  /** A request's head. The sink hears nothing before this has returned. */
  onRequest(stream: Tunnel, head: RequestHead): MessageSink;
  /** A message that never became a request; it was answered, with 0 by a reset. */
  onRefused(status: number, why: string): void;
}

export class HttpServerSession extends AcceptingSession {
  private readonly server: ServerEvents;

  constructor(options: SessionOptions<ServerEvents>) {
    super('server', { ...SERVER_LIMITS, ...options.limits }, options);
    this.server = options.events;
  }

  /** The peer is in the middle of a head, or has not said hello: for who measures how long that takes. */
  get awaitsHead(): boolean {
    return this.state === 'opening' || this.isReadingHead;
  }

  /** Response heads that are not the last: they leave the stream as it is. */
  sendInterim(stream: Tunnel, list: readonly Field[]): void {
    if (!stream.gone && !stream.answered) this.sendHeaders(stream.id, list, false);
  }

  /** @param ends  no content follows */
  sendResponse(stream: Tunnel, list: readonly Field[], ends: boolean): void {
    if (stream.gone || stream.answered) return;
    this.sendHeaders(stream.id, list, ends);
    stream.answered = true;
    stream.headSent = true;
    if (!ends) {
      this.outgoing.unblock(stream);
      return;
    }
    stream.local = 'ended';
    this.localEnded(stream);
  }

  sendEnd(stream: Tunnel, trailers: Fields | undefined): void {
    if (stream.gone || stream.local !== 'open') return;
    stream.trailers = trailerFrames(stream, trailers, this.peer.maxFrameBytes);
    stream.end();
  }

  /** RFC 9113 §8.1: the answer is complete, so the rest of the request is not wanted. Raw streams go on. */
  override localEnded(stream: Tunnel): void {
    super.localEnded(stream);
    if (!stream.remoteEnded && !stream.gone && !stream.raw) this.cancel(stream, 'NO_ERROR');
  }

  protected onHeaders(streamId: number, block: HeaderBlock, end: boolean): Fault | undefined {
    const existing = this.tunnels.get(streamId);
    if (existing !== undefined) return this.onTrailers(existing, block, end);
    const admitted = this.admit(streamId);
    if (admitted !== true) return admitted;
    const read =
      block.kind === 'oversize'
        ? ({ kind: 'refused', status: 431, why: 'the head is too large' } as const)
        : readRequest(block.fields, end);
    if (read.kind === 'malformed') {
      this.server.onRefused(0, read.why);
      return this.streamError(streamId, 'PROTOCOL_ERROR', `bad request: ${read.why}`);
    }
    const stream = this.openStream(streamId);
    if (read.kind === 'refused') {
      stream.remoteEnded = end;
      this.server.onRefused(read.status, read.why);
      this.sendResponse(stream, [[':status', String(read.status)]], true);
      this.chargeEarlyEnd();
      return undefined;
    }
    stream.remoteEnded = end; // an answer at once must not take the request for unfinished
    stream.sink = this.server.onRequest(stream, read.head);
    if (end && !stream.gone) this.remoteEnd(stream);
    return undefined;
  }

  private onTrailers(stream: Tunnel, block: HeaderBlock, end: boolean): Fault | undefined {
    if (stream.remoteEnded) return this.streamError(stream.id, 'STREAM_CLOSED', 'HEADERS after END_STREAM');
    const fields = block.kind === 'oversize' || !end ? undefined : readTrailers(block.fields);
    if (fields === undefined) return this.streamError(stream.id, 'PROTOCOL_ERROR', 'trailers are malformed');
    (stream.sink as MessageSink | undefined)?.trailers(fields);
    if (!stream.gone) this.remoteEnd(stream);
    return undefined;
  }

  /** The message itself is wrong, which its reader found: not as long as it said. */
  malformed(stream: Tunnel, why: string): void {
    if (!stream.gone) this.streamError(stream.id, 'PROTOCOL_ERROR', why);
  }

  giveUp(why: string): void {
    this.abort(new HboneError('ENHANCE_YOUR_CALM', 'us', why));
  }
}

export function trailerFrames(
  stream: Tunnel,
  trailers: Fields | undefined,
  maxFrameBytes: number,
): Uint8Array | undefined {
  if (trailers === undefined || trailers.count === 0) return undefined;
  return headersFrames(stream.id, encodeHeaders(trailerList(trailers)), true, maxFrameBytes);
}
