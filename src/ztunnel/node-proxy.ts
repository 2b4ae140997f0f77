// The whole ztunnel of a node, put together: control plane, certificates, pods, endpoints, and the order in which they
// start and end. One object a process; nothing in it is global.
//
//   start: endpoints ── discovery ── first state ──> pods (node agent, own pod)      ready when all tasks are
//   end:   node agent left, listeners closed, GOAWAY ── connections finish, or the deadline cuts them ──> everything else

import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { XdsClient } from '../dataplane/ads/client.ts';
import { DeltaProtocol } from '../dataplane/ads/protocol.ts';
import { CaClient, type CertificateSource } from '../dataplane/identity/ca-client.ts';
import { CertificateCache } from '../dataplane/identity/certificates.ts';
import { eventLoop } from '../dataplane/session-driver.ts';
import { compilePolicies } from '../model/compiled-policies.ts';
import { type Ip, parseIp } from '../model/ip.ts';
import { type Clock, systemClock } from '../platform/clock.ts';
import { Netns } from '../platform/linux/netns.ts';
import { SeqpacketConnection } from '../platform/linux/seqpacket.ts';
import { connectionTelemetry } from '../telemetry/connection-telemetry.ts';
import { type HttpEndpoint, metricsHandler, serveHttp } from '../telemetry/http-endpoint.ts';
import { logger } from '../telemetry/log.ts';
import { registerProcessMetrics } from '../telemetry/process-metrics.ts';
import { ReadinessTasks, readinessHandler } from '../telemetry/readiness.ts';
import { Registry } from '../telemetry/registry.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../wire/xds/names.ts';
import { adminHandler } from './admin/handler.ts';
import type { Config } from './config.ts';
import { describeConfig } from './config-description.ts';
import { type Bounds, clientContexts, DEFAULT_BOUNDS, type Services } from './context.ts';
import type { StartPodDns, Telemetry } from './contracts.ts';
import { parseNameservers } from './dns/resolv-conf.ts';
import { createPodDns } from './dns/server.ts';
import type { LocalState } from './local-state.ts';
import { PodProxy } from './pod-proxy.ts';
import { Pods } from './pods.ts';
import { LocalIdentities, ZtunnelState } from './state.ts';
import { WorkloadManager } from './workload-manager.ts';

export interface NodeProxyParts {
  readonly config: Config;
  readonly localState: LocalState | undefined;
  /** The local state as written, for the dump. */
  readonly staticConfig: Readonly<Record<string, unknown>>;
  readonly version: string;
  /** Open descriptors that the process may have; connections are bounded by it. */
  readonly maxDescriptors: number;
  readonly clock?: Clock;
}

const log = logger('app');

/** One pod may never use up the descriptors of all: a connection takes up to two. */
export function boundsFor(maxDescriptors: number): Bounds {
  const share = (part: number, most: number): number =>
    Math.max(256, Math.min(most, Math.floor(maxDescriptors * part)));
  return {
    ...DEFAULT_BOUNDS,
    maxConnectionsPerPod: share(0.25, DEFAULT_BOUNDS.maxConnectionsPerPod),
    maxTunnelConnectionsPerPod: share(0.25, DEFAULT_BOUNDS.maxTunnelConnectionsPerPod),
  };
}

export class NodeProxy {
  readonly #config: Config;
  readonly #clock: Clock;
  readonly #registry = new Registry();
  readonly #readiness = new ReadinessTasks();
  readonly #state: ZtunnelState;
  readonly #caClient: CaClient | undefined;
  readonly #certificates: CertificateCache;
  readonly #services: Services;
  readonly #pods: Pods;
  readonly #workloads: WorkloadManager;
  readonly #parts: NodeProxyParts;
  readonly #endpoints: HttpEndpoint[] = [];
  /** Ends discovery. */
  readonly #ending = new AbortController();
  /** Ends the conversation with the node agent. */
  readonly #leaving = new AbortController();
  #ownPod: PodProxy | undefined;
  #shutDown: Promise<void> | undefined;
  #serving: Promise<void> = Promise.resolve();
  readonly #ended = Promise.withResolvers<void>();

