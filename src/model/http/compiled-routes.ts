// The fast form of `matchRoute`: hosts by name and by suffix; within a host, entries by exact path and by prefix, each
// list in the table's order, so that only those whose path can hold are tried. A property test holds it equal to the
// definition. Hot path: once a request.

import { compileField, everyTest, type RequestTest } from './field-test.ts';
import { NO_HOST, type RouteResult } from './match-route.ts';
import { type HttpRequest, hostOf } from './request.ts';
import type { RouteCondition } from './route.ts';
import type { HostRoutes, HttpRouteTable } from './route-table.ts';

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
      const routes = hostFor(hostOf(request.authority));
      return routes === undefined ? NO_HOST : routes.match(request);
    },
  };
}

/** Longest first. */
const distinctLengths = (texts: Iterable<string>): readonly number[] =>
  [...new Set([...texts].map((text) => text.length))].sort((a, b) => b - a);

interface CompiledHost {
  match(request: HttpRequest): RouteResult;
}

interface Candidate {
  /** Place in the table's order: lower goes first. */
  readonly index: number;
  /** What is left to ask once the index has answered for the path. */
  readonly holds: RequestTest;
  readonly result: RouteResult;
}

const NONE: readonly Candidate[] = [];

function compileHost({ host, entries }: HostRoutes): CompiledHost {
  const exact = new Map<string, Candidate[]>();
  const segments = new Map<string, Candidate[]>();
  const prefixes = new Map<string, Candidate[]>();
  const others: Candidate[] = [];
  const put = (index: Map<string, Candidate[]>, key: string, candidate: Candidate): void => {
    const known = index.get(key);
    if (known === undefined) index.set(key, [candidate]);
    else known.push(candidate);
  };
  for (const [index, entry] of entries.entries()) {
    const path = entry.match.find(isIndexed);
    const rest = entry.match.filter((condition) => condition !== path);
    const candidate: Candidate = {
      index,
      holds: everyTest(rest.map(compileCondition)),
      result: { kind: 'matched', host, entry },
    };
    if (path?.predicate.kind === 'exact') put(exact, path.predicate.value, candidate);
    else if (path?.predicate.kind === 'pathPrefix') put(segments, path.predicate.value, candidate);
    else if (path?.predicate.kind === 'prefix') put(prefixes, path.predicate.value, candidate);
    else others.push(candidate);
  }
  const prefixLengths = distinctLengths(prefixes.keys());
  const longestSegments = distinctLengths(segments.keys())[0] ?? -1;
  const notFound: RouteResult = { kind: 'notFound', why: 'noMatch', host };

  return {
    match(request) {
      const { path } = request;
      let best = firstThatHolds(exact.get(path) ?? NONE, request, undefined);
      if (longestSegments >= 0)
        for (let end = path.length; end >= 0; end = end === 0 ? -1 : path.lastIndexOf('/', end - 1))
          if (end <= longestSegments) {
            const found = segments.get(end === path.length ? path : path.slice(0, end));
            if (found !== undefined) best = firstThatHolds(found, request, best);
          }
      for (const length of prefixLengths) {
        if (length > path.length) continue;
        const found = prefixes.get(path.slice(0, length));
        if (found !== undefined) best = firstThatHolds(found, request, best);
      }
      best = firstThatHolds(others, request, best);
      return best === undefined ? notFound : best.result;
    },
  };
}

/** Looks no further than `best`, which some other list has found. */
function firstThatHolds(
  candidates: readonly Candidate[],
  request: HttpRequest,
  best: Candidate | undefined,
): Candidate | undefined {
  for (const candidate of candidates) {
    if (best !== undefined && candidate.index > best.index) return best;
    if (candidate.holds(request)) return candidate;
  }
  return best;
}

const isIndexed = ({ field, predicate, negated }: RouteCondition): boolean =>
  field === 'request.path' &&
  !negated &&
  (predicate.kind === 'exact' || predicate.kind === 'pathPrefix' || predicate.kind === 'prefix');

function compileCondition({ field, predicate, negated }: RouteCondition): RequestTest {
  const holds = compileField(field, [predicate]);
  return negated ? (request) => !holds(request) : holds;
}
