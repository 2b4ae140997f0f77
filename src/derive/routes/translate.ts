// One route object -> what its parents say of it, and its resources for each proxy.

import type { BackendTarget, HttpRouteRule } from '../../model/http/route.ts';
import type { RouteAttachment, RouteResource, WeightedTarget } from '../../model/proxy/route-resource.ts';
import { routeName } from '../../wire/l7/names.ts';
import type { Reader } from '../graph/graph.ts';
import type { Route } from '../objects/route.ts';
import { integer, type Json, list, record } from '../read.ts';
import { ROUTE_ORDER } from '../traffic/virtual-services.ts';
import { type BackendWorld, resolveBackend } from './backends.ts';
import { readHttpRules } from './http-rules.ts';
import { type Attachment, attachToParents, type ParentOutcome, type ParentWorld } from './parents.ts';
import { type ResolvedReason, RouteProblems } from './problems.ts';

/** What one parent's status says beside whether it takes the route. */
export interface Resolution {
  readonly unresolved: readonly { readonly reason: ResolvedReason; readonly message: string }[];
  readonly notes: readonly string[];
}

export interface ProxyRoute {
  readonly proxy: string;
  /** Of the resource. */
  readonly name: string;
  readonly route: RouteResource;
}

export interface RouteOutcome {
  readonly parents: readonly ParentOutcome[];
  readonly gateway: Resolution;
  readonly mesh: Resolution;
  readonly routes: readonly ProxyRoute[];
}

type Side = ParentOutcome['side'];
type Rules =
  | { readonly kind: 'http'; readonly rules: readonly HttpRouteRule[] }
  | { readonly kind: 'tcp' | 'tls'; readonly backends: readonly (readonly WeightedTarget[])[] };

const NOTHING: Resolution = { unresolved: [], notes: [] };

export function translateRoute(
  get: Reader,
  parentWorld: ParentWorld,
  backendWorld: BackendWorld,
  route: Route,
): RouteOutcome {
  const parents = attachToParents(get, parentWorld, route);
  const read = (side: Side): { readonly rules: Rules; readonly resolution: Resolution } | undefined => {
    if (!parents.some((parent) => parent.side === side)) return undefined;
    const problems = new RouteProblems();
    const from = { kind: route.kind, namespace: route.namespace, side } as const;
    const rules = readRules(route, (ref) => resolveBackend(get, backendWorld, from, ref), problems);
    return { rules, resolution: { unresolved: problems.unresolved, notes: problems.notes } };
  };
  const [gateway, mesh] = [read('gateway'), read('mesh')];
  const rulesOf = { gateway: gateway?.rules, mesh: mesh?.rules };
  const routes = parents.flatMap((parent) => {
    const rules = rulesOf[parent.side];
    return rules === undefined ? [] : parent.attachments.map((each) => ({ ...each, side: parent.side, rules }));
  });
  return {
    parents,
    gateway: gateway?.resolution ?? NOTHING,
    mesh: mesh?.resolution ?? NOTHING,
    routes: perProxy(route, routes),
  };
}

function readRules(route: Route, resolve: (ref: Json) => BackendTarget, problems: RouteProblems): Rules {
  if (route.kind === 'HTTPRoute' || route.kind === 'GRPCRoute')
    return { kind: 'http', rules: readHttpRules(route, resolve, problems) };
  if (route.rules.length > 1 && route.kind === 'TCPRoute')
    problems.note('rules: a connection has nothing to tell them apart by, only the first counts');
  const counted = route.rules.slice(0, route.kind === 'TCPRoute' ? 1 : undefined);
  const backends = counted.map((rule, at) => weighted(rule, `rules[${at}]`, resolve, problems));
  return { kind: route.kind === 'TCPRoute' ? 'tcp' : 'tls', backends };
}

const weighted = (
  rule: Json,
  place: string,
  resolve: (ref: Json) => BackendTarget,
  problems: RouteProblems,
): readonly WeightedTarget[] =>
  list(rule.backendRefs).flatMap((item, at) => {
    const ref = record(item);
    const target = resolve(ref);
    if (target.kind === 'invalid') problems.unresolve(`${place}.backendRefs[${at}]`, target.reason, target.detail);
    const weight = integer(ref.weight) ?? 1;
    return weight === 0 ? [] : [{ target, weight }];
  });

/** Where routes of several places meet at a waypoint, those of the service's own namespace come first. */
const orderOf = (route: Route, { attachment }: Attachment): number =>
  attachment.kind === 'listener'
    ? 0
    : attachment.service.startsWith(`${route.namespace}/`)
      ? ROUTE_ORDER.sameNamespace
      : ROUTE_ORDER.public;

/** One resource for all that a proxy holds of a route; two, where it takes different places among others. */
function perProxy(
  route: Route,
  attached: readonly (Attachment & { readonly side: Side; readonly rules: Rules })[],
): readonly ProxyRoute[] {
  const groups = new Map<string, { proxy: string; order: number; rules: Rules; attachments: RouteAttachment[] }>();
  for (const item of attached) {
    const order = orderOf(route, item);
    const key = `${item.proxy} ${order}`;
    const group = groups.get(key) ?? { proxy: item.proxy, order, rules: item.rules, attachments: [] };
    group.attachments.push(item.attachment);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ proxy, order, rules, attachments }) => ({
    proxy,
    name: routeName(route, order === ROUTE_ORDER.public ? 'consumer' : ''),
    route: resourceOf(route, rules, attachments, order),
  }));
}

function resourceOf(route: Route, rules: Rules, attachments: readonly RouteAttachment[], order: number): RouteResource {
  const { namespace, name, createdMs: createdAtMs, kind } = route;
  if (rules.kind === 'http') {
    const origin = { kind: kind === 'GRPCRoute' ? kind : 'HTTPRoute', namespace, name, createdAtMs } as const;
    return { kind: 'http', origin, attachments, order, rules: rules.rules };
  }
  const origin = { kind: kind === 'TLSRoute' ? kind : 'TCPRoute', namespace, name, createdAtMs } as const;
  if (rules.kind === 'tcp')
    return {
      kind: 'tcp',
      origin,
      attachments,
      order,
      rules: rules.backends.map((backends) => ({ anyMatch: [], backends })),
    };
  return {
    kind: 'tls',
    origin,
    attachments,
    order,
    rules: rules.backends.map((backends) => ({ serverNames: serverNames(route, attachments), anyMatch: [], backends })),
  };
}

/** At a listener the attachment's hosts hold; a service has none, so its own name does where the route says nothing. */
function serverNames({ hostnames }: Route, attachments: readonly RouteAttachment[]): readonly string[] {
  if (attachments.some(({ kind }) => kind === 'listener')) return [];
  if (hostnames.length > 0) return hostnames;
  return attachments.flatMap((each) =>
    each.kind === 'service' ? [each.service.slice(each.service.indexOf('/') + 1)] : [],
  );
}
