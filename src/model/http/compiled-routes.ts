// The fast form of `matchRoute`: hosts by name and by suffix, entries of a host by path. A property test holds it equal
// to the definition. Hot path: once a request.

import { always, compileField, everyTest, type RequestTest } from './field-test.ts';
import { NO_HOST, type RouteResult } from './match-route.ts';
import { compilePathIndex, distinctLengths, isIndexedPath, type PathCandidate } from './path-index.ts';
import { type HttpRequest, hostOf } from './request.ts';
import type { RouteCondition } from './route.ts';
import type { HostRoutes, HttpRouteTable, RouteEntry } from './route-table.ts';

export interface HttpRouter {
  /** As `matchRoute`. */
  match(request: HttpRequest): RouteResult;
}

export function compileRoutes(table: HttpRouteTable): HttpRouter {
  const exact = new Map<string, CompiledHost>();
  const suffixes = new Map<string, CompiledHost>();
  for (const routes of table.hosts)
    if (routes.host.startsWith('*')) suffixes.set(routes.host.slice(1), compileHost(routes));
    else exact.set(routes.host, compileHost(routes));
  const lengths = distinctLengths(suffixes.keys());
  const hostFor = (host: string): CompiledHost | undefined => {
    const found = exact.get(host);
    if (found !== undefined) return found;
    for (const length of lengths) {
      if (length > host.length) continue;
      const wild = suffixes.get(host.slice(host.length - length));
      if (wild !== undefined) return wild;
    }
    return undefined;
  };
  return {
    match(request) {
      const matchIn = hostFor(hostOf(request.authority));
      return matchIn === undefined ? NO_HOST : matchIn(request);
    },
  };
}

type CompiledHost = (request: HttpRequest) => RouteResult;

function compileHost({ host, entries }: HostRoutes): CompiledHost {
  const notFound: RouteResult = { kind: 'notFound', why: 'noMatch', host };
  const first = compilePathIndex(entries.map(candidateOf));
  /** Of entries that were found before: of thousands most never are. */
  const results = new Map<number, RouteResult>();
  return (request) => {
    const index = first(request);
    let result = results.get(index);
    if (result !== undefined) return result;
    const entry = entries[index];
    if (entry === undefined) return notFound;
    result = { kind: 'matched', host, entry };
    results.set(index, result);
    return result;
  };
}

function candidateOf({ match }: RouteEntry): PathCandidate {
  for (const condition of match) {
    const { field, predicate, negated } = condition;
    if (field !== 'request.path' || negated || !isIndexedPath(predicate)) continue;
    if (match.length === 1) return { paths: [predicate], holds: always };
    const rest = match.filter((other) => other !== condition);
    return { paths: [predicate], holds: everyTest(rest.map(compileCondition)) };
  }
  return { paths: undefined, holds: everyTest(match.map(compileCondition)) };
}

function compileCondition({ field, predicate, negated }: RouteCondition): RequestTest {
  const holds = compileField(field, [predicate]);
  return negated ? (request) => !holds(request) : holds;
}
