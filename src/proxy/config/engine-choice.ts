// Endpoints of services by their configuration, and of workloads that were asked for by their own address.

import { DEFAULT_TRAFFIC_POLICY, type ServiceConfig } from '../../model/proxy/service-config.ts';
import type { ServiceKey } from '../../model/workload.ts';
import type { ClientInfo, Endpoint, Exchange, PickFailure } from '../contracts.ts';
import type { Choice, Target } from '../engine.ts';
import { CircuitBreaker } from '../upstream/breaker.ts';
import type { Upstream, UpstreamPick } from '../upstream/index.ts';
import type { Destinations } from './destinations.ts';
import type { ProxyState } from './state.ts';

const UNLIMITED = new CircuitBreaker(DEFAULT_TRAFFIC_POLICY);

export class EngineChoice implements Choice {
  readonly #upstream: Upstream;
  readonly #destinations: Destinations;
  readonly #state: ProxyState;

  constructor(upstream: Upstream, destinations: Destinations, state: ProxyState) {
    this.#upstream = upstream;
    this.#destinations = destinations;
    this.#state = state;
  }

  service(key: ServiceKey): ServiceConfig | undefined {
    return this.#state.service(key) ?? this.#destinations.standInFor(key);
  }

  pick(
    target: Target,
    client: ClientInfo,
    exchange: Exchange | undefined,
    tried: readonly Endpoint[],
    preferred?: string,
  ): UpstreamPick | PickFailure | Promise<UpstreamPick | PickFailure> {
    const workload = this.#destinations.workloadOf(target.service);
    if (workload === undefined) return this.#upstream.pick(target, client, exchange, tried, preferred);
    const endpoint = this.#upstream.endpointAt({ ip: client.destination.ip, port: target.port });
    if (endpoint === undefined) return { kind: 'noHealthyEndpoint' };
    return { endpoint, policy: DEFAULT_TRAFFIC_POLICY, setCookie: undefined, breaker: UNLIMITED, done() {} };
  }
}
