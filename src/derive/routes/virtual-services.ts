// VirtualServices in the graph: at the waypoints before the services that they name, and at listeners of the gateways that
// they name.

import type { RouteResource } from '../../model/proxy/route-resource.ts';
import { routeName } from '../../wire/l7/names.ts';
import type { Collection, Graph, Reader } from '../graph/graph.ts';
import type { Namespace } from '../objects/cluster.ts';
import type { MeshL7 } from '../objects/mesh-l7.ts';
import { metaKey } from '../objects/meta.ts';
import type { VirtualService } from '../objects/routing.ts';
import { type Json, list, record, texts } from '../read.ts';
import { resolveHost } from '../traffic/host.ts';
import { hostKeys, keysCovering } from '../traffic/hosts-of.ts';
import {
  orderAtWaypoint,
  type TranslatedVirtualService,
  type VirtualServiceWorld,
  virtualServiceAtListener,
  virtualServiceAtWaypoint,
} from '../traffic/virtual-services.ts';
import { type BackendWorld, findByHost, type RoutableService } from './backends.ts';
import { intersectHosts, isTakenBy } from './hosts.ts';
import { admits, besides, type ParentGateway } from './parents.ts';
import type { ProxyRoute } from './translate.ts';

export interface VirtualServiceInputs {
  /** Those that count, by `<namespace>/<name>`. */
  readonly objects: Collection<VirtualService>;
  readonly services: Collection<RoutableService>;
  readonly backends: BackendWorld;
  /** Keys of the waypoints before a service, by the service's key; unbound ones are missing. */
  readonly waypointsOf: Collection<readonly string[]>;
  readonly gateways: Collection<ParentGateway>;
  readonly namespaces: Collection<Namespace>;
  /** Under `''`. */
  readonly mesh: Collection<MeshL7>;
  /** What the mesh adds to every route. */
  withDefaults(get: Reader, route: RouteResource): RouteResource;
}

export interface DerivedVirtualServices {
  readonly routes: readonly Collection<ProxyRoute>[];
  /** What is not held of an object where it counts, by `<namespace>/<name>`; those that are held whole are missing. */
  readonly findings: Collection<readonly string[]>;
}

/** Names without a namespace mean the object's own. */
function qualified(object: VirtualService): VirtualService {
  const whole = (names: readonly string[]): readonly string[] =>
    names.map((name) => (name === 'mesh' || name.includes('/') ? name : `${object.namespace}/${name}`));
  const rules = (items: readonly Json[]): readonly Json[] =>
    items.map((rule) =>
      list(rule.match).some((match) => texts(record(match).gateways).length > 0)
        ? {
            ...rule,
            match: list(rule.match)
              .map(record)
              .map((match) => ({ ...match, gateways: whole(texts(match.gateways)) })),
          }
        : rule,
    );
  return {
    ...object,
    gateways: whole(object.gateways),
    http: rules(object.http),
    tls: rules(object.tls),
    tcp: rules(object.tcp),
  };
}

/** Gateways that an object or one of its matches names. */
const gatewaysOf = (object: VirtualService): ReadonlySet<string> =>
  new Set([
    ...object.gateways,
    ...[...object.http, ...object.tls, ...object.tcp].flatMap((rule) =>
      list(rule.match).flatMap((match) => texts(record(match).gateways)),
    ),
  ]);

/** Kinds of routes that a listener's protocol can take. */
const KINDS: Readonly<Record<string, ReadonlySet<RouteResource['kind']>>> = {
  HTTP: new Set(['http']),
  HTTPS: new Set(['http']),
  TLS: new Set(['tls', 'tcp']),
  TCP: new Set(['tcp']),
};

function named(
  proxy: string,
  place: string,
  translated: TranslatedVirtualService,
  finish: (route: RouteResource) => RouteResource,
  kinds?: ReadonlySet<RouteResource['kind']>,
): readonly (readonly [string, ProxyRoute])[] {
  return translated.routes
    .filter(({ kind }) => kinds?.has(kind) !== false)
    .map((route) => {
      const name = routeName(route.origin, `${route.kind}/${place}`);
      return [`${proxy} ${name}`, { proxy, name, route: finish(route) }];
    });
}

