// What an exchange and the codecs of both sides say to each other: heads, pieces of content, trailers and ends, the same
// for HTTP/1 and HTTP/2. Codecs own connections and framing; exchanges own everything that a message means.
//
//   client ── server codec ──RequestHandler.request──> exchange ──ClientConnection.open──> client codec ── endpoint
//                 <──────ServerStream────────────────          <────────ResponseSink──────

import type { Http2Keepalive } from '../../model/proxy/service-config.ts';
import type { Fields } from '../../wire/http1/index.ts';
import type { HttpProtocol } from '../contracts.ts';
import type { ByteStream } from './byte-stream.ts';

/**
 * How much content follows a head: bytes, `none` (nothing, and no length said), or `unknown` (chunked, or HTTP/2 without
 * content-length). Codecs write lengths from here alone, never from a content-length among the fields.
 */
export type Content = number | 'none' | 'unknown';

// ---- requests that came ------------------------------------------------------------------------------------------

/** A request's head, checked by its codec: well-formed, no field of the connection (RFC 9110 §7.6.1) left in it. */
export interface RequestStart {
  readonly protocol: HttpProtocol;
  readonly method: string;
  /** Said by an absolute target or `:scheme`; nothing is to be trusted for it. */
  readonly scheme: 'http' | 'https' | undefined;
  /** `host[:port]` as sent; undefined in HTTP/1.0 without Host. */
  readonly authority: string | undefined;
  /** Path with query as sent, not normalised; `*`; empty for CONNECT. */
  readonly target: string;
  /** The receiver's to change. `host` is among them where there is an authority, `content-length` where it was said. */
  readonly fields: Fields;
  readonly content: Content;
  /** Protocol asked for by Upgrade or extended CONNECT (`:protocol`), in lower case; then `method` is GET. */
  readonly upgrade: string | undefined;
  /** The client waits for `interim(100)` before it sends content. */
  readonly expectsContinue: boolean;
  /** `te: trailers` */
  readonly takesTrailers: boolean;
}

/** Events of a request after its head, in order: pieces, then `end` or `aborted`. Never called before `request` returned. */
export interface RequestSink {
  /** Content, or raw bytes after an upgrade was answered. To keep or pass on, not to change. */
  data(piece: Buffer): void;
  /** The content is complete; after an upgrade: the client's half-close. */
  end(trailers: Fields | undefined): void;
  /** A `write` that returned false may be followed by more. */
  writable(): void;
  /** The stream is gone before its time; nothing follows, and writing does nothing. */
  aborted(why: RequestAbort): void;
}

/**
 * gone      the client ended the connection or reset the stream
 * protocol  it broke the protocol in the middle of the message; the codec answers with `status` if nothing was answered
 * timeout   it sent or took nothing for too long; likewise
 */
export interface RequestAbort {
  readonly kind: 'gone' | 'protocol' | 'timeout';
  readonly status: number;
  /** Envoy's response code details, e.g. `http1.codec_error`. */
  readonly details: string;
}

/** The answering half of one exchange. Methods are harmless once it is over. */
export interface ServerStream {
  /** 100 or 103; before `respond`. */
  interim(status: number, fields: Fields | undefined): void;
  /**
   * Sends the head, once. Status 101, or 200 to `upgrade`, makes raw bytes of the stream both ways.
   * @param ends no content follows, whatever `content` says (HEAD, 304: the length is told all the same)
   */
  respond(head: ResponseStart, ends: boolean): void;
  /** False: full; the piece was taken all the same, wait for `writable`. */
  write(piece: Uint8Array): boolean;
  /**
   * The response is complete, and with it the exchange: the sink hears nothing more, and what is left of the request is of
   * no interest (HTTP/2: RST_STREAM NO_ERROR; HTTP/1: its connection ends). So with `respond(…, ends)`.
   * After an upgrade it is our half-close only; the exchange is over when both directions ended.
   */
  end(trailers: Fields | undefined): void;
  /** Ends the stream (HTTP/1: its connection) at once, as a failure that the client notices. `aborted` is not called. */
  reset(): void;
  /** Of the request's content. */
  pause(): void;
  resume(): void;
}

/** A response's head: from an endpoint, or made here. */
export interface ResponseStart {
  readonly status: number;
  readonly fields: Fields;
  readonly content: Content;
  /** Of a 101, in lower case. */
  readonly upgrade: string | undefined;
}

