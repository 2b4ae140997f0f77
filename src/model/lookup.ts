// Finding services and gateways in a world: which of several that share an address or a name is meant.

import { cidrContains, type Ip } from './ip.ts';
import type { GatewayAddress, Service, Workload } from './workload.ts';
import type { World } from './world.ts';

/** Whose view a lookup has. Without a namespace (gateway references, inbound checks) visibility does not count. */
export interface Viewpoint {
  readonly namespace: string | undefined;
  /** Tie-break of the DNS proxy (PREFERED_SERVICE_NAMESPACE). */
  readonly preferredNamespace?: string | undefined;
}

/** Nobody in particular asks: every service is visible. */
export const ANYBODY: Viewpoint = { namespace: undefined };

export const visibleTo = (service: Service, namespace: string | undefined): boolean =>
  namespace === undefined || service.visibility === 'public' || service.namespace === namespace;

/**
 * Chooses among services that share a virtual address or a hostname: the client's namespace, else the last canonical
 * one, else the preferred namespace, else the first (Istio: ztunnel's service store).
 */
export function chooseService(candidates: readonly Service[], view: Viewpoint): Service | undefined {
  let first: Service | undefined;
  let canonical: Service | undefined;
  let preferred: Service | undefined;
  for (const service of candidates) {
    if (!visibleTo(service, view.namespace)) continue;
    if (view.namespace !== undefined && service.namespace === view.namespace) return service;
    if (service.canonical) canonical = service;
    if (preferred === undefined && service.namespace === view.preferredNamespace) preferred = service;
    first ??= service;
  }
  return canonical ?? preferred ?? first;
}

/** The service of an address: by exact virtual address, else by range. */
export function serviceAt(world: World, network: string, ip: Ip, view: Viewpoint): Service | undefined {
  const exact = world.servicesWithVip(network, ip);
  return (exact.length > 0 ? chooseService(exact, view) : undefined) ?? serviceInRange(world, network, ip, view);
}

/** By range: the client's namespace before the longest prefix before canonical; of equals the last. */
function serviceInRange(world: World, network: string, ip: Ip, view: Viewpoint): Service | undefined {
  let best: Service | undefined;
  let bestRank = -1;
  for (const service of world.servicesWithCidr(network, ip)) {
    if (!visibleTo(service, view.namespace)) continue;
    const own = view.namespace !== undefined && service.namespace === view.namespace;
    const rank = (own ? 1000 : 0) + 2 * longestPrefix(service, network, ip) + (service.canonical ? 1 : 0);
    if (rank < bestRank) continue;
    best = service;
    bestRank = rank;
  }
  return best;
}

function longestPrefix(service: Service, network: string, ip: Ip): number {
  let longest = 0;
  for (const vip of service.cidrVips)
    if (vip.network === network && vip.range.length > longest && cidrContains(vip.range, ip))
      longest = vip.range.length;
  return longest;
}

/** The service of a hostname (exact text, no expansion). */
export const serviceNamed = (world: World, hostname: string, view: Viewpoint): Service | undefined =>
  chooseService(world.servicesWithHostname(hostname), view);

/** What an address or a gateway reference stands for. */
export type Addressee =
  | { readonly kind: 'service'; readonly service: Service }
  | { readonly kind: 'workload'; readonly workload: Workload };

/** Workloads first, then services: how traffic is told to be addressed to one or the other. */
export function addresseeAt(world: World, network: string, ip: Ip, view: Viewpoint): Addressee | undefined {
  const workload = world.workloadAt(network, ip);
  if (workload !== undefined) return { kind: 'workload', workload };
  const service = serviceAt(world, network, ip, view);
  return service && { kind: 'service', service };
}

/** Services first, then workloads: how the upstream of an address is chosen. */
export function upstreamAt(world: World, network: string, ip: Ip, view: Viewpoint): Addressee | undefined {
  const service = serviceAt(world, network, ip, view);
  if (service !== undefined) return { kind: 'service', service };
  const workload = world.workloadAt(network, ip);
  return workload && { kind: 'workload', workload };
}

/** What a waypoint or network gateway reference stands for; undefined if the world does not know it. */
export function gatewayAt(world: World, gateway: GatewayAddress): Addressee | undefined {
  const { destination } = gateway;
  if (destination.kind === 'address') return upstreamAt(world, destination.network, destination.ip, ANYBODY);
  const service = world.service(`${destination.namespace}/${destination.hostname}`);
  if (service !== undefined) return { kind: 'service', service };
  const workload = world.workloadNamed(destination.namespace, destination.hostname);
  return workload && { kind: 'workload', workload };
}

/** A gateway reference for people: `network/ip:port` or `namespace/hostname:port`. */
export function gatewayText(gateway: GatewayAddress): string {
  const { destination, hbonePort } = gateway;
  return destination.kind === 'address'
    ? `${destination.network}/${destination.ip}:${hbonePort}`
    : `${destination.namespace}/${destination.hostname}:${hbonePort}`;
}
