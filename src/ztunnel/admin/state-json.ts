// Workloads, services and policies as ztunnel's JSON: the shape of its configuration dump, which tools of Istio read and
// which a local state file may have. Empty values are mostly left out. Pure.

import type { Predicate } from '../../model/facts.ts';
import type { Policy, PolicyMatch } from '../../model/policy.ts';
import { unreachable } from '../../model/result.ts';
import type { GatewayAddress, HealthStatus, PortMapping, Service, Workload } from '../../model/workload.ts';
import type { Endpoint } from '../../model/world.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };
export type JsonRecord = { readonly [key: string]: Json | undefined };

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
/** Left out when empty. */
const some = (text: string): string | undefined => text || undefined;
const list = <T>(items: readonly T[]): readonly T[] | undefined => (items.length > 0 ? items : undefined);

export const healthName = (status: HealthStatus): string => capital(status);

function gateway(address: GatewayAddress | undefined): JsonRecord | undefined {
  if (address === undefined) return undefined;
  const { destination, hbonePort } = address;
  const text =
    destination.kind === 'address'
      ? `${destination.network}/${destination.ip}`
      : `${destination.namespace}/${destination.hostname}`;
  return { destination: text, hboneMtlsPort: hbonePort };
}

const portTable = (ports: readonly PortMapping[]): JsonRecord =>
  Object.fromEntries(ports.map((port) => [String(port.servicePort), port.targetPort]));

export function workloadJson(w: Workload): JsonRecord {
  const { region, zone, subzone } = w.locality;
  return {
    workloadIps: w.addresses,
    waypoint: gateway(w.waypoint),
    networkGateway: gateway(w.networkGateway),
    protocol: w.tunnelProtocol === 'hbone' ? 'HBONE' : 'TCP',
    networkMode: w.hostNetwork ? 'HostNetwork' : 'Standard',
    uid: w.uid,
    name: w.name,
    namespace: w.namespace,
    trustDomain: w.trustDomain,
    serviceAccount: w.serviceAccount,
    network: some(w.network),
    workloadName: some(w.workloadName),
    workloadType: w.workloadType === 'deployment' ? undefined : w.workloadType,
    canonicalName: some(w.canonicalName),
    canonicalRevision: some(w.canonicalRevision),
    hostname: some(w.hostname),
    node: some(w.node),
    nativeTunnel: w.nativeTunnel || undefined,
    applicationTunnel: w.applicationTunnel && {
      protocol: w.applicationTunnel.protocol.toUpperCase(),
      port: w.applicationTunnel.port || undefined,
    },
    authorizationPolicies: list(w.authorizationPolicies),
    status: healthName(w.status),
    clusterId: w.clusterId,
    locality: region || zone || subzone ? { region, zone, subzone } : undefined,
    services: list([...w.services.keys()].sort()),
    capacity: w.capacity,
  };
}

const IP_FAMILIES = { automatic: undefined, ipv4: 'IPv4', ipv6: 'IPv6', dual: 'Dual' } as const;

export function serviceJson(s: Service, endpoints: readonly Endpoint[]): JsonRecord {
  const { loadBalancing } = s;
  const balanced = loadBalancing.mode !== 'unspecified' || loadBalancing.healthPolicy !== 'onlyHealthy';
  return {
    name: s.name,
    namespace: s.namespace,
    hostname: s.hostname,
    vips: s.vips.map(({ network, ip }) => `${network}/${ip}`),
    cidrVips: list(s.cidrVips.map(({ network, range }) => ({ network, cidr: `${range.ip}/${range.length}` }))),
    ports: portTable(s.ports),
    endpoints: Object.fromEntries(endpoints.map((endpoint) => [endpoint.workload.uid, endpointJson(endpoint)])),
    subjectAltNames: s.subjectAltNames.map(
      (id) => `spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`,
    ),
    waypoint: gateway(s.waypoint),
    weightedWaypoints: list(
      s.weightedWaypoints.map(({ waypoint, weight }) => ({ destination: gateway(waypoint), weight })),
    ),
    loadBalancer: balanced
      ? {
          routingPreferences: loadBalancing.preferences.map(capital),
          mode: loadBalancing.mode === 'unspecified' ? 'Standard' : capital(loadBalancing.mode),
          healthPolicy: capital(loadBalancing.healthPolicy),
        }
      : undefined,
    ipFamilies: IP_FAMILIES[s.ipFamilies],
    canonical: s.canonical,
    visibility: capital(s.visibility),
  };
}

const endpointJson = ({ workload, ports }: Endpoint): JsonRecord => ({
  workloadUid: workload.uid,
  port: Object.fromEntries([...ports].map(([port, target]) => [String(port), target])),
  status: healthName(workload.status),
});

export const stagedJson = (members: readonly Workload[], key: string): JsonRecord =>
  Object.fromEntries(
    members.map((workload) => [
      workload.uid,
      {
        workloadUid: workload.uid,
        port: portTable(workload.services.get(key) ?? []),
        status: healthName(workload.status),
      },
    ]),
  );

export const policyJson = (p: Policy): JsonRecord => ({
  name: p.name,
  namespace: p.namespace,
  scope: capital(p.scope),
  action: capital(p.action),
  rules: p.anyRule.map((rule) => rule.everyClause.map((clause) => clause.anyMatch.map(matchJson))),
  dryRun: p.dryRun,
});

function matchJson(match: PolicyMatch): JsonRecord {
  const lists: [string, Json][] = [];
  for (const [name, predicates] of Object.entries(match) as [keyof PolicyMatch, readonly Predicate[]][])
    if (predicates.length > 0) lists.push([name, predicates.map((p) => predicateJson(name, p))]);
  return Object.fromEntries(lists);
}

function predicateJson(list: keyof PolicyMatch, predicate: Predicate): Json {
  switch (predicate.kind) {
    case 'exact': {
      if (list !== 'serviceAccounts' && list !== 'notServiceAccounts') return { Exact: predicate.value };
      const slash = predicate.value.indexOf('/');
      return { namespace: predicate.value.slice(0, slash), serviceAccount: predicate.value.slice(slash + 1) };
    }
    case 'prefix':
      return { Prefix: predicate.value };
    case 'suffix':
      return { Suffix: predicate.value };
    case 'present':
      return { Presence: [] };
    case 'cidr':
      return `${predicate.range.ip}/${predicate.range.length}`;
    case 'port':
      return predicate.port;
    default:
      return unreachable(predicate);
  }
}

/** What a local state file gave, with each workload's ports by service. */
export const staticConfigJson = (
  workloads: readonly Workload[],
  services: readonly Service[],
  policies: readonly Policy[],
): JsonRecord => ({
  workloads: workloads.map((w) => ({
    ...workloadJson(w),
    services: Object.fromEntries([...w.services].map(([key, ports]) => [key, portTable(ports)])),
  })),
  services: services.map((service) => serviceJson(service, [])),
  policies: policies.map(policyJson),
});
