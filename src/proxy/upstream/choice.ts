// The choice of an endpoint for every request and plain connection of the proxy: finds the service port, keeps the
// circuit breakers, remembers who was tried. The hot path is `pick`: a few look-ups, no text is built.

import { chooseEndpoint } from '../../model/balance.ts';
import { hostOf } from '../../model/http/request.ts';
import { formatHostPort, type HostPort, type Ip, isLoopback } from '../../model/ip.ts';
import { gatewayAt } from '../../model/lookup.ts';
import type { ServiceConfig, Subset, TrafficPolicy } from '../../model/proxy/service-config.ts';
import type { GatewayAddress, Service, ServiceKey, Workload } from '../../model/workload.ts';
import { identityOf } from '../../model/workload.ts';
import type { World } from '../../model/world.ts';
import type { ClientInfo, Endpoint, EndpointChoice, Exchange, Pick, PickFailure, TryOutcome } from '../contracts.ts';
import type { CircuitBreaker } from './breaker.ts';
import { Cluster } from './cluster.ts';
import { hashOf } from './hash-key.ts';
import type { Host } from './host.ts';
import { endpointOf } from './members.ts';
import type { Names } from './names.ts';

export interface UpstreamSources {
  readonly world: World;
  /** Another object after every change. */
  config(key: ServiceKey): ServiceConfig | undefined;
  /** The proxy's own workload, once it is known. */
  place(): Workload | undefined;
  /** Gateways send through a service's waypoint where the service wants that; waypoints go to endpoints. */
  readonly role: 'waypoint' | 'gateway';
  readonly names: Names;
  nowMs(): number;
  /** In [0, 1). */
  random(): number;
}

/** What `pick` hands out: the contract's, and the counters for the pool's connections and waiting requests. */
export interface UpstreamPick extends Pick {
  readonly breaker: CircuitBreaker;
}

export type Target = Parameters<EndpointChoice['pick']>[0];

const NO_SERVICE: PickFailure = { kind: 'noService' };
const NO_ENDPOINT: PickFailure = { kind: 'noHealthyEndpoint' };
const OVERFLOW: PickFailure = { kind: 'overflow' };

export class Upstream implements EndpointChoice {
  readonly #sources: UpstreamSources;
  readonly #clusters = new Map<ServiceKey, Cluster[]>();

  constructor(sources: UpstreamSources) {
    this.#sources = sources;
  }

  pick(
    target: Target,
    client: ClientInfo,
    exchange: Exchange | undefined,
    tried: readonly Endpoint[],
    preferred?: string,
  ): UpstreamPick | PickFailure | Promise<UpstreamPick | PickFailure> {
    const found = this.#find(target);
    if (found === undefined) return NO_SERVICE;
    const { cluster, waits } = found;
    if (waits === undefined) return this.#choose(found, cluster, client, exchange, tried, preferred);
    return waits.then(() => {
      const again = this.#find(target);
      return again === undefined ? NO_SERVICE : this.#choose(again, again.cluster, client, exchange, tried, preferred);
    });
  }

  /** Where traffic for a workload's own address goes, or undefined if no tunnel reaches it. */
  endpointAt(address: HostPort): Endpoint | undefined {
    const { world } = this.#sources;
    const workload = world.workloadAt(world.network, address.ip);
    return endpointOf(workload, address, undefined);
  }

