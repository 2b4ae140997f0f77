// Which route takes a request: the definition. Engines run `compileRoutes`. Asks through `facts.test` alone.

import type { RequestFacts } from '../facts.ts';
import type { RouteCondition, RouteMatch } from './route.ts';
import type { HostRoutes, HttpRouteTable, RouteEntry } from './route-table.ts';

export type RouteResult =
  | { readonly kind: 'matched'; readonly host: string; readonly entry: RouteEntry }
  /** Answered with 404. */
  | NotFound;

export type NotFound =
  | { readonly kind: 'notFound'; readonly why: 'noHost' }
  /** The most specific host has no entry that holds; less specific ones are not asked (Istio: one virtual host). */
  | { readonly kind: 'notFound'; readonly why: 'noMatch'; readonly host: string };

export const NO_HOST: NotFound = { kind: 'notFound', why: 'noHost' };

/** Total. */
export function matchRoute(table: HttpRouteTable, facts: RequestFacts): RouteResult {
  const routes = table.hosts.find(({ host }) => hostHolds(host, facts));
  if (routes === undefined) return NO_HOST;
  const { host } = routes;
  const entry = routes.entries.find(({ match }) => routeMatchHolds(match, facts));
  return entry === undefined ? { kind: 'notFound', why: 'noMatch', host } : { kind: 'matched', host, entry };
}

const hostHolds = (host: string, facts: RequestFacts): boolean =>
  host === '*' ||
  facts.test(
    'request.host',
    host.startsWith('*') ? { kind: 'suffix', value: host.slice(1) } : { kind: 'exact', value: host },
  );

export const routeMatchHolds = (match: RouteMatch, facts: RequestFacts): boolean =>
  match.every((condition) => conditionHolds(condition, facts));

const conditionHolds = ({ field, predicate, negated }: RouteCondition, facts: RequestFacts): boolean =>
  facts.test(field, predicate) !== negated;

/** Why an entry was not taken, or that it was. */
export interface RouteTrace {
  readonly entry: RouteEntry;
  readonly conditions: readonly { readonly condition: RouteCondition; readonly holds: boolean }[];
  readonly matched: boolean;
}

export interface RouteExplanation {
  readonly result: RouteResult;
  /** In the order asked, up to and with the one taken. */
  readonly tried: readonly RouteTrace[];
  /** What the table knows, for a request to no host of it. */
  readonly hosts: readonly string[];
}

/** Decides as `matchRoute` does, and shows the working. For people. */
export function explainRoute(table: HttpRouteTable, facts: RequestFacts): RouteExplanation {
  const result = matchRoute(table, facts);
  const hosts = table.hosts.map(({ host }) => host);
  if (result.kind === 'notFound' && result.why === 'noHost') return { result, tried: [], hosts };
  const { entries } = table.hosts.find(({ host }) => host === result.host) as HostRoutes;
  const tried: RouteTrace[] = [];
  for (const entry of entries) {
    const conditions = entry.match.map((condition) => ({ condition, holds: conditionHolds(condition, facts) }));
    const matched = conditions.every(({ holds }) => holds);
    tried.push({ entry, conditions, matched });
    if (matched) break;
  }
  return { result, tried, hosts };
}
