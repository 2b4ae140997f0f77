// Requests of one client connection in HTTP/1.0 and 1.1, one at a time, by the strict parser. What a client sends ahead
// waits, bounded. Where a message's end is in doubt, the connection ends with it.

import {
  CHUNKED,
  ChunkedEncoder,
  CONTINUE,
  Fields,
  type Framing,
  type MessageHandler,
  NO_CONTENT,
  type Refusal,
  type RequestHead,
  RequestParser,
  removeHopByHop,
  TUNNEL,
  UNTIL_CLOSE,
  writeResponseHead,
} from '../../wire/http1/index.ts';
import type { ByteSink, ByteStream } from '../streams/byte-stream.ts';
import type {
  Content,
  RequestHandler,
  RequestSink,
  RequestStart,
  ResponseStart,
  ServerConnection,
  ServerLimits,
  ServerStream,
} from '../streams/http-stream.ts';
import { Outbox } from '../streams/outbox.ts';
import type { Sweeper, Swept } from '../streams/sweeper.ts';
import { reasonOf } from './reasons.ts';

/** Bytes that are read ahead of the exchange under way, before reading stops. */
const READ_AHEAD_BYTES = 16 << 10;
/** What is read and thrown away of a request that was answered early, so that its connection can go on. */
const MAX_DISCARD_BYTES = 256 << 10;
/** After our end, how long the client may take to end its side: closing sooner could destroy the answer on its way. */
const LINGER_MS = 2_000;
/** An idle connection of a proxy that ends is closed after this. */
const DRAIN_IDLE_MS = 1_000;
/**
 * How long a client that ended its side is kept without a byte for it: it may only have half-closed, as some do. Most have gone, and what
 * they asked for is not worth an endpoint's work.
 */
const HALF_CLOSED_MS = 15_000;
/** The rest of a request that was answered early is read to its end if it cannot be longer than this. */
const SMALL_REST_BYTES = 64 << 10;

export function serveHttp1(
  stream: ByteStream,
  handler: RequestHandler,
  limits: ServerLimits,
  sweeper: Sweeper,
): ServerConnection {
  const connection = new Http1Server(stream, handler, limits, sweeper);
  stream.attach(connection);
  return connection;
}

/** linger: our side ended, the client's bytes are thrown away */
type Phase = 'open' | 'linger' | 'over';

class Http1Server implements ServerConnection, ByteSink, Swept {
  private readonly stream: ByteStream;
  private readonly handler: RequestHandler;
  private readonly limits: ServerLimits;
  private readonly sweeper: Sweeper;
  private readonly parser: RequestParser;
  readonly out: Outbox;
  private exchange: Http1Exchange | undefined = undefined;
  private phase: Phase = 'open';
  private draining = false;
  private readStopped = false;
  /** What the sweep measures from: last byte either way, or the beginning of the present phase; ms. */
  private activeMs: number;
  /** A head has begun to come; ms. 0: none. */
  private headSinceMs = 0;
  private discarded = 0;
  /** The client ended its side while it was owed an answer; ms. 0: it did not. */
  private endedMs = 0;

  constructor(stream: ByteStream, handler: RequestHandler, limits: ServerLimits, sweeper: Sweeper) {
    this.stream = stream;
    this.handler = handler;
    this.limits = limits;
    this.sweeper = sweeper;
    this.out = new Outbox(stream);
    this.parser = new RequestParser(new Messages(this));
    this.activeMs = sweeper.nowMs;
    sweeper.add(this);
  }

  get exchanges(): number {
    return this.exchange === undefined ? 0 : 1;
  }

  get closesAfter(): boolean {
    return this.draining;
  }

  /** An idle connection stays a moment: a request that is on its way is taken, and answered with `connection: close`. */
  drain(): void {
    this.draining = true;
    if (this.exchange === undefined) this.activeMs = this.sweeper.nowMs;
  }

  abort(): void {
    this.stream.reset();
  }

  // ---- bytes ----

  data(chunk: Buffer): void {
    this.activeMs = this.sweeper.nowMs;
    if (this.phase !== 'open') {
      this.discarded += chunk.length;
      if (this.discarded > MAX_DISCARD_BYTES) this.stream.reset();
      return;
    }
    const { parser } = this;
    const reads = parser.receive(chunk);
    if (parser.state === 'head' && this.headSinceMs === 0 && this.exchange === undefined)
      this.headSinceMs = this.activeMs;
    if (!reads) this.stopReading();
  }

