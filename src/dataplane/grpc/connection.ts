// A gRPC client connection: TLS, one HTTP/2 session on node:http2, calls on it. Lean on purpose (see wire/grpc).
// It never reconnects: who holds it decides when a new one is made. Runs per RPC and per message, not on the data path.

import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { isIP } from 'node:net';
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../../platform/clock.ts';
import { encodeMessage, MessageReader } from '../../wire/grpc/framing.ts';
import { type Metadata, type StatusName, statusOfHeaders, statusOfTrailers } from '../../wire/grpc/status.ts';

export interface GrpcTarget {
  readonly host: string;
  readonly port: number;
  /** PEM, one or more; undefined trusts what Node trusts. */
  readonly roots: string | readonly string[];
  /** A second name that the server's certificate may carry instead of `host`. */
  readonly alternativeName?: string | undefined;
  /** Also TLS 1.2; otherwise 1.3 alone. */
  readonly tls12: boolean;
}

/**
 * `start`: the call never began (no connection, or the server refused before its first message); `stream`: it ended
 * later. `transport`: the connection broke, the server said nothing.
 */
export class GrpcError extends Error {
  readonly status: StatusName;
  readonly stage: 'start' | 'stream';
  readonly transport: boolean;
  constructor(
    status: StatusName,
    message: string,
    where: { readonly stage: 'start' | 'stream'; readonly transport: boolean; readonly cause?: unknown },
  ) {
    super(message, where.cause === undefined ? undefined : { cause: where.cause });
    this.status = status;
    this.stage = where.stage;
    this.transport = where.transport;
  }
}

const notConnected = (message: string, cause?: unknown): GrpcError =>
  new GrpcError('Unavailable', message, { stage: 'start', transport: true, cause });

const CONNECT_TIMEOUT_MS = 5_000;
const TLS_TIMEOUT_MS = 5_000;
/** Istio's proxy: TCP keepalive, and HTTP/2 PING (istiod accepts one every 15 s). */
const KEEPALIVE = { enable: true, initialDelay: 300_000, interval: 75_000, count: 9 };
const PING_INTERVAL_MS = 30_000;
const PING_TIMEOUT_MS = 10_000;
/** A first push is megabytes: with the protocol's default of 64 KiB it would come in round trips. */
const STREAM_WINDOW_BYTES = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
/** Requests that the server does not read. */
const MAX_UNSENT_BYTES = 32 * 1024 * 1024;

function openTls(target: GrpcTarget, clock: Clock, signal: AbortSignal | undefined): Promise<TLSSocket> {
  const { host, port } = target;
  const where = `${host}:${port}`;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(notConnected(`connection to ${where} was not wanted any more`));
      return;
    }
    const socket = connectTls({
      host,
      port,
      ca: [target.roots].flat(),
      ALPNProtocols: ['h2'],
      minVersion: target.tls12 ? 'TLSv1.2' : 'TLSv1.3',
      ...(isIP(host) === 0 ? { servername: host } : {}),
      checkServerIdentity(_host, certificate) {
        const error = checkServerIdentity(host, certificate);
        if (error === undefined || target.alternativeName === undefined) return error;
        return checkServerIdentity(target.alternativeName, certificate) === undefined ? undefined : error;
      },
    });
    let timer: Timer;
    const stop = (error: GrpcError): void => {
      timer.cancel();
      signal?.removeEventListener('abort', aborted);
      socket.off('error', failed);
      socket.on('error', () => {}); // What comes after is of no interest, but must not be unhandled.
      socket.destroy();
      reject(error);
    };
    const failed = (cause: Error): void => stop(notConnected(`no connection to ${where}: ${cause.message}`, cause));
    const aborted = (): void => stop(notConnected(`connection to ${where} was not wanted any more`));
    const tooLate = (phase: string, ms: number): Timer =>
      clock.after(ms, () => stop(notConnected(`no connection to ${where}: no ${phase} in ${ms / 1000} s`)));
    timer = tooLate('answer', CONNECT_TIMEOUT_MS);
    signal?.addEventListener('abort', aborted, { once: true });
    socket.once('error', failed);
    socket.once('connect', () => {
      timer.cancel();
      timer = tooLate('TLS handshake', TLS_TIMEOUT_MS);
    });
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol !== 'h2') {
        stop(notConnected(`no connection to ${where}: the server does not speak HTTP/2`));
        return;
      }
      timer.cancel();
      signal?.removeEventListener('abort', aborted);
      socket.off('error', failed);
      socket.setKeepAlive(KEEPALIVE);
      resolve(socket);
    });
  });
}

