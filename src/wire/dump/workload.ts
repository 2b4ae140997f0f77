// A workload as node proxies show it. Membership of services is not part of it in a dump (there it stands with the
// service's endpoints), and is in a file written by hand: `services` is a list of names or a map with ports.

import { DEFAULT_TRUST_DOMAIN } from '../../model/identity.ts';
import type {
  HealthStatus,
  PortMapping,
  ServiceKey,
  TunnelProtocol,
  Workload,
  WorkloadType,
} from '../../model/workload.ts';
import { readGateway, readIp, readPorts, readServiceKey } from './address.ts';
import type { Node } from './read.ts';

const PROTOCOLS: Readonly<Record<string, TunnelProtocol>> = { TCP: 'none', HBONE: 'hbone' };
const TYPES: Readonly<Record<string, WorkloadType>> = {
  deployment: 'deployment',
  cronjob: 'cronjob',
  pod: 'pod',
  job: 'job',
};
export const STATUSES: Readonly<Record<string, HealthStatus>> = { Healthy: 'healthy', Unhealthy: 'unhealthy' };
const NETWORK_MODES = { Standard: 'standard', HostNetwork: 'hostNetwork' } as const;
const TUNNELS: Readonly<Record<string, 'none' | 'proxy'>> = { NONE: 'none', PROXY: 'proxy' };

const FIELDS: ReadonlySet<string> = new Set([
  'workloadIps',
  'waypoint',
  'networkGateway',
  'protocol',
  'networkMode',
  'uid',
  'name',
  'namespace',
  'trustDomain',
  'serviceAccount',
  'network',
  'workloadName',
  'workloadType',
  'canonicalName',
  'canonicalRevision',
  'hostname',
  'node',
  'nativeTunnel',
  'applicationTunnel',
  'authorizationPolicies',
  'status',
  'clusterId',
  'locality',
  'services',
  'capacity',
]);
const MAX_CAPACITY = 2 ** 32 - 1;
const MAX_PORT = 65535;

/** @param local written by hand: nothing unknown may be in it, and what is always the same may be left out */
export function readWorkload(node: Node, local: boolean): Workload {
  const fields = node.fields();
  if (local) fields.only(FIELDS);
  const name = local ? fields.get('name').text() : fields.get('name').textOr('');
  const namespace = local ? fields.get('namespace').textOr('default') : fields.get('namespace').text();
  const text = (name: string, otherwise = ''): string => fields.get(name).textOr(otherwise);
  const locality = fields.get('locality');
  const place = (name: string): string => (locality.absent ? '' : locality.fields().get(name).textOr(''));
  const capacity = fields.get('capacity');
  const workloadType = fields.get('workloadType');
  return {
    uid: local ? text('uid', `Kubernetes//Pod/${namespace}/${name}`) : fields.get('uid').text(),
    name,
    namespace,
    addresses: fields.get('workloadIps').list().map(readIp),
    hostname: text('hostname'),
    network: text('network'),
    tunnelProtocol: fields.get('protocol').oneOf(PROTOCOLS),
    trustDomain: text('trustDomain', DEFAULT_TRUST_DOMAIN),
    serviceAccount: text('serviceAccount', 'default'),
    waypoint: readGateway(fields.get('waypoint')),
    networkGateway: readGateway(fields.get('networkGateway')),
    node: text('node'),
    canonicalName: text('canonicalName'),
    canonicalRevision: text('canonicalRevision'),
    workloadType: workloadType.value === '' ? 'deployment' : workloadType.oneOf(TYPES),
    workloadName: text('workloadName'),
    nativeTunnel: fields.get('nativeTunnel').flag(),
    applicationTunnel: readTunnel(fields.get('applicationTunnel')),
    services: readMembership(fields.get('services')),
    authorizationPolicies: fields
      .get('authorizationPolicies')
      .list()
      .map((key) => key.text()),
    status: fields.get('status').oneOf(STATUSES),
    clusterId: text('clusterId', 'Kubernetes'),
    locality: { region: place('region'), zone: place('zone'), subzone: place('subzone') },
    hostNetwork: fields.get('networkMode').oneOf(NETWORK_MODES) === 'hostNetwork',
    capacity: capacity.absent ? 1 : capacity.number(MAX_CAPACITY),
  };
}

function readTunnel(node: Node): Workload['applicationTunnel'] {
  if (node.absent) return undefined;
  const fields = node.fields();
  const port = fields.get('port');
  return { protocol: fields.get('protocol').oneOf(TUNNELS), port: port.absent ? 0 : port.number(MAX_PORT) };
}

/** A list only names services; the ports stand with the service's endpoints. */
function readMembership(node: Node): ReadonlyMap<ServiceKey, readonly PortMapping[]> {
  if (Array.isArray(node.value)) return new Map();
  return new Map(
    node.entries().map(([key, ports]) => {
      readServiceKey(ports, key);
      return [key, readPorts(ports)];
    }),
  );
}
