// From the objects of users to one ordered table: done once at each change, so that a request only takes the first
// entry that holds.

import { headerOf } from './request.ts';
import type { HttpRoute, HttpRouteRule, RouteMatch, RouteOrigin } from './route.ts';

/** What one listener, or one service at a waypoint, routes by. Immutable. */
export interface HttpRouteTable {
  /** Most specific first: exact names, then wildcards from the longest, then `*`. */
  readonly hosts: readonly HostRoutes[];
}

export interface HostRoutes {
  /** `a.example.com`, `*.example.com` or `*`. */
  readonly host: string;
  /** The first that holds is taken. */
  readonly entries: readonly RouteEntry[];
}

/** One match of one rule. */
export interface RouteEntry {
  readonly origin: RouteOrigin;
  readonly rule: HttpRouteRule;
  /** Counted from 0, within the object. */
  readonly ruleIndex: number;
  /** Counted from 0, within the rule; undefined for a rule without matches. */
  readonly matchIndex: number | undefined;
  readonly match: RouteMatch;
}

/**
 * @param routes in the order in which their objects come (Istio at a waypoint: private, exported, public; then oldest).
 *        VirtualServices keep their rules as written; Gateway API routes beside each other are sorted as one.
 */
export function buildRouteTable(routes: readonly HttpRoute[]): HttpRouteTable {
  const byHost = new Map<string, HttpRoute[]>();
  for (const route of routes)
    for (const host of new Set(route.hosts)) {
      const known = byHost.get(host);
      if (known === undefined) byHost.set(host, [route]);
      else known.push(route);
    }
  const hosts = [...byHost].map(([host, ofHost]): HostRoutes => ({ host, entries: orderEntries(ofHost) }));
  return { hosts: hosts.sort((a, b) => compareHosts(a.host, b.host)) };
}

function orderEntries(routes: readonly HttpRoute[]): RouteEntry[] {
  const ordered: RouteEntry[] = [];
  let block: RouteEntry[] = [];
  for (const route of routes) {
    if (route.origin.kind !== 'VirtualService') {
      block.push(...entriesOf(route));
      continue;
    }
    ordered.push(...block.sort(compareEntries), ...entriesOf(route));
    block = [];
  }
  return [...ordered, ...block.sort(compareEntries)];
}

const entriesOf = ({ origin, rules }: HttpRoute): RouteEntry[] =>
  rules.flatMap((rule, ruleIndex): RouteEntry[] =>
    rule.anyMatch.length === 0
      ? [{ origin, rule, ruleIndex, matchIndex: undefined, match: [] }]
      : rule.anyMatch.map((match, matchIndex) => ({ origin, rule, ruleIndex, matchIndex, match })),
  );

/** Exact before wildcard, longer wildcards first; among equals by name, so that tables do not depend on arrival. */
export function compareHosts(a: string, b: string): number {
  const wild = Number(a.startsWith('*')) - Number(b.startsWith('*'));
  if (wild !== 0) return wild;
  if (a.startsWith('*') && a.length !== b.length) return b.length - a.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What precedence looks at, most important first; more wins. */
interface Weight {
  readonly pathRank: number;
  readonly pathLength: number;
  readonly method: number;
  readonly headers: number;
  readonly queries: number;
}

const CRITERIA: readonly (keyof Weight)[] = ['pathRank', 'pathLength', 'method', 'headers', 'queries'];

/**
 * Gateway API's precedence as Istio holds it: exact path, prefix, regular expression, none; the longer path; a method;
 * more headers; more query parameters; the older object; its name; the order within it.
 */
export function compareEntries(a: RouteEntry, b: RouteEntry): number {
  const [first, second] = [weigh(a.match), weigh(b.match)];
  for (const criterion of CRITERIA)
    if (first[criterion] !== second[criterion]) return second[criterion] - first[criterion];
  if (a.origin.createdAtMs !== b.origin.createdAtMs) return a.origin.createdAtMs - b.origin.createdAtMs;
  const [name, other] = [nameOf(a.origin), nameOf(b.origin)];
  if (name !== other) return name < other ? -1 : 1;
  return a.ruleIndex - b.ruleIndex || (a.matchIndex ?? 0) - (b.matchIndex ?? 0);
}

const nameOf = ({ namespace, name }: RouteOrigin): string => `${namespace}/${name}`;

function weigh(match: RouteMatch): Weight {
  const weight = { pathRank: 0, pathLength: 0, method: 0, headers: 0, queries: 0 };
  for (const { field, predicate } of match)
    if (field === 'request.method') weight.method = 1;
    else if (field.startsWith('request.query:')) weight.queries++;
    else if (headerOf(field) !== undefined) weight.headers++;
    else if (field === 'request.path') {
      if (predicate.kind === 'regex') [weight.pathRank, weight.pathLength] = [1, predicate.pattern.length];
      else if (predicate.kind === 'pathPrefix') [weight.pathRank, weight.pathLength] = [2, predicate.value.length];
      else if (predicate.kind === 'exact') [weight.pathRank, weight.pathLength] = [3, predicate.value.length];
    }
  return weight;
}