export function deriveVirtualServices(graph: Graph, inputs: VirtualServiceInputs): DerivedVirtualServices {
  const { objects, services, backends, waypointsOf, gateways, namespaces, mesh, withDefaults } = inputs;
  const { clusterDomain } = backends;
  const whole = graph.derive('virtualServices', objects, (_get, object) => qualified(object));
  const byHost = whole.index('byHost', (object) => hostKeys(object.namespace, object.hosts, clusterDomain));
  const worldFor = (get: Reader, namespace: string): VirtualServiceWorld => ({
    clusterDomain,
    services: {
      find: (hostname) => {
        const found = findByHost(get, backends, hostname, namespace);
        return found && { key: found.key, ports: found.ports.map(({ port }) => port) };
      },
    },
    delegate: (key) => get.one(whole, key),
    defaultExportTo: get.one(mesh, '')?.exportTo.virtualServices ?? ['*'],
  });

  const atWaypoints = graph.deriveMany('virtualServicesAtWaypoints', waypointsOf, (get, proxies, key) => {
    const service = get.one(services, key);
    if (service === undefined) return [];
    const routed = { ...service, ports: service.ports.map(({ port }) => port) };
    return proxies.flatMap((proxy) => {
      const proxyNamespace = proxy.slice(0, proxy.indexOf('/'));
      const candidates = new Map(
        keysCovering([service.namespace, proxyNamespace], service.hostname)
          .flatMap((at) => get.all(byHost, at))
          .map((object) => [metaKey(object), object]),
      );
      return [...candidates.values()].flatMap((object) => {
        const world = worldFor(get, object.namespace);
        const order = orderAtWaypoint(object, service, proxyNamespace, world);
        if (order === undefined) return [];
        return named(proxy, key, virtualServiceAtWaypoint(object, order, routed, proxyNamespace, world), (route) =>
          withDefaults(get, route),
        );
      });
    });
  });

  const atListeners = graph.deriveMany('virtualServicesAtListeners', whole, (get, object) =>
    [...gatewaysOf(object)].flatMap((key) => {
      const parent = key === 'mesh' ? undefined : get.one(gateways, key);
      if (parent === undefined || parent.role.kind !== 'router') return [];
      const world = worldFor(get, object.namespace);
      const written = object.hosts.map((host) => resolveHost(host, object.namespace, clusterDomain));
      return parent.verdicts.flatMap((verdict) => {
        const { listener, usable } = verdict;
        const kinds = KINDS[listener.protocol];
        if (!usable || kinds === undefined || written.length === 0) return [];
        if (!admits(get, namespaces, listener.allowed, parent.namespace, object.namespace)) return [];
        const others = besides(parent.verdicts, verdict);
        const hosts = intersectHosts(listener.hostname, written).filter(
          (host) => !isTakenBy(host, listener.hostname, others),
        );
        if (hosts.length === 0) return [];
        return named(
          key,
          listener.name,
          virtualServiceAtListener(object, key, listener, hosts, world),
          (route) => withDefaults(get, route),
          kinds,
        );
      });
    }),
  );
  const findings = graph.derive('virtualServiceFindings', whole, (get, object): readonly string[] | undefined => {
    const world = worldFor(get, object.namespace);
    const problems = new Set<string>();
    const note = (translated: TranslatedVirtualService): void => {
      for (const problem of translated.problems) problems.add(problem);
    };
    for (const host of object.hosts) {
      const service = findByHost(get, backends, resolveHost(host, object.namespace, clusterDomain), object.namespace);
      if (service === undefined) continue;
      const routed = { ...service, ports: service.ports.map(({ port }) => port) };
      for (const proxy of get.one(waypointsOf, service.key) ?? []) {
        const proxyNamespace = proxy.slice(0, proxy.indexOf('/'));
        const order = orderAtWaypoint(object, routed, proxyNamespace, world);
        if (order !== undefined) note(virtualServiceAtWaypoint(object, order, routed, proxyNamespace, world));
      }
    }
    for (const key of gatewaysOf(object)) {
      const parent = get.one(gateways, key);
      for (const { listener, usable } of parent?.role.kind === 'router' ? parent.verdicts : [])
        if (usable) note(virtualServiceAtListener(object, key, listener, object.hosts, world));
    }
    return problems.size === 0 ? undefined : [...problems];
  });
  return { routes: [atWaypoints, atListeners], findings };
}