/** @throws GrpcError with stage `start` when no TLS connection that speaks HTTP/2 comes about in 10 s */
export async function connectGrpc(target: GrpcTarget, clock: Clock, signal?: AbortSignal): Promise<GrpcConnection> {
  const socket = await openTls(target, clock, signal);
  const authority = `https://${isIP(target.host) === 6 ? `[${target.host}]` : target.host}:${target.port}`;
  const session = connectHttp2(authority, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
    maxHeaderListPairs: 100,
  });
  return new GrpcConnection(session, clock);
}

export interface StreamHandlers {
  /** The server answered with headers: the call is under way. */
  onStart?(): void;
  onMessage(message: Uint8Array): void;
  /** Exactly once, last; undefined when the server ended the call with OK. */
  onEnd(error: GrpcError | undefined): void;
}

export interface GrpcStream {
  send(message: Uint8Array): void;
  /** Ends it from our side; `onEnd` follows, with this status. */
  cancel(status?: StatusName, why?: string): void;
}

/** A call's HTTP/2 stream, from request headers to the one call of `onEnd`. */
class Call implements GrpcStream {
  readonly #stream: ClientHttp2Stream;
  readonly #handlers: StreamHandlers;
  readonly #reader: MessageReader;
  #started = false;
  #ended = false;
  #transportError: Error | undefined;

  constructor(stream: ClientHttp2Stream, maxMessageBytes: number, handlers: StreamHandlers) {
    this.#stream = stream;
    this.#handlers = handlers;
    this.#reader = new MessageReader(maxMessageBytes);
    stream.on('response', (headers) => {
      const status = statusOfHeaders(headers as Metadata);
      if (status !== undefined) {
        if (status.name === 'OK') this.#end(undefined);
        else this.#fail(status.name, status.message);
        return;
      }
      this.#started = true;
      handlers.onStart?.();
    });
    stream.on('data', (chunk: Buffer) => {
      if (this.#ended) return;
      const messages = this.#reader.push(chunk);
      if (!messages.ok) {
        this.#fail('Internal', `server sent ${messages.error}`);
        return;
      }
      for (const message of messages.value) if (!this.#ended) handlers.onMessage(message);
    });
    stream.on('trailers', (trailers) => {
      const status = statusOfTrailers(trailers as Metadata);
      if (status === undefined) return; // `close` reports a call without a status.
      if (status.name !== 'OK') this.#fail(status.name, status.message);
      else if (this.#reader.pendingBytes > 0) this.#fail('Internal', 'server ended in the middle of a message');
      else this.#end(undefined);
    });
    stream.on('error', (error) => {
      this.#transportError ??= error;
    });
    stream.on('close', () => {
      const why = this.#transportError?.message ?? `the connection was lost (HTTP/2 code ${stream.rstCode})`;
      this.#fail('Unavailable', why, true);
    });
  }

  send(message: Uint8Array): void {
    if (this.#ended || this.#stream.destroyed || this.#stream.writableEnded) return;
    this.#stream.write(encodeMessage(message));
    if (this.#stream.writableLength > MAX_UNSENT_BYTES)
      this.#fail('ResourceExhausted', `server left ${this.#stream.writableLength} bytes of requests unread`);
  }

  finishSending(): void {
    this.#stream.end();
  }

  cancel(status: StatusName = 'Cancelled', why = 'cancelled by us'): void {
    this.#fail(status, why);
  }

  #fail(status: StatusName, message: string, transport = false): void {
    const stage = this.#started ? 'stream' : 'start';
    this.#end(new GrpcError(status, message || status, { stage, transport, cause: this.#transportError }));
  }

  #end(error: GrpcError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    if (!this.#stream.closed) this.#stream.close(8 /* CANCEL */);
    this.#handlers.onEnd(error);
  }
}

export class GrpcConnection {
  readonly #session: ClientHttp2Session;
  readonly #clock: Clock;
  #pinger: Timer;
  #usable = true;

  /** @param session  over a finished TLS connection */
  constructor(session: ClientHttp2Session, clock: Clock) {
    this.#session = session;
    this.#clock = clock;
    session.on('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    });
    session.on('error', () => this.#retire()); // Each stream reports it.
    session.on('goaway', () => this.#retire());
    session.on('close', () => {
      this.#retire();
      this.#pinger.cancel();
    });
    this.#pinger = clock.after(PING_INTERVAL_MS, () => this.#ping());
  }

  /** False once it has ended or the server asked for no more calls on it. */
  get usable(): boolean {
    return this.#usable && !this.#session.closed && !this.#session.destroyed;
  }

  #retire(): void {
    this.#usable = false;
  }

  #ping(): void {
    this.#pinger = this.#clock.after(PING_TIMEOUT_MS, () => {
      const seconds = PING_TIMEOUT_MS / 1000;
      this.#session.destroy(new Error(`the server did not answer a ping in ${seconds} s`));
    });
    const sent = this.#session.ping((error) => {
      if (error !== null) return; // The session is ending; `close` follows.
      this.#pinger.cancel();
      this.#pinger = this.#clock.after(PING_INTERVAL_MS, () => this.#ping());
    });
    if (!sent) this.#session.destroy(new Error('a ping could not be sent'));
  }

