// Requests of one upstream connection in HTTP/1.1, one at a time. A connection is used again only if both messages were
// complete, nothing came unasked, and neither side wanted it to end.

import {
  CHUNKED,
  ChunkedEncoder,
  type Fields,
  type Framing,
  type MessageHandler,
  NO_CONTENT,
  type Refusal,
  type ResponseHandler,
  type ResponseHead,
  ResponseParser,
  removeHopByHop,
  writeRequestHead,
} from '../../wire/http1/index.ts';
import type { ByteSink, ByteStream, StreamError } from '../streams/byte-stream.ts';
import type {
  ClientConnection,
  ClientConnectionOwner,
  ClientStream,
  Content,
  ResponseSink,
  UpstreamFailure,
  UpstreamRequest,
} from '../streams/http-stream.ts';
import { Outbox } from '../streams/outbox.ts';

export function connectHttp1(stream: ByteStream, owner: ClientConnectionOwner): ClientConnection {
  const connection = new Http1Client(stream, owner);
  stream.attach(connection);
  return connection;
}

class Http1Client implements ClientConnection, ByteSink {
  private readonly stream: ByteStream;
  private readonly owner: ClientConnectionOwner;
  private readonly parser: ResponseParser;
  readonly out: Outbox;
  private exchange: Http1Call | undefined = undefined;
  begun = 0;
  /** Takes no more requests. */
  closing = false;
  private over = false;
  private readStopped = false;

  constructor(stream: ByteStream, owner: ClientConnectionOwner) {
    this.stream = stream;
    this.owner = owner;
    this.parser = new ResponseParser(new Responses(this));
    this.out = new Outbox(stream);
  }

  get capacity(): number {
    return this.exchange === undefined && !this.closing && this.parser.reusable ? 1 : 0;
  }

  get exchanges(): number {
    return this.exchange === undefined ? 0 : 1;
  }

  open(request: UpstreamRequest, sink: ResponseSink): ClientStream {
    const call = new Http1Call(this, this.parser, sink);
    if (this.capacity === 0) {
      call.failLater({ kind: 'refused', answered: false, text: 'the connection takes no request' });
      return call;
    }
    const { method, target, authority, fields, upgrade } = request;
    const framing = framingOf(request.content, upgrade !== undefined || method === 'CONNECT');
    let head: string;
    try {
      head = writeRequestHead({ method, target, authority, fields, framing, upgrade });
    } catch (error) {
      // Routes may rewrite a host or path to what no server can read. Nothing was sent, the connection is still good.
      call.failLater({ kind: 'protocol', answered: false, text: (error as Error).message });
      queueMicrotask(() => this.owner.available());
      return call;
    }
    this.begun += 1;
    this.exchange = call;
    call.begin(framing);
    this.parser.expect({ method, upgrade: upgrade !== undefined });
    this.out.text(head);
    return call;
  }

  drain(): void {
    this.closing = true;
    if (this.exchange === undefined) this.finish();
  }

  abort(): void {
    this.closing = true;
    this.stream.reset();
  }

  /** Our end; nothing is expected any more. */
  private finish(): void {
    if (this.over) return;
    this.closing = true;
    this.parser.close();
    this.out.flush();
    this.stream.end();
    this.stream.resume();
  }

  // ---- bytes ----

  data(chunk: Buffer): void {
    if (this.over || this.parser.state === 'over') return;
    this.exchange?.heard();
    if (this.parser.receive(chunk) || this.readStopped || this.exchange === undefined) return;
    this.readStopped = true;
    this.stream.pause();
  }

  startReading(): void {
    if (!this.readStopped) return;
    this.readStopped = false;
    this.stream.resume();
  }

  end(): void {
    this.closing = true;
    this.parser.receiveEnd();
    // An endpoint that ends an idle connection takes no request on it any more.
    if (this.exchange === undefined) this.finish();
  }

  drained(): void {
    this.out.drained();
    this.exchange?.writable();
  }

  closed(error: StreamError | undefined): void {
    if (this.over) return;
    this.over = true;
    this.closing = true;
    const { exchange } = this;
    this.exchange = undefined;
    this.parser.close();
    exchange?.lost(error);
    this.owner.closed();
  }

  // ---- messages ----

  interim(head: ResponseHead): void {
    removeHopByHop(head.fields);
    this.exchange?.sink.interim(head.status, head.fields);
  }

  head(head: ResponseHead): void {
    this.exchange?.responded(head);
  }

  piece(piece: Buffer): void {
    this.exchange?.received(piece);
  }

  responseEnded(trailers: Fields | undefined): void {
    this.exchange?.responseEnded(trailers);
  }

  refused(refusal: Refusal): void {
    this.closing = true;
    const { exchange } = this;
    this.exchange = undefined;
    this.stream.reset();
    exchange?.broken(refusal);
  }

  // ---- the end of an exchange ----

  /** @param complete both messages are */
  exchangeOver(call: Http1Call, complete: boolean): void {
    if (this.exchange !== call) return;
    this.exchange = undefined;
    if (!complete) this.stream.reset();
    else if (this.closing || !this.parser.reusable) this.finish();
    else {
      this.startReading();
      this.owner.available();
    }
  }

  halfClose(): void {
    this.closing = true;
    this.out.flush();
    this.stream.end();
  }
}

