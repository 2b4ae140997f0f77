// What of the inputs this control plane looks at at all: namespaces chosen by discoverySelectors, objects of its
// revision. Everything derived reads these filtered collections and never the raw inputs.

import type { Collection, Graph, Reader } from './graph/graph.ts';
import type { Inputs } from './inputs.ts';
import { selects } from './labels.ts';
import { LABEL } from './names.ts';
import type { EndpointSlice, Namespace } from './objects/cluster.ts';
import type { ServiceEntry, WorkloadEntry } from './objects/entry.ts';
import type { Gateway } from './objects/gateway.ts';
import type { MeshConfig } from './objects/mesh.ts';
import type { Meta } from './objects/meta.ts';
import type { Pod } from './objects/pod.ts';
import type { AuthorizationPolicy, PeerAuthentication } from './objects/security.ts';
import type { KubeService } from './objects/service.ts';
import type { ClusterContext } from './workload.ts';

export interface ScopeOptions {
  readonly clusterId: string;
  readonly systemNamespace: string;
  /** Own revision and the tags that point to it; `default` names the revision without a name. */
  readonly revisions: ReadonlySet<string>;
}

/** Settings that nearly everything reads, apart from the rest of the mesh configuration so that they seldom change. */
export interface Settings extends ClusterContext {
  readonly rootNamespace: string;
}

export interface Scope {
  /** Whether an object is of a namespace that is looked at, and of this control plane's revision. */
  owns(get: Reader, object: Meta): boolean;
  /** Under `''`. */
  readonly settings: Collection<Settings>;
  /** Under `''`. */
  readonly visibility: Collection<Pick<MeshConfig, 'serviceEntryVisibility'>>;
  readonly namespaces: Collection<Namespace>;
  readonly pods: Collection<Pod>;
  readonly services: Collection<KubeService>;
  readonly slices: Collection<EndpointSlice>;
  readonly entries: Collection<ServiceEntry>;
  readonly workloadEntries: Collection<WorkloadEntry>;
  readonly gateways: Collection<Gateway>;
  readonly peerAuthentications: Collection<PeerAuthentication>;
  readonly authorizationPolicies: Collection<AuthorizationPolicy>;
}

export function scopeOf(graph: Graph, { sources, mesh }: Inputs, options: ScopeOptions): Scope {
  const settings = graph.single('settings', (get): Settings => {
    const config = get.one(mesh, '') as MeshConfig;
    return {
      clusterId: options.clusterId,
      network: get.one(sources.namespaces, options.systemNamespace)?.labels[LABEL.network] ?? '',
      trustDomain: config.trustDomain,
      rootNamespace: config.rootNamespace,
    };
  });
  const visibility = graph.single('visibility', (get) => ({
    serviceEntryVisibility: (get.one(mesh, '') as MeshConfig).serviceEntryVisibility,
  }));
  const discovery = graph.single('discovery', (get) => {
    const { discoverySelectors } = get.one(mesh, '') as MeshConfig;
    return discoverySelectors.length === 0 ? undefined : discoverySelectors;
  });
  const selected = graph.derive('selectedNamespaces', sources.namespaces, (get, namespace) =>
    get.one(discovery, '')?.some((selector) => selects(selector, namespace.labels)) ? true : undefined,
  );
  const isSeen = (get: Reader, namespace: string): boolean =>
    get.one(discovery, '') === undefined || get.one(selected, namespace) === true;
  const seen = <T extends Meta>(name: string, from: Collection<T>): Collection<T> =>
    graph.derive(name, from, (get, object) => (isSeen(get, object.namespace) ? object : undefined));
  const owns = (get: Reader, object: Meta): boolean => {
    const revision = object.labels[LABEL.revision];
    return (revision === undefined || options.revisions.has(revision)) && isSeen(get, object.namespace);
  };
  const owned = <T extends Meta>(name: string, from: Collection<T>): Collection<T> =>
    graph.derive(name, from, (get, object) => (owns(get, object) ? object : undefined));
  return {
    owns,
    settings,
    visibility,
    namespaces: sources.namespaces,
    pods: seen('seenPods', sources.pods),
    services: seen('seenServices', sources.services),
    slices: seen('seenSlices', sources.endpointslices),
    entries: owned('ownedServiceEntries', sources.serviceentries),
    workloadEntries: owned('ownedWorkloadEntries', sources.workloadentries),
    gateways: seen('seenGateways', sources.gateways),
    peerAuthentications: owned('ownedPeerAuthentications', sources.peerauthentications),
    authorizationPolicies: owned('ownedAuthorizationPolicies', sources.authorizationpolicies),
  };
}
