// Requests of one client connection in HTTP/2: each stream is an exchange. The session does the framing, the flow
// control and the limits; this gives its streams the shape that exchanges know, and measures time.

import type { HboneError } from '../../wire/hbone/index.ts';
import type { Tunnel } from '../../wire/hbone/tunnel.ts';
import type { Fields } from '../../wire/http1/index.ts';
import { HttpServerSession, type MessageSink, type RequestHead, responseList } from '../../wire/http2/index.ts';
import type { ByteSink, ByteStream, StreamError } from '../streams/byte-stream.ts';
import type {
  RequestAbort,
  RequestHandler,
  RequestSink,
  ResponseStart,
  ServerConnection,
  ServerLimits,
  ServerStream,
} from '../streams/http-stream.ts';
import type { Sweeper, Swept } from '../streams/sweeper.ts';
import { Incoming, type IncomingOwner } from './incoming.ts';
import { StreamTransport, TURNS } from './transport.ts';
import { dropAnswer, giveKey } from './websocket.ts';

/** A connection that was told to leave and has nothing to do may take this long to agree. */
const DRAIN_MS = 2_000;

export function serveHttp2(
  stream: ByteStream,
  handler: RequestHandler,
  limits: ServerLimits,
  sweeper: Sweeper,
): ServerConnection {
  const connection = new Http2Server(stream, handler, limits, sweeper);
  stream.attach(connection);
  return connection;
}

class Http2Server implements ServerConnection, ByteSink, Swept {
  readonly session: HttpServerSession;
  private readonly stream: ByteStream;
  private readonly transport: StreamTransport;
  private readonly handler: RequestHandler;
  private readonly limits: ServerLimits;
  private readonly sweeper: Sweeper;
  private readonly calls = new Set<Http2Exchange>();
  /** Last time that there was a request; ms. */
  private busyMs: number;
  /** Since when a head, or the peer's hello, is awaited; ms. 0: it is not. */
  private headSinceMs: number;
  private draining = false;
  private over = false;

  constructor(stream: ByteStream, handler: RequestHandler, limits: ServerLimits, sweeper: Sweeper) {
    this.stream = stream;
    this.handler = handler;
    this.limits = limits;
    this.sweeper = sweeper;
    this.transport = new StreamTransport(stream);
    this.busyMs = sweeper.nowMs;
    this.headSinceMs = sweeper.nowMs;
    sweeper.add(this);
    this.session = new HttpServerSession({
      transport: this.transport,
      environment: TURNS,
      limits: { maxConcurrentStreams: limits.maxConcurrentStreams },
      events: {
        onRequest: (tunnel, head) => this.request(tunnel, head),
        onRefused: (status, text) =>
          handler.refused({
            protocol: 'HTTP/2',
            status,
            details: status === 431 ? 'http2.too_many_headers' : 'http2.violation.of.messaging.rule',
            text,
          }),
        onClosed: () => this.sessionClosed(),
      },
    });
  }

  get nowMs(): number {
    return this.sweeper.nowMs;
  }

  get exchanges(): number {
    return this.session.activeStreams;
  }

  drain(): void {
    if (this.draining) return;
    this.draining = true;
    this.busyMs = this.sweeper.nowMs;
    this.session.drain();
  }

  abort(): void {
    this.session.abort();
    this.stream.reset();
  }

  // ---- bytes ----

  data(chunk: Buffer): void {
    this.session.receive(chunk);
  }

  /** HTTP/2 has no half-closed connection: without the client's direction nothing can go on. */
  end(): void {
    this.session.transportClosed();
    this.stream.end();
  }

  drained(): void {
    this.transport.drained();
    this.session.transportDrained();
  }

  closed(error: StreamError | undefined): void {
    this.session.transportClosed(error && new Error(error.text));
  }

  private sessionClosed(): void {
    if (this.over) return;
    this.over = true;
    this.sweeper.delete(this);
    this.calls.clear();
    this.handler.closed();
  }

  // ---- time ----

  sweep(nowMs: number): void {
    const { session, limits } = this;
    if (!session.awaitsHead) this.headSinceMs = 0;
    else if (this.headSinceMs === 0) this.headSinceMs = nowMs;
    else if (nowMs - this.headSinceMs > limits.headMs) {
      session.giveUp('the head took too long');
      return;
    }
    const { streamIdleMs } = limits;
    for (const call of this.calls) {
      if (call.isDone) this.calls.delete(call);
      else if (streamIdleMs !== undefined && nowMs - call.activeMs > streamIdleMs) call.timedOut();
    }
    if (session.activeStreams > 0) this.busyMs = nowMs;
    else if (this.draining) {
      if (nowMs - this.busyMs > DRAIN_MS) this.abort();
    } else if (nowMs - this.busyMs > limits.idleMs) this.drain();
  }

  // ---- requests ----