/** The parser's events; `data` and `end` mean something else to a byte stream's owner. */
class Responses implements ResponseHandler, MessageHandler<ResponseHead> {
  private readonly connection: Http1Client;

  constructor(connection: Http1Client) {
    this.connection = connection;
  }
  interim(head: ResponseHead): void {
    this.connection.interim(head);
  }
  head(head: ResponseHead): void {
    this.connection.head(head);
  }
  data(piece: Buffer): void {
    this.connection.piece(piece);
  }
  end(trailers: Fields | undefined): void {
    this.connection.responseEnded(trailers);
  }
  error(refusal: Refusal): void {
    this.connection.refused(refusal);
  }
}

function framingOf(content: Content, switches: boolean): Framing {
  if (content === 'none' || switches) return NO_CONTENT;
  return content === 'unknown' ? CHUNKED : { kind: 'fixed', length: content };
}

/** One request and its response on the connection. */
class Http1Call implements ClientStream {
  private readonly connection: Http1Client;
  private readonly parser: ResponseParser;
  readonly sink: ResponseSink;
  private chunks: ChunkedEncoder | undefined = undefined;
  /** Of fixed content: what is still to be sent. */
  private left = 0;
  private requested = false;
  private answered = false;
  private upgraded = false;
  /** The response has no content, and the sink was told so. */
  private bare = false;
  private complete = false;
  private over = false;
  private paused = false;

  constructor(connection: Http1Client, parser: ResponseParser, sink: ResponseSink) {
    this.connection = connection;
    this.parser = parser;
    this.sink = sink;
  }

  begin(framing: Framing): void {
    if (framing.kind === 'chunked') this.chunks = new ChunkedEncoder();
    else if (framing.kind === 'fixed' && framing.length > 0) this.left = framing.length;
    else this.requested = true;
  }

  // ---- to the endpoint ----

  write(piece: Uint8Array): boolean {
    const { connection, chunks } = this;
    if (this.over || piece.length === 0) return true;
    if (this.upgraded) return connection.out.piece(piece);
    if (this.requested) return true;
    if (chunks !== undefined) connection.out.text(chunks.prefix(piece.length));
    else {
      this.left -= piece.length;
      if (this.left < 0) {
        // INVARIANT (length): who says a length keeps it. More would be read as another request.
        this.reset();
        return true;
      }
      this.requested = this.left === 0;
    }
    return connection.out.piece(piece);
  }

  end(trailers: Fields | undefined): void {
    if (this.over) return;
    if (this.upgraded) {
      this.requested = true;
      this.connection.halfClose();
      this.finishIfDone();
      return;
    }
    if (this.requested) {
      this.finishIfDone();
      return;
    }
    if (this.chunks === undefined) {
      this.reset();
      return;
    }
    this.connection.out.text(this.chunks.last(trailers));
    this.requested = true;
    this.finishIfDone();
  }

  reset(): void {
    if (this.over) return;
    this.over = true;
    this.connection.exchangeOver(this, false);
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

  // ---- from the endpoint ----

  heard(): void {
    this.answered = true;
  }

  responded(head: ResponseHead): void {
    const { framing, status, fields, upgrade } = head;
    removeHopByHop(fields);
    this.upgraded = framing.kind === 'tunnel';
    if (this.upgraded) this.requested = false;
    this.bare = framing.kind === 'none' || (framing.kind === 'fixed' && framing.length === 0);
    if (!this.over) this.sink.response({ status, fields, content: contentOf(framing), upgrade }, this.bare);
  }

  received(piece: Buffer): void {
    if (!this.over) this.sink.data(piece);
  }

  responseEnded(trailers: Fields | undefined): void {
    if (this.over) return;
    this.complete = true;
    if (this.upgraded) {
      this.sink.end(trailers);
      this.finishIfDone();
      return;
    }
    // First the connection is free, then the client's next request may begin: it can have this one. After an answer to a
    // request that is not sent whole, the rest would have to follow.
    this.finish(this.requested);
    if (!this.bare) this.sink.end(trailers);
  }

  private finishIfDone(): void {
    if (this.requested && this.complete) this.finish(true);
  }

  private finish(complete: boolean): void {
    if (this.over) return;
    this.over = true;
    this.connection.exchangeOver(this, complete);
  }

  writable(): void {
    if (!this.over) this.sink.writable();
  }

  lost(error: StreamError | undefined): void {
    const kind = error?.kind === 'reset' ? 'reset' : 'ended';
    this.fail({ kind, answered: this.answered, text: error?.text ?? 'the connection was closed' });
  }

  broken({ code, text }: Refusal): void {
    const kind = code === 'noResponse' || code === 'truncated' ? 'ended' : 'protocol';
    this.fail({ kind, answered: this.answered, text });
  }

  /** INVARIANT (order): `open` returned before anything is told. */
  failLater(failure: UpstreamFailure): void {
    queueMicrotask(() => this.fail(failure));
  }

  private fail(failure: UpstreamFailure): void {
    if (this.over) return;
    this.over = true;
    this.sink.failed(failure);
  }
}

function contentOf(framing: Framing): Content {
  switch (framing.kind) {
    case 'fixed':
      return framing.length;
    case 'none':
      return framing.announcedLength ?? 'none';
    default:
      return 'unknown';
  }
}
