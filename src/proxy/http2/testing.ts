// For tests: a server on our HTTP/2, a client connection, and exchanges that are plain promises.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { HostPort, Ip } from '../../model/ip.ts';
import type { Http2Keepalive } from '../../model/proxy/service-config.ts';
import { systemClock } from '../../platform/clock.ts';
import { Fields } from '../../wire/http1/index.ts';
import type {
  ClientConnection,
  ClientStream,
  Content,
  RequestAbort,
  RequestHandler,
  RequestRefusal,
  RequestSink,
  RequestStart,
  ResponseSink,
  ResponseStart,
  ServerConnection,
  ServerLimits,
  ServerStream,
  UpstreamFailure,
  UpstreamRequest,
} from '../streams/http-stream.ts';
import { SocketStream } from '../streams/socket-stream.ts';
import { Sweeper } from '../streams/sweeper.ts';
import { connectHttp2 } from './client.ts';
import { serveHttp2 } from './server.ts';

export const SERVER_LIMITS: ServerLimits = {
  headMs: 10_000,
  idleMs: 60_000,
  streamIdleMs: undefined,
  maxConcurrentStreams: 100,
};

const at = (address: string | undefined, port: number | undefined): HostPort => ({
  ip: (address ?? '127.0.0.1') as Ip,
  port: port ?? 0,
});

export const streamOf = (socket: Socket): SocketStream =>
  new SocketStream(socket, at(socket.localAddress, socket.localPort), at(socket.remoteAddress, socket.remotePort));

export const fields = (pairs: Readonly<Record<string, string>> = {}): Fields => {
  const list = new Fields();
  for (const [name, value] of Object.entries(pairs)) list.append(name, value);
  return list;
};

/** One request as a test's server sees it. */
export class Served implements RequestSink {
  readonly start: RequestStart;
  readonly stream: ServerStream;
  readonly pieces: Buffer[] = [];
  trailers: Fields | undefined;
  aborted_: RequestAbort | undefined;
  onData: ((piece: Buffer) => void) | undefined;
  onWritable: (() => void) | undefined;
  /** Instead of `pieces`. */
  onPiece: ((piece: Buffer) => void) | undefined;
  onEnd: ((trailers: Fields | undefined) => void) | undefined;
  onAborted: (() => void) | undefined;
  readonly #ended = Promise.withResolvers<void>();
  readonly #aborted = Promise.withResolvers<RequestAbort>();

  constructor(stream: ServerStream, start: RequestStart) {
    this.stream = stream;
    this.start = start;
  }

  data(piece: Buffer): void {
    if (this.onPiece !== undefined) {
      this.onPiece(piece);
      return;
    }
    this.pieces.push(piece);
    this.onData?.(piece);
  }
  end(trailers: Fields | undefined): void {
    this.trailers = trailers;
    this.onEnd?.(trailers);
    this.#ended.resolve();
  }
  writable(): void {
    this.onWritable?.();
  }
  aborted(why: RequestAbort): void {
    this.aborted_ = why;
    this.onAborted?.();
    this.#aborted.resolve(why);
  }

  get body(): string {
    return Buffer.concat(this.pieces).toString('latin1');
  }
  get whole(): Promise<void> {
    return this.#ended.promise;
  }
  get abortion(): Promise<RequestAbort> {
    return this.#aborted.promise;
  }
  answer(status: number, body = '', headers: Readonly<Record<string, string>> = {}, trailers?: Fields): void {
    const head = { status, fields: fields(headers), content: body.length as Content, upgrade: undefined };
    const bare = body === '' && trailers === undefined;
    this.stream.respond(bare ? head : { ...head, content: trailers === undefined ? body.length : 'unknown' }, bare);
    if (bare) return;
    if (body !== '') this.stream.write(Buffer.from(body, 'latin1'));
    this.stream.end(trailers);
  }
}

export class TestServer {
  readonly server: Server;
  readonly connections: ServerConnection[] = [];
  readonly requests: Served[] = [];
  readonly refusals: RequestRefusal[] = [];
  readonly sockets: Socket[] = [];
  readonly sweeper = new Sweeper(systemClock);
  closed = 0;
  onRequest: (served: Served) => void = (served) => void served.whole.then(() => served.answer(200, 'hello'));
  port = 0;