  constructor(parts: NodeProxyParts) {
    const { config } = parts;
    const { dataPath, ca, dns } = config;
    const clock = parts.clock ?? systemClock;
    this.#parts = parts;
    this.#config = config;
    this.#clock = clock;
    const telemetry = nodeTelemetry(this.#registry);
    registerProcessMetrics(this.#registry);
    this.#registry
      .gauges('istio_build', 'Version of the proxy', ['component', 'tag'])
      .labels('ztunnel', config.istioVersion)
      .set(1);
    this.#state = new ZtunnelState({ network: dataPath.network, nodeName: dataPath.nodeName, clock });
    this.#caClient = ca && new CaClient({ access: ca.access, ttlSeconds: ca.ttlSeconds, clock });
    this.#certificates = new CertificateCache(this.#caClient ?? NO_AUTHORITY, clock);
    const certificates = this.#certificates;
    new LocalIdentities(
      this.#state,
      (id) => certificates.prefetch(id),
      (id) => certificates.drop(id),
    );
    const tls = { tls12: dataPath.hbone.tls12, postQuantumOnly: dataPath.hbone.postQuantumOnly };
    const services: Services = {
      settings: dataPath,
      bounds: boundsFor(parts.maxDescriptors),
      state: this.#state,
      authorizer: compilePolicies(this.#state.world),
      certificates,
      telemetry,
      tls,
      clientContext: clientContexts(tls),
      clock,
      random: Math.random,
      environment: eventLoop,
      log: logger('proxy'),
      resolve: resolveHostname,
    };
    this.#services = services;
    const startDns: StartPodDns | undefined =
      dns &&
      createPodDns({
        settings: {
          listen: dns.listen,
          reusePort: dataPath.listen.reusePort,
          lookup: dns.lookup,
          nameservers: readNameservers(),
          mark: dataPath.listen.packetMark,
        },
        state: this.#state,
        registry: this.#registry,
        clock,
      });
    this.#pods = new Pods({
      make: (uid, pod, netns) => new PodProxy(services, { uid, pod, netns, startDns }),
      state: this.#state,
      certificates,
      telemetry,
    });
    this.#workloads = new WorkloadManager({
      connect: () => SeqpacketConnection.connect(config.agentSocket),
      pods: this.#pods,
      readiness: this.#readiness.task('workload proxy manager'),
      telemetry,
      clock,
      random: Math.random,
      log: logger('inpod'),
    });
  }

  /** Resolves when the proxy has ended in an orderly way; rejects when it cannot go on (ZdsProtocolError). */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** @throws when an endpoint's port is taken */
  async start(): Promise<void> {
    const { ports, dataPath, xds, proxyEnabled } = this.#config;
    const stateManager = this.#readiness.task('state manager');
    const { ipv6 } = dataPath.listen;
    const [everywhere, here] = ipv6
      ? [
          ['0.0.0.0', '::'],
          ['127.0.0.1', '::1'],
        ]
      : [['0.0.0.0'], ['127.0.0.1']];
    const admin = adminHandler({
      state: this.#state,
      certificates: () => this.#certificates.statuses(),
      pods: this.#workloads,
      version: { version: this.#parts.version, istioVersion: this.#config.istioVersion },
      config: describeConfig(this.#config) as Parameters<typeof adminHandler>[0]['config'],
      staticConfig: this.#parts.staticConfig as Parameters<typeof adminHandler>[0]['staticConfig'],
      shutDown: () => this.shutDown(),
    });
    this.#endpoints.push(await serveHttp(everywhere as string[], ports.readiness, readinessHandler(this.#readiness)));
    this.#endpoints.push(await serveHttp(everywhere as string[], ports.metrics, metricsHandler(this.#registry)));
    this.#endpoints.push(await serveHttp(here as string[], ports.admin, admin));

    const { localState } = this.#parts;
    if (localState !== undefined) {
      this.#state.applyAddresses(localState.addresses, []);
      this.#state.applyPolicies(localState.policies, []);
    }
    const firstState = (): void => {
      stateManager.ready();
      if (proxyEnabled) this.#serving = this.#startDataPath();
      else this.#readiness.task('workload proxy manager').ready();
    };
    if (xds === undefined) {
      firstState();
      return;
    }
    const protocol = new DeltaProtocol(xds.node, [
      { typeUrl: ADDRESS_TYPE, store: this.#state.addresses, onDemand: xds.onDemand },
      { typeUrl: AUTHORIZATION_TYPE, store: this.#state.authorizations, onDemand: false },
    ]);
    const client = new XdsClient({
      access: xds.access,
      protocol,
      clock: this.#clock,
      registry: this.#registry,
      onReady: firstState,
    });
    if (xds.onDemand) this.#state.demandThrough((name) => client.demand(ADDRESS_TYPE, name));
    void client.run(this.#ending.signal);
  }

  /** Only now, with state to decide by, are pods taken over from the node agent. */
  async #startDataPath(): Promise<void> {
    if (this.#shutDown !== undefined) return;
    await this.#startOwnPod();
    try {
      await this.#workloads.run(this.#leaving.signal);
    } catch (error) {
      log.error('the node agent broke the protocol', { error: error as Error });
      this.#ended.reject(error);
    }
  }

  /** Lets clients of the mesh scrape the proxy itself by its tunnel port. */
  async #startOwnPod(): Promise<void> {
    const { ownPod } = this.#config;
    if (ownPod === undefined) return;
    const { pod, trustDomain } = ownPod;
    const { namespace, serviceAccount } = pod;
    const own = new PodProxy(this.#services, {
      uid: '',
      pod,
      netns: Netns.current(),
      startDns: undefined,
      own: { trustDomain, namespace, serviceAccount },
    });
    try {
      await own.start();
      this.#ownPod = own;
    } catch (error) {
      log.warn('tunnel port of the own pod not opened: it cannot be scraped through the mesh', {
        error: error as Error,
      });
      own.stop();
    }
  }

  /** Starts the end, once; `ended` tells when it is over. */
  shutDown(): void {
    this.#shutDown ??= this.#end().then(this.#ended.resolve, this.#ended.reject);
  }

  async #end(): Promise<void> {
    const { drainDeadlineMs } = this.#config.dataPath;
    log.info('shutting down', { drainMs: drainDeadlineMs });
    this.#leaving.abort();
    await this.#serving;
    const deadline = new AbortController();
    const timer = this.#clock.after(drainDeadlineMs, () => deadline.abort());
    const own = this.#ownPod?.drain(deadline.signal);
    const cut = await this.#pods.drain(deadline.signal);
    await own;
    timer.cancel();
    if (cut > 0) log.warn('connections cut at the deadline', { connections: cut });
    this.#ending.abort();
    this.#certificates.close();
    this.#caClient?.close();
    for (const endpoint of this.#endpoints) endpoint.close();
    log.info('shutdown complete');
  }
}

const NO_AUTHORITY: CertificateSource = {
  fetch: () => Promise.reject(new Error('no certificate service is configured: set CA_ADDRESS')),
};

function nodeTelemetry(registry: Registry): Telemetry {
  const started = registry.counter('workload_manager_proxies_started', 'Pod proxies started');
  const stopped = registry.counter('workload_manager_proxies_stopped', 'Pod proxies stopped');
  const active = registry.gauge('workload_manager_active_proxy_count', 'Pod proxies that run');
  const pending = registry.gauge(
    'workload_manager_pending_proxy_count',
    'Pod proxies whose listeners are not open yet',
  );
  return {
    ...connectionTelemetry(registry),
    proxyStarted: () => started.inc(),
    proxyStopped: () => stopped.inc(),
    activeProxies: (count) => active.set(count),
    pendingProxies: (count) => pending.set(count),
  };
}

/** By the resolver of the proxy's own pod. */
async function resolveHostname(hostname: string): Promise<Ip[]> {
  const answers = await lookup(hostname, { all: true });
  return answers.flatMap(({ address }) => {
    const ip = parseIp(address);
    return ip.ok ? [ip.value] : [];
  });
}

function readNameservers(): Ip[] {
  try {
    return parseNameservers(readFileSync('/etc/resolv.conf', 'utf8'));
  } catch (error) {
    log.warn('/etc/resolv.conf not read: names outside the mesh cannot be resolved', { error: error as Error });
    return [];
  }
}
