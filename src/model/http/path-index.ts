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

/** A list in order, from its first one. */
interface Placed {
  readonly index: number;
  readonly holds: RequestTest;
  readonly next: Placed | undefined;
}

/** @returns the place of the first candidate that holds; -1 where none does */
export function compilePathIndex(candidates: readonly PathCandidate[]): (request: HttpRequest) => number {
  const maps: Record<IndexedPath['kind'], Map<string, Placed>> = {
    exact: new Map(),
    pathPrefix: new Map(),
    prefix: new Map(),
  };
  let others: Placed | undefined;
  // From the last, so that each list grows at its head.
  for (let index = candidates.length - 1; index >= 0; index--) {
    const { paths, holds } = candidates[index] as PathCandidate;
    if (paths === undefined) others = { index, holds, next: others };
    else
      for (const { kind, value } of paths) {
        const map = maps[kind];
        map.set(value, { index, holds, next: map.get(value) });
      }
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

/** Longest first. */
export const distinctLengths = (texts: Iterable<string>): readonly number[] =>
  [...new Set([...texts].map((text) => text.length))].sort((a, b) => b - a);

/** Looks no further than `best`, which some other list has found; -1: none has. */
function firstThatHolds(first: Placed | undefined, request: HttpRequest, best: number): number {
  for (let placed = first; placed !== undefined; placed = placed.next) {
    if (best >= 0 && placed.index >= best) return best;
    if (placed.holds(request)) return placed.index;
  }
  return best;
}
