// Load balancing: which endpoint of a service answers, and at which port and address. Runs once a connection.

import { type Ip, isV4 } from './ip.ts';
import { unreachable } from './result.ts';
import type { IpFamilies, LoadBalancing, LoadBalancingScope, Service, Workload } from './workload.ts';
import { serviceKey } from './workload.ts';
import type { Endpoint, World } from './world.ts';

/** A number in [0, 1); the caller owns randomness, so that decisions can be replayed. */
export type Random = () => number;

/** `standard` resolves what an application dialled; `waypoint` resolves a reference to a waypoint. */
export type ResolutionMode = 'standard' | 'waypoint';

export interface ChosenEndpoint {
  readonly workload: Workload;
  readonly port: number;
}

/**
 * Chooses an endpoint for one connection (Istio: ztunnel's load balancer).
 *
 * Only the endpoints of the best locality rank count, weighted by capacity.
 * @param servicePort the port that was dialled on the service
 * @returns undefined if the service does not have the port, or nobody can answer
 */
export function chooseEndpoint(
  world: World,
  source: Workload,
  service: Service,
  servicePort: number,
  mode: ResolutionMode,
  random: Random,
): ChosenEndpoint | undefined {
  const listed = service.ports.find((port) => port.servicePort === servicePort);
  if (listed === undefined && mode === 'standard') return undefined;
  const targetPort = listed?.targetPort;
  const plan = planFor(world.endpoints(serviceKey(service)), source, service, servicePort, targetPort, mode);
  const { candidates, upTo } = plan;
  const total = upTo.at(-1) ?? 0;
  if (total === 0) return undefined;
  const drawn = random() * total;
  let low = 0;
  for (let high = candidates.length - 1; low < high; ) {
    const middle = (low + high) >> 1;
    if (drawn < (upTo[middle] as number)) high = middle;
    else low = middle + 1;
  }
  return withPort(candidates[low] as Endpoint, servicePort, targetPort);
}

/**
 * Every endpoint that `chooseEndpoint` may choose, each with a random number that makes it choose just that one: for
 * tools that ask about all of them.
 */
export function endpointDraws(
  world: World,
  source: Workload,
  service: Service,
  servicePort: number,
): readonly { readonly workload: Workload; readonly draw: number }[] {
  const listed = service.ports.find((port) => port.servicePort === servicePort);
  if (listed === undefined) return [];
  const endpoints = world.endpoints(serviceKey(service));
  const { candidates, upTo } = planFor(endpoints, source, service, servicePort, listed.targetPort, 'standard');
  const total = upTo.at(-1) ?? 0;
  return candidates.flatMap(({ workload }, i) =>
    workload.capacity === 0 ? [] : [{ workload, draw: ((upTo[i] as number) - workload.capacity / 2) / total }],
  );
}

/** The endpoints of best rank for one source, with running sums of their capacities. */
interface Plan {
  readonly source: Workload;
  readonly service: Service;
  readonly servicePort: number;
  readonly mode: ResolutionMode;
  readonly candidates: readonly Endpoint[];
  readonly upTo: readonly number[];
}

/** Plans kept for one list; the oldest goes. */
const MAX_PLANS = 64;
/** A list of endpoints is planned once for each source: 84 µs a connection became 2 µs at 1000 endpoints. INVARIANT
 * (immutable endpoints): worlds replace lists and never change them, so that a plan is right as long as its list lives. */
const plans = new WeakMap<readonly Endpoint[], Plan[]>();

function planFor(
  endpoints: readonly Endpoint[],
  source: Workload,
  service: Service,
  servicePort: number,
  targetPort: number | undefined,
  mode: ResolutionMode,
): Plan {
  let kept = plans.get(endpoints);
  if (kept === undefined) {
    kept = [];
    plans.set(endpoints, kept);
  }
  for (const plan of kept)
    if (plan.source === source && plan.servicePort === servicePort && plan.mode === mode && plan.service === service)
      return plan;

  let best = 0;
  let candidates: Endpoint[] = [];
  for (const endpoint of endpoints) {
    if (!isCandidate(source, endpoint, servicePort, targetPort, mode)) continue;
    const rank = localityRank(source, endpoint.workload, service.loadBalancing);
    if (rank < best) continue;
    if (rank > best) [best, candidates] = [rank, []];
    candidates.push(endpoint);
  }
  let sum = 0;
  const upTo = candidates.map(({ workload }) => {
    sum += workload.capacity;
    return sum;
  });
  const plan: Plan = { source, service, servicePort, mode, candidates, upTo };
  if (kept.length >= MAX_PLANS) kept.shift();
  kept.push(plan);
  return plan;
}

