// A real engine over loopback: a gateway's port, or a waypoint's, endpoints that answer with the bytes a test gives them,
// and clients that send bytes. Nothing is faked between a client's socket and an endpoint's.

import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import {
  CertificateError,
  type Certificates,
  type WorkloadCertificate,
} from '../../dataplane/identity/workload-certificate.ts';
import type { HttpRouteRule, RouteFilter } from '../../model/http/route.ts';
import { route as httpRoute, routeRule } from '../../model/http/testing/builders.ts';
import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import { NO_FILTERS } from '../../model/proxy/filters.ts';
import type { ProxyConfig, ProxyListener } from '../../model/proxy/proxy-config.ts';
import type { RouteResource } from '../../model/proxy/route-resource.ts';
import {
  type BoundService,
  DEFAULT_TRAFFIC_POLICY,
  type ServiceConfig,
  type TrafficPolicy,
} from '../../model/proxy/service-config.ts';
import { DEFAULT_TELEMETRY } from '../../model/proxy/telemetry-config.ts';
import { ip, ports, service, workload } from '../../model/testing/builders.ts';
import type { Workload } from '../../model/workload.ts';
import { type Clock, systemClock } from '../../platform/clock.ts';
import { TestAuthority } from '../../platform/tls/testing.ts';
import { Registry } from '../../telemetry/registry.ts';
import { PortServer } from '../listeners/port-server.ts';
import { ProxyEngine } from '../proxy-engine.ts';

export const SERVICE = 'shop/order.shop.svc.cluster.local';
const OWN: SpiffeId = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'gateway' };

export class TestCertificates implements Certificates {
  readonly #authority: TestAuthority;
  readonly #held = new Map<string, WorkloadCertificate>();
  readonly #listeners = new Set<(certificate: WorkloadCertificate) => void>();

  constructor(authority: TestAuthority) {
    this.#authority = authority;
  }
  current(id: SpiffeId): WorkloadCertificate | undefined {
    return this.#held.get(formatSpiffeId(id));
  }
  async forIdentity(id: SpiffeId): Promise<WorkloadCertificate> {
    if (id.serviceAccount === 'refused') throw new CertificateError(id, 'refused by the test');
    const credential = await this.#authority.issue(formatSpiffeId(id));
    const certificate = { ...credential, notBeforeMs: Date.now(), notAfterMs: Date.now() + 3_600_000 };
    this.#held.set(formatSpiffeId(id), certificate);
    for (const listener of this.#listeners) listener(certificate);
    return certificate;
  }
  onRotate(listener: (certificate: WorkloadCertificate) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export const proxyConfig = (set: Partial<ProxyConfig> = {}): ProxyConfig => ({
  role: 'gateway',
  namespace: 'shop',
  name: 'gateway',
  listeners: [{ name: 'http', port: 80, protocol: 'HTTP', hostname: '*', tls: undefined, redirectsToHttps: false }],
  security: { policies: [], tokens: [] },
  filters: NO_FILTERS,
  telemetry: DEFAULT_TELEMETRY,
  authorizationProviders: [],
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  pathNormalization: 'BASE',
  trustedProxies: 0,
  writesClientIdentity: false,
  hboneIdleMs: 3_600_000,
  connectTimeoutMs: 10_000,
  ...set,
});

export const serviceConfig = (
  policy: Partial<TrafficPolicy> = {},
  set: Partial<ServiceConfig> = {},
): ServiceConfig => ({
  key: SERVICE,
  hostname: 'order.shop.svc.cluster.local',
  ports: [{ port: 80, name: 'http', protocol: 'http' }],
  resolution: 'endpoints',
  traffic: { policy: { ...DEFAULT_TRAFFIC_POLICY, ...policy }, ports: {}, subsets: [] },
  bound: undefined,
  subjectAltNames: [],
  ...set,
});

export const boundService = (set: Partial<BoundService> = {}): BoundService => ({
  security: { policies: [], tokens: [] },
  filters: NO_FILTERS,
  telemetry: undefined,
  ...set,
});

/** Forwards to `SERVICE`. */
export const forwards = (set: Partial<HttpRouteRule> = {}, filters: readonly RouteFilter[] = []): HttpRouteRule => ({
  ...routeRule('forward'),
  action: {
    kind: 'forward',
    backends: [{ target: { kind: 'service', service: SERVICE, port: 80, subset: undefined }, weight: 1, filters: [] }],
  },
  filters,
  ...set,
});

export const listenerRoute = (
  rules: readonly HttpRouteRule[],
  set: { readonly hosts?: readonly string[]; readonly listener?: string; readonly name?: string } = {},
): RouteResource => ({
  kind: 'http',
  origin: httpRoute(set.name ?? 'route', []).origin,
  attachments: [{ kind: 'listener', listener: set.listener ?? 'http', hosts: set.hosts ?? ['*'] }],
  order: 0,
  rules,
});

/** Sockets that a test made; all are gone when it ends. */
export class Sockets {
  readonly #servers: Server[] = [];
  readonly open = new Set<Socket>();

  keep(socket: Socket): Socket {
    this.open.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.open.delete(socket));
    return socket;
  }

  /** @returns its port on 127.0.0.1 */
  async listen(onConnection: (socket: Socket) => void): Promise<number> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => onConnection(this.keep(socket)));
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('no address');
    return address.port;
  }

