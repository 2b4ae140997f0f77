// Routes in the graph: each route object attached and translated, what proxies hold of them, and their statuses.
//
//   services, waypoints, listeners ──> outcomes (one a route) ──> routes of each proxy ──> services that they need
//                                            `──> attached routes of each listener, reports

import type { BackendTarget } from '../model/http/route.ts';
import type { RouteResource } from '../model/proxy/route-resource.ts';
import { serviceKey } from '../model/workload.ts';
import { roleOf } from './gateway/role.ts';
import type { PlannedGateways } from './gateways.ts';
import type { Collection, Graph, Reader } from './graph/graph.ts';
import type { Inputs } from './inputs.ts';
import type { MeshConfig } from './objects/mesh.ts';
import type { MeshL7 } from './objects/mesh-l7.ts';
import { metaKey } from './objects/meta.ts';
import { indexGrants } from './objects/reference-grant.ts';
import type { Route, RouteKind } from './objects/route.ts';
import type { VirtualService } from './objects/routing.ts';
import type { BackendWorld, RoutableService } from './routes/backends.ts';
import { notHonoured, routeStatus } from './routes/conditions.ts';
import type { ParentGateway, ParentWorld } from './routes/parents.ts';
import { type ProxyRoute, translateRoute } from './routes/translate.ts';
import { deriveVirtualServices } from './routes/virtual-services.ts';
import type { Scope } from './scope.ts';
import type { Offer } from './services.ts';
import { reportUnlessEqual, type StatusReport } from './status/report.ts';
import { readRetry } from './traffic/virtual-service-rule.ts';

/** A proxy that must know a service. */
export interface Need {
  /** `<namespace>/<name>` of the Gateway. */
  readonly proxy: string;
  /** Key of the service. */
  readonly service: string;
}

export interface Routes {
  /** By `<proxy> <name of the resource>`. */
  readonly proxyRoutes: Collection<ProxyRoute>;
  /** Services that routes lead to or act at. */
  readonly needs: Collection<Need>;
  /** Gateways of ours that route, by `<namespace>/<name>`. */
  readonly gateways: Collection<ParentGateway>;
  /** Waypoints before each bound service, by the service's key. */
  readonly waypointsOf: Collection<readonly string[]>;
  readonly services: Collection<RoutableService>;
  readonly backends: BackendWorld;
  /** Under `''`. */
  readonly mesh: Collection<MeshL7>;
  /** By `<namespace>/<gateway>/<listener>`; those without routes are missing. */
  readonly attachedRoutes: Collection<number>;
  readonly reports: Collection<StatusReport>;
}