function isCandidate(
  source: Workload,
  endpoint: Endpoint,
  servicePort: number,
  targetPort: number | undefined,
  mode: ResolutionMode,
): boolean {
  const { workload } = endpoint;
  const reachable =
    workload.addresses.length > 0 ||
    workload.hostname !== '' ||
    (workload.network !== source.network && workload.networkGateway !== undefined);
  if (!reachable) return false;
  if (mode === 'standard') return Boolean(targetPort) || endpoint.ports.has(servicePort);
  return targetPort !== undefined || workload.applicationTunnel !== undefined;
}

/** The endpoint's own mapping, else the service's target port, else the dialled port if an application tunnel maps it. */
function withPort(endpoint: Endpoint, servicePort: number, targetPort: number | undefined): ChosenEndpoint | undefined {
  const { workload } = endpoint;
  const port = endpoint.ports.get(servicePort) ?? (targetPort || (workload.applicationTunnel?.port ? servicePort : 0));
  return port === 0 ? undefined : { workload, port };
}

/**
 * How near an endpoint is: scopes are compared in order until the first that differs. With the network as first scope
 * an endpoint of another network is still ranked by the other scopes, below every one of the same network.
 * @returns the rank, or -1 where a strict service excludes the endpoint
 */
export function localityRank(source: Workload, endpoint: Workload, balancing: LoadBalancing): number {
  const { mode, preferences } = balancing;
  if (mode === 'unspecified' || preferences.length === 0) return 0;
  let rank = 0;
  let bonus = 0;
  let every = true;
  for (let i = 0; i < preferences.length; i++) {
    const scope = preferences[i] as LoadBalancingScope;
    const same = attribute(source, scope) === attribute(endpoint, scope);
    const leadingNetwork = i === 0 && scope === 'network';
    if (same) {
      rank++;
      if (leadingNetwork) bonus = preferences.length - 1;
    } else {
      every = false;
      if (!leadingNetwork) break;
    }
  }
  return mode === 'strict' && !every ? -1 : rank + bonus;
}

function attribute(workload: Workload, scope: LoadBalancingScope): string {
  switch (scope) {
    case 'region':
    case 'zone':
    case 'subzone':
      return workload.locality[scope];
    case 'node':
      return workload.node;
    case 'cluster':
      return workload.clusterId;
    case 'network':
      return workload.network;
    default:
      return unreachable(scope);
  }
}

/** Where a chosen workload is: an address, a name that must be resolved first, or nowhere reachable directly. */
export type EndpointAddress =
  | { readonly kind: 'ip'; readonly ip: Ip }
  | { readonly kind: 'hostname'; readonly hostname: string }
  | { readonly kind: 'none' };

/**
 * Chooses the address of a workload: the dialled one if it is the workload's, else the first of the dialled family
 * that the service's families admit, else the first admitted, else its hostname.
 */
export function chooseAddress(workload: Workload, dialled: Ip, families: IpFamilies): EndpointAddress {
  if (workload.addresses.includes(dialled)) return { kind: 'ip', ip: dialled };
  let other: Ip | undefined;
  for (const ip of workload.addresses) {
    if (!familyAdmits(families, ip)) continue;
    if (isV4(ip) === isV4(dialled)) return { kind: 'ip', ip };
    other ??= ip;
  }
  if (other !== undefined) return { kind: 'ip', ip: other };
  return workload.hostname === '' ? { kind: 'none' } : { kind: 'hostname', hostname: workload.hostname };
}

export function familyAdmits(families: IpFamilies, ip: Ip): boolean {
  switch (families) {
    case 'automatic':
    case 'dual':
      return true;
    case 'ipv4':
      return isV4(ip);
    case 'ipv6':
      return !isV4(ip);
    default:
      return unreachable(families);
  }
}

/** One answer of a name: at random among those of the dialled family, else among the others. */
export function chooseAnswer(answers: readonly Ip[], dialled: Ip, random: Random): Ip | undefined {
  const same = answers.filter((ip) => isV4(ip) === isV4(dialled));
  const pool = same.length > 0 ? same : answers;
  return pool[Math.floor(random() * pool.length)];
}
