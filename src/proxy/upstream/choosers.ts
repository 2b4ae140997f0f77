// The ways to choose one of several hosts (Istio: loadBalancer). Built when the hosts or their health change; asked once
// a request. Equal weights, the usual case, take no schedule.

import type { LoadBalancer, SlowStart } from '../../model/proxy/service-config.ts';
import { buildMaglev, buildRing, type Lookup } from './consistent.ts';
import type { Host } from './host.ts';
import { Schedule } from './schedule.ts';

/** @param hash  undefined where there is nothing to go by */
export type Chooser = (hash: number | undefined) => Host;

export interface ChooserNeeds {
  readonly slowStart: SlowStart | undefined;
  random(): number;
  nowMs(): number;
}

/** @param hosts  at least one */
export function chooserFor(balancer: LoadBalancer, hosts: readonly Host[], needs: ChooserNeeds): Chooser {
  const [only] = hosts;
  if (hosts.length === 1 && only !== undefined) return () => only;
  switch (balancer.kind) {
    case 'roundRobin':
      return areAlike(hosts, needs) ? inTurn(hosts, needs) : byWeight(hosts, needs, () => 1);
    case 'leastRequest':
      return areAlike(hosts, needs) ? lighterOfTwo(hosts, needs) : byWeight(hosts, needs, (host) => host.active + 1);
    case 'random':
    case 'passthrough': // its hosts are not chosen here; total all the same
      return atRandom(hosts, needs);
    case 'ringHash':
      return consistent(hosts, buildRing(hosts, balancer.minimumRingSize), needs);
    case 'maglev':
      return consistent(hosts, buildMaglev(hosts, balancer.tableSize), needs);
  }
}

function areAlike(hosts: readonly Host[], { slowStart, nowMs }: ChooserNeeds): boolean {
  const weight = hosts[0]?.weight;
  if (hosts.some((host) => host.weight !== weight)) return false;
  if (slowStart === undefined) return true;
  const now = nowMs();
  return hosts.every((host) => now - host.addedAtMs >= slowStart.durationMs);
}

function inTurn(hosts: readonly Host[], { random }: ChooserNeeds): Chooser {
  let next = Math.floor(random() * hosts.length);
  return () => {
    const host = hosts[next] as Host;
    next = next + 1 === hosts.length ? 0 : next + 1;
    return host;
  };
}

/** The power of two choices (Envoy: choice_count 2). */
function lighterOfTwo(hosts: readonly Host[], { random }: ChooserNeeds): Chooser {
  return () => {
    const first = Math.floor(random() * hosts.length);
    const second = Math.floor(random() * (hosts.length - 1));
    const a = hosts[first] as Host;
    const b = hosts[second >= first ? second + 1 : second] as Host;
    return b.active < a.active ? b : a;
  };
}

function byWeight(hosts: readonly Host[], needs: ChooserNeeds, burden: (host: Host) => number): Chooser {
  const { slowStart, random, nowMs } = needs;
  const weight = (host: Host): number =>
    (host.weight * (slowStart === undefined ? 1 : warmth(slowStart, nowMs() - host.addedAtMs))) / burden(host);
  const schedule = new Schedule(hosts, weight, random);
  return () => schedule.next();
}

/** The part of its weight that an endpoint has after some time: (elapsed / duration) ^ (1 / aggression), not below the minimum. */
export function warmth({ durationMs, minimumPercent, aggression }: SlowStart, elapsedMs: number): number {
  if (elapsedMs >= durationMs) return 1;
  const part = Math.max(elapsedMs, 1) / durationMs;
  return Math.max(part ** (1 / aggression), minimumPercent / 100, 1e-3);
}

function atRandom(hosts: readonly Host[], { random }: ChooserNeeds): Chooser {
  let total = 0;
  const upTo = hosts.map((host) => {
    total += host.weight;
    return total;
  });
  return () => {
    const drawn = random() * total;
    let low = 0;
    for (let high = hosts.length - 1; low < high; ) {
      const middle = (low + high) >> 1;
      if (drawn < (upTo[middle] as number)) high = middle;
      else low = middle + 1;
    }
    return hosts[low] as Host;
  };
}

function consistent(hosts: readonly Host[], lookup: Lookup, needs: ChooserNeeds): Chooser {
  const any = atRandom(hosts, needs);
  return (hash) => (hash === undefined ? any(undefined) : (hosts[lookup(hash)] as Host));
}
