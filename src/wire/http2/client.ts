// The client's side of an HTTP/2 connection: requests go out, each on a stream.

import type { Fault } from '../hbone/errors.ts';
import { fault } from '../hbone/errors.ts';
import { OpeningSession } from '../hbone/opening.ts';
import type { HeaderBlock } from '../hbone/session.ts';
import type { Tunnel } from '../hbone/tunnel.ts';
import type { SessionEvents, SessionOptions } from '../hbone/types.ts';
import type { Fields } from '../http1/index.ts';
import { readTrailers } from './fields.ts';
import { CLIENT_LIMITS } from './limits.ts';
import { type RequestToSend, type ResponseHead, readResponse, requestList } from './messages.ts';
import { type MessageSink, trailerFrames } from './server.ts';

export interface ResponseSink extends MessageSink {
  interim(head: ResponseHead): void;
  /** @param ends no content follows; `end` comes all the same */
  head(head: ResponseHead, ends: boolean): void;
}

export class HttpClientSession extends OpeningSession {
  constructor(options: SessionOptions<SessionEvents>) {
    super('client', { ...CLIENT_LIMITS, ...options.limits }, options);
  }

  /** Undefined: the peer's SETTINGS have not come. */
  get takesExtendedConnect(): boolean | undefined {
    return this.state === 'opening' ? undefined : this.peer.extendedConnect;
  }

  /** @throws HboneError when `capacity` is 0 */
  request(request: RequestToSend, ends: boolean, sink: ResponseSink): Tunnel {
    return this.openStream(requestList(request), ends, sink, `no request to \`${request.authority}\``);
  }

  sendEnd(stream: Tunnel, trailers: Fields | undefined): void {
    if (stream.gone || stream.local !== 'open') return;
    stream.trailers = trailerFrames(stream, trailers, this.peer.maxFrameBytes);
    stream.end();
  }

  protected onHeaders(streamId: number, block: HeaderBlock, end: boolean): Fault | undefined {
    const stream = this.tunnels.get(streamId);
    if (stream === undefined)
      return this.isIdle(streamId)
        ? fault('PROTOCOL_ERROR', `HEADERS on stream ${streamId}, which was never opened`)
        : this.headersOnClosed(streamId);
    if (stream.remoteEnded) return this.streamError(streamId, 'STREAM_CLOSED', 'HEADERS after END_STREAM');
    const sink = stream.sink as ResponseSink;
    if (stream.answered) {
      const trailers = block.kind === 'oversize' || !end ? undefined : readTrailers(block.fields);
      if (trailers === undefined) return this.streamError(streamId, 'PROTOCOL_ERROR', 'trailers are malformed');
      sink.trailers(trailers);
      if (!stream.gone) this.remoteEnd(stream);
      return undefined;
    }
    if (block.kind === 'oversize')
      return this.streamError(streamId, 'PROTOCOL_ERROR', 'the response head is too large');
    const read = readResponse(block.fields);
    if (read.kind === 'malformed') return this.streamError(streamId, 'PROTOCOL_ERROR', `bad response: ${read.why}`);
    const { head } = read;
    if (head.status < 200) {
      // RFC 9113 §8.1, §8.6: no end with it, and no 101
      if (end || head.status === 101)
        return this.streamError(streamId, 'PROTOCOL_ERROR', `${head.status} out of place`);
      sink.interim(head);
      return this.countIdleFrame();
    }
    stream.answered = true;
    stream.mayReceive = true;
    sink.head(head, end);
    if (end && !stream.gone) this.remoteEnd(stream);
    return undefined;
  }

  malformed(stream: Tunnel, why: string): void {
    if (!stream.gone) this.streamError(stream.id, 'PROTOCOL_ERROR', why);
  }
}
