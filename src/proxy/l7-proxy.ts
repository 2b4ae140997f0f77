// The whole proxy of one pod, put together: endpoints, certificate, control plane, listeners, and the order in which they
// start and end. One object a process; nothing in it is global.
//
//   start: endpoints ── certificate and first configuration ──> listeners ──> ready
//   end:   not ready ── others hear of it ──> listeners closed, GOAWAY, `connection: close` ── exchanges finish, or the
//          deadline cuts them ──> everything else

import { XdsClient } from '../dataplane/ads/client.ts';
import { DeltaProtocol } from '../dataplane/ads/protocol.ts';
import { CaClient } from '../dataplane/identity/ca-client.ts';
import { CertificateCache } from '../dataplane/identity/certificates.ts';
import { eventLoop } from '../dataplane/session-driver.ts';
import { type Clock, sleep, systemClock } from '../platform/clock.ts';
import { type HttpEndpoint, metricsHandler, serveHttp } from '../telemetry/http-endpoint.ts';
import { type LogSink, logger } from '../telemetry/log.ts';
import { registerProcessMetrics } from '../telemetry/process-metrics.ts';
import { ReadinessTasks, readinessHandler } from '../telemetry/readiness.ts';
import { Registry } from '../telemetry/registry.ts';
import { CERTIFICATE_TYPE, PROXY_TYPE, ROUTE_TYPE, SERVICE_TYPE } from '../wire/l7/names.ts';
import { ADDRESS_TYPE } from '../wire/xds/names.ts';
import { adminHandler } from './admin/handler.ts';
import { GatewayServer } from './listeners/gateway-server.ts';
import { WaypointServer } from './listeners/waypoint-server.ts';
import { ProxyEngine } from './proxy-engine.ts';
import type { ProxySettings } from './settings.ts';

export interface L7ProxyParts {
  readonly settings: ProxySettings;
  readonly version: string;
  /** Open descriptors that the process may have; connections are bounded by it. */
  readonly maxDescriptors: number;
  /** Of access logs. */
  readonly sink: LogSink;
  readonly clock?: Clock;
}

const log = logger('app');

export class L7Proxy {
  readonly #settings: ProxySettings;
  readonly #clock: Clock;
  readonly #version: string;
  readonly #registry = new Registry();
  readonly #readiness = new ReadinessTasks();
  readonly #caClient: CaClient;
  readonly #certificates: CertificateCache;
  readonly #parts: ProxyEngine;
  readonly #waypoint: WaypointServer | undefined;
  readonly #gateway: GatewayServer | undefined;
  readonly #endpoints: HttpEndpoint[] = [];
  /** Ends discovery. */
  readonly #ending = new AbortController();
  #shutDown: Promise<void> | undefined;
  readonly #ended = Promise.withResolvers<void>();

