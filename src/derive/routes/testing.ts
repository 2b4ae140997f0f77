// Helpers of tests: small clusters with a gateway, and what came of their routes.

import type { HttpRouteResource, RouteResource } from '../../model/proxy/route-resource.ts';
import type { Ambient } from '../ambient.ts';
import type { Json } from '../read.ts';
import { ambientOf } from '../testing.ts';

export const listener = (name: string, more: Json = {}): Json => ({ name, port: 80, protocol: 'HTTP', ...more });

export const gateway = (listeners: readonly Json[], more: Json = {}, name = 'edge'): Json => ({
  kind: 'Gateway',
  metadata: { name, namespace: 'shop', ...(more.metadata as Json | undefined) },
  spec: { gatewayClassName: 'istio', listeners, ...(more.spec as Json | undefined) },
  ...(more.status !== undefined && { status: more.status }),
});

export const service = (name: string, namespace = 'shop', labels: Json = {}): Json => ({
  kind: 'Service',
  metadata: { name, namespace, labels },
  spec: { clusterIP: '10.96.0.1', selector: { app: name }, ports: [{ name: 'http', port: 80 }] },
});

export const namespace = (name: string, labels: Json = {}): Json => ({ kind: 'Namespace', metadata: { name, labels } });

/** A waypoint that is ready. */
export const waypoint = (name = 'waypoint', at = 'shop'): Json => ({
  kind: 'Gateway',
  metadata: { name, namespace: at },
  spec: {
    gatewayClassName: 'istio-waypoint',
    listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE', allowedRoutes: { namespaces: { from: 'All' } } }],
  },
  status: { addresses: [{ type: 'IPAddress', value: '10.96.9.9' }] },
});

export const BOUND = { 'istio.io/use-waypoint': 'waypoint' };
export const TO_ORDER = { backendRefs: [{ name: 'order', port: 80 }] };

export const route = (spec: Json, more: Json = {}, kind = 'HTTPRoute'): Json => ({
  kind,
  metadata: {
    name: 'r',
    namespace: 'shop',
    creationTimestamp: '2026-01-01T00:00:00Z',
    generation: 3,
    ...(more.metadata as Json | undefined),
  },
  spec: { parentRefs: [{ name: 'edge' }], rules: [TO_ORDER], ...spec },
  ...(more.status !== undefined && { status: more.status }),
});

/** `<type>=<status> <reason>` of each parent, in order. */
export function conditionsOf(ambient: Ambient, key = 'HTTPRoute/shop/r'): readonly (readonly string[])[] {
  const report = ambient.reports.get(key);
  if (report?.fields?.kind !== 'parents' && report?.fields?.kind !== 'ancestors') return [];
  return report.fields.wanted.map(({ conditions }) =>
    conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`),
  );
}

/** Messages of all conditions of all parents. */
export function messagesOf(ambient: Ambient, key = 'HTTPRoute/shop/r'): string {
  const report = ambient.reports.get(key);
  if (report?.fields?.kind !== 'parents' && report?.fields?.kind !== 'ancestors') return '';
  return report.fields.wanted.flatMap(({ conditions }) => conditions.map(({ message }) => message)).join('\n');
}

/** Routes of a proxy, by the name of the resource. */
export const routesOf = (ambient: Ambient, proxy: string): Readonly<Record<string, RouteResource>> =>
  Object.fromEntries(
    [...ambient.routes.values()].filter((each) => each.proxy === proxy).map((each) => [each.name, each.route]),
  );

export const httpRoute = (ambient: Ambient, proxy = 'shop/edge', name = 'HTTPRoute/shop/r'): HttpRouteResource => {
  const found = routesOf(ambient, proxy)[name];
  if (found?.kind !== 'http') throw new Error(`${proxy} has no HTTP route ${name}`);
  return found;
};

/** What the only rule of a route at the gateway becomes, beside a service `order`. */
export const rulesOf = (rules: readonly Json[], more: Json = {}, others: readonly Json[] = []) =>
  httpRoute(ambientOf([gateway([listener('web')]), service('order'), route({ rules }, more), ...others])).rules;
