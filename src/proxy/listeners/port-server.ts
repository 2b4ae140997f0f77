// One port of a gateway. Several listeners may share it: by server name where it is TLS, by the request's host where it is
// not; only the most specific one acts. Its socket stays while listeners come and go.

import { createServer, type Server, type Socket } from 'node:net';
import { ignoreErrors, localEnd, remoteEnd } from '../../dataplane/endpoints.ts';
import { hostOf } from '../../model/http/request.ts';
import type { HostPort } from '../../model/ip.ts';
import type { ProxyCertificate, ProxyListener } from '../../model/proxy/proxy-config.ts';
import type { ConnectionTelemetry } from '../../telemetry/connection.ts';
import { logger } from '../../telemetry/log.ts';
import type { Place, Places } from '../config/places.ts';
import type { ClientCertificate } from '../contracts.ts';
import type { Engine } from '../engine.ts';
import type { Visitor } from '../exchange/received.ts';
import { plainStream } from '../streams/plain-stream.ts';
import { SocketStream } from '../streams/socket-stream.ts';
import { proxyTcp } from '../tcp/tcp-proxy.ts';
import { readClientHello } from './client-hello.ts';
import { LiveConnections } from './live.ts';
import { serveStream } from './serve-stream.ts';
import { TlsTerminator } from './tls-terminator.ts';

const log = logger('gateway');
/** From accept to a whole ClientHello. */
const HELLO_MS = 10_000;
const MAX_HELLO_BYTES = 16 << 10;
const HTTP_PROTOCOLS = ['h2', 'http/1.1'];

export interface PortServerParts {
  readonly engine: Engine;
  readonly places: Places;
  readonly telemetry: ConnectionTelemetry;
  readonly certificateOf: (name: string) => ProxyCertificate | undefined;
  readonly maxConnections: number;
}

interface Known {
  readonly listener: ProxyListener;
  readonly terminator: TlsTerminator | undefined;
}

export class PortServer {
  readonly #parts: PortServerParts;
  readonly port: number;
  readonly #server: Server;
  /** Most specific host first. */
  #listeners: readonly Known[] = [];
  readonly #handshaking = new Set<Socket>();
  readonly live = new LiveConnections();

