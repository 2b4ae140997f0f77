// A gRPC server on node:http2 over TLS: just what discovery and the certificate service need. Own code instead of a
// framework, since pushes are large, shared byte buffers that must not be copied or built as objects for each proxy, and
// because every bound on what a peer may do should stand in one place. Runs per RPC and per message.

import type { IncomingHttpHeaders } from 'node:http2';
import {
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import type { Call, Method } from './call.ts';
import { GrpcFailure, refuse } from './failure.ts';
import { runStream, runUnary } from './run.ts';

const log = logger('grpc');

export interface ServerCredentials {
  /** PEM. */
  readonly key: string;
  /** PEM, leaf first. */
  readonly cert: string;
  /** PEM: authorities of client certificates. A client need not have one; if it has, it must verify. */
  readonly clientRoots: string;
}

export interface GrpcServerOptions {
  readonly host: string;
  readonly port: number;
  readonly credentials: ServerCredentials;
  readonly methods: ReadonlyMap<string, Method>;
  readonly clock: Clock;
  readonly maxUnusedConnections?: number;
}

/** What a peer may do. */
const MAX_CONNECTIONS = 10_000;
/** Connections that have made no call yet; beyond it the oldest of them goes. */
const MAX_UNUSED_CONNECTIONS = 500;
const MAX_STREAMS_PER_CONNECTION = 200;
const MAX_HEADER_BYTES = 64 * 1024;
const RECEIVE_WINDOW_BYTES = 1024 * 1024;
const SESSION_MEMORY_MB = 64;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** A connection that has made no call for so long after its start is closed. */
const FIRST_CALL_TIMEOUT_MS = 10_000;
/** As istiod: GRPC_KEEPALIVE_INTERVAL and GRPC_KEEPALIVE_TIMEOUT. */
const PING_INTERVAL_MS = 30_000;
const PING_TIMEOUT_MS = 10_000;

export class GrpcServer {
  readonly #server: Http2SecureServer;
  readonly #methods: ReadonlyMap<string, Method>;
  readonly #clock: Clock;
  readonly #sessions = new Set<ServerHttp2Session>();
  /** Those that have made no call, oldest first. */
  readonly #unused = new Set<ServerHttp2Session>();
  readonly #maxUnused: number;

  private constructor({ credentials, methods, clock, maxUnusedConnections }: GrpcServerOptions) {
    this.#maxUnused = maxUnusedConnections ?? MAX_UNUSED_CONNECTIONS;
    this.#methods = methods;
    this.#clock = clock;
    this.#server = createSecureServer({
      ...tlsOptions(credentials),
      allowHTTP1: false,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.2',
      requestCert: true,
      rejectUnauthorized: false, // judged below: a client without certificate shows a token instead
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      maxSessionMemory: SESSION_MEMORY_MB,
      settings: {
        enablePush: false,
        maxConcurrentStreams: MAX_STREAMS_PER_CONNECTION,
        maxHeaderListSize: MAX_HEADER_BYTES,
        initialWindowSize: RECEIVE_WINDOW_BYTES,
      },
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('secureConnection', refuseUnverified);
    this.#server.on('tlsClientError', (error) => log.debug('tls handshake failed', { error }));
    this.#server.on('sessionError', (error) => log.debug('connection failed', { error }));
    this.#server.on('session', (session) => this.#follow(session));
    this.#server.on('stream', (stream, headers) => this.#accept(stream, headers));
  }

  /** Resolves once connections are accepted; rejects when the address cannot be had. */
  static async listen(options: GrpcServerOptions): Promise<GrpcServer> {
    const made = new GrpcServer(options);
    await new Promise<void>((resolve, reject) => {
      made.#server.once('error', reject);
      made.#server.listen(options.port, options.host, () => {
        made.#server.off('error', reject);
        made.#server.on('error', (error) => log.error('listener failed', { error }));
        resolve();
      });
    });
    return made;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#sessions.size;
  }

  /** For new connections; those that stand go on. */
  setCredentials(credentials: ServerCredentials): void {
    this.#server.setSecureContext(tlsOptions(credentials));
  }

  /** Accepts no more and says so; calls may go on until the deadline, then everything is closed. */
  async stop(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.close();
    const timer = this.#clock.after(graceMs, () => {
      for (const session of this.#sessions) session.destroy();
    });
    await closed;
    timer.cancel();
  }

  /** Pings, and ends connections that do not answer or never ask anything. */
  #follow(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    this.#unused.add(session);
    session.once('stream', () => this.#unused.delete(session));
    const first = this.#clock.after(FIRST_CALL_TIMEOUT_MS, () => {
      if (this.#unused.has(session)) session.destroy();
    });
    if (this.#unused.size > this.#maxUnused) {
      const [oldest = session] = this.#unused;
      this.#unused.delete(oldest);
      oldest.destroy();
    }
    let next: Timer;
    const ping = (): void => {
      if (session.closed || session.destroyed) return;
      next = this.#clock.after(PING_TIMEOUT_MS, () => session.destroy());
      const sent = session.ping((error) => {
        next.cancel();
        if (error === null) next = this.#clock.after(PING_INTERVAL_MS, ping);
      });
      if (!sent) session.destroy();
    };
    next = this.#clock.after(PING_INTERVAL_MS, ping);
    session.on('error', (error) => log.debug('connection failed', { error }));
    session.once('close', () => {
      this.#sessions.delete(session);
      this.#unused.delete(session);
      first.cancel();
      next.cancel();
    });
  }

  #accept(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', (error) => log.debug('stream failed', { error }));
    stream.once('aborted', () => stream.destroy()); // else it waits for writes that nobody will read
    const path = String(headers[':path'] ?? '');
    const contentType = String(headers['content-type'] ?? '');
    if (headers[':method'] !== 'POST' || !/^application\/grpc($|[+;])/.test(contentType)) {
      stream.respond({ ':status': 415 }, { endStream: true });
      stream.close();
      return;
    }
    const method = this.#methods.get(path);
    const abort = new AbortController();
    stream.once('close', () => abort.abort());
    const call: Call = {
      path,
      headers,
      peer: peerOf(stream.session?.socket),
      clientCertificate: certificateOf(stream.session?.socket as TLSSocket | undefined),
      signal: abort.signal,
    };
    if (method === undefined) {
      refuse(stream, new GrpcFailure('Unimplemented', `this server has no method \`${path.slice(0, 200)}\``));
      return;
    }
    if (method.kind === 'unary') runUnary(stream, call, method, this.#clock);
    else runStream(stream, call, method);
  }
}

const tlsOptions = ({ key, cert, clientRoots }: ServerCredentials): { key: string; cert: string; ca: string } => ({
  key,
  cert,
  ca: clientRoots,
});

/** A certificate that is shown must be one of ours; half an identity is none. */
function refuseUnverified(socket: TLSSocket): void {
  if (socket.authorized || Object.keys(socket.getPeerCertificate()).length === 0) return;
  log.info('connection refused: the client certificate does not verify', {
    peer: peerOf(socket),
    reason: String(socket.authorizationError),
  });
  socket.destroy();
}

const certificateOf = (socket: TLSSocket | undefined): Uint8Array | undefined =>
  socket?.authorized === true ? socket.getPeerCertificate().raw : undefined;

const peerOf = (socket: { remoteAddress?: string | undefined; remotePort?: number | undefined } | undefined): string =>
  `${socket?.remoteAddress ?? ''}:${socket?.remotePort ?? ''}`;