  constructor(limits: Partial<ServerLimits> = {}) {
    this.server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      this.sockets.push(socket);
      const handler: RequestHandler = {
        request: (stream, start) => {
          const served = new Served(stream, start);
          this.requests.push(served);
          this.onRequest(served);
          return served;
        },
        refused: (refusal) => void this.refusals.push(refusal),
        closed: () => {
          this.closed++;
        },
      };
      this.connections.push(serveHttp2(streamOf(socket), handler, { ...SERVER_LIMITS, ...limits }, this.sweeper));
    });
  }

  async listen(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.sweeper.close();
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}

/** One response as a test's client sees it. */
export class Asked implements ResponseSink {
  stream!: ClientStream;
  readonly interims: { status: number; fields: Fields }[] = [];
  head: ResponseStart | undefined;
  readonly pieces: Buffer[] = [];
  trailers: Fields | undefined;
  onData: ((piece: Buffer) => void) | undefined;
  onWritable: (() => void) | undefined;
  readonly #head = Promise.withResolvers<ResponseStart>();
  readonly #done = Promise.withResolvers<string>();

  constructor() {
    this.#head.promise.catch(() => {});
    this.#done.promise.catch(() => {});
  }
  interim(status: number, list: Fields): void {
    this.interims.push({ status, fields: list });
  }
  response(head: ResponseStart, ends: boolean): void {
    this.head = head;
    this.#head.resolve(head);
    if (ends) this.#done.resolve('');
  }
  data(piece: Buffer): void {
    this.pieces.push(piece);
    this.onData?.(piece);
  }
  end(trailers: Fields | undefined): void {
    this.trailers = trailers;
    this.#done.resolve(Buffer.concat(this.pieces).toString('latin1'));
  }
  writable(): void {
    this.onWritable?.();
  }
  failed(failure: UpstreamFailure): void {
    const error = Object.assign(new Error(`${failure.kind}: ${failure.text}`), { failure });
    this.#head.reject(error);
    this.#done.reject(error);
  }

  get started(): Promise<ResponseStart> {
    return this.#head.promise;
  }
  /** The whole body. */
  get done(): Promise<string> {
    return this.#done.promise;
  }
}

export class TestClient {
  readonly socket: Socket;
  readonly connection: ClientConnection;
  available = 0;
  readonly closed: Promise<void>;

  private constructor(socket: Socket, maxConcurrentStreams: number, keepalive: Http2Keepalive | undefined) {
    this.socket = socket;
    const closed = Promise.withResolvers<void>();
    this.closed = closed.promise;
    const owner = { available: () => void this.available++, closed: () => closed.resolve() };
    this.connection = connectHttp2(streamOf(socket), owner, { maxConcurrentStreams, keepalive });
  }

  static async connect(port: number, maxConcurrentStreams = 1000, keepalive?: Http2Keepalive): Promise<TestClient> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'connect');
    socket.pause();
    return new TestClient(socket, maxConcurrentStreams, keepalive);
  }

  ask(set: Partial<UpstreamRequest> = {}, body?: string): Asked {
    const asked = new Asked();
    asked.stream = this.connection.open(
      {
        method: body === undefined ? 'GET' : 'POST',
        scheme: 'http',
        authority: 'shop.example.com',
        target: '/',
        fields: fields(),
        content: body === undefined ? 'none' : body.length,
        upgrade: undefined,
        ...set,
      },
      asked,
    );
    if (body !== undefined) {
      asked.stream.write(Buffer.from(body, 'latin1'));
      asked.stream.end(undefined);
    }
    return asked;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** A proxy that decides nothing: every request goes to one connection, with back-pressure both ways. */
export const relayTo =
  (connection: ClientConnection): ((served: Served) => void) =>
  (served) => {
    const { start, stream } = served;
    const upstream = connection.open(
      {
        method: start.method,
        scheme: 'http',
        authority: start.authority ?? '',
        target: start.method === 'CONNECT' ? (start.authority ?? '') : start.target,
        fields: start.fields,
        content: start.content,
        upgrade: start.upgrade,
      },
      {
        interim: (status, list) => stream.interim(status, list),
        response: (head, ends) => stream.respond(head, ends),
        data: (piece) => {
          if (!stream.write(piece)) upstream.pause();
        },
        end: (trailers) => stream.end(trailers),
        writable: () => stream.resume(),
        failed: (failure) => {
          if (!failure.answered)
            stream.respond({ status: 503, fields: fields(), content: 0, upgrade: undefined }, true);
          else stream.reset();
        },
      },
    );
    served.onPiece = (piece) => {
      if (!upstream.write(piece)) stream.pause();
    };
    served.onWritable = () => upstream.resume();
    served.onEnd = (trailers) => upstream.end(trailers);
    served.onAborted = () => upstream.reset();
  };