export function deriveRoutes(
  graph: Graph,
  scope: Scope,
  { sources, mesh }: Inputs,
  offer: Offer,
  planned: PlannedGateways,
  clusterDomain: string,
): Routes {
  const l7 = graph.single('meshL7', (get) => (get.one(mesh, '') as MeshConfig).l7);
  const services = graph.derive('routableServices', offer.infos, (_get, info): RoutableService => {
    const { service, namespace, source } = info;
    return {
      key: serviceKey(service),
      object: `${source.kind}/${namespace}/${source.name}`,
      namespace,
      hostname: service.hostname,
      canonical: service.canonical,
      ports: source.ports.flatMap(({ port, name, proxied }) => (proxied === undefined ? [] : [{ port, name }])),
    };
  });
  const backends: BackendWorld = {
    services,
    servicesByHost: services.index('byHost', ({ hostname }) => [hostname]),
    grants: indexGrants(sources.referencegrants),
    clusterDomain,
  };
  const waypointsOf = graph.derive('waypointsOf', offer.infos, (_get, { waypoints }) =>
    waypoints.length === 0 ? undefined : waypoints,
  );
  const gateways = graph.derive('parentGateways', planned.owned, (get, gateway): ParentGateway | undefined => {
    const role = roleOf(gateway, get.one(sources.gatewayclasses, gateway.className));
    const verdicts = get.one(planned.verdicts, metaKey(gateway));
    if (role === undefined || verdicts === undefined) return undefined;
    return { namespace: gateway.namespace, name: gateway.name, role, verdicts };
  });
  const parents: ParentWorld = {
    gateways,
    namespaces: scope.namespaces,
    servicesByObject: services.index('byObject', ({ object }) => [object]),
    waypointsOf,
  };

  /** Without what their status says: that it was written is no reason to translate again. */
  const ofKind = (kind: RouteKind, from: Collection<Route>): Collection<Route> =>
    graph.deriveMany<Route, Route>(`owned${kind}`, from, (get, route, key) =>
      scope.owns(get, route) ? [[`${kind}/${key}`, { ...route, found: [] }]] : [],
    );
  const kinds: readonly (readonly [RouteKind, Collection<Route>])[] = [
    ['HTTPRoute', sources.httproutes],
    ['GRPCRoute', sources.grpcroutes],
    ['TLSRoute', sources.tlsroutes],
    ['TCPRoute', sources.tcproutes],
  ];
  const routes = graph.join(
    'routes',
    kinds.map(([kind, from]) => ofKind(kind, from)),
  );
  const outcomes = graph.derive('routeOutcomes', routes, (get, route) => translateRoute(get, parents, backends, route));
  const defaultRetry = graph.single('defaultRetry', (get) => {
    const written = (get.one(l7, '') as MeshL7).defaultRetry;
    const read = written && readRetry(written);
    return read?.ok === true ? read.value : undefined;
  });
  /** With the mesh's own default for retries, where it has one; proxies know Istio's. */
  const withDefaults = (get: Reader, route: RouteResource): RouteResource => {
    const retry = get.one(defaultRetry, '');
    if (retry === undefined || route.kind !== 'http') return route;
    return { ...route, rules: route.rules.map((rule) => (rule.retry === undefined ? { ...rule, retry } : rule)) };
  };
  const gatewayApi = graph.deriveMany('gatewayApiRoutes', outcomes, (get, outcome) =>
    outcome.routes.map((each) => [`${each.proxy} ${each.name}`, { ...each, route: withDefaults(get, each.route) }]),
  );
  const owned = graph.derive<VirtualService, VirtualService>(
    'ownedVirtualServices',
    sources.virtualservices,
    (get, object) => (scope.owns(get, object) ? { ...object, conditions: [] } : undefined),
  );
  const virtualServices = deriveVirtualServices(graph, {
    objects: owned,
    services,
    backends,
    waypointsOf,
    gateways,
    namespaces: scope.namespaces,
    mesh: l7,
    withDefaults,
  });
  const proxyRoutes = graph.join('proxyRoutes', [gatewayApi, ...virtualServices.routes]);
  const needs = graph.deriveMany('routeNeeds', proxyRoutes, (_get, { proxy, route }, key) =>
    [...new Set(servicesIn(route))].map((service) => [`${key} ${service}`, { proxy, service }]),
  );
  const byListener = outcomes.index('byListener', (outcome) => outcome.parents.flatMap(({ listeners }) => listeners));
  const attachedRoutes = graph.group('attachedRoutes', byListener, (_get, several, key) => [[key, several.length]]);

  const reports = kinds.map(([kind, from]) =>
    graph.deriveMany(`reports${kind}`, from, (get, route) => {
      const outcome = get.one(outcomes, `${kind}/${metaKey(route)}`);
      if (outcome === undefined) return [];
      const report = reportUnlessEqual({
        kind,
        namespace: route.namespace,
        name: route.name,
        manager: 'istio-gateway',
        wanted: [],
        found: [],
        fields: { kind: 'parents', wanted: routeStatus(route, outcome), found: route.found },
      });
      return report === undefined ? [] : [[`${kind}/${metaKey(route)}`, report]];
    }),
  );
  const onVirtualServices = graph.deriveMany('virtualServiceReports', sources.virtualservices, (get, object) => {
    const key = metaKey(object);
    if (get.one(owned, key) === undefined) return [];
    const problems = get.one(virtualServices.findings, key);
    const report = reportUnlessEqual({
      kind: 'VirtualService',
      namespace: object.namespace,
      name: object.name,
      manager: 'istio-gateway',
      wanted: problems === undefined ? [] : [notHonoured(problems, object.generation)],
      found: object.conditions,
    });
    return report === undefined ? [] : [[`VirtualService/${key}`, report]];
  });
  return {
    proxyRoutes,
    needs,
    gateways,
    waypointsOf,
    services,
    backends,
    mesh: l7,
    attachedRoutes,
    reports: graph.join('routeReports', [...reports, onVirtualServices]),
  };
}

/** Keys of the services that a route leads to, mirrors to or acts at. */
function* servicesIn(route: RouteResource): Generator<string> {
  for (const attachment of route.attachments) if (attachment.kind === 'service') yield attachment.service;
  for (const target of targetsIn(route)) if (target.kind === 'service') yield target.service;
}

function* targetsIn(route: RouteResource): Generator<BackendTarget> {
  if (route.kind !== 'http') {
    for (const rule of route.rules) for (const { target } of rule.backends) yield target;
    return;
  }
  for (const rule of route.rules) {
    if (rule.action.kind === 'forward') for (const { target } of rule.action.backends) yield target;
    for (const filter of rule.filters) if (filter.kind === 'mirror') yield filter.target;
  }
}
