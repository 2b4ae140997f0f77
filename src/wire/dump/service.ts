// A service as node proxies show it, with the endpoints that it has found.

import { parseSpiffeId, type SpiffeId } from '../../model/identity.ts';
import type {
  HealthPolicy,
  IpFamilies,
  LoadBalancing,
  LoadBalancingMode,
  LoadBalancingScope,
  PortMapping,
  Service,
  WorkloadUid,
} from '../../model/workload.ts';
import { readGateway, readNetworkAddress, readNetworkRange, readPorts } from './address.ts';
import type { Node } from './read.ts';

const FAMILIES: Readonly<Record<string, IpFamilies>> = { IPv4: 'ipv4', IPv6: 'ipv6', Dual: 'dual' };
const SCOPES: Readonly<Record<string, LoadBalancingScope>> = {
  Region: 'region',
  Zone: 'zone',
  Subzone: 'subzone',
  Node: 'node',
  Cluster: 'cluster',
  Network: 'network',
};
const MODES: Readonly<Record<string, LoadBalancingMode>> = {
  Standard: 'unspecified',
  Strict: 'strict',
  Failover: 'failover',
  Passthrough: 'passthrough',
};
const HEALTH_POLICIES: Readonly<Record<string, HealthPolicy>> = { OnlyHealthy: 'onlyHealthy', AllowAll: 'allowAll' };
const VISIBILITIES: Readonly<Record<string, Service['visibility']>> = { Public: 'public', Namespace: 'namespace' };

const FIELDS: ReadonlySet<string> = new Set([
  'name',
  'namespace',
  'hostname',
  'vips',
  'cidrVips',
  'ports',
  'endpoints',
  'subjectAltNames',
  'waypoint',
  'weightedWaypoints',
  'loadBalancer',
  'ipFamilies',
  'canonical',
  'visibility',
]);
const MAX_WEIGHT = 2 ** 32 - 1;

export interface DumpedService {
  readonly service: Service;
  /** Workload to its ports. */
  readonly endpoints: ReadonlyMap<WorkloadUid, readonly PortMapping[]>;
}

/** @param local written by hand: nothing unknown may be in it, and what is always the same may be left out */
export function readService(node: Node, local: boolean): DumpedService {
  const fields = node.fields();
  if (local) fields.only(FIELDS);
  const families = fields.get('ipFamilies');
  const service: Service = {
    name: fields.get('name').textOr(''),
    namespace: local ? fields.get('namespace').textOr('default') : fields.get('namespace').text(),
    hostname: fields.get('hostname').text().toLowerCase(),
    vips: fields.get('vips').list().map(readNetworkAddress),
    cidrVips: fields.get('cidrVips').list().map(readNetworkRange),
    ports: readPorts(fields.get('ports')),
    subjectAltNames: fields.get('subjectAltNames').list().map(readSubject),
    waypoint: readGateway(fields.get('waypoint')),
    weightedWaypoints: fields
      .get('weightedWaypoints')
      .list()
      .map((entry) => {
        const weighted = entry.fields();
        const destination = weighted.get('destination');
        const waypoint = readGateway(destination) ?? destination.refuse('the address of a waypoint');
        return { waypoint, weight: weighted.get('weight').number(MAX_WEIGHT) };
      }),
    loadBalancing: readLoadBalancing(fields.get('loadBalancer')),
    ipFamilies: families.absent ? 'automatic' : families.oneOf(FAMILIES),
    canonical: fields.get('canonical').flag(),
    ingressUseWaypoint: false, // node proxies do not keep it
    visibility: fields.get('visibility').oneOf(VISIBILITIES),
  };
  return { service, endpoints: readEndpoints(fields.get('endpoints')) };
}

/** `{ uid: { workloadUid, port: { "80": 8080 }, status } }` */
export const readEndpoints = (node: Node): ReadonlyMap<WorkloadUid, readonly PortMapping[]> =>
  new Map(
    node.entries().map(([key, entry]) => {
      const fields = entry.fields();
      return [fields.get('workloadUid').textOr(key), readPorts(fields.get('port'))];
    }),
  );

function readSubject(node: Node): SpiffeId {
  const id = parseSpiffeId(node.text());
  return id.ok ? id.value : node.refuse('a SPIFFE id');
}

function readLoadBalancing(node: Node): LoadBalancing {
  if (node.absent) return { mode: 'unspecified', preferences: [], healthPolicy: 'onlyHealthy' };
  const fields = node.fields();
  return {
    mode: fields.get('mode').oneOf(MODES),
    preferences: fields
      .get('routingPreferences')
      .list()
      .map((scope) => scope.oneOf(SCOPES)),
    healthPolicy: fields.get('healthPolicy').oneOf(HEALTH_POLICIES),
  };
}
