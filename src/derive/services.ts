// Collections of waypoints, of what each service is bound to, and of services by host name.

import type { Collection, Graph, Reader } from './graph/graph.ts';
import { selects } from './labels.ts';
import type { GatewayClass } from './objects/gateway.ts';
import type { ServiceEntryVisibility, Visibility } from './objects/mesh.ts';
import { metaKey } from './objects/meta.ts';
import type { Labels } from './read.ts';
import type { Scope, Settings } from './scope.ts';
import { fromKubeService, fromServiceEntry, type ServiceInfo, settleHostname } from './service.ts';
import { type Binding, bindService, toWaypoint, type Waypoint, type WaypointWorld } from './waypoint.ts';

export interface Offer {
  readonly waypoints: WaypointWorld;
  /** By `<namespace>/<name>` of the object; unbound objects are missing. */
  readonly serviceBindings: Collection<Binding>;
  readonly entryBindings: Collection<Binding>;
  /** Who sees a ServiceEntry. By `<namespace>/<name>`. */
  readonly entryVisibility: Collection<Visibility>;
  /** One a namespace and host name, by `<namespace>/<hostname>`. */
  readonly infos: Collection<ServiceInfo>;
}

const UNBOUND: Binding = { kind: 'unbound' };
const unlessUnbound = (binding: Binding): Binding | undefined => (binding.kind === 'unbound' ? undefined : binding);

/** @param labels  of the entry's namespace; undefined when nothing is known of it: then no selector picks it */
function visibilityFor(configured: ServiceEntryVisibility | undefined, labels: Labels | undefined): Visibility {
  if (configured === undefined) return 'PUBLIC';
  const picked =
    labels &&
    configured.policies.find(({ anyNamespace }) => anyNamespace.some((selector) => selects(selector, labels)));
  return (picked ?? { visibility: configured.fallback }).visibility;
}

export function deriveServices(
  graph: Graph,
  scope: Scope,
  classes: Collection<GatewayClass>,
  clusterDomain: string,
): Offer {
  const network = (get: Reader): string => (get.one(scope.settings, '') as Settings).network;
  const ready: Collection<Waypoint> = graph.derive('waypoints', scope.gateways, (get, gateway) =>
    toWaypoint(gateway, get.one(classes, gateway.className), network(get)),
  );
  const waypoints: WaypointWorld = { waypoints: ready, namespaces: scope.namespaces };

  const entryVisibility = graph.derive('entryVisibility', scope.entries, (get, entry) =>
    visibilityFor(
      get.one(scope.visibility, '')?.serviceEntryVisibility,
      get.one(scope.namespaces, entry.namespace)?.labels,
    ),
  );
  const serviceBindings = graph.derive('serviceBindings', scope.services, (get, service) =>
    unlessUnbound(bindService(get, waypoints, service)),
  );
  const entryBindings = graph.derive('entryBindings', scope.entries, (get, entry) =>
    unlessUnbound(bindService(get, waypoints, entry, get.one(entryVisibility, metaKey(entry)) === 'NAMESPACE')),
  );

  const fromServices = graph.deriveMany('kubeServices', scope.services, (get, service, key) => {
    const binding = get.one(serviceBindings, key) ?? UNBOUND;
    const info = fromKubeService(get, { waypoints, network: network(get), clusterDomain }, service, binding);
    return info === undefined ? [] : [[`Service/${key}`, info]];
  });
  const fromEntries = graph.deriveMany('entryServices', scope.entries, (get, entry, key) => {
    const binding = get.one(entryBindings, key) ?? UNBOUND;
    const visibility = get.one(entryVisibility, key) ?? 'NONE';
    const context = { waypoints, network: network(get), clusterDomain };
    return fromServiceEntry(get, context, entry, binding, visibility).map((info) => [
      `ServiceEntry/${key}/${info.service.hostname}`,
      info,
    ]);
  });
  const byHostname = graph
    .join('allServices', [fromServices, fromEntries])
    .index('byHostname', ({ service }) => [service.hostname]);
  const infos = graph.group('services', byHostname, (_get, several) => settleHostname(several));
  return { waypoints, serviceBindings, entryBindings, entryVisibility, infos };
}
