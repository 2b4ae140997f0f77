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

/** Each entry is weighed once; the names of entries, which most comparisons never reach, are not made up beforehand. */
const sortByPrecedence = (entries: readonly RouteEntry[]): RouteEntry[] =>
  entries
    .map((entry) => new Weighed(entry))
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

/** An entry with what precedence looks at; more wins. */
class Weighed {
  readonly entry: RouteEntry;
  pathRank = 0;
  pathLength = 0;
  method = 0;
  headers = 0;
  queries = 0;

  constructor(entry: RouteEntry) {
    this.entry = entry;
    for (const { field, predicate } of entry.match)
      if (field === 'request.path') {
        if (predicate.kind === 'regex') [this.pathRank, this.pathLength] = [1, predicate.pattern.length];
        else if (predicate.kind === 'pathPrefix') [this.pathRank, this.pathLength] = [2, predicate.value.length];
        else if (predicate.kind === 'exact') [this.pathRank, this.pathLength] = [3, predicate.value.length];
      } else if (field === 'request.method') this.method = 1;
      else if (field.startsWith('request.query:')) this.queries++;
      else if (headerOf(field) !== undefined) this.headers++;
  }
}

/**
 * Gateway API's precedence as Istio holds it: exact path, prefix, regular expression, none; the longer path; a method;
 * more headers; more query parameters; the older object; its name; the order within it.
 */
function compareWeighed(a: Weighed, b: Weighed): number {
  if (a.pathRank !== b.pathRank) return b.pathRank - a.pathRank;
  if (a.pathLength !== b.pathLength) return b.pathLength - a.pathLength;
  if (a.method !== b.method) return b.method - a.method;
  if (a.headers !== b.headers) return b.headers - a.headers;
  if (a.queries !== b.queries) return b.queries - a.queries;
  const [first, second] = [a.entry, b.entry];
  if (first.origin.createdAtMs !== second.origin.createdAtMs)
    return first.origin.createdAtMs - second.origin.createdAtMs;
  return (
    compareNames(first.origin, second.origin) ||
    first.ruleIndex - second.ruleIndex ||
    (first.matchIndex ?? 0) - (second.matchIndex ?? 0)
  );
}

/** As `<namespace>/<name>`. */
function compareNames(a: RouteOrigin, b: RouteOrigin): number {
  if (a === b) return 0;
  const [first, second] = [`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`];
  return first < second ? -1 : first > second ? 1 : 0;
}
