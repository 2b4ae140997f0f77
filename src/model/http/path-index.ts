// The first of many candidates that holds for a request, found by its path: exact paths and prefixes in maps, so that
// only those whose path can hold are tried. Shared by routes and by the rules of policies.

import type { TextPredicate } from '../facts.ts';
import type { RequestTest } from './field-test.ts';
import type { HttpRequest } from './request.ts';

/** In order: the lowest one that holds is found. */
export interface PathCandidate {
  /** One of them has to hold for the path; undefined: no telling from the path. */
  readonly paths: readonly IndexedPath[] | undefined;
  /** What else has to hold. Without `paths`, all of it. */
  readonly holds: RequestTest;
}

export type IndexedPath = Extract<TextPredicate, { readonly kind: 'exact' | 'prefix' | 'pathPrefix' }>;

export const isIndexedPath = (predicate: TextPredicate): predicate is IndexedPath =>
  predicate.kind === 'exact' || predicate.kind === 'prefix' || predicate.kind === 'pathPrefix';

interface Placed {
  readonly index: number;
  readonly holds: RequestTest;
}

/** @returns the place of the first candidate that holds; -1 where none does */
export function compilePathIndex(candidates: readonly PathCandidate[]): (request: HttpRequest) => number {
  const maps: Record<IndexedPath['kind'], Map<string, Placed[]>> = {
    exact: new Map(),
    pathPrefix: new Map(),
    prefix: new Map(),
  };
  const others: Placed[] = [];
  for (const [index, { paths, holds }] of candidates.entries()) {
    const placed: Placed = { index, holds };
    if (paths === undefined) others.push(placed);
    else for (const { kind, value } of paths) append(maps[kind], value, placed);
  }
  const { exact, pathPrefix, prefix } = maps;
  const prefixLengths = distinctLengths(prefix.keys());
  const longestPathPrefix = distinctLengths(pathPrefix.keys())[0] ?? -1;

  return (request) => {
    const { path } = request;
    let best = firstThatHolds(exact.get(path), request, -1);
    if (longestPathPrefix >= 0)
      for (let end = path.length; end >= 0; end = end === 0 ? -1 : path.lastIndexOf('/', end - 1))
        if (end <= longestPathPrefix)
          best = firstThatHolds(pathPrefix.get(end === path.length ? path : path.slice(0, end)), request, best);
    for (const length of prefixLengths)
      if (length <= path.length) best = firstThatHolds(prefix.get(path.slice(0, length)), request, best);
    return firstThatHolds(others, request, best);
  };
}

function append(map: Map<string, Placed[]>, key: string, placed: Placed): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [placed]);
  else known.push(placed);
}

/** Longest first. */
export const distinctLengths = (texts: Iterable<string>): readonly number[] =>
  [...new Set([...texts].map((text) => text.length))].sort((a, b) => b - a);

/** Looks no further than `best`, which some other list has found; -1: none has. */
function firstThatHolds(candidates: readonly Placed[] | undefined, request: HttpRequest, best: number): number {
  if (candidates === undefined) return best;
  for (const { index, holds } of candidates) {
    if (best >= 0 && index >= best) return best;
    if (holds(request)) return index;
  }
  return best;
}