  /** Forgets services whose configuration is gone. Call after changes of the configuration. */
  sweep(): void {
    for (const key of this.#clusters.keys()) if (this.#sources.config(key) === undefined) this.#clusters.delete(key);
  }

  #find({ service: key, port, subset: subsetName }: Target): Found | undefined {
    const { world } = this.#sources;
    const config = this.#sources.config(key);
    const service = world.service(key);
    if (config === undefined || service === undefined) return undefined;
    let clusters = this.#clusters.get(key);
    let cluster = clusters?.find((one) => one.port === port && one.subset === subsetName);
    const subset =
      subsetName === undefined ? undefined : config.traffic.subsets.find(({ name }) => name === subsetName);
    if (subset === undefined && subsetName !== undefined) return undefined;
    const policy = policyOf(config, subset, port);
    if (cluster === undefined) {
      if (!service.ports.some(({ servicePort }) => servicePort === port)) return undefined;
      cluster = new Cluster(port, subsetName, policy, this.#sources);
      if (clusters === undefined) {
        clusters = [];
        this.#clusters.set(key, clusters);
      }
      clusters.push(cluster);
    }
    const inputs = {
      config,
      service,
      endpoints: world.endpoints(key),
      place: this.#sources.place(),
      network: world.network,
    };
    const waits = cluster.refresh(inputs, policy, subset);
    return { cluster, config, service, waits };
  }

  #choose(
    { config, service }: Found,
    cluster: Cluster,
    client: ClientInfo,
    exchange: Exchange | undefined,
    tried: readonly Endpoint[],
    preferred: string | undefined,
  ): UpstreamPick | PickFailure | Promise<UpstreamPick | PickFailure> {
    const { policy } = cluster;
    const waypoint = this.#waypointOf(service);
    if (waypoint !== undefined)
      return this.#take(cluster, this.#throughWaypoint(waypoint, service, cluster.port), tried);
    if (config.resolution === 'dynamicDns') return this.#byRequestedName(cluster, service, client, exchange, tried);
    if (config.resolution === 'none' || policy.loadBalancer.kind === 'passthrough')
      return this.#take(cluster, this.#asAsked(client.destination), tried);

    if (preferred !== undefined && tried.length === 0) {
      const kept = cluster.healthyHost(preferred);
      if (kept !== undefined) return this.#takeHost(cluster, kept, undefined, tried);
    }
    const by = policy.loadBalancer;
    const consistent = by.kind === 'ringHash' || by.kind === 'maglev';
    const hashed = consistent ? hashOf(by.by, client, exchange, this.#sources.random) : undefined;
    let host = cluster.choose(hashed?.hash);
    // A retry looks for another one, but not where requests must stay at one endpoint.
    if (tried.length > 0 && hashed?.hash === undefined && host !== undefined && wasTried(tried, host.endpoint))
      host = cluster.chooseOther(({ endpoint }) => wasTried(tried, endpoint));
    if (host === undefined) return NO_ENDPOINT;
    return this.#takeHost(cluster, host, hashed?.setCookie, tried);
  }

  #takeHost(
    cluster: Cluster,
    host: Host,
    setCookie: string | undefined,
    tried: readonly Endpoint[],
  ): UpstreamPick | PickFailure {
    if (!allows(cluster.breaker, tried)) return OVERFLOW;
    host.active++;
    return new Taken(cluster, host, host.endpoint, setCookie, tried.length > 0);
  }

