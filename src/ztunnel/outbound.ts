// Connections that a pod's applications open, captured at port 15001. `decideOutbound` says where each goes; this file
// only does it: plain TCP, or a tunnel on a pooled HBONE connection. Runs once per connection; bytes are copy.ts's.
// A destination in the mesh is never reached in plaintext because its tunnel failed.

import type { Socket } from 'node:net';
import type { Expiring } from '../dataplane/deadlines.ts';
import { Connecting, ConnectingStream } from '../dataplane/endpoints.ts';
import {
  ConnectFailure,
  type Failure,
  failureOf,
  ioFailure,
  statusFailure,
  TUNNEL_ANSWER_TIMEOUT,
  TUNNEL_PORT_BLOCKED,
} from '../dataplane/failure.ts';
import { Pool, type PoolKey, poolKeyText } from '../dataplane/pool.ts';
import { driveLending } from '../dataplane/session-driver.ts';
import { type SpiffeId, sameSpiffeId } from '../model/identity.ts';
import { formatHostPort, type HostPort } from '../model/ip.ts';
import type { Addressee } from '../model/lookup.ts';
import { addresseeAt } from '../model/lookup.ts';
import {
  decideOutbound,
  type HboneRoute,
  type OutboundRoute,
  type PlainRoute,
  resolveOutbound,
} from '../model/outbound.ts';
import { unreachable } from '../model/result.ts';
import { peerOf } from '../model/traffic.ts';
import { type GatewayAddress, identityOf, type Workload } from '../model/workload.ts';
import { originalDestination } from '../platform/linux/sockets.ts';
import type { TcpStream } from '../platform/tcp/stream.ts';
import { secureMeshClient } from '../platform/tls/index.ts';
import {
  type ClientSession,
  type ConnectRequest,
  type HboneError,
  openClientSession,
  type ResetCode,
  type TunnelStream,
} from '../wire/hbone/index.ts';
import { TrackedConnection } from './connections.ts';
import { keepaliveOf, type PodContext, WORKLOAD_WAIT_MS } from './context.ts';
import { type Relay, StreamPair, TunnelRelay } from './copy.ts';
import { baggageOf } from './own-baggage.ts';
import { newTraceparent } from './trace.ts';

/** Tries of one CONNECT on other connections, when a pooled one turned out to be closing. No byte was sent by then. */
const MAX_RETRIES = 2;

/** The outbound side of one pod: hand accepted streams, not started, to `accept`. */
export class Outbound {
  readonly #pod: PodContext;
  readonly #pool: Pool<ClientSession>;

  constructor(pod: PodContext) {
    this.#pod = pod;
    this.#pool = new Pool({
      dial: (key) => dialTunnel(pod, key),
      clock: pod.clock,
      unusedReleaseMs: () => pod.settings.pool.unusedReleaseMs,
    });
  }

  readonly accept = (stream: TcpStream): void => {
    const pod = this.#pod;
    const client = stream.remote();
    const destination = originalDestination(stream.fd) ?? stream.local();
    if (client === undefined || destination === undefined) {
      stream.destroy();
      return;
    }
    if (pod.table.size >= pod.bounds.maxConnectionsPerPod) {
      pod.telemetry.denied({
        direction: 'outbound',
        sourceAddress: client,
        destinationAddress: destination,
        error: `too many connections of one pod: ${pod.table.size} are open`,
      });
      stream.reset();
      return;
    }
    new OutboundConnection(pod, this.#pool, stream, client, destination).begin();
  };

  /** Tunnels to come use new connections, made with the identity's new certificate. */
  rotated(identity: SpiffeId): void {
    this.#pool.retire(identity);
  }

  /** Pooled connections end when their tunnels are done. */
  close(): void {
    this.#pool.close();
  }
}

/** Opens an HBONE connection for the pool. @throws ConnectFailure, CertificateError, MeshTlsError */
async function dialTunnel(pod: PodContext, key: PoolKey): Promise<ClientSession> {
  const { settings } = pod;
  const certificate =
    pod.certificates.current(key.source) ?? (await pod.certificates.forIdentity(key.source, 'realTime'));
  const tcp = await new Promise<Socket>((resolve, reject) => {
    const failed = (failure: Failure): void => reject(new ConnectFailure(failure));
    const options = {
      destination: key.destination,
      mark: settings.listen.packetMark,
      keepalive: keepaliveOf(settings),
    };
    new Connecting(pod.netns, options, pod.connecting, resolve, failed, TUNNEL_PORT_BLOCKED);
  });
  const secured = await secureMeshClient(tcp, pod.clientContext(certificate), key.expected);
  if (!secured.ok) throw secured.error;
  const { socket } = secured.value;
  const session = openClientSession({
    transport: socket,
    environment: pod.environment,
    events: { onClosed: () => {} },
    limits: {
      streamWindowBytes: settings.hbone.streamWindowBytes,
      sendBufferBytes: settings.hbone.streamWindowBytes,
      connectionWindowBytes: settings.hbone.connectionWindowBytes,
      maxFrameBytes: settings.hbone.maxFrameBytes,
      maxConcurrentStreams: settings.pool.maxStreamsPerConnection,
    },
  });
  driveLending(socket, session);
  return session;
}

