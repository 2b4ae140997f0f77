// A waypoint on loopback: a client that tunnels as a ztunnel does, and an endpoint behind a tunnel of its own. Identities
// are real: every hop is mutual TLS with certificates of one authority.

import { connect, createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { drive, eventLoop } from '../../dataplane/session-driver.ts';
import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import type { ProxyConfig } from '../../model/proxy/proxy-config.ts';
import type { RouteResource } from '../../model/proxy/route-resource.ts';
import type { BoundService, ServiceConfig } from '../../model/proxy/service-config.ts';
import { ip, ports, service, workload } from '../../model/testing/builders.ts';
import { type Clock, systemClock } from '../../platform/clock.ts';
import { createMeshClientContext, createMeshServer, secureMeshClient } from '../../platform/tls/index.ts';
import { TestAuthority } from '../../platform/tls/testing.ts';
import { Registry } from '../../telemetry/registry.ts';
import {
  type ClientSession,
  type ConnectRequest,
  type InboundTunnel,
  openClientSession,
  openServerSession,
} from '../../wire/hbone/index.ts';
import { WaypointServer } from '../listeners/waypoint-server.ts';
import { ProxyEngine } from '../proxy-engine.ts';
import { boundService, proxyConfig, SERVICE, serviceConfig, TestCertificates } from './rig.ts';

const WAYPOINT: SpiffeId = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'waypoint' };
export const VIP = '10.96.0.7';

/** One tunnel of the client: what it said, and what comes back. */
export class ClientTunnel {
  status = 0;
  text = '';
  ended = false;
  wasReset = false;
  readonly answered = Promise.withResolvers<number>();
  #changed: () => void = () => {};
  write!: (text: string) => void;
  end!: () => void;