  constructor({ settings, version, maxDescriptors, sink, clock = systemClock }: L7ProxyParts) {
    this.#settings = settings;
    this.#version = version;
    this.#clock = clock;
    registerProcessMetrics(this.#registry);
    this.#registry
      .gauges('istio_build', 'Version of the proxy', ['component', 'tag'])
      .labels('proxy', settings.istioVersion)
      .set(1);
    const { ca, identity: own } = settings;
    this.#caClient = new CaClient({ access: ca.access, ttlSeconds: ca.ttlSeconds, clock, own });
    this.#certificates = new CertificateCache(this.#caClient, clock);
    this.#parts = new ProxyEngine({
      settings: { ...settings, nodeId: settings.xds.node.id },
      certificates: this.#certificates,
      registry: this.#registry,
      sink,
      clock,
    });
    const { engine, destinations, places, state, connectionTelemetry: telemetry } = this.#parts;
    // A request takes two: one each way.
    const maxConnections = Math.max(256, Math.floor(maxDescriptors * 0.4));
    if (settings.role === 'waypoint')
      this.#waypoint = new WaypointServer({ engine, destinations, telemetry, environment: eventLoop, maxConnections });
    else {
      const certificateOf = (name: string) => state.certificate(name);
      const parts = { engine, places, telemetry, certificateOf, maxConnections };
      this.#gateway = new GatewayServer(parts, settings.ipv6 ? '::' : '0.0.0.0');
    }
  }

  /** Resolves when the proxy has ended in an orderly way. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** @throws when a port is taken */
  async start(): Promise<void> {
    const { ports, identity, xds, ipv6, ip, network } = this.#settings;
    const { state } = this.#parts;
    const configured = this.#readiness.task('configuration');
    const certified = this.#readiness.task('certificate');
    const draining = this.#readiness.task('not draining');
    draining.ready();
    this.#notReady = () => draining.pending();
    const [everywhere, here] = ipv6
      ? [
          ['0.0.0.0', '::'],
          ['127.0.0.1', '::1'],
        ]
      : [['0.0.0.0'], ['127.0.0.1']];
    const admin = adminHandler({
      state,
      certificates: () => this.#certificates.statuses(),
      version: this.#version,
      about: () => this.#about(),
      shutDown: () => this.shutDown(),
    });
    this.#endpoints.push(await serveHttp(everywhere as string[], ports.readiness, readinessHandler(this.#readiness)));
    this.#endpoints.push(await serveHttp(everywhere as string[], ports.metrics, metricsHandler(this.#registry)));
    this.#endpoints.push(await serveHttp(here as string[], ports.admin, admin));

    this.#certificates.onRotate((certificate) => {
      this.#waypoint?.useCertificate(certificate);
      certified.ready();
    });
    this.#certificates.prefetch(identity);
    let first = true;
    const apply = (): void => {
      if (first || state.proxy === undefined) return;
      void this.#gateway?.update(state.proxy.listeners);
      configured.ready();
    };
    this.#parts.follow({
      proxyChanged: apply,
      certificatesChanged: () => this.#gateway?.certificatesChanged(),
    });
    const begin = async (): Promise<void> => {
      first = false;
      await this.#waypoint?.listen(ports.hbone, ipv6 ? '::' : '0.0.0.0');
      await this.#gateway?.update(state.proxy?.listeners ?? []);
      // Without a resource of its own the proxy knows nothing to do, and says so by not being ready.
      if (state.proxy !== undefined) configured.ready();
    };
    const protocol = new DeltaProtocol(xds.node, [
      { typeUrl: PROXY_TYPE, store: state.proxies, onDemand: false },
      { typeUrl: CERTIFICATE_TYPE, store: state.certificateStore, onDemand: false },
      { typeUrl: SERVICE_TYPE, store: state.serviceStore, onDemand: false },
      { typeUrl: ROUTE_TYPE, store: state.routeStore, onDemand: false },
      { typeUrl: ADDRESS_TYPE, store: state.addresses, onDemand: true },
    ]);
    const client = new XdsClient({
      access: xds.access,
      protocol,
      clock: this.#clock,
      registry: this.#registry,
      onReady: () => {
        // The proxy's own place in the mesh: its locality, and what it tells its peers of itself.
        const own = client.demand(ADDRESS_TYPE, `${network}/${ip}`);
        const wanted = [...state.services()].map(({ key }) => client.demand(ADDRESS_TYPE, key));
        state.demandThrough((name) => client.demand(ADDRESS_TYPE, name));
        const known = Promise.race([Promise.all([own, ...wanted]), sleep(this.#clock, FIRST_ADDRESSES_MS)]);
        known.then(begin).catch((error: unknown) => this.#ended.reject(error));
      },
    });
    void client.run(this.#ending.signal);
  }

  #notReady: () => void = () => {};

  #about(): Readonly<Record<string, unknown>> {
    const { role, namespace, gatewayName, podName, ip, network, clusterId, istioVersion } = this.#settings;
    const ports = this.#gateway?.ports;
    return { role, gateway: `${namespace}/${gatewayName}`, podName, ip, network, clusterId, istioVersion, ports };
  }

  /** Starts the end, once; `ended` tells when it is over. */
  shutDown(): void {
    this.#shutDown ??= this.#end().then(this.#ended.resolve, this.#ended.reject);
  }

  async #end(): Promise<void> {
    const { announceMs, deadlineMs } = this.#settings.drain;
    log.info('shutting down', { announceMs, drainMs: deadlineMs });
    this.#notReady();
    await sleep(this.#clock, announceMs);
    this.#waypoint?.drain();
    this.#gateway?.drain();
    const idle = Promise.all([this.#waypoint?.live.idle(), this.#gateway?.idle()]);
    const cut = await Promise.race([idle.then(() => 0), this.#deadline(deadlineMs)]);
    if (cut > 0) log.warn('connections cut at the deadline', { connections: cut });
    this.#waypoint?.abort();
    this.#gateway?.abort();
    await Promise.race([this.#parts.drain(), sleep(this.#clock, FLUSH_MS)]);
    this.#ending.abort();
    this.#parts.close();
    this.#certificates.close();
    this.#caClient.close();
    for (const endpoint of this.#endpoints) endpoint.close();
    log.info('shutdown complete');
  }

  async #deadline(ms: number): Promise<number> {
    await sleep(this.#clock, ms);
    return (this.#waypoint?.live.size ?? 0) + (this.#gateway?.connections ?? 0);
  }
}

/** How long the first addresses are waited for, before the proxy is ready without them. */
const FIRST_ADDRESSES_MS = 5_000;
const FLUSH_MS = 2_000;
