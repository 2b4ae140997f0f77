// A small mesh for tests: pods in network namespaces of their own with the redirection of an enrolled pod, a static
// world, a test authority, and real pod proxies in this process. Applications are sockets inside the namespaces.

import { createServer, type Server, type Socket } from 'node:net';
import {
  CertificateError,
  type Certificates,
  type WorkloadCertificate,
} from '../../dataplane/identity/workload-certificate.ts';
import { eventLoop } from '../../dataplane/session-driver.ts';
import { compilePolicies } from '../../model/compiled-policies.ts';
import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import { IndexedWorld } from '../../model/indexed-world.ts';
import type { HostPort, Ip } from '../../model/ip.ts';
import type { Policy } from '../../model/policy.ts';
import { service, workload } from '../../model/testing/builders.ts';
import type { Service, Workload } from '../../model/workload.ts';
import { systemClock } from '../../platform/clock.ts';
import { Links } from '../../platform/linux/links.ts';
import { Netns } from '../../platform/linux/netns.ts';
import { applyNft } from '../../platform/linux/nft.ts';
import { connectTcp, listenTcp, serve } from '../../platform/linux/sockets.ts';
import { TestNetwork, type TestPod } from '../../platform/linux/testing.ts';
import { TestAuthority } from '../../platform/tls/testing.ts';
import { connectionTelemetry } from '../../telemetry/connection-telemetry.ts';
import { configureLogging, logger } from '../../telemetry/log.ts';
import { Registry } from '../../telemetry/registry.ts';
import { type Bounds, clientContexts, DEFAULT_BOUNDS, type Services } from '../context.ts';
import type { DataPathSettings, MeshState, PodInfo, Telemetry } from '../contracts.ts';
import { PodProxy } from '../pod-proxy.ts';
import { Pods } from '../pods.ts';

const MARK = 0x539;
const RETURN_MARK = 0x111;

/** What the node agent does in an enrolled pod, without probes and DNS. */
export async function enrol(netns: Netns): Promise<void> {
  await applyNft(
    netns,
    `table inet test-ambient-mangle {
  chain prerouting {
    type filter hook prerouting priority -150
    meta mark and 0xfff == ${MARK} ct mark set ct mark and 0xfffff000 or ${RETURN_MARK}
  }
  chain output {
    type route hook output priority -150
    ct mark and 0xfff == ${RETURN_MARK} meta mark set ct mark
  }
}
table inet test-ambient-nat {
  chain prerouting {
    type nat hook prerouting priority -100
    ip daddr != 127.0.0.1 tcp dport != 15008 meta mark and 0xfff != ${MARK} redirect to :15006
    ip6 daddr != ::1 tcp dport != 15008 meta mark and 0xfff != ${MARK} redirect to :15006
  }
  chain output {
    type nat hook output priority -100
    meta l4proto tcp meta mark and 0xfff == ${RETURN_MARK} accept
    oifname lo ip daddr != 127.0.0.1 accept
    oifname lo ip6 daddr != ::1 accept
    ip daddr != 127.0.0.1 meta l4proto tcp meta mark and 0xfff != ${MARK} redirect to :15001
    ip6 daddr != ::1 meta l4proto tcp meta mark and 0xfff != ${MARK} redirect to :15001
  }
}
`,
  );
  using links = new Links(netns);
  for (const family of ['ipv4', 'ipv6'] as const) {
    links.addRule({ family, mark: RETURN_MARK, mask: 0xfff, table: 100, priority: 32764 });
    links.setRoute({ family, device: 'lo', table: 100, type: 'local' });
  }
}

/** State that tests change by hand. */
export class TestState implements MeshState {
  readonly world = new IndexedWorld('');
  readonly #policy = new Set<() => void>();
  readonly #workload = new Set<(now: Workload | undefined, before: Workload | undefined) => void>();

