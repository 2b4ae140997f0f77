// Everything that an analysis knows: the objects by kind, the workloads, the hosts, and what the control plane's own
// derivation makes of them (which waypoint serves what).

import { DEFAULT_AMBIENT_OPTIONS } from '../derive/ambient.ts';
import { type Collection, Graph, type Index, type Reader } from '../derive/graph/graph.ts';
import { Inputs } from '../derive/inputs.ts';
import { isSubset } from '../derive/labels.ts';
import { BUILT_IN_CLASSES, MESH_CONTROLLER } from '../derive/names.ts';
import type { GatewayClass } from '../derive/objects/gateway.ts';
import { parseAuthorizationPolicy } from '../derive/objects/security.ts';
import { type Json, type Labels, list, record, text, textRecord } from '../derive/read.ts';
import { scopeOf } from '../derive/scope.ts';
import { deriveServices, type Offer } from '../derive/services.ts';
import type { TargetOutcome } from '../derive/status/policy.ts';
import { type TargetWorld, targetOutcomes } from '../derive/status/targets.ts';
import { type Binding, bindWorkload, type Waypoint } from '../derive/waypoint.ts';
import { Hosts } from './hosts.ts';
import { KIND } from './kinds.ts';
import type { Resource } from './resource.ts';
import { type Workload, workloadsOf } from './workloads.ts';

/** What of the mesh's settings an analysis depends on. */
export interface MeshSettings {
  readonly rootNamespace: string;
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** Further names of the trust domain (`trustDomainAliases`). */
  readonly trustDomainAliases: readonly string[];
}

const DEFAULT_SETTINGS: MeshSettings = {
  rootNamespace: 'istio-system',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
};
const UNBOUND: Binding = { kind: 'unbound' };

/** Reads collections that have settled; nothing is remembered. */
const READER: Reader = {
  one: <T>(collection: Collection<T>, key: string) => collection.get(key),
  all: <T>(index: Index<T>, key: string) => index.lookup(key),
};

export class World {
  readonly resources: readonly Resource[];
  readonly settings: MeshSettings;
  readonly workloads: readonly Workload[];
  readonly hosts: Hosts;
  /** A live mesh is among the objects: what is not there does not exist. Else the files may be a part of it only. */
  readonly isLive: boolean;
  readonly #byType = new Map<string, Resource[]>();
  readonly #byKey = new Map<string, Resource>();
  readonly #workloads = new Map<string, Workload[]>();
  readonly #judged = new Map<Resource, ReadonlySet<Workload>>();
  readonly #offer: Offer;
  readonly #targets: TargetWorld;

  constructor(resources: readonly Resource[], settings: MeshSettings = DEFAULT_SETTINGS) {
    this.resources = resources;
    this.settings = settings;
    this.isLive = resources.some(({ positions }) => positions === undefined);
    for (const resource of resources) {
      const same = this.#byType.get(resource.type);
      if (same === undefined) this.#byType.set(resource.type, [resource]);
      else same.push(resource);
      this.#byKey.set(`${resource.type}/${resource.key}`, resource);
    }
    this.workloads = workloadsOf(resources, (name) => this.namespaceLabels(name), settings.rootNamespace);
    for (const workload of this.workloads) {
      const same = this.#workloads.get(workload.namespace);
      if (same === undefined) this.#workloads.set(workload.namespace, [workload]);
      else same.push(workload);
    }
    this.hosts = new Hosts(this.all(KIND.service), this.all(KIND.serviceEntry), settings.clusterDomain);
    const derived = this.#derive();
    this.#offer = derived.offer;
    this.#targets = derived.targets;
  }