class OutboundConnection extends TrackedConnection implements Expiring {
  readonly #pod: PodContext;
  readonly #pool: Pool<ClientSession>;
  readonly #stream: TcpStream;
  readonly #client: HostPort;
  readonly #destination: HostPort;
  #source: Workload | undefined = undefined;
  #route: HboneRoute | PlainRoute | undefined = undefined;
  #connecting: ConnectingStream | undefined = undefined;
  #relay: Relay | undefined = undefined;
  #retries = 0;

  constructor(pod: PodContext, pool: Pool<ClientSession>, stream: TcpStream, client: HostPort, destination: HostPort) {
    super(pod.table, pod.telemetry);
    this.#pod = pod;
    this.#pool = pool;
    this.#stream = stream;
    this.#client = client;
    this.#destination = destination;
    pod.telemetry.sockets('source', 1);
  }

  begin(): void {
    const { state, pod } = this.#pod;
    const source = state.localWorkload(pod);
    const wanted = state.demand(`${state.world.network}/${this.#destination.ip}`);
    if (source !== undefined && wanted === undefined) this.#decide(source);
    else this.#later(this.#prepare(wanted));
  }

  async #prepare(wanted: Promise<void> | undefined): Promise<void> {
    const { state, pod } = this.#pod;
    const source = await state.waitForWorkload(pod, WORKLOAD_WAIT_MS);
    if (source === undefined) {
      this.#deny(`unknown source: no workload ${pod.namespace}/${pod.name} on this node in the control plane`);
      return;
    }
    await wanted;
    await this.#demandWaypoint(source);
    if (!this.over) this.#decide(source);
  }

  /** On-demand XDS: what the address stands for may name a waypoint that has to be asked for too. */
  async #demandWaypoint(source: Workload): Promise<void> {
    const { state } = this.#pod;
    const found: Addressee | undefined = addresseeAt(state.world, state.world.network, this.#destination.ip, source);
    if (found === undefined) return;
    const named: GatewayAddress[] = [];
    if (found.kind === 'workload') named.push(...(found.workload.waypoint ? [found.workload.waypoint] : []));
    else {
      if (found.service.waypoint !== undefined) named.push(found.service.waypoint);
      for (const { waypoint } of found.service.weightedWaypoints) named.push(waypoint);
    }
    for (const { destination } of named)
      await state.demand(
        destination.kind === 'address'
          ? `${destination.network}/${destination.ip}`
          : `${destination.namespace}/${destination.hostname}`,
      );
  }

  #decide(source: Workload): void {
    const { world } = this.#pod.state;
    const dial = { client: this.#client, destination: this.#destination };
    this.#take(source, decideOutbound(world, source, dial, this.#pod.random));
  }

  #take(source: Workload, route: OutboundRoute): void {
    switch (route.kind) {
      case 'reject':
        this.#deny(route.text);
        return;
      case 'resolve':
        this.#later(this.#resolve(source, route));
        return;
      case 'plain':
        this.#plain(source, route);
        return;
      case 'hbone':
        this.#tunnel(source, route);
        return;
      default:
        unreachable(route);
    }
  }

  async #resolve(source: Workload, route: OutboundRoute & { kind: 'resolve' }): Promise<void> {
    this.telemetry.onDemandDns(peerOf(source), route.hostname);
    const answers = await this.#pod.resolve(route.hostname).catch(() => []);
    if (!this.over) this.#take(source, resolveOutbound(route, answers, this.#pod.random));
  }

  #plain(source: Workload, route: PlainRoute): void {
    this.#source = source;
    this.#route = route;
    const { destination, service } = route;
    this.count({
      direction: 'outbound',
      sourceAddress: this.#client,
      source: peerOf(source),
      sourceIdentity: undefined,
      destinationAddress: route.hop,
      hboneAuthority: undefined,
      destination: destination && peerOf(destination),
      destinationIdentity: undefined,
      destinationService: service,
      originalDestination: this.#destination,
    });
    const { settings, netns, connecting } = this.#pod;
    const options = {
      destination: route.hop,
      mark: settings.listen.packetMark,
      keepalive: keepaliveOf(settings),
    };
    const connected = (upstream: TcpStream): void => {
      this.#connecting = undefined;
      this.#relay = new StreamPair(this.#stream, upstream, this, (failure) => this.finish(failure));
    };
    try {
      this.#connecting = new ConnectingStream(netns, options, connecting, connected, (failure) => this.#fail(failure));
    } catch (error) {
      this.#fail(failureOf(error));
    }
  }

  #tunnel(source: Workload, route: HboneRoute): void {
    this.#source = source;
    this.#route = route;
    const { service, destination } = route;
    const identity = identityOf(source);
    const authority = formatHostPort(route.authority);
    this.count({
      direction: 'outbound',
      sourceAddress: this.#client,
      source: peerOf(source),
      sourceIdentity: identity,
      destinationAddress: route.hop,
      hboneAuthority: authority,
      destination: peerOf(destination),
      destinationIdentity: identityOf(destination),
      destinationService: service,
      originalDestination: this.#destination,
    });
    const client = formatHostPort(this.#client);
    const request: ConnectRequest = {
      authority,
      headers: [
        ['baggage', baggageOf(source)],
        ['forwarded', service === undefined ? `for="${client}"` : `for="${client}";host=${service.hostname}`],
        ['traceparent', newTraceparent()],
      ],
    };
    this.#open(
      { source: identity, sourceIp: this.#client.ip, expected: route.expect, destination: route.hop },
      request,
    );
  }

  #open(key: PoolKey, request: ConnectRequest): void {
    const relay = new OutboundRelay(this, this.#stream, (error) => this.#refused(error, key, request));
    const text = poolKeyText(key);
    const stream = this.#pool.open(text, request, relay);
    if (stream !== undefined) this.#opened(relay, stream);
    else this.#later(this.#pool.openSoon(key, text, request, relay).then((opened) => this.#opened(relay, opened)));
  }

  #opened(relay: OutboundRelay, stream: TunnelStream): void {
    relay.bind(stream);
    if (this.over) {
      stream.reset('CANCEL');
      return;
    }
    this.#relay = relay;
    this.#pod.answers.add(this);
  }

  /** The peer's answer to CONNECT. */
  answered(relay: OutboundRelay, status: number): void {
    this.#pod.answers.delete(this);
    if (this.over) return;
    if (status === 200) relay.start();
    else this.#fail(statusFailure(status));
  }

  /** The tunnel was lost before it was answered. What cannot have been processed is tried on another connection. */
  #refused(error: HboneError, key: PoolKey, request: ConnectRequest): void {
    if (this.over) return;
    this.#relay = undefined;
    if ((!error.retriable && error.source !== 'transport') || this.#retries >= MAX_RETRIES) {
      this.#fail(failureOf(error));
      return;
    }
    this.#retries += 1;
    this.#open(key, request);
  }

  expired(): void {
    this.#fail(TUNNEL_ANSWER_TIMEOUT);
  }

  #fail(failure: Failure): void {
    this.end(failure, 'CANCEL');
  }

  /** Refused before it was decided where to go: no metrics, one line. */
  #deny(error: string): void {
    if (this.over) return;
    this.telemetry.denied({
      direction: 'outbound',
      sourceAddress: this.#client,
      destinationAddress: this.#destination,
      error,
    });
    this.end(ioFailure(error), 'CANCEL');
  }

  /** The end of everything asynchronous: a failure there is the connection's. */
  #later(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (this.info === undefined) this.#deny(failureOf(error).error);
      else this.#fail(failureOf(error));
    });
  }

  /** The copy has ended by itself. */
  finished(failure: Failure | undefined): void {
    this.finish(failure);
  }

  protected override finish(failure: Failure | undefined): void {
    if (this.over) return;
    super.finish(failure);
    this.#pod.answers.delete(this);
    this.telemetry.sockets('source', -1);
  }

  protected release(code: ResetCode): void {
    this.#connecting?.cancel();
    if (this.#relay !== undefined) this.#relay.cut(code);
    else this.#stream.reset();
  }

  /** A tunnel holds while both ends still have the identities that it was opened with. */
  stillAllowed(): boolean {
    const { route, source } = { route: this.#route, source: this.#source };
    if (route?.kind !== 'hbone' || source === undefined) return true;
    const { state, pod } = this.#pod;
    const now = state.localWorkload(pod);
    if (now !== undefined && !sameSpiffeId(identityOf(now), identityOf(source))) return false;
    const destination = state.world.workload(route.destination.uid);
    return destination === undefined || sameSpiffeId(identityOf(destination), identityOf(route.destination));
  }
}

/** The sink of an outbound tunnel: before the answer it speaks to the connection, afterwards it copies. */
class OutboundRelay extends TunnelRelay {
  readonly #connection: OutboundConnection;
  readonly #refused: (error: HboneError) => void;
  #started = false;

  constructor(connection: OutboundConnection, stream: TcpStream, refused: (error: HboneError) => void) {
    super(stream, 'outbound', connection, (failure) => connection.finished(failure));
    this.#connection = connection;
    this.#refused = refused;
  }

  response(status: number): void {
    this.#connection.answered(this, status);
  }

  override start(): void {
    this.#started = true;
    super.start();
  }

  override reset(error: HboneError): void {
    if (this.#started) super.reset(error);
    else this.#refused(error);
  }
}
