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
  const block: RouteEntry[] = [];
  const endBlock = (): void => {
    for (const entry of sortByPrecedence(block)) ordered.push(entry);
    block.length = 0;
  };
  for (const route of routes) {
    if (route.origin.kind !== 'VirtualService') {
      block.push(...entriesOf(route));
      continue;
    }
    endBlock();
    ordered.push(...entriesOf(route));
  }
  endBlock();
  return ordered;
}

/** Each entry is weighed once. */
const sortByPrecedence = (entries: readonly RouteEntry[]): RouteEntry[] =>
  entries
    .map((entry) => ({ entry, name: `${entry.origin.namespace}/${entry.origin.name}`, ...weigh(entry.match) }))
    .sort(compareWeighed)
    .map(({ entry }) => entry);

const entriesOf = ({ origin, rules }: HttpRoute): RouteEntry[] =>
  rules.flatMap((rule, ruleIndex): RouteEntry[] =>
    rule.anyMatch.length === 0
      ? [{ origin, rule, ruleIndex, matchIndex: undefined, match: [] }]
      : rule.anyMatch.map((match, matchIndex) => ({ origin, rule, ruleIndex, matchIndex, match })),
  );

/** Exact before wildcard, longer wildcards first; among equals by name, so that tables do not depend on arrival. */
function compareHosts(a: string, b: string): number {
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

interface Weighed extends Weight {
  readonly entry: RouteEntry;
  /** `<namespace>/<name>` */
  readonly name: string;
}

/**
 * Gateway API's precedence as Istio holds it: exact path, prefix, regular expression, none; the longer path; a method;
 * more headers; more query parameters; the older object; its name; the order within it.
 */
function compareWeighed(a: Weighed, b: Weighed): number {
  for (const criterion of CRITERIA) if (a[criterion] !== b[criterion]) return b[criterion] - a[criterion];
  const [first, second] = [a.entry, b.entry];
  if (first.origin.createdAtMs !== second.origin.createdAtMs)
    return first.origin.createdAtMs - second.origin.createdAtMs;
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return first.ruleIndex - second.ruleIndex || (first.matchIndex ?? 0) - (second.matchIndex ?? 0);
}

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