  private request(tunnel: Tunnel, head: RequestHead): MessageSink {
    const exchange = new Http2Exchange(this, tunnel, head);
    this.calls.add(exchange);
    const { fields, content, upgrade } = head;
    if (upgrade === 'websocket') giveKey(fields);
    exchange.sink = this.handler.request(exchange, {
      protocol: 'HTTP/2',
      method: head.method,
      scheme: head.scheme,
      authority: head.authority,
      target: head.target,
      fields,
      content,
      upgrade,
      expectsContinue: head.expectsContinue,
      takesTrailers: head.takesTrailers,
    });
    return exchange.incoming;
  }

  /** Some go before the next sweep, so that a connection of many short requests does not hold them all. */
  finished(call: Http2Exchange): void {
    if (call.isDone) this.calls.delete(call);
  }
}

/** One request and its response. */
class Http2Exchange implements ServerStream, IncomingOwner {
  private readonly connection: Http2Server;
  private readonly session: HttpServerSession;
  private readonly tunnel: Tunnel;
  private readonly switches: boolean;
  readonly incoming: Incoming;
  sink!: RequestSink;
  /** Last byte either way; ms. */
  activeMs: number;
  private upgraded = false;
  private requested = false;
  private responded = false;
  /** The sink hears nothing more. */
  private over = false;

  constructor(connection: Http2Server, tunnel: Tunnel, head: RequestHead) {
    this.connection = connection;
    this.session = connection.session;
    this.tunnel = tunnel;
    this.switches = head.upgrade !== undefined || head.method === 'CONNECT';
    this.activeMs = connection.nowMs;
    this.incoming = new Incoming(this);
    this.incoming.stream = tunnel;
    if (typeof head.content === 'number') this.incoming.left = head.content;
  }

  get isDone(): boolean {
    const { tunnel } = this;
    return tunnel.gone || (tunnel.local === 'ended' && tunnel.remoteEnded);
  }

  // ---- from the client ----

  received(piece: Buffer): void {
    this.activeMs = this.connection.nowMs;
    if (!this.over) this.sink.data(piece);
  }

  ended(trailers: Fields | undefined): void {
    this.requested = true;
    if (!this.over) this.sink.end(trailers);
    if (this.responded) this.finish();
  }

  writable(): void {
    this.activeMs = this.connection.nowMs;
    if (!this.over && !this.responded) this.sink.writable();
  }

  malformed(why: string): void {
    this.session.malformed(this.tunnel, why);
  }

  lost(error: HboneError): void {
    const broken = error.source === 'peer' && !error.wasReset;
    if (broken) this.abort({ kind: 'protocol', status: 0, details: 'http2.violation.of.messaging.rule' });
    else if (error.source === 'us') this.abort({ kind: 'timeout', status: 0, details: 'overload' });
    else this.abort({ kind: 'gone', status: 0, details: error.wasReset ? 'downstream_remote_reset' : GONE });
  }

  timedOut(): void {
    const { tunnel } = this;
    const answers = !this.over && !tunnel.answered;
    this.abort({ kind: 'timeout', status: answers ? 408 : 0, details: 'stream_idle_timeout' });
    if (answers) this.session.sendResponse(tunnel, [[':status', '408']], true);
    else tunnel.reset('CANCEL');
    this.connection.finished(this);
  }

  private abort(why: RequestAbort): void {
    if (!this.over) {
      this.over = true;
      this.sink.aborted(why);
    }
    this.connection.finished(this);
  }

  // ---- to the client ----

  interim(status: number, fields: Fields | undefined): void {
    if (!this.over) this.session.sendInterim(this.tunnel, responseList(status, fields, 'none'));
  }

  respond(head: ResponseStart, ends: boolean): void {
    const { tunnel } = this;
    if (this.over || tunnel.answered) return;
    this.activeMs = this.connection.nowMs;
    const { status, fields } = head;
    this.upgraded = this.switches && !ends && (status === 101 || (status >= 200 && status < 300));
    if (this.upgraded) {
      tunnel.raw = true;
      this.session.sendResponse(tunnel, responseList(200, dropAnswer(fields), 'none'), false);
      return;
    }
    this.session.sendResponse(tunnel, responseList(status, fields, head.content), ends);
    if (ends) this.responseEnded();
  }

  write(piece: Uint8Array): boolean {
    if (this.over || this.responded) return true;
    this.activeMs = this.connection.nowMs;
    return this.tunnel.write(piece);
  }

  end(trailers: Fields | undefined): void {
    if (this.over || this.responded) return;
    this.session.sendEnd(this.tunnel, trailers);
    this.responseEnded();
  }

  private responseEnded(): void {
    this.responded = true;
    if (!this.upgraded || this.requested) this.finish();
  }

  /** The exchange is over; what is still to be sent or thrown away is the session's. */
  private finish(): void {
    this.over = true;
    this.incoming.drop();
    this.connection.finished(this);
  }

  reset(): void {
    if (this.over) return;
    this.over = true;
    this.tunnel.reset('INTERNAL_ERROR');
    this.connection.finished(this);
  }

  pause(): void {
    if (!this.over) this.incoming.pause();
  }

  resume(): void {
    if (!this.over) this.incoming.resume();
  }
}

const GONE = 'downstream_remote_disconnect';