  private stopReading(): void {
    if (this.phase !== 'open' || this.readStopped) return;
    const { parser } = this;
    // Between messages a little is read ahead, so that a client that goes away is noticed.
    if (parser.state === 'idle' && parser.heldBytes <= READ_AHEAD_BYTES && !this.exchange?.paused) return;
    this.readStopped = true;
    this.stream.pause();
  }

  startReading(): void {
    if (!this.readStopped) return;
    this.readStopped = false;
    this.stream.resume();
  }

  end(): void {
    if (this.phase !== 'open') {
      this.stream.end();
      return;
    }
    this.parser.receiveEnd();
    if (this.exchange?.isHttp === true) this.endedMs = this.sweeper.nowMs;
    this.closeIfParserIs();
  }

  drained(): void {
    this.activeMs = this.sweeper.nowMs;
    this.out.drained();
    this.exchange?.writable();
  }

  closed(): void {
    if (this.phase === 'over') return;
    this.phase = 'over';
    this.sweeper.delete(this);
    this.parser.close();
    const { exchange } = this;
    this.exchange = undefined;
    exchange?.lost();
    this.handler.closed();
  }

  sweep(nowMs: number): void {
    const quietMs = nowMs - this.activeMs;
    if (this.phase === 'linger') {
      if (quietMs > LINGER_MS) this.stream.reset();
    } else if (this.exchange !== undefined) {
      const { streamIdleMs } = this.limits;
      if (this.endedMs > 0 && Math.min(quietMs, nowMs - this.endedMs) > HALF_CLOSED_MS) this.stream.reset();
      else if (streamIdleMs !== undefined && quietMs > streamIdleMs) this.exchange.timedOut();
    } else if (this.headSinceMs > 0) {
      if (nowMs - this.headSinceMs > this.limits.headMs)
        this.refuse(408, 'Request Timeout', 'request_header_timeout', 'the head took too long');
    } else if (quietMs > (this.draining ? DRAIN_IDLE_MS : this.limits.idleMs)) this.finish();
  }

  // ---- messages ----

  head(head: RequestHead): void {
    this.headSinceMs = 0;
    const exchange = new Http1Exchange(this, this.parser, head);
    this.exchange = exchange;
    exchange.sink = this.handler.request(exchange, startOf(head));
  }

  piece(piece: Buffer): void {
    const { exchange } = this;
    if (exchange === undefined) {
      this.discarded += piece.length;
      if (this.discarded > MAX_DISCARD_BYTES) this.finish();
    } else exchange.received(piece);
  }

  requestEnded(trailers: Fields | undefined): void {
    const { exchange } = this;
    if (exchange === undefined) this.next();
    else exchange.requestEnded(trailers);
  }

  error(refusal: Refusal): void {
    const { exchange } = this;
    if (exchange !== undefined) exchange.broken(refusal);
    else this.refuse(refusal.status, reasonOf(refusal.status), detailsOf(refusal), refusal.text);
  }

  /** A message that never became a request: answered, logged, and the connection ends. */
  private refuse(status: number, body: string, details: string, text: string): void {
    if (this.phase !== 'open') return;
    this.handler.refused({ protocol: 'HTTP/1.1', status, details, text });
    this.answerAndFinish(status, body);
  }

  answerAndFinish(status: number, body: string): void {
    const fields = new Fields();
    fields.append('Content-Type', 'text/plain');
    const framing: Framing = { kind: 'fixed', length: body.length };
    this.out.text(
      writeResponseHead({ status, reason: reasonOf(status), fields, framing, method: 'GET', close: true }) + body,
    );
    this.finish();
  }

  // ---- the end of an exchange ----

  /**
   * The response is complete. What is left of the request is thrown away, bounded, before the next is read.
   * @param reusable neither side wants the connection to end
   */
  exchangeOver(exchange: Http1Exchange, reusable: boolean): void {
    if (this.exchange !== exchange) return;
    this.exchange = undefined;
    this.activeMs = this.sweeper.nowMs;
    this.discarded = 0;
    if (!reusable) this.finish();
    else if (this.parser.state === 'idle') this.next();
    else this.startReading();
  }

