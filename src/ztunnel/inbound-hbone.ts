// Tunnels into a pod, at port 15008: TLS with the pod's own certificate, then HTTP/2 that carries CONNECT requests.
// `decideInboundHbone` says what is asked for, policy whether it may, this file does it. Statuses are Istio's:
// 400 malformed or not ours, 401 policy, 503 unknown or unreachable.

import type { Socket } from 'node:net';
import type { Expiring } from '../dataplane/deadlines.ts';
import { type ConnectingStream, ignoreErrors, localEnd, remoteEnd } from '../dataplane/endpoints.ts';
import { type Failure, failureOf, policyRejection } from '../dataplane/failure.ts';
import type { WorkloadCertificate } from '../dataplane/identity/workload-certificate.ts';
import { driveLending } from '../dataplane/session-driver.ts';
import { parseAuthority } from '../model/authority.ts';
import type { Connection } from '../model/connection.ts';
import type { SpiffeId } from '../model/identity.ts';
import { decideInboundHbone, type InboundForward } from '../model/inbound.ts';
import type { HostPort } from '../model/ip.ts';
import { HBONE_PORT } from '../model/ports.ts';
import { peerOf, sourcePeer } from '../model/traffic.ts';
import { identityOf, type Workload } from '../model/workload.ts';
import { resetSocket } from '../platform/linux/sockets.ts';
import type { TcpStream } from '../platform/tcp/stream.ts';
import { createMeshServer, type MeshServer, type SecuredSocket } from '../platform/tls/index.ts';
import { type Baggage, parseBaggage } from '../wire/baggage.ts';
import {
  type ConnectRequest,
  type HeaderList,
  headerValue,
  headerValues,
  type InboundTunnel,
  openServerSession,
  type ResetCode,
  type ServerSession,
} from '../wire/hbone/index.ts';
import { encodeProxyHeader } from '../wire/proxy-protocol.ts';
import { TrackedConnection } from './connections.ts';
import { HANDSHAKE_TIMEOUT_MS, type PodContext, WORKLOAD_WAIT_MS } from './context.ts';
import { TunnelRelay } from './copy.ts';
import { type ToApplication, toApplication } from './inbound-app.ts';
import { judge } from './judge.ts';
import { baggageOf } from './own-baggage.ts';

export interface InboundHboneOptions {
  /** Keep the client's address toward the application; the proxy's own pod never does. */
  readonly keepSource: boolean;
  /** The listener's identity when it is not the workload's (own pod: the trust domain is a setting). */
  readonly identity?: SpiffeId;
}

/** The tunnel port of one pod: hand accepted sockets (paused) to `accept`. */
export class InboundHbone {
  readonly pod: PodContext;
  readonly application: ToApplication;
  readonly options: InboundHboneOptions;
  /** By their two ends: the TLS server hands its own sockets back, not the accepted ones. */
  readonly #connections = new Map<string, TunnelConnection>();
  #tls: MeshServer | undefined = undefined;
  #certificate: WorkloadCertificate | undefined = undefined;
  /** Tunnels whose application has not answered. */
  pending = 0;

  #draining = false;
  #idle: PromiseWithResolvers<void> | undefined = undefined;

  constructor(pod: PodContext, options: InboundHboneOptions) {
    this.pod = pod;
    this.options = options;
    this.application = toApplication(pod);
  }

  get draining(): boolean {
    return this.#draining;
  }

  readonly accept = (socket: Socket): void => {
    const { bounds, handshakes } = this.pod;
    socket.on('error', ignoreErrors);
    const peer = remoteEnd(socket);
    const local = localEnd(socket);
    if (peer === undefined || local === undefined) {
      socket.destroy();
      return;
    }
    if (this.#connections.size >= bounds.maxTunnelConnectionsPerPod) {
      this.denied(peer, local, `too many tunnel connections of one pod: ${this.#connections.size} are open`);
      resetSocket(socket);
      return;
    }
    // Who connects and says nothing makes room for who does.
    if (handshakes.size >= bounds.maxHandshakesPerPod) {
      const { oldest } = handshakes;
      if (oldest !== undefined) {
        handshakes.delete(oldest);
        oldest.expired();
      }
    }
    const connection = new TunnelConnection(this, socket, peer, local);
    this.#connections.set(connection.ends, connection);
    connection.begin();
  };