  response(status: number): void {
    this.status = status;
    this.answered.resolve(status);
  }
  took(text: string): void {
    this.text += text;
    this.#changed();
  }
  over(reset: boolean): void {
    this.ended = true;
    this.wasReset ||= reset;
    this.answered.resolve(this.status);
    this.#changed();
  }
  async until(enough: (text: string) => boolean, timeoutMs = 3_000): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    while (!enough(this.text)) {
      const left = deadline - Date.now();
      if (left <= 0 || this.ended)
        throw new Error(`${this.ended ? 'ended' : 'too late'}: ${JSON.stringify(this.text)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.text;
  }
}

export interface WaypointOptions {
  readonly proxy?: Partial<ProxyConfig>;
  readonly bound?: Partial<BoundService>;
  readonly service?: Partial<ServiceConfig>;
  readonly routes?: readonly RouteResource[];
  readonly clock?: Clock;
}

/** Answers a request on a tunnel of the endpoint. */
export type TunnelAnswer = (request: string, write: (text: string) => void) => void;

export class WaypointRig {
  readonly authority: TestAuthority;
  readonly parts: ProxyEngine;
  readonly server: WaypointServer;
  readonly certificates: TestCertificates;
  port = 0;
  /** CONNECT requests that the endpoint's side got, with who asked. */
  readonly tunnels: { readonly request: ConnectRequest; readonly peer: string }[] = [];
  readonly requests: string[] = [];
  answer: TunnelAnswer = (request, write) =>
    write(`HTTP/1.1 200 OK\r\nContent-Length: ${request.length}\r\n\r\n${request}`);
  #endpoint: Server | undefined = undefined;
  readonly #sockets = new Set<Socket>();

  private constructor(authority: TestAuthority, parts: ProxyEngine, certificates: TestCertificates) {
    this.authority = authority;
    this.parts = parts;
    this.certificates = certificates;
    const { engine, destinations, connectionTelemetry: telemetry } = parts;
    this.server = new WaypointServer({
      engine,
      destinations,
      telemetry,
      environment: eventLoop,
      maxConnections: 1_000,
    });
  }

  static async start(options: WaypointOptions = {}): Promise<WaypointRig> {
    const authority = await TestAuthority.create();
    const certificates = new TestCertificates(authority);
    const parts = new ProxyEngine({
      settings: {
        role: 'waypoint',
        namespace: 'shop',
        podName: 'waypoint-1',
        ip: ip('127.0.0.1'),
        gatewayName: 'waypoint',
        identity: WAYPOINT,
        network: '',
        clusterId: 'Kubernetes',
        nodeId: 'waypoint~127.0.0.1~waypoint-1.shop~shop.svc.cluster.local',
      },
      certificates,
      registry: new Registry(),
      sink: { write() {}, flush: () => Promise.resolve(), dropped: 0 },
      clock: options.clock ?? systemClock,
    });
    const rig = new WaypointRig(authority, parts, certificates);
    const { state } = parts;
    parts.follow({ proxyChanged() {}, certificatesChanged() {} });
    rig.server.useCertificate(await certificates.forIdentity(WAYPOINT));
    await rig.#listen();
    const vips = [{ network: '', ip: ip(VIP) }];
    state.applyAddresses(
      [
        { kind: 'service', service: service('order', { ports: ports('80:8080'), vips }) },
        {
          kind: 'workload',
          workload: workload('order', {
            addresses: [ip('127.0.0.2')],
            services: new Map([[SERVICE, ports('80:8080')]]),
          }),
        },
      ],
      [],
    );
    state.setService(SERVICE, serviceConfig({}, { bound: boundService(options.bound), ...options.service }));
    state.setProxy(proxyConfig({ role: 'waypoint', name: 'waypoint', listeners: [], ...options.proxy }));
    for (const [i, resource] of (options.routes ?? []).entries()) state.setRoute(`route-${i}`, resource);
    parts.places.refresh();
    rig.port = await rig.server.listen(0, '127.0.0.1');
    return rig;
  }

  /** The endpoint's ztunnel: 127.0.0.2:15008, identity of the workload. */
  async #listen(): Promise<void> {
    const credential = await this.authority.issue('spiffe://cluster.local/ns/shop/sa/order');
    const mesh = createMeshServer({
      credential,
      onFailure: () => {},
      onSecured: ({ socket, peer }) => {
        this.#keep(socket);
        const session = openServerSession({
          transport: socket,
          environment: eventLoop,
          events: { onClosed: () => {}, onConnect: (request, tunnel) => this.#tunnel(request, tunnel, peer.uri) },
        });
        drive(socket, session);
      },
    });
    const server = createServer((raw) => mesh.accept(this.#keep(raw)));
    this.#endpoint = server;
    await new Promise<void>((resolve) => server.listen(15008, '127.0.0.2', resolve));
  }

  #keep<S extends Socket | TLSSocket>(socket: S): S {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }

  #tunnel(request: ConnectRequest, tunnel: InboundTunnel, peer: string): void {
    this.tunnels.push({ request, peer });
    let text = '';
    tunnel.respond(200, []);
    tunnel.attach({
      data: (chunk) => {
        tunnel.consumed(chunk.length);
        text += chunk.toString('latin1');
        const end = text.indexOf('\r\n\r\n');
        if (end < 0) return;
        const whole = text;
        text = '';
        this.requests.push(whole);
        this.answer(whole, (answer) => void tunnel.write(Buffer.from(answer, 'latin1')));
      },
      end: () => tunnel.end(),
      reset() {},
      writable() {},
    });
  }

  /** A connection as the ztunnel of a workload makes it. */
  async client(account = 'client', trustDomain = 'cluster.local'): Promise<ClientSession> {
    const id = { trustDomain, namespace: 'shop', serviceAccount: account };
    const context = createMeshClientContext(await this.authority.issue(formatSpiffeId(id)));
    const raw = this.#keep(connect({ host: '127.0.0.1', port: this.port, noDelay: true }));
    await new Promise<void>((resolve, reject) => raw.once('connect', resolve).once('error', reject));
    const secured = await secureMeshClient(raw, context, [WAYPOINT]);
    if (!secured.ok) throw secured.error;
    const { socket } = secured.value;
    const session = openClientSession({ transport: socket, environment: eventLoop, events: { onClosed: () => {} } });
    drive(socket, session);
    return session;
  }

  /** A tunnel for an authority; `bytes` go with it. */
  open(session: ClientSession, authority: string, bytes = ''): ClientTunnel {
    const tunnel = new ClientTunnel();
    const stream = session.open(
      { authority, headers: [['baggage', 'k8s.namespace.name=shop,k8s.deployment.name=client,service.name=client']] },
      {
        response: (status) => tunnel.response(status),
        data: (chunk) => {
          stream.consumed(chunk.length);
          tunnel.took(chunk.toString('latin1'));
        },
        end: () => tunnel.over(false),
        reset: () => tunnel.over(true),
        writable() {},
      },
    );
    tunnel.write = (text) => void stream.write(Buffer.from(text, 'latin1'));
    tunnel.end = () => stream.end();
    if (bytes !== '') tunnel.write(bytes);
    return tunnel;
  }

  async close(): Promise<void> {
    this.server.abort();
    this.parts.close();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#endpoint?.close(resolve));
  }
}
