// Pods, WorkloadEntries, inline ServiceEntry endpoints and hand-written EndpointSlices -> the model's workloads.

import { DEFAULT_TRUST_DOMAIN } from '../model/identity.ts';
import type { GatewayAddress, PolicyKey, PortMapping, TunnelProtocol, Workload } from '../model/workload.ts';
import { serviceKey } from '../model/workload.ts';
import { entryMembership, podMembership } from './membership.ts';
import { ANNOTATION, LABEL } from './names.ts';
import type { EndpointSlice, Node } from './objects/cluster.ts';
import type { EntryPoint, ServiceEntry, WorkloadEntry } from './objects/entry.ts';
import type { Pod } from './objects/pod.ts';
import { canonicalService, workloadName } from './owner.ts';
import type { Labels } from './read.ts';
import type { ServiceInfo } from './service.ts';
import type { ApplicationTunnel } from './waypoint.ts';

/** The same for every workload of a cluster. */
export interface ClusterContext {
  readonly clusterId: string;
  readonly network: string;
  readonly trustDomain: string;
}

/** What was found out about one workload before it is put together. */
export interface Surroundings {
  readonly services: readonly ServiceInfo[];
  readonly policies: readonly PolicyKey[];
  readonly waypoint: GatewayAddress | undefined;
  readonly applicationTunnel: ApplicationTunnel | undefined;
}

const NO_LOCALITY = { region: '', zone: '', subzone: '' };

/**
 * HBONE when the node agent says that the pod is captured, or when the workload says that it speaks HBONE itself.
 * `pending` and any other value of the annotation do not count: traffic would not arrive.
 */
function tunnel(labels: Labels, annotations: Labels): { tunnelProtocol: TunnelProtocol; nativeTunnel: boolean } {
  const native = (labels[LABEL.tunnel] ?? '').split(',').includes('http');
  const captured = annotations[ANNOTATION.redirection] === 'enabled';
  return { tunnelProtocol: native || captured ? 'hbone' : 'none', nativeTunnel: native };
}

const common = (cluster: ClusterContext): Pick<Workload, 'trustDomain' | 'clusterId' | 'networkGateway'> => ({
  trustDomain: cluster.trustDomain || DEFAULT_TRUST_DOMAIN,
  clusterId: cluster.clusterId,
  networkGateway: undefined,
});

/** @returns undefined for a pod that has finished, or has no address yet */
export function fromPod(
  cluster: ClusterContext,
  pod: Pod,
  node: Node | undefined,
  around: Surroundings,
): Workload | undefined {
  if (pod.finished || pod.ips.length === 0) return undefined;
  const name = workloadName(pod);
  return {
    uid: `${cluster.clusterId}//Pod/${pod.namespace}/${pod.name}`,
    name: pod.name,
    namespace: pod.namespace,
    addresses: pod.ips,
    hostname: '',
    network: pod.labels[LABEL.network] ?? cluster.network,
    ...tunnel(pod.labels, pod.annotations),
    ...common(cluster),
    serviceAccount: pod.serviceAccount || 'default',
    waypoint: around.waypoint,
    node: pod.node,
    ...canonicalService(pod.labels, name),
    workloadType: 'pod',
    workloadName: name,
    applicationTunnel: around.applicationTunnel,
    services: podMembership(pod, around.services),
    authorizationPolicies: around.policies,
    status: pod.ready ? 'healthy' : 'unhealthy',
    locality: node?.locality ?? NO_LOCALITY,
    hostNetwork: pod.hostNetwork,
    capacity: 1,
  };
}

const fromPoint = (
  cluster: ClusterContext,
  point: EntryPoint,
  around: Surroundings,
): Pick<
  Workload,
  | 'addresses'
  | 'hostname'
  | 'network'
  | 'serviceAccount'
  | 'waypoint'
  | 'node'
  | 'workloadType'
  | 'applicationTunnel'
  | 'services'
  | 'authorizationPolicies'
  | 'status'
  | 'locality'
  | 'hostNetwork'
  | 'capacity'
> => ({
  addresses: point.ip === undefined ? [] : [point.ip],
  hostname: point.ip === undefined ? point.address : '',
  network: point.network || cluster.network,
  serviceAccount: point.serviceAccount,
  waypoint: around.waypoint,
  node: '',
  workloadType: 'pod',
  applicationTunnel: around.applicationTunnel,
  services: entryMembership(point, around.services),
  authorizationPolicies: around.policies,
  status: 'healthy',
  locality: point.locality,
  hostNetwork: false,
  capacity: point.weight > 0 ? point.weight : 1,
});

export function fromWorkloadEntry(cluster: ClusterContext, entry: WorkloadEntry, around: Surroundings): Workload {
  const name = entry.labels[LABEL.workloadName] ?? entry.name;
  return {
    uid: `${cluster.clusterId}/networking.istio.io/WorkloadEntry/${entry.namespace}/${entry.name}`,
    name: entry.name,
    namespace: entry.namespace,
    ...fromPoint(cluster, entry.point, around),
    ...tunnel(entry.labels, entry.annotations),
    ...common(cluster),
    ...canonicalService(entry.labels, name),
    workloadName: name,
  };
}

/** Its names and tunnel come from the ServiceEntry, its place from the endpoint. */
export function fromInlineEndpoint(
  cluster: ClusterContext,
  entry: ServiceEntry,
  point: EntryPoint,
  around: Surroundings,
): Workload {
  return {
    uid: `${cluster.clusterId}/networking.istio.io/ServiceEntry/${entry.namespace}/${entry.name}/${point.address}`,
    name: entry.name,
    namespace: entry.namespace,
    ...fromPoint(cluster, point, around),
    ...tunnel(entry.labels, entry.annotations),
    ...common(cluster),
    ...canonicalService(entry.labels, entry.name),
    workloadName: entry.name,
  };
}

/**
 * Addresses that somebody wrote into a slice by hand. Nothing is known of what stands there, and the address may be
 * shared, so that it is marked host-network and has no account, policy, waypoint or locality.
 */
export function fromLooseEndpoints(
  cluster: ClusterContext,
  slice: EndpointSlice,
  { service, source }: ServiceInfo,
): readonly Workload[] {
  if (source.kind !== 'Service') return [];
  const ports = slice.ports.flatMap(({ name, port }): PortMapping[] => {
    const at = source.ports.find((candidate) => candidate.name === name);
    return at === undefined ? [] : [{ servicePort: at.port, targetPort: port, appProtocol: 'unknown' }];
  });
  return slice.loose.map(({ addresses, ready }) => ({
    uid: `${cluster.clusterId}/discovery.k8s.io/EndpointSlice/${slice.namespace}/${slice.name}/${addresses[0]}`,
    name: slice.name,
    namespace: slice.namespace,
    addresses,
    hostname: '',
    network: cluster.network,
    tunnelProtocol: 'none',
    nativeTunnel: false,
    ...common(cluster),
    serviceAccount: '',
    waypoint: undefined,
    node: '',
    canonicalName: '',
    canonicalRevision: '',
    workloadType: 'deployment',
    workloadName: '',
    applicationTunnel: undefined,
    services: new Map([[serviceKey(service), ports]]),
    authorizationPolicies: [],
    status: ready ? 'healthy' : 'unhealthy',
    locality: NO_LOCALITY,
    hostNetwork: true,
    capacity: 1,
  }));
}