  /** The TLS server keeps one certificate; a newer one replaces it for handshakes from now on. */
  handshake(socket: Socket, certificate: WorkloadCertificate): void {
    if (this.#tls === undefined)
      this.#tls = createMeshServer({
        ...this.pod.tls,
        credential: certificate,
        handshakeTimeoutMs: 2 * HANDSHAKE_TIMEOUT_MS, // ours comes first; both at once would be two destroyers
        onSecured: (secured) => {
          const connection = this.#connections.get(endsOf(secured.socket));
          if (connection === undefined) secured.socket.destroy();
          else connection.serve(secured);
        },
        onFailure: (error, failed) => this.#connections.get(endsOf(failed))?.failed(error.message),
      });
    else if (certificate !== this.#certificate) this.#tls.rotate(certificate);
    this.#certificate = certificate;
    this.#tls.accept(socket);
  }

  closed(connection: TunnelConnection): void {
    if (this.#connections.get(connection.ends) === connection) this.#connections.delete(connection.ends);
    if (this.#connections.size > 0 || this.#idle === undefined) return;
    this.#idle.resolve();
    this.#idle = undefined;
  }

  /**
   * GOAWAY on every connection: live tunnels finish, new ones go elsewhere. A handshake under way is finished first, so
   * that a client which was accepted is not cut off.
   */
  drain(): void {
    this.#draining = true;
    for (const connection of this.#connections.values()) connection.drain();
  }

  /** Resolves when no connection is left; for draining, after which none comes. */
  idle(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
  }

  /** At once, tunnels included. */
  close(): void {
    for (const connection of this.#connections.values()) connection.abort();
  }

  denied(peer: HostPort, local: HostPort, error: string): void {
    this.pod.telemetry.denied({ direction: 'inbound', sourceAddress: peer, destinationAddress: local, error });
  }
}

const endsOf = (socket: Socket): string =>
  `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;

/** One TLS connection: handshake, then a session. */
class TunnelConnection implements Expiring {
  readonly #owner: InboundHbone;
  readonly #socket: Socket;
  readonly peer: HostPort;
  readonly local: HostPort;
  readonly ends: string;
  #session: ServerSession | undefined = undefined;
  #over = false;

  constructor(owner: InboundHbone, socket: Socket, peer: HostPort, local: HostPort) {
    this.#owner = owner;
    this.#socket = socket;
    this.peer = peer;
    this.local = local;
    this.ends = endsOf(socket);
    owner.pod.telemetry.sockets('destination', 1);
    owner.pod.handshakes.add(this);
    socket.once('close', () => this.#closed());
  }

  begin(): void {
    this.#certificate()
      .then((certificate) => {
        if (!this.#over) this.#owner.handshake(this.#socket, certificate);
      })
      .catch((error: unknown) => this.refuse(failureOf(error).error));
  }

  /** The certificate is fetched lazily: the handshake waits for the workload and for the authority. */
  async #certificate(): Promise<WorkloadCertificate> {
    const { state, pod, certificates } = this.#owner.pod;
    const workload = state.localWorkload(pod) ?? (await state.waitForWorkload(pod, WORKLOAD_WAIT_MS));
    if (workload === undefined)
      throw new Error(
        `unknown destination: no workload ${pod.namespace}/${pod.name} on this node in the control plane`,
      );
    const identity = this.#owner.options.identity ?? identityOf(workload);
    return certificates.current(identity) ?? certificates.forIdentity(identity, 'realTime');
  }

  serve({ socket, peer }: SecuredSocket): void {
    const { pod } = this.#owner;
    pod.handshakes.delete(this);
    if (this.#over) return;
    const { hbone } = pod.settings;
    const session = openServerSession({
      transport: socket,
      environment: pod.environment,
      limits: {
        streamWindowBytes: hbone.streamWindowBytes,
        connectionWindowBytes: hbone.connectionWindowBytes,
        maxFrameBytes: hbone.maxFrameBytes,
      },
      events: {
        onClosed: () => {},
        onConnect: (request, stream) =>
          new InboundConnection(this.#owner, this, peer.identity, request, stream).begin(),
      },
    });
    this.#session = session;
    driveLending(socket, session);
    if (this.#owner.draining) session.drain();
  }

  /** Refused before the TLS layer has an opinion, or whatever it does. */
  refuse(error: string): void {
    if (this.#over) return;
    this.failed(error);
    this.#socket.destroy();
  }

  /**
   * The handshake failed, and the TLS layer closes its socket. INVARIANT (one destroyer): destroying the socket below it
   * in the same turn as well makes Node 24 crash.
   */
  failed(error: string): void {
    if (this.#over) return;
    this.#owner.denied(this.peer, this.local, error);
    this.#closed();
  }

  expired(): void {
    this.refuse(`no handshake within ${HANDSHAKE_TIMEOUT_MS} ms`);
  }

  drain(): void {
    this.#session?.drain();
  }

  abort(): void {
    if (this.#session !== undefined) this.#session.abort();
    else this.#socket.destroy();
    this.#closed();
  }

  #closed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#owner.pod.handshakes.delete(this);
    this.#owner.pod.telemetry.sockets('destination', -1);
    this.#owner.closed(this);
  }
}

/** Bounds how much of a peer's text goes into lines and labels. */
const MAX_AUTHORITY = 300;

/** One tunnel request, and the tunnel that it becomes. */
class InboundConnection extends TrackedConnection {
  readonly #owner: InboundHbone;
  readonly #peer: HostPort;
  readonly #local: HostPort;
  readonly #identity: SpiffeId;
  readonly #request: ConnectRequest;
  readonly #stream: InboundTunnel;
  #judged: Connection | undefined = undefined;
  #connecting: ConnectingStream | undefined = undefined;
  #relay: TunnelRelay | undefined = undefined;

  constructor(
    owner: InboundHbone,
    connection: TunnelConnection,
    identity: SpiffeId,
    request: ConnectRequest,
    stream: InboundTunnel,
  ) {
    super(owner.pod.table, owner.pod.telemetry);
    this.#owner = owner;
    this.#peer = connection.peer;
    this.#local = connection.local;
    this.#identity = identity;
    this.#request = request;
    this.#stream = stream;
  }

  begin(): void {
    const { pod } = this.#owner;
    const { state, bounds } = pod;
    if (pod.table.size > bounds.maxConnectionsPerPod) {
      this.#deny(503, `too many connections of one pod: ${pod.table.size} are open`);
      return;
    }
    if (this.#owner.pending >= bounds.maxPendingTunnelsPerPod) {
      this.#deny(503, `too many tunnels wait for the application: ${this.#owner.pending}`);
      return;
    }
    const destination = state.localWorkload(pod.pod);
    if (destination === undefined) {
      this.#deny(503, `unknown destination: no workload ${pod.pod.namespace}/${pod.pod.name} on this node`);
      return;
    }
    const wanted = this.#demand();
    if (wanted === undefined) this.#decide(destination);
    else
      wanted.then(
        () => {
          if (!this.over) this.#decide(state.localWorkload(pod.pod) ?? destination);
        },
        (error: unknown) => this.#deny(503, failureOf(error).error),
      );
  }

  /** On-demand XDS: what else than this pod is asked for may not be known yet. */
  #demand(): Promise<void> | undefined {
    const { state, pod } = this.#owner.pod;
    const authority = parseAuthority(this.#request.authority);
    if (authority === undefined) return undefined;
    if (authority.kind === 'hostname') return state.demand(`${pod.namespace}/${authority.hostname}`);
    return authority.at.ip === this.#local.ip ? undefined : state.demand(`${state.world.network}/${authority.at.ip}`);
  }

  #decide(destination: Workload): void {
    const { pod } = this.#owner;
    const { headers, authority } = this.#request;
    const decision = decideInboundHbone(
      pod.state.world,
      destination,
      {
        authority,
        localIp: this.#local.ip,
        peer: this.#peer,
        identity: this.#identity,
        forwardedNetwork: headerValue(headers, 'x-forwarded-network'),
        forwardedHost: forwardedHost(headerValue(headers, 'forwarded')),
      },
      pod.settings,
    );
    if (decision.kind === 'refuse') {
      this.#deny(decision.status, decision.text);
      return;
    }
    this.#forward(destination, decision);
  }

  #forward(destination: Workload, decision: InboundForward): void {
    const { pod, application, options } = this.#owner;
    const { headers } = this.#request;
    this.count({
      direction: 'inbound',
      sourceAddress: this.#peer,
      source: decision.source === undefined ? sourcePeer(undefined, baggageIn(headers)) : peerOf(decision.source),
      sourceIdentity: this.#identity,
      destinationAddress: { ip: this.#local.ip, port: HBONE_PORT },
      hboneAuthority: this.#request.authority.slice(0, MAX_AUTHORITY),
      destination: peerOf(destination),
      destinationIdentity: options.identity ?? identityOf(destination),
      destinationService: decision.service,
      originalDestination: decision.connection.destination,
    });
    this.#judged = decision.connection;
    const verdict = judge(pod, destination, decision.connection);
    if (verdict.effect === 'deny') {
      this.#refuse(401, policyRejection(verdict.reason));
      return;
    }
    this.#owner.pending += 1;
    this.#connecting = application.connect(
      decision.dial,
      decision.keepSource && options.keepSource ? this.#peer.ip : undefined,
      (application) => this.#connected(application, destination, decision),
      (failure) => {
        this.#answered();
        this.#refuse(503, failure);
      },
    );
  }