  #take(cluster: Cluster, endpoint: Endpoint | undefined, tried: readonly Endpoint[]): UpstreamPick | PickFailure {
    if (endpoint === undefined) return NO_ENDPOINT;
    if (!allows(cluster.breaker, tried)) return OVERFLOW;
    return new Taken(cluster, undefined, endpoint, undefined, tried.length > 0);
  }

  // ---- waypoints, from gateways ----

  /** Istio: ingress-use-waypoint, only for services that have an address of their own; weighted ones by request. */
  #waypointOf(service: Service): GatewayAddress | undefined {
    if (this.#sources.role !== 'gateway' || !service.ingressUseWaypoint || service.vips.length === 0) return undefined;
    let total = 0;
    for (const { weight } of service.weightedWaypoints) total += weight;
    let rest = total === 0 ? 0 : this.#sources.random() * total;
    for (const { waypoint, weight } of service.weightedWaypoints) {
      rest -= weight;
      if (rest < 0) return waypoint;
    }
    return service.waypoint;
  }

  /** Undefined: the waypoint is not there. It is never gone around. */
  #throughWaypoint(gateway: GatewayAddress, service: Service, port: number): Endpoint | undefined {
    const { world, random } = this.#sources;
    const place = this.#sources.place();
    const vip = service.vips.find(({ network }) => network === world.network);
    const addressee = gatewayAt(world, gateway);
    if (vip === undefined || place === undefined || addressee === undefined) return undefined;
    const workload =
      addressee.kind === 'workload'
        ? addressee.workload
        : chooseEndpoint(world, place, addressee.service, gateway.hbonePort, 'waypoint', random)?.workload;
    const ip = workload?.addresses[0];
    if (workload === undefined || ip === undefined || workload.network !== world.network) return undefined;
    const names = addressee.kind === 'service' ? addressee.service.subjectAltNames : [];
    return {
      workload,
      address: { ip: vip.ip, port },
      tunnel: { hop: { ip, port: gateway.hbonePort }, expected: [identityOf(workload), ...names] },
    };
  }

  // ---- endpoints that the client names ----

  /** The address that was asked for, unless it is the proxy's own: it would call itself. */
  #asAsked(destination: HostPort): Endpoint | undefined {
    if (isLoopback(destination.ip) || this.#sources.place()?.addresses.includes(destination.ip)) return undefined;
    return this.endpointAt(destination);
  }

  #byRequestedName(
    cluster: Cluster,
    service: Service,
    client: ClientInfo,
    exchange: Exchange | undefined,
    tried: readonly Endpoint[],
  ): UpstreamPick | PickFailure | Promise<UpstreamPick | PickFailure> {
    const { names } = this.#sources;
    const asked = exchange === undefined ? client.serverName : hostOf(exchange.request.authority);
    const hostname = asked?.toLowerCase();
    if (hostname === undefined || !isNamedBy(service.hostname, hostname)) return NO_ENDPOINT;
    const take = (): UpstreamPick | PickFailure => {
      const addresses = names.known(hostname).filter(mayBeExternal);
      const ip = addresses[Math.floor(this.#sources.random() * addresses.length)];
      const port = service.ports.find(({ servicePort }) => servicePort === cluster.port)?.targetPort || cluster.port;
      return this.#take(cluster, ip && { workload: undefined, address: { ip, port }, tunnel: undefined }, tried);
    };
    const waits = names.wait(hostname);
    return waits === undefined ? take() : waits.then(take);
  }
}

interface Found {
  readonly cluster: Cluster;
  readonly config: ServiceConfig;
  readonly service: Service;
  readonly waits: Promise<unknown> | undefined;
}

const policyOf = (config: ServiceConfig, subset: Subset | undefined, port: number): TrafficPolicy => {
  const from = subset ?? config.traffic;
  return from.ports[port] ?? from.policy;
};

/** Counts a request, and a retry as one more thing. */
function allows(breaker: CircuitBreaker, tried: readonly Endpoint[]): boolean {
  if (!breaker.take('request')) return false;
  if (tried.length === 0 || breaker.take('retry')) return true;
  breaker.release('request');
  return false;
}

const wasTried = (tried: readonly Endpoint[], endpoint: Endpoint): boolean =>
  tried.some((one) => one === endpoint || formatHostPort(one.address) === formatHostPort(endpoint.address));

/** `*.example.com` stands for everything below it. */
const isNamedBy = (pattern: string, hostname: string): boolean =>
  pattern.startsWith('*.')
    ? hostname.endsWith(pattern.slice(1)) && hostname.length > pattern.length - 1
    : hostname === pattern;

/**
 * A name that clients choose may be anybody's, and so may its address: this proxy itself, and what only its own machine
 * can reach (loopback, link-local with the cloud's metadata, multicast, "this" network), is not for them.
 */
function mayBeExternal(ip: Ip): boolean {
  if (ip.includes(':')) return ip !== '::' && ip !== '::1' && !/^(?:fe[89ab]|ff)/.test(ip);
  const first = Number.parseInt(ip, 10);
  return !(first === 0 || first === 127 || first >= 224 || ip.startsWith('169.254.'));
}

class Taken implements UpstreamPick {
  readonly endpoint: Endpoint;
  readonly policy: TrafficPolicy;
  readonly setCookie: string | undefined;
  readonly #cluster: Cluster;
  /** Undefined where the endpoint was not chosen from a list. */
  readonly #host: Host | undefined;
  readonly #retry: boolean;
  #over = false;

  constructor(
    cluster: Cluster,
    host: Host | undefined,
    endpoint: Endpoint,
    setCookie: string | undefined,
    retry: boolean,
  ) {
    this.#cluster = cluster;
    this.#host = host;
    this.#retry = retry;
    this.endpoint = endpoint;
    this.policy = cluster.policy;
    this.setCookie = setCookie;
  }

  get breaker(): CircuitBreaker {
    return this.#cluster.breaker;
  }

  done(outcome: TryOutcome): void {
    if (this.#over) return;
    this.#over = true;
    const { breaker } = this.#cluster;
    breaker.release('request');
    if (this.#retry) breaker.release('retry');
    if (this.#host === undefined) return;
    this.#host.active--;
    this.#cluster.record(this.#host, outcome);
  }
}