  private next(): void {
    if (this.phase !== 'open') return;
    const { parser } = this;
    parser.next();
    this.closeIfParserIs();
    // What waited may be the beginning of a head.
    if (this.exchange === undefined && parser.heldBytes > 0) this.headSinceMs = this.activeMs;
    this.startReading();
  }

  private closeIfParserIs(): void {
    if (this.parser.state === 'over' && this.exchange === undefined) this.finish();
  }

  /** Our end; the client's bytes are of no interest any more. */
  finish(): void {
    if (this.phase !== 'open') return;
    this.phase = 'linger';
    this.discarded = 0;
    this.activeMs = this.sweeper.nowMs;
    this.parser.close();
    this.out.flush();
    this.stream.end();
    this.startReading();
  }

  /** After an upgrade: our direction alone. */
  halfClose(): void {
    this.out.flush();
    this.stream.end();
  }

  reset(): void {
    this.stream.reset();
  }

  touch(): void {
    this.activeMs = this.sweeper.nowMs;
  }
}

/** The parser's events; `data` and `end` mean something else to a byte stream's owner. */
class Messages implements MessageHandler<RequestHead> {
  private readonly connection: Http1Server;

  constructor(connection: Http1Server) {
    this.connection = connection;
  }
  head(head: RequestHead): void {
    this.connection.head(head);
  }
  data(piece: Buffer): void {
    this.connection.piece(piece);
  }
  end(trailers: Fields | undefined): void {
    this.connection.requestEnded(trailers);
  }
  error(refusal: Refusal): void {
    this.connection.error(refusal);
  }
}

const detailsOf = (refusal: Refusal): string =>
  refusal.status === 431 ? 'http1.headers_too_large' : 'http1.codec_error';

function contentOf(framing: Framing): Content {
  switch (framing.kind) {
    case 'fixed':
      return framing.length;
    case 'chunked':
      return 'unknown';
    default:
      return 'none';
  }
}

function startOf(head: RequestHead): RequestStart {
  const { fields, upgrade } = head;
  const takesTrailers = fields.get('te')?.toLowerCase().includes('trailers') === true;
  removeHopByHop(fields);
  return {
    protocol: head.minorVersion === 0 ? 'HTTP/1.0' : 'HTTP/1.1',
    method: head.method,
    scheme: head.scheme,
    authority: head.authority,
    target: head.path,
    fields,
    content: contentOf(head.framing),
    upgrade,
    expectsContinue: head.expectContinue,
    takesTrailers,
  };
}

/** One request and its response on the connection. */
class Http1Exchange implements ServerStream {
  private readonly connection: Http1Server;
  private readonly parser: RequestParser;
  private readonly method: string;
  private readonly oldClient: boolean;
  private readonly keepAlive: boolean;
  private readonly takesInterim: boolean;
  /** Answered before it is complete, the rest of the request is too much to read. */
  private readonly heavy: boolean;
  sink!: RequestSink;
  private chunks: ChunkedEncoder | undefined = undefined;
  /** The request is complete. */
  private requested = false;
  private responding = false;
  private responded = false;
  /** Raw bytes both ways. */
  private upgraded = false;
  private closes = false;
  private over = false;
  paused = false;

  constructor(connection: Http1Server, parser: RequestParser, head: RequestHead) {
    this.connection = connection;
    this.parser = parser;
    this.method = head.method;
    this.oldClient = head.minorVersion === 0;
    this.keepAlive = head.keepAlive;
    this.takesInterim = head.minorVersion === 1;
    const { framing } = head;
    this.heavy =
      head.expectContinue ||
      framing.kind === 'chunked' ||
      (framing.kind === 'fixed' && framing.length > SMALL_REST_BYTES);
  }

  get isHttp(): boolean {
    return !this.upgraded;
  }

  // ---- from the client ----

  received(piece: Buffer): void {
    if (!this.responded || this.upgraded) this.sink.data(piece);
  }

  requestEnded(trailers: Fields | undefined): void {
    this.requested = true;
    if (!this.over) this.sink.end(trailers);
    if (this.upgraded && this.responded) this.finish(false);
  }

