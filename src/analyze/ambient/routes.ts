// Routes of the mesh in ambient: without a waypoint, from a client's namespace, in two kinds at once, asking for the client.

import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import type { KnownHost } from '../hosts.ts';
import { isForMesh } from '../istio/virtual-service-gateways.ts';
import { KIND, ROUTES } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import type { World } from '../world.ts';
import { isInAmbient } from './in-ambient.ts';

/** One route object and a service of the mesh that it routes. */
interface MeshRoute {
  readonly route: Resource;
  /** The host or parentRef that names the service. */
  readonly field: Field;
  readonly known: KnownHost;
}

/** VirtualServices by their hosts, routes of the Gateway API by their Service and ServiceEntry parents. */
function meshRoutes(world: World): readonly MeshRoute[] {
  const found: MeshRoute[] = [];
  for (const route of world.all(KIND.virtualService).filter(isForMesh))
    for (const field of route.spec.at('hosts').items())
      for (const known of world.hosts.matching(field.text, route.namespace)) found.push({ route, field, known });
  for (const route of world.all(...ROUTES))
    for (const field of route.spec.at('parentRefs').items()) {
      const [kind, name] = [field.at('kind').text, field.at('name').text];
      if (kind !== 'Service' && kind !== 'ServiceEntry') continue;
      const type = kind === 'Service' ? KIND.service : KIND.serviceEntry;
      const parent = world.get(type, field.at('namespace').text || route.namespace, name);
      if (parent === undefined) continue;
      for (const known of world.hosts.of(parent).slice(0, 1)) found.push({ route, field, known });
    }
  return found;
}

export const routeAnalyzer: Analyzer = {
  name: 'ambient.RouteAnalyzer',
  description: 'routes that no waypoint serves, or that two kinds of routes give one host',
  codes: ['AMB0009', 'AMB0010', 'AMB0011'],
  analyze(world, report) {
    const routes = meshRoutes(world).filter(({ known }) => isInAmbient(world, known));
    for (const { route, field, known } of routes) checkServed(world, route, field, known, report);
    const gatewayApi = Map.groupBy(
      routes.filter(({ route }) => route.type !== KIND.virtualService),
      ({ known }) => known,
    );
    for (const { route, field, known } of routes) {
      if (route.type !== KIND.virtualService) continue;
      const others = gatewayApi.get(known);
      if (others === undefined) continue;
      const names = [...new Set(others.map((other) => `${other.route.kind} ${other.route.key}`))].sort().join(', ');
      report('AMB0010', route, field, known.host, names);
      for (const other of others)
        report('AMB0010', other.route, other.field, known.host, `VirtualService ${route.key}`);
    }
  },
};

function checkServed(world: World, route: Resource, field: Field, known: KnownHost, report: Report): void {
  if (world.isUnserved(known.resource) || known.headless) {
    report('AMB0009', route, field, known.host);
    return;
  }
  const binding = world.binding(known.resource);
  if (binding.kind !== 'bound') return;
  const { namespace } = known.resource;
  if (route.namespace !== namespace && route.namespace !== binding.waypoint.namespace)
    report('AMB0011', route, field, route.namespace, known.host);
}

export const clientMatchAnalyzer: Analyzer = {
  name: 'ambient.ClientMatchAnalyzer',
  description: 'matches on the client, and on TLS names, that a waypoint cannot answer',
  codes: ['AMB0012', 'AMB0031'],
  analyze(world, report) {
    const seen = new Set<Resource>();
    for (const { route, known } of meshRoutes(world)) {
      if (route.type !== KIND.virtualService || seen.has(route) || !isInAmbient(world, known)) continue;
      seen.add(route);
      for (const protocol of ['http', 'tls', 'tcp'])
        for (const rule of route.spec.at(protocol).items())
          for (const match of rule.at('match').items()) {
            checkClient(match, route, report);
            if (protocol === 'tls') checkServerName(match, known, route, report);
          }
    }
  },
};

function checkClient(match: Field, route: Resource, report: Report): void {
  if (Object.keys(match.at('sourceLabels').record).length > 0)
    report(
      'AMB0012',
      route,
      match.at('sourceLabels'),
      'sourceLabels',
      'the match is dropped and never takes a request',
    );
  if (match.at('sourceNamespace').text !== '')
    report(
      'AMB0012',
      route,
      match.at('sourceNamespace'),
      'sourceNamespace',
      "it is compared with the waypoint's own namespace",
    );
}

function checkServerName(match: Field, known: KnownHost, route: Resource, report: Report): void {
  const names = match.at('sniHosts').items();
  if (names.length > 0 && !(names.length === 1 && names[0]?.text === known.host))
    report('AMB0031', route, match.at('sniHosts'), known.host);
}

export const retryAnnotationAnalyzer: Analyzer = {
  name: 'ambient.RetryAnnotationAnalyzer',
  description: 'the annotations retry.istio.io/*, which Istio does not know',
  codes: ['AMB0016'],
  analyze(world, report) {
    for (const resource of world.resources)
      for (const [name, field] of resource.root.at('metadata', 'annotations').entries())
        if (name.startsWith('retry.istio.io/')) report('AMB0016', resource, field, name);
  },
};