  dial(port: number): Socket {
    return this.keep(dial({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true }));
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.open) socket.destroy();
  }
}

/** Reads what comes until it is enough; what is left stays for the next. */
export class Reader {
  #text = '';
  ended = false;
  #waiting: (() => void) | undefined = undefined;

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#waiting?.();
    });
    const over = (): void => {
      this.ended = true;
      this.#waiting?.();
    };
    socket.on('end', over);
    socket.on('close', over);
  }

  /** Waits until `enough` says how much to take. */
  async take(enough: (text: string, ended: boolean) => number | undefined, timeoutMs = 3_000): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const length = enough(this.#text, this.ended);
      if (length !== undefined) {
        const taken = this.#text.slice(0, length);
        this.#text = this.#text.slice(length);
        return taken;
      }
      const left = deadline - Date.now();
      if (left <= 0 || this.ended)
        throw new Error(`${this.ended ? 'ended' : 'too late'}; there is: ${JSON.stringify(this.#text)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** A head, with the empty line. */
  head(): Promise<string> {
    return this.take((text) => {
      const end = text.indexOf('\r\n\r\n');
      return end < 0 ? undefined : end + 4;
    });
  }
  bytes(count: number): Promise<string> {
    return this.take((text) => (text.length >= count ? count : undefined));
  }
  /** All, to the end of the connection. */
  all(): Promise<string> {
    return this.take((text, ended) => (ended ? text.length : undefined));
  }
  until(text: string): Promise<string> {
    return this.take((all) => {
      const at = all.indexOf(text);
      return at < 0 ? undefined : at + text.length;
    });
  }

  /** A whole response with a Content-Length or chunks. */
  async response(): Promise<{ readonly status: number; readonly head: string; readonly body: string }> {
    const head = await this.head();
    const status = Number(head.slice(9, 12));
    const length = /^content-length: (\d+)/im.exec(head)?.[1];
    if (length !== undefined) return { status, head, body: await this.bytes(Number(length)) };
    if (/^transfer-encoding: chunked/im.test(head)) {
      const raw = await this.until('0\r\n\r\n');
      const body = raw.replace(/([0-9a-f]+)\r\n([\s\S]*?)\r\n/g, (_, size: string, text: string) =>
        size === '0' ? '' : text,
      );
      return { status, head, body };
    }
    return { status, head, body: '' };
  }
}

/** An endpoint: hands each whole request head, with its socket, to the test. */
export type Answer = (request: string, socket: Socket, count: number) => void;

/** Answers 200 with the request's own head as body. */
export const echoHead: Answer = (request, socket) =>
  void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${request.length}\r\n\r\n${request}`);

export interface RigOptions {
  readonly proxy?: Partial<ProxyConfig>;
  readonly policy?: Partial<TrafficPolicy>;
  readonly service?: Partial<ServiceConfig>;
  readonly routes?: readonly RouteResource[];
  readonly clock?: Clock;
  readonly random?: () => number;
}

/** A gateway on a port of its own, and one service with one endpoint. */
export class Rig {
  readonly sockets = new Sockets();
  readonly parts: ProxyEngine;
  readonly registry: Registry;
  /** Of access logs. */
  lines: string[] = [];
  readonly #server: PortServer;
  port = 0;
  /** Requests that the endpoint got: heads. */
  readonly requests: string[] = [];
  /** Connections to the endpoint so far. */
  connections = 0;
  answer: Answer = echoHead;
  endpointPort = 0;

  private constructor(parts: ProxyEngine, registry: Registry) {
    this.parts = parts;
    this.registry = registry;
    const { engine, places, state, connectionTelemetry: telemetry } = parts;
    const certificateOf = (name: string) => state.certificate(name);
    this.#server = new PortServer({ engine, places, telemetry, certificateOf, maxConnections: 1_000 }, 80);
  }

  static async start(options: RigOptions = {}): Promise<Rig> {
    const registry = new Registry();
    const lines: string[] = [];
    const parts = new ProxyEngine({
      settings: {
        role: 'gateway',
        namespace: 'shop',
        podName: 'gateway-1',
        ip: ip('127.0.0.1'),
        gatewayName: 'gateway',
        identity: OWN,
        network: '',
        clusterId: 'Kubernetes',
        nodeId: 'router~127.0.0.1~gateway-1.shop~shop.svc.cluster.local',
      },
      certificates: new TestCertificates(await TestAuthority.create()),
      registry,
      sink: { write: (line) => void lines.push(line), flush: () => Promise.resolve(), dropped: 0 },
      clock: options.clock ?? systemClock,
      ...(options.random === undefined ? {} : { random: options.random }),
    });
    const rig = new Rig(parts, registry);
    const { state } = parts;
    parts.follow({ proxyChanged: () => {}, certificatesChanged: () => {} });
    rig.endpointPort = await rig.sockets.listen((socket) => rig.#connected(socket));
    state.applyAddresses(
      [
        {
          kind: 'service',
          service: service('order', { ports: ports('80:8080'), vips: [{ network: '', ip: ip('10.96.0.7') }] }),
        },
        { kind: 'workload', workload: rig.pod('order-1', rig.endpointPort) },
      ],
      [],
    );
    state.setService(SERVICE, serviceConfig(options.policy, options.service));
    const config = proxyConfig(options.proxy);
    state.setProxy(config);
    for (const [i, resource] of (options.routes ?? [listenerRoute([forwards()])]).entries())
      state.setRoute(`route-${i}`, resource);
    parts.places.refresh();
    rig.useListeners(config.listeners);
    rig.port = await rig.#server.listen('127.0.0.1', 0);
    rig.lines = lines;
    return rig;
  }

  useListeners(listeners: readonly ProxyListener[]): void {
    this.#server.update(listeners);
  }
  certificatesChanged(): void {
    this.#server.certificatesChanged();
  }

  /** An endpoint on 127.0.0.1. */
  pod(name: string, port: number, set: Partial<Workload> = {}): Workload {
    return workload(name, {
      addresses: [ip('127.0.0.1')],
      tunnelProtocol: 'none',
      services: new Map([[SERVICE, ports(`80:${port}`)]]),
      ...set,
    });
  }

  #connected(socket: Socket): void {
    this.connections += 1;
    let text = '';
    let count = 0;
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end + 4);
        // Content of a length is the request's; the rest is another's, or of a test that looks for itself.
        const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
        if (text.length < end + 4 + length) return;
        const request = text.slice(0, end + 4 + length);
        text = text.slice(end + 4 + length);
        this.requests.push(request);
        this.answer(request, socket, ++count);
      }
    });
    socket.on('end', () => socket.end());
  }

  /** A client that sends `bytes`. */
  client(bytes = ''): { readonly socket: Socket; readonly reader: Reader } {
    const socket = this.sockets.dial(this.port);
    if (bytes !== '') socket.write(bytes, 'latin1');
    return { socket, reader: new Reader(socket) };
  }

  /** Everything that comes back for `bytes`, whose request asks for the end of the connection. */
  async exchange(bytes: string): Promise<string> {
    return this.client(bytes).reader.all();
  }

  async get(
    path = '/',
    headers = '',
  ): Promise<{ readonly status: number; readonly head: string; readonly body: string }> {
    const { reader, socket } = this.client(`GET ${path} HTTP/1.1\r\nHost: shop.example.com\r\n${headers}\r\n`);
    try {
      return await reader.response();
    } finally {
      socket.destroy();
    }
  }

  close(): void {
    this.#server.abort();
    this.sockets.close();
    this.parts.close();
  }
}