/** One accepted connection that carries requests. */
export interface ServerConnection {
  /** Requests that are not over. */
  readonly exchanges: number;
  /** No more requests after those under way: `connection: close`, or GOAWAY. Twice is harmless. */
  drain(): void;
  /** At once. */
  abort(): void;
}

/** Whoever takes a connection's requests. */
export interface RequestHandler {
  /** A whole head came. @returns where the rest of the request goes */
  request(stream: ServerStream, start: RequestStart): RequestSink;
  /** A message that never became a request; the codec has answered it. */
  refused(refusal: RequestRefusal): void;
  /** The connection is over; every sink has heard of it. */
  closed(): void;
}

export interface RequestRefusal {
  readonly protocol: HttpProtocol;
  /** 0: nothing could be answered. */
  readonly status: number;
  readonly details: string;
  /** For people. */
  readonly text: string;
}

/** Bounds of client connections; times in milliseconds, undefined: no bound. */
export interface ServerLimits {
  /** From the first byte of a head (HTTP/1), or from the connection's beginning, to the head's last. */
  readonly headMs: number;
  /** Without a request under way. */
  readonly idleMs: number;
  /** Nothing sent or taken within a request (Envoy: stream idle timeout). */
  readonly streamIdleMs: number | undefined;
  readonly maxConcurrentStreams: number;
}

// ---- requests that go out ----------------------------------------------------------------------------------------

export interface UpstreamRequest {
  readonly method: string;
  readonly scheme: 'http' | 'https';
  readonly authority: string;
  /** Path with query in normal form, `*`, or `host:port` for CONNECT. */
  readonly target: string;
  /** Not changed by the codec, and unchanged until the response came. `host` and `content-length` in it are left out. */
  readonly fields: Fields;
  readonly content: Content;
  readonly upgrade: string | undefined;
}

/** Events of one response, in order: `interim`s, `response`, pieces, then `end`; or `failed` at any time, the last. */
export interface ResponseSink {
  /** 1xx without 101. */
  interim(status: number, fields: Fields): void;
  /** @param ends no content follows; `end` is not called */
  response(head: ResponseStart, ends: boolean): void;
  data(piece: Buffer): void;
  end(trailers: Fields | undefined): void;
  writable(): void;
  failed(failure: UpstreamFailure): void;
}

/**
 * connect   no connection was made
 * refused   certainly not processed (REFUSED_STREAM, beyond GOAWAY, or the connection could take no request): safe to
 *           send again
 * ended     the connection ended before the response was whole
 * reset     the endpoint reset it
 * protocol  the response breaks the protocol
 * timeout   too slow
 */
export interface UpstreamFailure {
  readonly kind: 'connect' | 'refused' | 'ended' | 'reset' | 'protocol' | 'timeout';
  /** Bytes of an answer had come. */
  readonly answered: boolean;
  readonly text: string;
}

/** The asking half of one exchange. Methods are harmless once it is over. */
export interface ClientStream {
  /** False: full; the piece was taken all the same, wait for `writable`. */
  write(piece: Uint8Array): boolean;
  end(trailers: Fields | undefined): void;
  /** Of no interest any more: nothing is told after. HTTP/1: the connection ends unless the exchange was complete. */
  reset(): void;
  /** Of the response's content. */
  pause(): void;
  resume(): void;
}

/** One upstream connection that takes requests. */
export interface ClientConnection {
  /** How many more requests now; 0 for good once `closing`. */
  readonly capacity: number;
  readonly exchanges: number;
  /** Requests begun so far. */
  readonly begun: number;
  /** Takes no more: GOAWAY, `connection: close`, or gone. */
  readonly closing: boolean;
  /** Sends the head. With content `none` or 0 the request is complete. @throws never: what goes wrong is told to the sink, later */
  open(request: UpstreamRequest, sink: ResponseSink): ClientStream;
  /** Ends when those under way are over. */
  drain(): void;
  abort(): void;
}

/** Whoever owns an upstream connection (the pool). */
export interface ClientConnectionOwner {
  /** `capacity` grew. */
  available(): void;
  /** Over: each sink has heard of it. */
  closed(): void;
}

export interface ClientLimits {
  readonly maxConcurrentStreams: number;
  /** HTTP/2 only. */
  readonly keepalive?: Http2Keepalive | undefined;
}

export type ConnectHttp = (stream: ByteStream, owner: ClientConnectionOwner, limits: ClientLimits) => ClientConnection;