  all(...types: readonly string[]): readonly Resource[] {
    return types.flatMap((type) => this.#byType.get(type) ?? []);
  }

  get(type: string, namespace: string, name: string): Resource | undefined {
    return this.#byKey.get(`${type}/${namespace === '' ? name : `${namespace}/${name}`}`);
  }

  namespaceLabels(name: string): Labels {
    return this.get(KIND.namespace, '', name)?.labels ?? {};
  }

  /** Services are known, so that a host which is none of them is a mistake. */
  get knowsServices(): boolean {
    return this.isLive || this.hosts.all.length > 0;
  }

  /** Workloads are known, so that a selector which picks none is a mistake. */
  get knowsWorkloads(): boolean {
    return this.isLive || this.workloads.length > 0;
  }

  /** The namespace is labelled for ambient; false too when nothing is known of it. */
  isAmbient(namespace: string): boolean {
    return this.namespaceLabels(namespace)['istio.io/dataplane-mode'] === 'ambient';
  }

  workloadsIn(namespace: string): readonly Workload[] {
    return this.#workloads.get(namespace) ?? [];
  }

  /** Workloads that a policy of `namespace` selects; one of the root namespace selects everywhere. */
  selected(namespace: string, selector: Labels): readonly Workload[] {
    const candidates = namespace === this.settings.rootNamespace ? this.workloads : this.workloadsIn(namespace);
    return candidates.filter(({ labels }) => isSubset(selector, labels));
  }

  /** Workloads in ambient that a policy without targets holds for. */
  judgedByZtunnel(policy: Resource): ReadonlySet<Workload> {
    let judged = this.#judged.get(policy);
    if (judged === undefined) {
      const selected = hasTargets(policy) ? [] : this.selected(policy.namespace, selectorOf(policy) ?? {});
      judged = new Set(selected.filter(({ ambient }) => ambient));
      this.#judged.set(policy, judged);
    }
    return judged;
  }

  /** Which waypoint serves a Service or ServiceEntry. */
  binding(resource: Resource): Binding {
    const bindings = resource.type === KIND.service ? this.#offer.serviceBindings : this.#offer.entryBindings;
    return bindings.get(resource.key) ?? UNBOUND;
  }

  /** No waypoint serves it, nor one that files name and that may be deployed already. */
  isUnserved(resource: Resource): boolean {
    const binding = this.binding(resource);
    if (binding.kind === 'refused') return this.isLive || binding.reason !== 'WaypointIsNotReady';
    return binding.kind === 'unbound';
  }

  workloadBinding(workload: Workload): Binding {
    return bindWorkload(READER, this.#offer.waypoints, workload);
  }

  /** Gateways that serve as waypoints. A Gateway of a file counts as soon as its class is one of waypoints. */
  get waypoints(): readonly Waypoint[] {
    return [...this.#offer.waypoints.waypoints.values()];
  }

  /** Where a policy's targetRefs lead. */
  targets(policy: Resource): readonly TargetOutcome[] {
    return targetOutcomes(READER, this.#targets, parseAuthorizationPolicy(policy.object));
  }

  #derive(): { offer: Offer; targets: TargetWorld } {
    const graph = new Graph();
    const inputs = new Inputs(graph);
    const { rootNamespace, clusterDomain, trustDomain } = this.settings;
    inputs.setMesh({ rootNamespace, trustDomain });
    const scope = scopeOf(graph, inputs, { ...DEFAULT_AMBIENT_OPTIONS, systemNamespace: rootNamespace });
    const { sources } = inputs;
    const offer = deriveServices(graph, scope, sources.gatewayclasses, clusterDomain);
    const feed = (type: string, kind: Parameters<Inputs['set']>[0]): void => {
      for (const resource of this.all(type)) inputs.set(kind, resource.key, resource.object);
    };
    for (const [name, controllerName] of Object.entries(BUILT_IN_CLASSES))
      inputs.set('gatewayclasses', name, { metadata: { name }, spec: { controllerName } });
    feed(KIND.gatewayClass, 'gatewayclasses');
    feed(KIND.namespace, 'namespaces');
    feed(KIND.service, 'services');
    feed(KIND.serviceEntry, 'serviceentries');
    for (const gateway of this.all(KIND.gateway))
      inputs.set('gateways', gateway.key, withAddress(gateway, sources.gatewayclasses));
    graph.flush();
    const targets: TargetWorld = {
      rootNamespace,
      gateways: scope.gateways,
      classes: sources.gatewayclasses,
      waypoints: offer.waypoints.waypoints,
      services: scope.services,
      entries: scope.entries,
      serviceBindings: offer.serviceBindings,
      entryBindings: offer.entryBindings,
    };
    return { offer, targets };
  }
}

/** A waypoint that stands in a file will have the address of its Service, which the controller makes. */
function withAddress(gateway: Resource, classes: Collection<GatewayClass>): Json {
  const name = text(record(gateway.object.spec).gatewayClassName);
  const isWritten = gateway.positions !== undefined && list(record(gateway.object.status).addresses).length === 0;
  if (!isWritten || classes.get(name)?.controllerName !== MESH_CONTROLLER) return gateway.object;
  const value = `${gateway.name}.${gateway.namespace}.svc.cluster.local`;
  return { ...gateway.object, status: { addresses: [{ type: 'Hostname', value }] } };
}

/** `selector.matchLabels` of a policy; undefined: it has none and holds for the namespace. */
export function selectorOf(policy: Resource, selector = 'selector', labels = 'matchLabels'): Labels | undefined {
  const field = policy.spec.at(selector);
  return field.isSet ? textRecord(field.at(labels).value) : undefined;
}

/** The policy is attached by targetRef or targetRefs. */
export const hasTargets = (policy: Resource): boolean =>
  policy.spec.at('targetRef').isSet || policy.spec.at('targetRefs').items().length > 0;
