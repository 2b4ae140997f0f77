// Requests of one upstream connection in HTTP/2, as many at once as the endpoint and the pool allow.

import { HboneError } from '../../wire/hbone/index.ts';
import type { Tunnel } from '../../wire/hbone/tunnel.ts';
import type { Fields } from '../../wire/http1/index.ts';
import { HttpClientSession, type ResponseHead, type ResponseSink as WireSink } from '../../wire/http2/index.ts';
import type { ByteSink, ByteStream, StreamError } from '../streams/byte-stream.ts';
import type {
  ClientConnection,
  ClientConnectionOwner,
  ClientLimits,
  ClientStream,
  Content,
  ResponseSink,
  UpstreamFailure,
  UpstreamRequest,
} from '../streams/http-stream.ts';
import { Incoming, type IncomingOwner } from './incoming.ts';
import { StreamTransport, TURNS } from './transport.ts';
import { answerKey, takeKey } from './websocket.ts';

export function connectHttp2(stream: ByteStream, owner: ClientConnectionOwner, limits: ClientLimits): ClientConnection {
  const connection = new Http2Client(stream, owner, limits);
  stream.attach(connection);
  return connection;
}

class Http2Client implements ClientConnection, ByteSink {
  readonly session: HttpClientSession;
  private readonly stream: ByteStream;
  private readonly transport: StreamTransport;
  private readonly owner: ClientConnectionOwner;
  /** Upgrades that wait for the endpoint's SETTINGS, which say whether it takes them. */
  private waiting: Http2Call[] = [];
  begun = 0;
  private over = false;
  private tellsAvailable = false;

  constructor(stream: ByteStream, owner: ClientConnectionOwner, limits: ClientLimits) {
    const { keepalive } = limits;
    this.stream = stream;
    this.owner = owner;
    this.transport = new StreamTransport(stream);
    this.session = new HttpClientSession({
      transport: this.transport,
      environment: TURNS,
      limits: {
        maxConcurrentStreams: limits.maxConcurrentStreams,
        ...(keepalive && { pingIntervalMs: keepalive.intervalMs, pingTimeoutMs: keepalive.timeoutMs }),
      },
      events: {
        onState: (state) => {
          if (state === 'open') this.opened();
        },
        onClosed: () => this.sessionClosed(),
      },
    });
  }

  get capacity(): number {
    return Math.max(0, this.session.capacity - this.waiting.length);
  }

  get exchanges(): number {
    return this.session.activeStreams + this.waiting.length;
  }

  get closing(): boolean {
    const { state } = this.session;
    return state === 'draining' || state === 'closed';
  }

  open(request: UpstreamRequest, sink: ResponseSink): ClientStream {
    const call = new Http2Call(this, request, sink);
    this.begun += 1;
    if (request.upgrade !== undefined && this.session.takesExtendedConnect === undefined) this.waiting.push(call);
    else call.begin();
    return call;
  }

  drain(): void {
    this.session.drain();
  }

  abort(): void {
    this.session.abort();
    this.stream.reset();
  }

  forget(call: Http2Call): void {
    this.waiting = this.waiting.filter((other) => other !== call);
  }

  /** A stream is over. The owner hears of it when the session has counted it out. */
  freed(): void {
    if (this.tellsAvailable) return;
    this.tellsAvailable = true;
    queueMicrotask(() => {
      this.tellsAvailable = false;
      if (!this.over && !this.closing) this.owner.available();
    });
  }

  private opened(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const call of waiting) call.begin();
    this.owner.available();
  }

  private sessionClosed(): void {
    if (this.over) return;
    this.over = true;
    const { waiting } = this;
    this.waiting = [];
    for (const call of waiting) call.fail({ kind: 'ended', answered: false, text: 'the connection ended' });
    this.owner.closed();
  }

  // ---- bytes ----

  data(chunk: Buffer): void {
    this.session.receive(chunk);
  }

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
}

class IncomingResponse extends Incoming implements WireSink {
  private readonly call: Http2Call;

  constructor(call: Http2Call) {
    super(call);
    this.call = call;
  }
  interim(head: ResponseHead): void {
    this.call.interim(head);
  }
  head(head: ResponseHead, ends: boolean): void {
    this.call.head(head, ends);
  }
}

/** One request and its response. */
class Http2Call implements ClientStream, IncomingOwner {
  private readonly connection: Http2Client;
  private readonly request: UpstreamRequest;
  private readonly sink: ResponseSink;
  private readonly incoming: IncomingResponse;
  private tunnel: Tunnel | undefined = undefined;
  private key: string | undefined = undefined;
  private answered = false;
  /** The response has no content, and the sink was told so. */
  private bare = false;
  private responded = false;
  private over = false;

