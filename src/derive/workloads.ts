// The collection of workloads, from its four origins.

import type { Workload } from '../model/workload.ts';
import type { Collection, Graph, Reader } from './graph/graph.ts';
import { indexSelectors, selecting } from './labels.ts';
import { type Node, podReference } from './objects/cluster.ts';
import type { EntryPoint, ServiceEntry } from './objects/entry.ts';
import { type Meta, metaKey } from './objects/meta.ts';
import type { Pod } from './objects/pod.ts';
import type { Rules } from './policies.ts';
import type { Labels } from './read.ts';
import type { Scope, Settings } from './scope.ts';
import { kubeHostname, type ServiceInfo } from './service.ts';
import type { Offer } from './services.ts';
import { bindWorkload, instanceOf, type Waypoint, waypointAddress } from './waypoint.ts';
import { fromInlineEndpoint, fromLooseEndpoints, fromPod, fromWorkloadEntry, type Surroundings } from './workload.ts';

const DNS_RESOLUTIONS: ReadonlySet<string> = new Set(['DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS']);

export function deriveWorkloads(
  graph: Graph,
  scope: Scope,
  nodes: Collection<Node>,
  offer: Offer,
  rules: Rules,
  clusterDomain: string,
): Collection<Workload> {
  const settings = (get: Reader): Settings => get.one(scope.settings, '') as Settings;
  const bySelector = indexSelectors(offer.infos);
  const ofEntry = offer.infos.index('ofEntry', ({ source, namespace }) =>
    source.kind === 'ServiceEntry' ? [`${namespace}/${source.name}`] : [],
  );
  const slicesByPod = scope.slices.index('byPod', ({ pods }) => pods);
  const kubeService = (get: Reader, namespace: string, name: string): ServiceInfo | undefined => {
    const info = get.one(offer.infos, `${namespace}/${kubeHostname(name, namespace, clusterDomain)}`);
    return info?.source.kind === 'Service' ? info : undefined;
  };

  /** Services that select a pod, and those whose slices name it though they select nothing. */
  const servicesOf = (get: Reader, pod: Pod): readonly ServiceInfo[] => {
    const found = new Set(selecting(get, bySelector, pod.namespace, pod.labels));
    for (const slice of get.all(slicesByPod, podReference(pod))) {
      const info = kubeService(get, slice.namespace, slice.service);
      if (info !== undefined && info.selector === undefined) found.add(info);
    }
    return [...found];
  };

  const around = (
    get: Reader,
    object: Pick<Meta, 'namespace' | 'labels'> & Partial<Pick<Meta, 'annotations'>>,
    services: readonly ServiceInfo[],
    keysFor: (get: Reader, namespace: string, labels: Labels) => readonly string[],
    policyLabels: Labels = object.labels,
  ): Surroundings => {
    const instance = instanceOf(get, offer.waypoints, object);
    const binding = instance === undefined ? bindWorkload(get, offer.waypoints, object) : undefined;
    const inFront: Waypoint[] = binding?.kind === 'bound' ? [binding.waypoint] : [];
    for (const info of services) if (info.binding.kind === 'bound') inFront.push(info.binding.waypoint);
    return {
      services,
      policies: [...keysFor(get, object.namespace, policyLabels), ...rules.keysForWaypoints(get, inFront)],
      waypoint: binding && waypointAddress(binding),
      applicationTunnel: instance?.inbound,
    };
  };

  const fromPods = graph.deriveMany('podWorkloads', scope.pods, (get, pod) => {
    if (pod.finished || pod.ips.length === 0) return [];
    const node = pod.node === '' ? undefined : get.one(nodes, pod.node);
    const workload = fromPod(settings(get), pod, node, around(get, pod, servicesOf(get, pod), rules.keysFor));
    return workload === undefined ? [] : [[workload.uid, workload]];
  });

  const fromWorkloadEntries = graph.deriveMany('entryWorkloads', scope.workloadEntries, (get, entry) => {
    const services = selecting(get, bySelector, entry.namespace, entry.labels);
    const workload = fromWorkloadEntry(settings(get), entry, around(get, entry, services, rules.keysFor));
    return [[workload.uid, workload]];
  });

  const inline = (
    get: Reader,
    entry: ServiceEntry,
    point: EntryPoint,
    services: readonly ServiceInfo[],
  ): readonly [string, Workload] => {
    const object = { namespace: entry.namespace, labels: point.labels };
    const surroundings = around(get, object, services, rules.keysForInlineEndpoint, entry.labels);
    const workload = fromInlineEndpoint(settings(get), entry, point, surroundings);
    return [workload.uid, workload];
  };
  const fromEndpoints = graph.deriveMany('inlineWorkloads', scope.entries, (get, entry) => {
    const implicit =
      entry.endpoints.length === 0 && entry.selector === undefined && DNS_RESOLUTIONS.has(entry.resolution);
    if (entry.endpoints.length === 0 && !implicit) return [];
    const services = get.all(ofEntry, metaKey(entry));
    if (services.length === 0) return []; // another object won its host names
    if (implicit) return services.map((info) => inline(get, entry, implicitPoint(info.service.hostname), [info]));
    const distinct = new Map(entry.endpoints.map((point) => [point.address, point]));
    return [...distinct.values()].map((point) => inline(get, entry, point, services));
  });

  const fromSlices = graph.deriveMany('sliceWorkloads', scope.slices, (get, slice) => {
    if (slice.loose.length === 0) return [];
    const info = kubeService(get, slice.namespace, slice.service);
    if (info === undefined) return [];
    return fromLooseEndpoints(settings(get), slice, info).map((workload) => [workload.uid, workload]);
  });

  return graph.join('workloads', [fromPods, fromWorkloadEntries, fromEndpoints, fromSlices]);
}

/** An entry resolved by DNS without endpoints stands for its host name; the node proxy resolves it at each connection. */
const implicitPoint = (hostname: string): EntryPoint => ({
  address: hostname,
  ip: undefined,
  ports: {},
  labels: { 'istio.io/use-waypoint': 'none' },
  network: '',
  locality: { region: '', zone: '', subzone: '' },
  serviceAccount: '',
  weight: 0,
});
