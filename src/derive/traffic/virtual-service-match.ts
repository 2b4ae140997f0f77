// What a VirtualService's match asks, as conditions of the model.

import type { RequestField } from '../../model/facts.ts';
import { claimField, headerField, queryField } from '../../model/http/request.ts';
import type { RouteCondition, RouteMatch } from '../../model/http/route.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { flag, integer, type Json, list, optionalRecord, record, text, textRecord, texts } from '../read.ts';
import { readStringMatch } from './string-match.ts';

/** Where the rules will run. */
export interface RuleSite {
  /** `mesh` at a waypoint, `<namespace>/<gateway>` at a gateway: entries for others do not count there. */
  readonly gateway: string;
  /** Of the proxy: `sourceNamespace` is compared with it (Istio: at a waypoint, too). */
  readonly proxyNamespace: string;
}

/** What is known of the path that a match takes, for rewriting. */
export type MatchedPath = { readonly kind: 'prefix'; readonly prefix: string } | { readonly kind: 'exact' | 'regex' };

export interface ReadMatch {
  readonly match: RouteMatch;
  readonly path: MatchedPath;
}

const CLAIM = '@request.auth.claims';

/** `@request.auth.claims.realm.role`, or `@request.auth.claims[realm][role]` for names with dots. */
export function claimOf(header: string): readonly string[] | undefined {
  const lower = header.toLowerCase();
  if (!lower.startsWith(CLAIM)) return undefined;
  const rest = header.slice(CLAIM.length);
  if (rest.startsWith('.')) return rest.slice(1).split('.');
  const names = [...rest.matchAll(/\[([^[\]]+)\]/g)].map(([, name = '']) => name);
  return names.length > 0 ? names : undefined;
}

function headerCondition(name: string, written: unknown, negated: boolean): Result<RouteCondition, string> {
  const claim = claimOf(name);
  const field: RequestField = claim === undefined ? headerField(name) : claimField(claim);
  const predicate = readStringMatch(record(written), { emptyIsPresent: true });
  return predicate.ok
    ? ok({ field, predicate: predicate.value, negated })
    : fail(`${negated ? 'withoutHeaders' : 'headers'}[${name}]: ${predicate.error}`);
}

/**
 * Reads one entry of `http[].match`.
 * @returns undefined where it can never hold at this site: an entry for other gateways, other namespaces, or for
 *          `sourceLabels`, which only sidecars know
 */
export function readHttpMatch(
  entry: Json,
  site: RuleSite,
  inherited: readonly string[],
): Result<ReadMatch | undefined, string> {
  if (!appliesAt(entry, site, inherited)) return ok(undefined);
  const match: RouteCondition[] = [];
  let path: MatchedPath = { kind: 'prefix', prefix: '/' };
  const uri = optionalRecord(entry.uri);
  if (uri !== undefined) {
    const predicate = readStringMatch(uri, { ignoreCase: flag(entry.ignoreUriCase) });
    if (!predicate.ok) return fail(`uri: ${predicate.error}`);
    match.push({ field: 'request.path', predicate: predicate.value, negated: false });
    if (typeof uri.prefix === 'string') path = { kind: 'prefix', prefix: uri.prefix };
    else path = { kind: typeof uri.exact === 'string' ? 'exact' : 'regex' };
  }
  const simple: readonly (readonly [key: string, field: RequestField])[] = [
    ['scheme', 'request.scheme'],
    ['method', 'request.method'],
    ['authority', 'request.authority'],
  ];
  for (const [key, field] of simple) {
    const written = optionalRecord(entry[key]);
    if (written === undefined) continue;
    const predicate = readStringMatch(written);
    if (!predicate.ok) return fail(`${key}: ${predicate.error}`);
    match.push({ field, predicate: predicate.value, negated: false });
  }
  for (const [name, written] of Object.entries(record(entry.headers))) {
    const condition = headerCondition(name, written, false);
    if (!condition.ok) return condition;
    match.push(condition.value);
  }
  for (const [name, written] of Object.entries(record(entry.withoutHeaders))) {
    const condition = headerCondition(name, written, true);
    if (!condition.ok) return condition;
    match.push(condition.value);
  }
  for (const [name, written] of Object.entries(record(entry.queryParams))) {
    const predicate = readStringMatch(record(written), { emptyIsPresent: true });
    if (!predicate.ok) return fail(`queryParams[${name}]: ${predicate.error}`);
    match.push({ field: queryField(name), predicate: predicate.value, negated: false });
  }
  const port = integer(entry.port);
  if (port !== undefined && port !== 0)
    match.push({ field: 'destination.port', predicate: { kind: 'port', port }, negated: false });
  return ok({ match, path });
}

/** Whether an entry of any kind of match counts here. Its own list of gateways stands in for the object's. */
export function appliesAt(entry: Json, site: RuleSite, inherited: readonly string[]): boolean {
  const own = texts(entry.gateways);
  if (!(own.length === 0 ? inherited : own).includes(site.gateway)) return false;
  const namespace = text(entry.sourceNamespace);
  if (namespace !== '' && namespace !== site.proxyNamespace) return false;
  return Object.keys(textRecord(entry.sourceLabels)).length === 0 && list(entry.sourceLabels).length === 0;
}
