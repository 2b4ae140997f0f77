// Where endpoints are against the proxy: levels of preference, and shares of localities (Istio: localityLbSetting;
// the Service's own traffic distribution where no DestinationRule decides). Pure; runs when the world or a rule changes.

import { localityRank } from '../../model/balance.ts';
import type { LocalityPolicy, PriorityLabel, TrafficPolicy } from '../../model/proxy/service-config.ts';
import type { LoadBalancing, Locality, Workload } from '../../model/workload.ts';
import type { Host } from './host.ts';

/** Hosts that share a part of their level's requests. */
export interface Share {
  readonly hosts: readonly Host[];
  /** Against the other shares of the level. */
  readonly weight: number;
}

/** A level has one share but for `distribute`. */
export type Level = readonly Share[];

/** @returns levels, most preferred first, none empty */
export function levelsOf(
  hosts: readonly Host[],
  place: Workload | undefined,
  policy: TrafficPolicy,
  balancing: LoadBalancing,
): readonly Level[] {
  const { locality, outlier } = policy;
  if (place === undefined) return inOne(hosts);
  const ofService = (): readonly Level[] =>
    byRank(hosts, ({ workload }) => (workload === undefined ? 0 : -localityRank(place, workload, balancing)));
  if (locality === undefined) return balancing.mode === 'failover' ? ofService() : inOne(hosts);
  switch (locality.kind) {
    case 'distribute':
      return distributed(hosts, place.locality, locality) ?? inOne(hosts);
    case 'failover':
      // Without outlier detection nobody would notice that the near ones fail: Istio then prefers no place.
      return outlier === undefined ? inOne(hosts) : byRank(hosts, nearness(place.locality, locality.rules));
    case 'priority':
      return outlier === undefined ? inOne(hosts) : byRank(hosts, labelRank(locality.labels, place));
    case 'prefer':
      if (balancing.mode === 'failover') return ofService();
      return outlier === undefined ? inOne(hosts) : byRank(hosts, nearness(place.locality, []));
  }
}

const inOne = (hosts: readonly Host[]): readonly Level[] => (hosts.length === 0 ? [] : [[{ hosts, weight: 1 }]]);

/** @param rankOf  smaller is preferred */
function byRank(hosts: readonly Host[], rankOf: (endpoint: Host['endpoint']) => number): readonly Level[] {
  const ranks = new Map<number, Host[]>();
  for (const host of hosts) {
    const rank = rankOf(host.endpoint);
    const same = ranks.get(rank);
    if (same === undefined) ranks.set(rank, [host]);
    else same.push(host);
  }
  return [...ranks].sort(([a], [b]) => a - b).map(([, level]) => [{ hosts: level, weight: 1 }]);
}

type FailoverRules = Extract<LocalityPolicy, { kind: 'failover' }>['rules'];

const NOWHERE: Locality = { region: '', zone: '', subzone: '' };

/** 0: same subzone; 1: same zone; 2: same region; 3: the region to fail over to, or any if none is named; 4: others. */
function nearness(own: Locality, rules: FailoverRules): (endpoint: Host['endpoint']) => number {
  const target = rules.find(({ from }) => from === own.region)?.to;
  return ({ workload }) => {
    const { region, zone, subzone } = workload?.locality ?? NOWHERE;
    if (region !== own.region) return target === undefined || region === target ? 3 : 4;
    if (zone !== own.zone) return 2;
    return subzone === own.subzone ? 0 : 1;
  };
}

/** How many of the labels, from the last, are left after the first that does not agree. */
function labelRank(labels: readonly PriorityLabel[], place: Workload): (endpoint: Host['endpoint']) => number {
  const tests = labels.map((label) => agreement(label, place));
  return ({ workload }) => {
    let agreed = 0;
    while (agreed < tests.length && workload !== undefined && tests[agreed]?.(workload) === true) agreed++;
    return labels.length - agreed;
  };
}

function agreement({ name, value, members }: PriorityLabel, place: Workload): (workload: Workload) => boolean {
  const read = TOPOLOGY[name];
  if (read === undefined) {
    const set = new Set(members);
    return ({ uid }) => set.has(uid);
  }
  const wanted = value ?? read(place);
  return (workload) => read(workload) === wanted;
}

const TOPOLOGY: Readonly<Record<string, (workload: Workload) => string>> = {
  'topology.kubernetes.io/region': ({ locality }) => locality.region,
  'topology.kubernetes.io/zone': ({ locality }) => locality.zone,
  'topology.istio.io/subzone': ({ locality }) => locality.subzone,
  'topology.istio.io/network': ({ network }) => network,
};

/** Undefined where no rule is about the proxy's own place. Localities without a share get nothing. */
function distributed(
  hosts: readonly Host[],
  own: Locality,
  policy: Extract<LocalityPolicy, { kind: 'distribute' }>,
): readonly Level[] | undefined {
  const rule = policy.rules.find(({ from }) => localityMatches(from, own));
  if (rule === undefined) return undefined;
  const shares: Share[] = [];
  const taken = new Set<Host>();
  // The more exact pattern first: `r/z/*` beside `r/*`.
  const patterns = Object.entries(rule.to).sort(([a], [b]) => exactness(b) - exactness(a));
  for (const [pattern, weight] of patterns) {
    if (weight <= 0) continue;
    const members = hosts.filter(
      (host) => !taken.has(host) && localityMatches(pattern, host.endpoint.workload?.locality ?? NOWHERE),
    );
    for (const host of members) taken.add(host);
    if (members.length > 0) shares.push({ hosts: members, weight });
  }
  return shares.length === 0 ? [] : [shares];
}

const exactness = (pattern: string): number =>
  2 * pattern.split('/').length - (pattern === '*' || pattern.endsWith('/*') ? 1 : 0);

/** `region[/zone[/subzone]]`; what is left out, or `*`, is any. */
function localityMatches(pattern: string, locality: Locality): boolean {
  const [region = '*', zone = '*', subzone = '*'] = pattern.split('/');
  return fits(region, locality.region) && fits(zone, locality.zone) && fits(subzone, locality.subzone);
}

const fits = (wanted: string, value: string): boolean => wanted === '*' || wanted === '' || wanted === value;
