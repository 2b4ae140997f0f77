// The engine of one proxy, put together from its parts: state, places, endpoints, connections, security, telemetry.

import type { Certificates } from '../dataplane/identity/workload-certificate.ts';
import { eventLoop } from '../dataplane/session-driver.ts';
import type { Ip } from '../model/ip.ts';
import { DEFAULT_TELEMETRY } from '../model/proxy/telemetry-config.ts';
import type { Peer } from '../model/traffic.ts';
import type { Workload } from '../model/workload.ts';
import type { Clock } from '../platform/clock.ts';
import type { ConnectionTelemetry } from '../telemetry/connection.ts';
import type { LogSink } from '../telemetry/log.ts';
import type { Registry } from '../telemetry/registry.ts';
import { encodeBaggage } from '../wire/baggage.ts';
import { Destinations } from './config/destinations.ts';
import { EngineChoice } from './config/engine-choice.ts';
import { Places } from './config/places.ts';
import { ProxyState } from './config/state.ts';
import type { ClientInfo, RateLimits } from './contracts.ts';
import type { Engine } from './engine.ts';
import { HttpExchange } from './exchange/exchange.ts';
import { connectHttp1 } from './http1/client.ts';
import { connectHttp2 } from './http2/client.ts';
import { Connections } from './pools/connections.ts';
import { Dialer } from './pools/dialer.ts';
import { OwnCalls } from './pools/own-calls.ts';
import { Tunnels } from './pools/tunnels.ts';
import { ExternalAuthorizers } from './security/authorizer/providers.ts';
import { RequestLimits } from './security/limits/request-limits.ts';
import { RequestTokens } from './security/request-tokens.ts';
import type { ProxySettings } from './settings.ts';
import { Sweeper } from './streams/sweeper.ts';
import { ProxyTelemetry } from './telemetry/proxy-telemetry.ts';
import { Names, systemResolver, Upstream } from './upstream/index.ts';

export interface ProxyEngineParts {
  readonly settings: Pick<
    ProxySettings,
    'role' | 'namespace' | 'podName' | 'ip' | 'gatewayName' | 'identity' | 'network' | 'clusterId'
  > &
    Partial<Pick<ProxySettings, 'workloadName'>> & { readonly nodeId: string };
  readonly certificates: Certificates;
  readonly registry: Registry;
  /** Of access logs; the process has one for its standard output. */
  readonly sink: LogSink;
  readonly clock: Clock;
  readonly random?: () => number;
}

/** Istio: `meshConfig.hboneIdleTimeout`, until the configuration says another. */
const HBONE_IDLE_MS = 3_600_000;
/** Istio: `dnsRefreshRate`. */
const DNS_REFRESH_MS = 60_000;

export class ProxyEngine {
  readonly state: ProxyState;
  readonly places: Places;
  readonly destinations: Destinations;
  readonly engine: Engine;
  readonly connectionTelemetry: ConnectionTelemetry;
  readonly #sweeper: Sweeper;
  readonly #tunnels: Tunnels;
  readonly #connections: Connections;
  readonly #telemetry: ProxyTelemetry;
  readonly #upstream: Upstream;
  readonly #unsubscribe: () => void;