  constructor(parts: PortServerParts, port: number) {
    this.#parts = parts;
    this.port = port;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  /** @throws when the port is taken */
  listen(host: string, port = this.port): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, host, backlog: 1024 }, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) => log.error('a port failed', { port, error }));
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** Connections that exist go on; a listener that says the same keeps what was made of it. */
  update(listeners: readonly ProxyListener[]): void {
    this.#listeners = [...listeners]
      .sort((a, b) => compareHosts(a.hostname, b.hostname))
      .map((listener) => {
        const before = this.#listeners.find((each) => each.listener.name === listener.name);
        const same = before !== undefined && JSON.stringify(before.listener.tls) === JSON.stringify(listener.tls);
        return { listener, terminator: same ? before.terminator : this.#terminatorFor(listener) };
      });
    this.certificatesChanged();
  }

  #terminatorFor({ tls, name, protocol }: ProxyListener): TlsTerminator | undefined {
    if (tls?.mode !== 'terminate') return undefined;
    const { certificateOf } = this.#parts;
    try {
      return new TlsTerminator({
        tls,
        certificateOf,
        listener: name,
        protocols: protocol === 'HTTPS' ? HTTP_PROTOCOLS : [],
      });
    } catch (error) {
      log.error('TLS of a listener cannot be used; it refuses', { listener: name, error: (error as Error).message });
      return undefined;
    }
  }

  certificatesChanged(): void {
    for (const { terminator } of this.#listeners) terminator?.refresh();
  }

  #accept(socket: Socket): void {
    socket.on('error', ignoreErrors);
    const [remote, local] = [remoteEnd(socket), localEnd(socket)];
    const open = this.live.size + this.#handshaking.size;
    if (remote === undefined || local === undefined || open >= this.#parts.maxConnections) {
      socket.destroy();
      return;
    }
    const ends = { remote, local };
    if (this.#listeners.some(({ listener }) => listener.tls !== undefined)) this.#readHello(socket, ends);
    else this.#plain(socket, ends);
  }

  // ---- without TLS ----

  #plain(socket: Socket, ends: Ends): void {
    const stream = plainStream(socket, ends.local, ends.remote);
    const visitor = visitorOf(ends, undefined, false, undefined);
    const tcp = this.#listeners.find(({ listener }) => listener.protocol === 'TCP');
    const served = {
      stream,
      visitor,
      protocol: tcp === undefined ? ('http' as const) : ('tcp' as const),
      placeOf: (authority: string) => this.#placeOfHost(authority),
      place: () => tcp && this.#parts.places.listener(tcp.listener.name),
      http2: undefined,
    };
    serveStream(this.#parts.engine, served, this.#parts.telemetry, this.live);
  }

  /** Only the most specific listener's routes act (Gateway API: listener isolation). */
  #placeOfHost(authority: string): Place | undefined {
    const host = hostOf(authority.toLowerCase());
    const known = this.#listeners.find(
      ({ listener }) => listener.protocol === 'HTTP' && hostFits(listener.hostname, host),
    );
    return (known && this.#parts.places.listener(known.listener.name)) ?? this.#parts.places.own();
  }

  // ---- TLS ----

  /** Reads the ClientHello, puts it back, and lets the listener of its server name take over. */
  #readHello(socket: Socket, ends: Ends): void {
    this.#handshaking.add(socket);
    let read: Buffer = Buffer.alloc(0);
    const over = (): void => {
      timer.cancel();
      socket.off('data', more);
      socket.off('end', refuse);
      socket.off('close', over);
      this.#handshaking.delete(socket);
    };
    const refuse = (): void => {
      over();
      socket.destroy();
    };
    const timer = this.#parts.engine.clock.after(HELLO_MS, refuse);
    const more = (chunk: Buffer): void => {
      read = read.length === 0 ? chunk : Buffer.concat([read, chunk]);
      const hello = readClientHello(read);
      if (hello.kind === 'partial' && read.length < MAX_HELLO_BYTES) return;
      if (hello.kind !== 'hello') {
        log.info('connection refused: it begins with no ClientHello', { client: ends.remote.ip, port: this.port });
        refuse();
        return;
      }
      over();
      socket.pause();
      this.#secure(socket, ends, hello.serverName, read);
    };
    socket.on('data', more);
    socket.on('end', refuse);
    socket.on('close', over);
  }

  #secure(socket: Socket, ends: Ends, serverName: string | undefined, hello: Buffer): void {
    const known = this.#listeners.find(
      ({ listener }) => listener.tls !== undefined && hostFits(listener.hostname, serverName ?? ''),
    );
    if (known === undefined) {
      log.info('connection refused: no listener for its server name', { serverName, port: this.port });
      socket.destroy();
      return;
    }
    const { listener, terminator } = known;
    if (listener.tls?.mode === 'passthrough') {
      this.#passThrough(socket, ends, listener, serverName, hello);
      return;
    }
    if (terminator === undefined || !terminator.usable) {
      log.warn('connection refused: the listener has no certificate', { listener: listener.name });
      socket.destroy();
      return;
    }
    socket.unshift(hello);
    this.#handshaking.add(socket);
    terminator.accept(socket, (terminated) => {
      this.#handshaking.delete(socket);
      if (terminated === undefined) return;
      const { socket: secured, clientCertificate } = terminated;
      const stream = new SocketStream(secured, ends.local, ends.remote);
      const place = (): Place | undefined => this.#parts.places.listener(listener.name) ?? this.#parts.places.own();
      const http = listener.protocol === 'HTTPS';
      const served = {
        stream,
        visitor: visitorOf(ends, serverName, true, clientCertificate),
        protocol: http ? ('http' as const) : ('tcp' as const),
        placeOf: place,
        place,
        http2: http && secured.alpnProtocol ? secured.alpnProtocol === 'h2' : undefined,
      };
      if (http || serverName === undefined) serveStream(this.#parts.engine, served, this.#parts.telemetry, this.live);
      else this.#routeByName(stream, served.visitor, listener, serverName);
    });
  }

  #passThrough(
    socket: Socket,
    ends: Ends,
    listener: ProxyListener,
    serverName: string | undefined,
    hello: Buffer,
  ): void {
    const stream = new SocketStream(socket, ends.local, ends.remote);
    stream.unread(hello);
    this.#routeByName(stream, visitorOf(ends, serverName, false, undefined), listener, serverName ?? '');
  }

  /** As TCP, by TLS routes and then TCP routes. */
  #routeByName(stream: SocketStream, visitor: Visitor, listener: ProxyListener, serverName: string): void {
    const { engine, places, telemetry } = this.#parts;
    const place = places.listener(listener.name);
    if (place === undefined) {
      stream.reset();
      return;
    }
    const held = { drain() {}, abort: () => connection.cut() };
    const closed = (): void => this.live.delete(held);
    this.live.add(held);
    const connection = proxyTcp(engine, { stream, visitor, place, serverName, telemetry, closed });
  }

  // ---- the end ----

  /** Takes no more connections; those that exist finish what is under way. */
  drain(): void {
    this.#server.close();
    this.live.drain();
  }

  abort(): void {
    this.#server.close();
    this.live.abort();
    for (const socket of [...this.#handshaking]) setImmediate(() => socket.destroy());
  }
}

interface Ends {
  readonly remote: HostPort;
  readonly local: HostPort;
}

const visitorOf = (
  { remote, local }: Ends,
  serverName: string | undefined,
  secure: boolean,
  clientCertificate: ClientCertificate | undefined,
): Visitor => ({
  client: {
    source: remote,
    destination: local,
    identity: undefined,
    peer: undefined,
    serverName,
    secure,
    clientCertificate,
  },
  connection: { source: remote, identity: undefined, destination: local },
  edge: true,
});

const hostFits = (pattern: string, host: string): boolean =>
  pattern === '*' ||
  pattern === host ||
  (pattern.startsWith('*.') && host.endsWith(pattern.slice(1)) && host.length >= pattern.length);

/** Exact before wildcard, longer wildcards first. */
function compareHosts(a: string, b: string): number {
  const wild = Number(a.startsWith('*')) - Number(b.startsWith('*'));
  if (wild !== 0) return wild;
  return b.length - a.length || (a < b ? -1 : a > b ? 1 : 0);
}
