// DestinationRules -> how a proxy sends to one service: which object counts, several of one host merged, every default
// written out.

import type { TrafficConfig, TrafficPolicy } from '../../model/proxy/service-config.ts';
import type { WorkloadUid } from '../../model/workload.ts';
import { byAge } from '../objects/meta.ts';
import type { DestinationRule, WrittenSubset } from '../objects/routing.ts';
import { integer, type Json, type Labels, list, record } from '../read.ts';
import { exposure, hostCovers, resolveHost } from './host.ts';
import { type PolicyContext, readTrafficPolicy } from './traffic-policy.ts';

export interface DestinationRuleWorld extends PolicyContext {
  readonly clusterDomain: string;
  readonly rootNamespace: string;
  /** `meshConfig.defaultDestinationRuleExportTo`. */
  readonly defaultExportTo: readonly string[];
  /** The endpoints of the service that carry these labels. */
  membersWith(labels: Labels): readonly WorkloadUid[];
}

/**
 * The rule for a service as a proxy sees it: of the proxy's own namespace, else of the service's, else of the root
 * namespace; in a namespace the exact host, else the longest wildcard; several for one host are one, oldest first.
 * Rules for the sidecars of some workloads are not for proxies like ours.
 */
export function destinationRuleFor(
  rules: readonly DestinationRule[],
  service: { readonly namespace: string; readonly hostname: string },
  proxyNamespace: string,
  world: Pick<DestinationRuleWorld, 'clusterDomain' | 'rootNamespace' | 'defaultExportTo'>,
): DestinationRule | undefined {
  for (const namespace of new Set([proxyNamespace, service.namespace, world.rootNamespace])) {
    const candidates = rules
      .filter(
        (rule) =>
          rule.namespace === namespace &&
          rule.workloadSelector === undefined &&
          (namespace === proxyNamespace ||
            exposure(rule.exportTo, namespace, proxyNamespace, world.defaultExportTo) !== undefined),
      )
      .map((rule) => ({ rule, host: resolveHost(rule.host, rule.namespace, world.clusterDomain) }))
      .filter(({ host }) => hostCovers(host, service.hostname));
    if (candidates.length === 0) continue;
    const best = candidates.reduce((a, b) => (rank(b.host, service.hostname) > rank(a.host, service.hostname) ? b : a));
    return merged(candidates.filter(({ host }) => host === best.host).map(({ rule }) => rule));
  }
  return undefined;
}

const rank = (host: string, hostname: string): number => (host === hostname ? Number.POSITIVE_INFINITY : host.length);

/** Subsets together, of one name the oldest; the oldest top-level policy wins whole. */
function merged(rules: readonly DestinationRule[]): DestinationRule {
  const oldestFirst = [...rules].sort(byAge) as [DestinationRule, ...DestinationRule[]];
  const subsets = new Map<string, WrittenSubset>();
  for (const rule of oldestFirst)
    for (const subset of rule.subsets) if (!subsets.has(subset.name)) subsets.set(subset.name, subset);
  const [first] = oldestFirst;
  const trafficPolicy = oldestFirst.find((rule) => rule.trafficPolicy !== undefined)?.trafficPolicy;
  return { ...first, trafficPolicy, subsets: [...subsets.values()] };
}

/** @param problems  collects what was not understood, with its field */
export function deriveTrafficConfig(
  rule: DestinationRule | undefined,
  world: DestinationRuleWorld,
  problems: string[] = [],
): TrafficConfig {
  const written = rule?.trafficPolicy ?? {};
  const read = (policy: Json, place: string): TrafficPolicy => readTrafficPolicy(policy, world, place, problems);
  const portLevel = portSettings(written);
  const subsets = (rule?.subsets ?? []).map((subset, at) =>
    subsetOf(subset, written, portLevel, world, (policy) => read(policy, `subsets[${at}].trafficPolicy`)),
  );
  return {
    policy: read(written, 'trafficPolicy'),
    ports: mapPorts(portLevel, (port, policy) => read(policy, `trafficPolicy.portLevelSettings[${port}]`)),
    subsets,
  };
}

type PortSettings = ReadonlyMap<number, Json>;

const portSettings = (policy: Json): PortSettings =>
  new Map(
    list(policy.portLevelSettings).flatMap((item) => {
      const port = integer(record(record(item).port).number);
      return port === undefined ? [] : [[port, record(item)] as const];
    }),
  );

const mapPorts = (
  ports: PortSettings,
  read: (port: number, policy: Json) => TrafficPolicy,
): Readonly<Record<string, TrafficPolicy>> =>
  Object.fromEntries([...ports].map(([port, policy]) => [String(port), read(port, policy)]));

/** Blocks of the subset take the place of the rule's; for a port, those of its own settings in turn. */
function subsetOf(
  subset: WrittenSubset,
  written: Json,
  portLevel: PortSettings,
  world: DestinationRuleWorld,
  read: (policy: Json) => TrafficPolicy,
): TrafficConfig['subsets'][number] {
  const own = subset.trafficPolicy ?? {};
  const ownPorts = portSettings(own);
  const ports = new Map<number, Json>();
  for (const port of new Set([...portLevel.keys(), ...ownPorts.keys()]))
    ports.set(port, { ...(portLevel.get(port) ?? written), ...blocksOf(own), ...blocksOf(ownPorts.get(port) ?? {}) });
  return {
    name: subset.name,
    members: world.membersWith(subset.labels),
    policy: read({ ...written, ...blocksOf(own) }),
    ports: mapPorts(ports, (_port, policy) => read(policy)),
  };
}

const blocksOf = ({ portLevelSettings: _ports, port: _port, ...blocks }: Json): Json => blocks;