  localWorkload(pod: PodInfo): Workload | undefined {
    for (const found of this.world.workloads())
      if (found.name === pod.name && found.namespace === pod.namespace && found.serviceAccount === pod.serviceAccount)
        return found;
    return undefined;
  }
  async waitForWorkload(pod: PodInfo): Promise<Workload | undefined> {
    return this.localWorkload(pod);
  }
  onPolicyChange(listener: () => void): () => void {
    this.#policy.add(listener);
    return () => this.#policy.delete(listener);
  }
  onWorkloadChange(listener: (now: Workload | undefined, before: Workload | undefined) => void): () => void {
    this.#workload.add(listener);
    return () => this.#workload.delete(listener);
  }
  demand(): undefined {
    return undefined;
  }
  workload(...workloads: Workload[]): void {
    const changes = this.world.applyAddresses(workloads.map((w) => ({ kind: 'workload', workload: w })));
    for (const { now, before } of changes.workloads) for (const listener of this.#workload) listener(now, before);
  }
  service(...services: Service[]): void {
    this.world.applyAddresses(services.map((s) => ({ kind: 'service', service: s })));
  }
  policies(updates: readonly Policy[], removed: readonly string[] = []): void {
    this.world.applyPolicies(updates, removed);
    for (const listener of this.#policy) listener();
  }
}

export class TestCertificates implements Certificates {
  readonly #authority: TestAuthority;
  readonly #held = new Map<string, WorkloadCertificate>();
  readonly #listeners = new Set<(certificate: WorkloadCertificate) => void>();
  /** Identities that the authority refuses. */
  readonly refused = new Set<string>();

  constructor(authority: TestAuthority) {
    this.#authority = authority;
  }
  current(id: SpiffeId): WorkloadCertificate | undefined {
    return this.#held.get(formatSpiffeId(id));
  }
  async forIdentity(id: SpiffeId): Promise<WorkloadCertificate> {
    const uri = formatSpiffeId(id);
    if (this.refused.has(uri)) throw new CertificateError(id, `certificate of ${uri} refused by the test`);
    const credential = await this.#authority.issue(uri);
    const now = Date.now();
    const certificate = { ...credential, notBeforeMs: now, notAfterMs: now + 3_600_000 };
    this.#held.set(uri, certificate);
    return certificate;
  }
  async rotate(id: SpiffeId): Promise<void> {
    const certificate = await this.forIdentity(id);
    for (const listener of this.#listeners) listener(certificate);
  }
  onRotate(listener: (certificate: WorkloadCertificate) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export const TEST_SETTINGS: DataPathSettings = {
  network: '',
  nodeName: 'node-1',
  listen: { ipv6: true, reusePort: true, originalSource: 'require', packetMark: MARK, socks5: false },
  hbone: {
    streamWindowBytes: 4 << 20,
    connectionWindowBytes: 16 << 20,
    maxFrameBytes: 1 << 20,
    responseBaggage: true,
    tls12: false,
    postQuantumOnly: false,
  },
  pool: { maxStreamsPerConnection: 100, unusedReleaseMs: 300_000 },
  keepalive: { enabled: true, idleSeconds: 180, intervalSeconds: 180, retries: 9, userTimeout: false },
  localhostApplicationTunnel: true,
  policyDecisionsAtInfo: false,
  drainDeadlineMs: 5_000,
};

export interface MeshPod extends TestPod {
  readonly name: string;
  readonly uid: string;
}

export interface MeshOptions {
  readonly settings?: Partial<DataPathSettings>;
  readonly bounds?: Partial<Bounds>;
}

/** A pod proxy process, as far as it matters: its own pools, tables and proxies over the shared world. */
export class Ztunnel {
  readonly pods: Pods;
  constructor(services: Services) {
    this.pods = new Pods({
      make: (uid, pod, netns) => new PodProxy(services, { uid, pod, netns, startDns: undefined }),
      state: services.state,
      certificates: services.certificates,
      telemetry: services.telemetry,
    });
  }
  /** With a descriptor of its own, as over ZDS. */
  add(pod: MeshPod): Promise<void> {
    const info = { name: pod.name, namespace: 'shop', serviceAccount: pod.name };
    return this.pods.start(pod.uid, info, Netns.open(`/proc/self/fd/${pod.netns.fd}`));
  }
}

export class Mesh {
  readonly network = new TestNetwork(0);
  readonly state = new TestState();
  readonly certificates: TestCertificates;
  readonly registry = new Registry();
  readonly authority: TestAuthority;
  readonly services: Services;
  /** Every line of every logger, without its time. */
  readonly lines: string[] = [];
  readonly ztunnel: Ztunnel;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #ztunnels: Ztunnel[] = [];
  readonly #watchers = new Set<() => void>();

  private constructor(authority: TestAuthority, options: MeshOptions) {
    this.authority = authority;
    this.certificates = new TestCertificates(authority);
    configureLogging({
      sink: {
        write: (line) => {
          this.lines.push(line.slice(line.indexOf('\t') + 1).trimEnd());
          for (const watcher of this.#watchers) watcher();
        },
        flush: () => Promise.resolve(),
        dropped: 0,
      },
    });
    const telemetry: Telemetry = {
      ...connectionTelemetry(this.registry, logger('access')),
      proxyStarted() {},
      proxyStopped() {},
      activeProxies() {},
      pendingProxies() {},
    };
    const tls = {};
    this.services = {
      settings: { ...TEST_SETTINGS, ...options.settings },
      bounds: { ...DEFAULT_BOUNDS, ...options.bounds },
      state: this.state,
      authorizer: compilePolicies(this.state.world),
      certificates: this.certificates,
      telemetry,
      tls,
      clientContext: clientContexts(tls),
      clock: systemClock,
      random: Math.random,
      environment: eventLoop,
      log: logger('proxy'),
      resolve: () => Promise.reject(new Error('no names here')),
    };
    this.ztunnel = this.another();
  }

  static async create(options: MeshOptions = {}): Promise<Mesh> {
    return new Mesh(await TestAuthority.create(), options);
  }

  /** One more proxy process on the node, as during an upgrade. */
  another(services: Partial<Services> = {}): Ztunnel {
    const ztunnel = new Ztunnel({ ...this.services, ...services });
    this.#ztunnels.push(ztunnel);
    return ztunnel;
  }

  /** A pod `name` of namespace `shop`, enrolled and served by the first ztunnel, or another. */
  async pod(name: string, set: Partial<Workload> = {}, ztunnel = this.ztunnel): Promise<MeshPod> {
    const pod = this.bare(name);
    await enrol(pod.netns);
    this.state.workload(workload(name, { addresses: [pod.ip, pod.ip6], ...set }));
    await ztunnel.add(pod);
    return pod;
  }

  /** A pod outside the mesh, unknown to the control plane. */
  bare(name: string): MeshPod {
    return { ...this.network.addPod(), name, uid: `uid-${name}` };
  }

  /** A service over port 80 of pods that list it. */
  service(name: string, vip: string, set: Partial<Service> = {}): void {
    this.state.service(service(name, { vips: [{ network: '', ip: vip as Ip }], ...set }));
  }

  /** A server in the pod; `onConnection` as of `net.createServer`. */
  async listen(pod: TestPod, port: number, onConnection: (socket: Socket) => void, ip = '::'): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#keep(socket);
      onConnection(socket);
    });
    this.#servers.push(server);
    await serve(server, listenTcp(pod.netns, { ip: ip as Ip, port, backlog: 1024 }), 1024);
  }

  /** As an application in the pod dials. */
  dial(pod: TestPod, destination: HostPort): Socket {
    const socket = connectTcp(pod.netns, { destination, allowHalfOpen: true });
    this.#keep(socket);
    return socket;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Waits until a line, old or new, matches; `count` lines if given. */
  async line(pattern: RegExp, count = 1, timeoutMs = 5_000): Promise<string> {
    const found = (): string | undefined => this.lines.filter((line) => pattern.test(line))[count - 1];
    const ready = found();
    if (ready !== undefined) return ready;
    return new Promise((resolve, reject) => {
      const watcher = (): void => {
        const line = found();
        if (line !== undefined) end(() => resolve(line));
      };
      const end = (how: () => void): void => {
        clearTimeout(timer);
        this.#watchers.delete(watcher);
        how();
      };
      const timer = setTimeout(
        () => end(() => reject(new Error(`no line matches ${pattern}; there are:\n${this.lines.join('\n')}`))),
        timeoutMs,
      );
      this.#watchers.add(watcher);
    });
  }

  metric(pattern: RegExp): number {
    let sum = 0;
    for (const line of this.registry.render().split('\n'))
      if (!line.startsWith('#') && pattern.test(line)) sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    return sum;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
    for (const ztunnel of this.#ztunnels) await ztunnel.pods.drain(AbortSignal.abort());
    this.network[Symbol.dispose]();
  }
}
