// What the authority of a tunnel stands for at this waypoint: a service that is bound to it, by name or virtual address,
// or a workload that is. Nothing else is served.

import type { Authority } from '../../model/authority.ts';
import type { HostPort, Ip } from '../../model/ip.ts';
import { ANYBODY, addresseeAt, gatewayAt, serviceNamed } from '../../model/lookup.ts';
import { DEFAULT_TRAFFIC_POLICY, type PortProtocol, type ServiceConfig } from '../../model/proxy/service-config.ts';
import { type GatewayAddress, type ServiceKey, serviceKey, type Workload } from '../../model/workload.ts';
import type { World } from '../../model/world.ts';
import { type Clock, sleep } from '../../platform/clock.ts';
import type { Place, Places } from './places.ts';
import type { ProxyState } from './state.ts';

export type Destination =
  | {
      readonly kind: 'found';
      readonly address: HostPort;
      readonly protocol: PortProtocol;
      /** As it is now; configuration changes. */
      readonly place: () => Place | undefined;
    }
  | { readonly kind: 'refused'; readonly status: 400 | 503; readonly why: string };

const refused = (status: 400 | 503, why: string): Destination => ({ kind: 'refused', status, why });

/** Keys of the stand-ins for workloads; no service has such a one. */
const WORKLOAD = 'workload ';

export interface DestinationsParts {
  readonly state: ProxyState;
  readonly places: Places;
  readonly clock: Clock;
  /** The proxy's own address. */
  readonly ip: Ip;
}

export class Destinations {
  readonly #parts: DestinationsParts;
  readonly #standIns = new WeakMap<Workload, ServiceConfig>();

  constructor(parts: DestinationsParts) {
    this.#parts = parts;
  }

  get world(): World {
    return this.#parts.state.world;
  }

  /** What must be waited for before `find` can know; never rejects. */
  wait(authority: Authority, timeoutMs: number): Promise<unknown> | undefined {
    const { state, clock } = this.#parts;
    const { world } = this;
    if (authority.kind === 'hostname') return undefined; // bound services are always known
    if (addresseeAt(world, world.network, authority.at.ip, ANYBODY) !== undefined) return undefined;
    const answer = state.demand(`${world.network}/${authority.at.ip}`);
    return answer && Promise.race([answer, sleep(clock, timeoutMs)]).catch(() => {});
  }

  find(authority: Authority): Destination {
    const { world } = this;
    if (authority.kind === 'hostname') {
      const service = serviceNamed(world, authority.hostname.toLowerCase().replace(/\.$/, ''), ANYBODY);
      if (service === undefined) return refused(503, 'no such service here');
      const vip = service.vips.find(({ network }) => network === world.network);
      return this.#service(serviceKey(service), { ip: vip?.ip ?? ('0.0.0.0' as Ip), port: authority.port });
    }
    const found = addresseeAt(world, world.network, authority.at.ip, ANYBODY);
    if (found === undefined) return refused(503, 'nothing is known of the address');
    return found.kind === 'service'
      ? this.#service(serviceKey(found.service), authority.at)
      : this.#workload(found.workload, authority.at);
  }

  #service(key: ServiceKey, address: HostPort): Destination {
    const { state, places } = this.#parts;
    const config = state.service(key);
    if (config?.bound === undefined) return refused(400, 'the service is not bound to this waypoint');
    const port = config.ports.find((each) => each.port === address.port);
    if (port === undefined) return refused(503, 'the service has no such port');
    return {
      kind: 'found',
      address,
      protocol: port.protocol,
      place: () => places.service(key, address.port),
    };
  }

  #workload(workload: Workload, address: HostPort): Destination {
    if (workload.waypoint === undefined || !this.#isOurs(workload.waypoint))
      return refused(400, 'the workload is not bound to this waypoint');
    return { kind: 'found', address, protocol: 'unknown', place: () => this.#workloadPlace(workload.uid, address) };
  }

  #workloadPlace(uid: string, { port }: HostPort): Place | undefined {
    const own = this.#parts.places.own();
    const workload = this.world.workload(uid);
    if (own === undefined || workload === undefined) return undefined;
    return {
      ...own,
      service: this.#standIn(workload),
      target: { service: WORKLOAD + uid, port, subset: undefined },
    };
  }

  /** The configuration of a service that is only one workload, for targets as `workloadOf` reads them. */
  standInFor(key: ServiceKey): ServiceConfig | undefined {
    const workload = this.workloadOf(key);
    return workload && this.#standIn(workload);
  }

  workloadOf(key: ServiceKey): Workload | undefined {
    return key.startsWith(WORKLOAD) ? this.world.workload(key.slice(WORKLOAD.length)) : undefined;
  }

  #standIn(workload: Workload): ServiceConfig {
    let standIn = this.#standIns.get(workload);
    if (standIn === undefined) {
      standIn = {
        key: WORKLOAD + workload.uid,
        hostname: workload.addresses[0] ?? workload.name,
        ports: [],
        resolution: 'endpoints',
        traffic: { policy: DEFAULT_TRAFFIC_POLICY, ports: {}, subsets: [] },
        bound: undefined,
        subjectAltNames: [],
      };
      this.#standIns.set(workload, standIn);
    }
    return standIn;
  }

  /** Whether the reference leads to this very waypoint: one of its workloads has our address. */
  #isOurs(gateway: GatewayAddress): boolean {
    const { ip } = this.#parts;
    const found = gatewayAt(this.world, gateway);
    if (found === undefined) {
      const { proxy } = this.#parts.state;
      const { destination } = gateway;
      return (
        proxy !== undefined &&
        destination.kind === 'hostname' &&
        destination.namespace === proxy.namespace &&
        destination.hostname.startsWith(`${proxy.name}.${proxy.namespace}.svc.`)
      );
    }
    if (found.kind === 'workload') return found.workload.addresses.includes(ip);
    return this.world.endpoints(serviceKey(found.service)).some(({ workload }) => workload.addresses.includes(ip));
  }
}