  /** Starts a bidirectional call. Nothing is thrown: a call that cannot start ends through `onEnd`, in a later turn. */
  stream(
    path: string,
    metadata: Readonly<Record<string, string>>,
    maxMessageBytes: number,
    handlers: StreamHandlers,
  ): GrpcStream {
    return this.#call(path, metadata, maxMessageBytes, handlers) ?? { send() {}, cancel() {} };
  }

  #call(
    path: string,
    metadata: Readonly<Record<string, string>>,
    maxMessageBytes: number,
    handlers: StreamHandlers,
  ): Call | undefined {
    let stream: ClientHttp2Stream;
    try {
      // node:http2 would send them, a line break included.
      for (const [name, value] of Object.entries(metadata))
        if (!/^[\x20-\x7e]*$/.test(value))
          throw new Error(`metadata \`${name}\` has characters that no header may have`);
      stream = this.#session.request(
        {
          ...metadata,
          ':method': 'POST',
          ':path': path,
          te: 'trailers',
          'content-type': 'application/grpc+proto',
          'user-agent': 'ambit',
        },
        { endStream: false },
      );
    } catch (cause) {
      const error = new GrpcError(
        'Unavailable',
        `call not started: ${cause instanceof Error ? cause.message : cause}`,
        {
          stage: 'start',
          transport: true,
        },
      );
      queueMicrotask(() => handlers.onEnd(error));
      return undefined;
    }
    return new Call(stream, maxMessageBytes, handlers);
  }

  /** One request, one response. @throws GrpcError (async) */
  unary(
    path: string,
    metadata: Readonly<Record<string, string>>,
    request: Uint8Array,
    limits: { readonly timeoutMs: number; readonly maxMessageBytes: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      let answer: Uint8Array | undefined;
      let timer: Timer | undefined;
      const abort = (): void => call?.cancel();
      const withTimeout = { ...metadata, 'grpc-timeout': `${limits.timeoutMs}m` };
      const call = this.#call(path, withTimeout, limits.maxMessageBytes, {
        onMessage(message) {
          answer ??= message;
        },
        onEnd(error) {
          timer?.cancel();
          limits.signal?.removeEventListener('abort', abort);
          if (error !== undefined) reject(error);
          else if (answer !== undefined) resolve(answer);
          else
            reject(new GrpcError('Internal', 'server ended without an answer', { stage: 'stream', transport: false }));
        },
      });
      if (call === undefined) return;
      timer = this.#clock.after(limits.timeoutMs, () =>
        call.cancel('DeadlineExceeded', `no answer in ${limits.timeoutMs / 1000} s`),
      );
      limits.signal?.addEventListener('abort', abort, { once: true });
      call.send(request);
      call.finishSending();
      if (limits.signal?.aborted) abort();
    });
  }

  /** At once; calls under way end as broken. */
  close(): void {
    this.#retire();
    this.#pinger.cancel();
    this.#session.destroy();
  }
}