  constructor(connection: Http2Client, request: UpstreamRequest, sink: ResponseSink) {
    this.connection = connection;
    this.request = request;
    this.sink = sink;
    this.incoming = new IncomingResponse(this);
  }

  begin(): void {
    if (this.over) return;
    const { request } = this;
    const { session } = this.connection;
    const { upgrade, content } = request;
    if (upgrade !== undefined && session.takesExtendedConnect !== true) {
      this.failLater({ kind: 'refused', answered: false, text: `the endpoint takes no upgrade to \`${upgrade}\`` });
      return;
    }
    let toSend = request;
    if (upgrade === 'websocket') {
      const { fields, key } = takeKey(request.fields);
      this.key = key;
      toSend = { ...request, fields };
    }
    const switches = upgrade !== undefined || request.method === 'CONNECT';
    const ends = !switches && (content === 'none' || content === 0);
    try {
      this.tunnel = session.request(toSend, ends, this.incoming);
      this.tunnel.raw = switches;
      this.incoming.stream = this.tunnel;
    } catch (error) {
      const refused = error instanceof HboneError && error.retriable;
      const text = error instanceof Error ? error.message : String(error);
      this.failLater({ kind: refused ? 'refused' : 'protocol', answered: false, text });
    }
  }

  // ---- to the endpoint ----

  write(piece: Uint8Array): boolean {
    return this.over || this.tunnel === undefined || this.tunnel.write(piece);
  }

  end(trailers: Fields | undefined): void {
    const { tunnel } = this;
    if (this.over || tunnel === undefined) return;
    this.connection.session.sendEnd(tunnel, trailers);
    this.finishIfDone();
  }

  reset(): void {
    if (this.over) return;
    this.over = true;
    this.tunnel?.reset('CANCEL');
    if (this.tunnel === undefined) this.connection.forget(this);
    this.connection.freed();
  }

  pause(): void {
    if (!this.over) this.incoming.pause();
  }

  resume(): void {
    if (!this.over) this.incoming.resume();
  }

  // ---- from the endpoint ----

  interim(head: ResponseHead): void {
    if (!this.over) this.sink.interim(head.status, head.fields);
  }

  head({ status, fields, length }: ResponseHead, ends: boolean): void {
    this.answered = true;
    if (this.over) return;
    const { upgrade, method } = this.request;
    const switched = (upgrade !== undefined || method === 'CONNECT') && status < 300 && !ends;
    if (switched) {
      if (upgrade === 'websocket') answerKey(fields, this.key);
      this.sink.response({ status: upgrade === undefined ? status : 101, fields, content: 'none', upgrade }, false);
      return;
    }
    const empty = method === 'HEAD' || status === 204 || status === 304;
    if (length !== undefined && !empty) {
      this.incoming.left = length;
      if (ends && length > 0) {
        this.malformed('less content than content-length says');
        return;
      }
    }
    this.bare = ends;
    const content: Content = length ?? (ends ? 'none' : 'unknown');
    this.sink.response({ status, fields, content, upgrade: undefined }, ends);
  }

  received(piece: Buffer): void {
    if (!this.over) this.sink.data(piece);
  }

  ended(trailers: Fields | undefined): void {
    this.responded = true;
    if (!this.over && !this.bare) this.sink.end(trailers);
    this.finishIfDone();
  }

  writable(): void {
    if (!this.over) this.sink.writable();
  }

  malformed(why: string): void {
    if (this.tunnel !== undefined) this.connection.session.malformed(this.tunnel, why);
  }

  lost(error: HboneError): void {
    const { answered } = this;
    // RFC 9113 §8.1: the response is whole, and the rest of the request is not wanted
    if (this.responded) this.finish();
    else if (error.retriable) this.fail({ kind: 'refused', answered, text: error.message });
    else if (error.source === 'transport') this.fail({ kind: 'ended', answered, text: error.message });
    else this.fail({ kind: error.wasReset ? 'reset' : 'protocol', answered, text: error.message });
  }

  private finishIfDone(): void {
    if (this.responded && this.tunnel?.local !== 'open') this.finish();
  }

  private finish(): void {
    if (this.over) return;
    this.over = true;
    this.connection.freed();
  }

  fail(failure: UpstreamFailure): void {
    if (this.over) return;
    this.over = true;
    this.sink.failed(failure);
    this.connection.freed();
  }

  /** Nothing is told before `open` has returned. */
  private failLater(failure: UpstreamFailure): void {
    queueMicrotask(() => this.fail(failure));
  }
}
