// The tunnel port of a waypoint: mutual TLS of the mesh, then CONNECT requests for services and workloads that this
// waypoint stands before. What is not ours is refused, never passed on.
// Statuses are ztunnel's: 400 not an address or not ours, 503 unknown.

import { createServer, type Server, type Socket } from 'node:net';
import { ignoreErrors, localEnd, remoteEnd } from '../../dataplane/endpoints.ts';
import type { WorkloadCertificate } from '../../dataplane/identity/workload-certificate.ts';
import { drive } from '../../dataplane/session-driver.ts';
import { type Authority, parseAuthority } from '../../model/authority.ts';
import type { SpiffeId } from '../../model/identity.ts';
import { formatHostPort, type HostPort } from '../../model/ip.ts';
import { type Peer, sourcePeer } from '../../model/traffic.ts';
import { createMeshServer, type MeshServer, type SecuredSocket } from '../../platform/tls/index.ts';
import type { ConnectionTelemetry } from '../../telemetry/connection.ts';
import { logger } from '../../telemetry/log.ts';
import { parseBaggage } from '../../wire/baggage.ts';
import {
  type ConnectRequest,
  headerValues,
  type InboundTunnel,
  openServerSession,
  type ServerSession,
  type SessionEnvironment,
} from '../../wire/hbone/index.ts';
import type { Destinations } from '../config/destinations.ts';
import type { ClientInfo } from '../contracts.ts';
import type { Engine } from '../engine.ts';
import { TunnelByteStream, TunnelEvents } from '../streams/tunnel-stream.ts';
import { LiveConnections } from './live.ts';
import { serveStream } from './serve-stream.ts';

const log = logger('hbone');

/** Istio's waypoints. */
const MAX_STREAMS = 100;
const HANDSHAKE_MS = 10_000;
/** How long an address that is not known yet is waited for. */
const LOOKUP_MS = 5_000;
/** Descriptions of clients that are kept. */
const MAX_PEERS = 4_096;

export interface WaypointServerParts {
  readonly engine: Engine;
  readonly destinations: Destinations;
  readonly telemetry: ConnectionTelemetry;
  readonly environment: SessionEnvironment;
  readonly maxConnections: number;
}

export class WaypointServer {
  readonly #parts: WaypointServerParts;
  readonly #server: Server;
  readonly #sessions = new Set<ServerSession>();
  /** Handshakes under way, too. */
  readonly #sockets = new Set<Socket>();
  readonly #peers = new Map<string, Peer | undefined>();
  readonly live = new LiveConnections();
  #mesh: MeshServer | undefined = undefined;
  #draining = false;

  constructor(parts: WaypointServerParts) {
    this.#parts = parts;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  /** Handshakes from now on show this certificate; connections that exist go on. */
  useCertificate(credential: WorkloadCertificate): void {
    if (this.#mesh !== undefined) {
      this.#mesh.rotate(credential);
      return;
    }
    this.#mesh = createMeshServer({
      credential,
      handshakeTimeoutMs: HANDSHAKE_MS,
      onSecured: (secured) => this.#secured(secured),
      onFailure: (error, socket) => {
        const peer = remoteEnd(socket);
        log.warn('tunnel connection refused', { peer: peer && formatHostPort(peer), error: error.message });
      },
    });
  }

  /** @throws when the port is taken */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, host, backlog: 1024 }, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) => log.error('the tunnel port failed', { error }));
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  #accept(socket: Socket): void {
    socket.on('error', ignoreErrors);
    if (this.#mesh === undefined || this.#sockets.size >= this.#parts.maxConnections) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    this.#mesh.accept(socket);
  }

  #secured({ socket, peer }: SecuredSocket): void {
    const [remote, local] = [remoteEnd(socket), localEnd(socket)];
    if (remote === undefined || local === undefined) {
      socket.destroy();
      return;
    }
    const session: ServerSession = openServerSession({
      transport: socket,
      environment: this.#parts.environment,
      limits: { maxConcurrentStreams: MAX_STREAMS },
      events: {
        onClosed: () => this.#sessions.delete(session),
        onConnect: (request, tunnel) => this.#connect(request, tunnel, remote, peer.identity),
      },
    });
    this.#sessions.add(session);
    drive(socket, session);
    if (this.#draining) session.drain();
  }

  #connect(request: ConnectRequest, tunnel: InboundTunnel, remote: HostPort, identity: SpiffeId): void {
    const authority = parseAuthority(request.authority);
    if (authority === undefined) {
      this.#refuse(tunnel, request, remote, 400, 'the authority is neither an address nor a host name');
      return;
    }
    const waits = this.#parts.destinations.wait(authority, LOOKUP_MS);
    if (waits === undefined) this.#serve(authority, request, tunnel, remote, identity);
    else void waits.then(() => this.#serve(authority, request, tunnel, remote, identity));
  }

  #serve(
    authority: Authority,
    request: ConnectRequest,
    tunnel: InboundTunnel,
    remote: HostPort,
    identity: SpiffeId,
  ): void {
    const found = this.#parts.destinations.find(authority);
    if (found.kind === 'refused') {
      this.#refuse(tunnel, request, remote, found.status, found.why);
      return;
    }
    const { address, protocol, place } = found;
    const stream = new TunnelByteStream(address, remote);
    stream.bind(tunnel);
    tunnel.respond(200, []);
    const client: ClientInfo = {
      source: remote,
      destination: address,
      identity,
      peer: this.#peer(request, remote),
      serverName: undefined,
      secure: true,
      clientCertificate: undefined,
    };
    const visitor = { client, connection: { source: remote, identity, destination: address }, edge: false };
    const served = { stream, visitor, protocol, placeOf: place, place, http2: undefined };
    serveStream(this.#parts.engine, served, this.#parts.telemetry, this.live);
    tunnel.attach(new TunnelEvents(stream));
  }

  /** One object for each description, so that labels are made once. */
  #peer(request: ConnectRequest, remote: HostPort): Peer | undefined {
    const { world } = this.#parts.destinations;
    const known = world.workloadAt(world.network, remote.ip);
    const baggage = headerValues(request.headers, 'baggage');
    if (known !== undefined && baggage.length === 0) return sourcePeer(known, parseBaggage(baggage));
    const key = `${known?.uid ?? ''} ${baggage.join(',')}`;
    if (this.#peers.has(key)) return this.#peers.get(key);
    const peer = sourcePeer(known, parseBaggage(baggage));
    if (this.#peers.size >= MAX_PEERS) this.#peers.clear();
    this.#peers.set(key, peer);
    return peer;
  }

  #refuse(tunnel: InboundTunnel, request: ConnectRequest, remote: HostPort, status: number, error: string): void {
    log.warn('tunnel refused', {
      peer: formatHostPort(remote),
      authority: request.authority.slice(0, 300),
      status,
      error,
    });
    tunnel.respond(status, [], true);
  }

  /** New connections go elsewhere; GOAWAY on those that exist; exchanges in tunnels finish. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#server.close();
    for (const session of [...this.#sessions]) session.drain();
    this.live.drain();
  }

  abort(): void {
    this.#server.close();
    this.live.abort();
    for (const session of [...this.#sessions]) session.abort();
    // INVARIANT (one destroyer): a socket below TLS is never destroyed in the turn in which TLS destroys it.
    setImmediate(() => {
      for (const socket of [...this.#sockets]) socket.destroy();
    });
  }
}
