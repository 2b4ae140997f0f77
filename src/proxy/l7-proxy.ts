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
import { type Clock, systemClock } from '../platform/clock.ts';
import { type HttpEndpoint, metricsHandler, serveHttp } from '../telemetry/http-endpoint.ts';
import { logger } from '../telemetry/log.ts';
import { registerProcessMetrics } from '../telemetry/process-metrics.ts';
import { ReadinessTasks, readinessHandler } from '../telemetry/readiness.ts';
import { Registry } from '../telemetry/registry.ts';
import type { ProxySettings } from './settings.ts';

export interface L7ProxyParts {
  readonly settings: ProxySettings;
  readonly version: string;
  /** Open descriptors that the process may have; connections are bounded by it. */
  readonly maxDescriptors: number;
  readonly clock?: Clock;
}

const log = logger('app');

export class L7Proxy {
  readonly #settings: ProxySettings;
  readonly #clock: Clock;
  readonly #registry = new Registry();
  readonly #readiness = new ReadinessTasks();
  readonly #caClient: CaClient;
  readonly #certificates: CertificateCache;
  readonly #endpoints: HttpEndpoint[] = [];
  /** Ends discovery. */
  readonly #ending = new AbortController();
  #shutDown: Promise<void> | undefined;
  readonly #ended = Promise.withResolvers<void>();

  constructor({ settings, clock = systemClock }: L7ProxyParts) {
    this.#settings = settings;
    this.#clock = clock;
    registerProcessMetrics(this.#registry);
    this.#registry
      .gauges('istio_build', 'Version of the proxy', ['component', 'tag'])
      .labels('proxy', settings.istioVersion)
      .set(1);
    this.#caClient = new CaClient({ access: settings.ca.access, ttlSeconds: settings.ca.ttlSeconds, clock });
    this.#certificates = new CertificateCache(this.#caClient, clock);
  }

  /** Resolves when the proxy has ended in an orderly way. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** @throws when an endpoint's port is taken */
  async start(): Promise<void> {
    const { ports, identity, xds, ipv6 } = this.#settings;
    const configured = this.#readiness.task('configuration');
    const certified = this.#readiness.task('certificate');
    const everywhere = ipv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
    this.#endpoints.push(await serveHttp(everywhere, ports.readiness, readinessHandler(this.#readiness)));
    this.#endpoints.push(await serveHttp(everywhere, ports.metrics, metricsHandler(this.#registry)));
    this.#certificates.onRotate(() => certified.ready());
    this.#certificates.prefetch(identity);
    const client = new XdsClient({
      access: xds.access,
      protocol: new DeltaProtocol(xds.node, []),
      clock: this.#clock,
      registry: this.#registry,
      onReady: () => configured.ready(),
    });
    void client.run(this.#ending.signal);
  }

  /** Starts the end, once; `ended` tells when it is over. */
  shutDown(): void {
    this.#shutDown ??= this.#end().then(this.#ended.resolve, this.#ended.reject);
  }

  async #end(): Promise<void> {
    log.info('shutting down', { drainMs: this.#settings.drain.deadlineMs });
    this.#ending.abort();
    this.#certificates.close();
    this.#caClient.close();
    for (const endpoint of this.#endpoints) endpoint.close();
    log.info('shutdown complete');
  }
}