  /** The client broke the protocol within the request. */
  broken(refusal: Refusal): void {
    this.abort('protocol', refusal.status, detailsOf(refusal), reasonOf(refusal.status));
  }

  timedOut(): void {
    if (this.responding) this.abort('timeout', 0, 'stream_idle_timeout', '');
    else this.abort('timeout', 408, 'stream_idle_timeout', 'stream timeout');
  }

  lost(): void {
    if (this.over) return;
    this.over = true;
    this.sink.aborted({ kind: 'gone', status: 0, details: 'downstream_remote_disconnect' });
  }

  private abort(kind: 'protocol' | 'timeout', status: number, details: string, body: string): void {
    if (this.over) return;
    this.over = true;
    const { connection } = this;
    const answered = this.responding;
    this.sink.aborted({ kind, status: answered ? 0 : status, details });
    if (answered) connection.reset();
    else connection.answerAndFinish(status, body);
    connection.exchangeOver(this, false);
  }

  writable(): void {
    if (!this.over) this.sink.writable();
  }

  // ---- to the client ----

  interim(status: number, fields: Fields | undefined): void {
    if (this.over || this.responding || !this.takesInterim) return;
    const { out } = this.connection;
    if (status === 100) out.text(CONTINUE);
    else
      out.text(
        writeResponseHead({
          status,
          reason: reasonOf(status),
          fields: fields ?? new Fields(),
          framing: NO_CONTENT,
          method: this.method,
        }),
      );
  }

  respond(head: ResponseStart, ends: boolean): void {
    if (this.over || this.responding) return;
    this.responding = true;
    const { connection, method } = this;
    const { status } = head;
    this.upgraded = status === 101 || (method === 'CONNECT' && status >= 200 && status < 300);
    const framing = this.framingOf(head, ends);
    if (framing.kind === 'chunked') this.chunks = new ChunkedEncoder();
    const leavesRest = ends && !this.requested && this.heavy;
    this.closes = !this.keepAlive || connection.closesAfter || framing.kind === 'untilClose' || leavesRest;
    connection.out.text(
      writeResponseHead({
        status,
        reason: reasonOf(status),
        fields: head.fields,
        framing,
        method,
        close: this.closes && !this.upgraded,
        upgrade: status === 101 ? head.upgrade : undefined,
        keepAlive: this.oldClient && !this.closes,
      }),
    );
    if (this.upgraded) {
      this.closes = true;
      this.parser.switchProtocol();
      connection.startReading();
    } else if (ends) this.responseEnded();
  }

  private framingOf({ content, status }: ResponseStart, ends: boolean): Framing {
    if (this.upgraded) return TUNNEL;
    if (typeof content === 'number') return { kind: 'fixed', length: content };
    // The length of what is not sent (HEAD, 304) is not known.
    if (ends)
      return content === 'none' || status === 304 || this.method === 'HEAD' ? NO_CONTENT : { kind: 'fixed', length: 0 };
    return this.oldClient ? UNTIL_CLOSE : CHUNKED;
  }

  write(piece: Uint8Array): boolean {
    if (this.over || this.responded) return true;
    const { connection, chunks } = this;
    connection.touch();
    if (chunks !== undefined) {
      if (piece.length === 0) return true;
      connection.out.text(chunks.prefix(piece.length));
    }
    return connection.out.piece(piece);
  }

  end(trailers: Fields | undefined): void {
    if (this.over || this.responded) return;
    if (this.chunks !== undefined) this.connection.out.text(this.chunks.last(trailers));
    this.responseEnded();
  }

  private responseEnded(): void {
    this.responded = true;
    if (!this.upgraded) this.finish(!this.closes);
    else if (this.requested) this.finish(false);
    else this.connection.halfClose();
  }

  private finish(reusable: boolean): void {
    if (this.over) return;
    this.over = true;
    if (this.paused) this.parser.resume();
    this.connection.exchangeOver(this, reusable);
  }

  reset(): void {
    if (this.over) return;
    this.over = true;
    this.connection.reset();
  }

  pause(): void {
    if (this.over || this.paused) return;
    this.paused = true;
    this.parser.pause();
  }

  resume(): void {
    if (this.over || !this.paused) return;
    this.paused = false;
    this.parser.resume();
    this.connection.startReading();
  }
}