  constructor({ settings, certificates, registry, sink, clock, random = Math.random }: ProxyEngineParts) {
    const { role, ip, identity, network } = settings;
    const state = new ProxyState(network);
    this.state = state;
    const { world } = state;
    const place = (): Workload | undefined => world.workloadAt(network, ip);
    const sweeper = new Sweeper(clock);
    this.#sweeper = sweeper;
    const tunnels = new Tunnels({
      own: identity,
      ip,
      certificates,
      clock,
      environment: eventLoop,
      idleMs: () => state.proxy?.hboneIdleMs ?? HBONE_IDLE_MS,
      baggage: () => baggageOf(place()),
    });
    this.#tunnels = tunnels;
    this.#unsubscribe = certificates.onRotate(() => tunnels.rotated());
    const nowMs = (): number => clock.nowMs();
    const names = new Names({ resolve: systemResolver(), nowMs, refreshMs: DNS_REFRESH_MS });
    const dialer = new Dialer({ clock, tunnels, certificateOf: (name) => state.certificate(name) });
    this.#connections = new Connections({ dialer, http1: connectHttp1, http2: connectHttp2, nowMs }, sweeper);
    const caller = new OwnCalls({ engine: () => this.engine, world, names, client: ownClient(settings) });
    this.#telemetry = new ProxyTelemetry({
      proxy: {
        reporter: role === 'waypoint' ? 'waypoint' : 'source',
        peer: ownPeer(settings),
        edge: role === 'gateway',
        identity,
        nodeId: settings.nodeId,
        meshId: identity.trustDomain,
        hostname: settings.podName,
        environment: process.env,
      },
      registry,
      sink,
      caller,
      clock,
      random,
    });
    const limits = new RequestLimits({ clock, caller });
    this.places = new Places(state, {
      tokens: (rules) => new RequestTokens(rules, { clock, setQuery }),
      rateLimits: (filters) => limits.of(filters) ?? NO_LIMITS,
      telemetry: (config) => this.#telemetry.of(config),
    });
    this.destinations = new Destinations({ state, places: this.places, clock, ip });
    this.#upstream = new Upstream({
      world,
      config: (key) => state.service(key),
      place,
      role,
      names,
      nowMs,
      random,
    });
    const choice = new EngineChoice(this.#upstream, this.destinations, state);
    this.connectionTelemetry = this.#telemetry.connections(() => state.proxy?.telemetry ?? DEFAULT_TELEMETRY);
    this.engine = {
      clock,
      random,
      sweeper,
      own: identity,
      providers: new ExternalAuthorizers({ caller, own: identity }),
      choice,
      connections: this.#connections,
      service: (key) => choice.service(key),
    };
  }

  /** Follows the state: from now on a change has its effect. @param listeners  what else hangs on the proxy's resource */
  follow(listeners: { readonly proxyChanged: () => void; readonly certificatesChanged: () => void }): void {
    this.state.listen({
      proxyChanged: () => {
        this.places.changed(undefined);
        listeners.proxyChanged();
      },
      placesChanged: (keys) => {
        this.places.changed(keys);
        this.#upstream.sweep();
      },
      certificatesChanged: listeners.certificatesChanged,
    });
  }

  /** Upstream connections end with what they carry; spans and records leave. */
  async drain(): Promise<void> {
    this.#connections.drain();
    // Collectors may be reached by tunnels only.
    await this.#telemetry.flush();
    this.#tunnels.close();
  }

  close(): void {
    this.#unsubscribe();
    this.#connections.close();
    this.#tunnels.close();
    this.#sweeper.close();
  }
}

const NO_LIMITS: RateLimits = { check: () => undefined };

const setQuery = (exchange: object, query: string): void => {
  if (exchange instanceof HttpExchange) exchange.setQuery(query);
};

const baggages = new WeakMap<Workload, string>();

function baggageOf(workload: Workload | undefined): string | undefined {
  if (workload === undefined) return undefined;
  let baggage = baggages.get(workload);
  if (baggage === undefined) {
    baggage = encodeBaggage(workload);
    baggages.set(workload, baggage);
  }
  return baggage;
}

const ownPeer = ({
  podName,
  gatewayName,
  workloadName = gatewayName,
  namespace,
  clusterId,
  identity,
}: ProxyEngineParts['settings']): Peer => ({
  name: podName,
  workload: workloadName,
  canonicalName: workloadName,
  canonicalRevision: 'latest',
  namespace,
  cluster: clusterId,
  region: '',
  zone: '',
  app: workloadName,
  identity,
});

/** The proxy as a client of services. */
const ownClient = (settings: ProxyEngineParts['settings']): ClientInfo => ({
  source: { ip: settings.ip, port: 0 },
  destination: { ip: '0.0.0.0' as Ip, port: 0 },
  identity: settings.identity,
  peer: ownPeer(settings),
  serverName: undefined,
  secure: false,
  clientCertificate: undefined,
});