  #answered(): void {
    this.#connecting = undefined;
    this.#owner.pending -= 1;
  }

  #connected(application: TcpStream, destination: Workload, { proxyHeader }: InboundForward): void {
    this.#answered();
    const { responseBaggage } = this.#owner.pod.settings.hbone;
    if (proxyHeader !== undefined) application.write(encodeProxyHeader(proxyHeader));
    const relay = new TunnelRelay(application, 'inbound', this, (failure) => this.finish(failure));
    relay.bind(this.#stream);
    this.#relay = relay;
    this.#stream.respond(200, responseBaggage ? [['baggage', baggageOf(destination)]] : []);
    relay.start();
    this.#stream.attach(relay);
  }

  /** Counted, and refused: the status is the whole answer. */
  #refuse(status: number, failure: Failure): void {
    if (this.over) return;
    this.finish(failure);
    this.#stream.respond(status, [], true);
  }

  #deny(status: number, error: string): void {
    this.#owner.denied(this.#peer, this.#local, error);
    this.#refuse(status, { flag: 'CONNECT', error });
  }

  protected release(code: ResetCode): void {
    if (this.#connecting !== undefined) {
      this.#connecting.cancel();
      this.#answered();
      this.#stream.respond(code === 'REFUSED_STREAM' ? 401 : 503, [], true);
    } else if (this.#relay !== undefined) this.#relay.cut(code);
    else this.#stream.reset(code);
  }

  stillAllowed(): boolean {
    const { state, pod, authorizer } = this.#owner.pod;
    const destination = state.localWorkload(pod);
    if (this.#judged === undefined || destination === undefined) return true;
    if (this.#owner.options.identity === undefined && destination.trustDomain !== this.#identity.trustDomain)
      return false;
    return authorizer.authorize(destination, this.#judged).effect === 'allow';
  }
}

const baggageIn = (headers: HeaderList): Baggage => parseBaggage(headerValues(headers, 'baggage'));

/** Of `forwarded` only `host=` is read, and only for telemetry. */
function forwardedHost(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=');
    if (at < 0 || pair.slice(0, at).trim().toLowerCase() !== 'host') continue;
    const value = pair.slice(at + 1).trim();
    return value.startsWith('"') && value.endsWith('"') && value.length > 1 ? value.slice(1, -1) : value;
  }
  return undefined;
}
