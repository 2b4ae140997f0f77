// Filters of HTTPRoutes and GRPCRoutes.
// Source: Gateway API, HTTPRouteFilter; Istio: ExternalAuth and ExtensionRef are not held, a filter that cannot be held
// makes its rule answer with 500.

import type { TextPredicate } from '../../model/facts.ts';
import type {
  CorsFilter,
  HeaderFilter,
  HeaderValue,
  PathRewrite,
  Redirect,
  RouteFilter,
  Share,
} from '../../model/http/route.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { flag, integer, type Json, list, optionalRecord, optionalText, record, text, texts } from '../read.ts';

/** RFC 9110 §5.6.2. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110 §5.5: visible characters, spaces and tabs inside. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const HOST = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
/** HTTP/2's name of it, which HTTP/1 calls Host. */
const AUTHORITY: ReadonlySet<string> = new Set(['host', ':authority']);

function headerValues(items: unknown): Result<readonly HeaderValue[], string> {
  const read: HeaderValue[] = [];
  const seen = new Set<string>();
  for (const item of list(items)) {
    const name = text(record(item).name).toLowerCase();
    const value = text(record(item).value);
    if (!NAME.test(name) && name !== ':authority') return fail(`\`${name}\` is no name of a header`);
    if (!VALUE.test(value)) return fail(`the value of ${name} holds characters that no header can carry`);
    if (seen.has(name)) continue; // of a repeated name the first counts
    seen.add(name);
    read.push({ name, value });
  }
  return ok(read);
}

export interface HeaderChange {
  /** Undefined: it changes none but the host. */
  readonly filter: HeaderFilter | undefined;
  /** A new host of the request. */
  readonly host: string | undefined;
}

/** `requestHeaderModifier` and `responseHeaderModifier`. */
export function readHeaderFilter(kind: HeaderFilter['kind'], written: Json): Result<HeaderChange, string> {
  const set = headerValues(written.set);
  if (!set.ok) return set;
  const add = headerValues(written.add);
  if (!add.ok) return add;
  const remove = texts(written.remove).map((name) => name.toLowerCase());
  const bad = remove.find((name) => !NAME.test(name));
  if (bad !== undefined) return fail(`\`${bad}\` is no name of a header`);
  const isHost = ({ name }: HeaderValue): boolean => kind === 'requestHeaders' && AUTHORITY.has(name);
  const filter: HeaderFilter = {
    kind,
    set: set.value.filter((item) => !isHost(item)),
    add: add.value.filter((item) => !isHost(item)),
    remove: remove.filter((name) => kind !== 'requestHeaders' || !AUTHORITY.has(name)),
  };
  const isEmpty = filter.set.length + filter.add.length + filter.remove.length === 0;
  return ok({ filter: isEmpty ? undefined : filter, host: [...set.value, ...add.value].find(isHost)?.value });
}

/** @param prefix  of the rule's only PathPrefix match; undefined where there is none, or several */
export function readPath(written: unknown, prefix: string | undefined): Result<PathRewrite | undefined, string> {
  const path = optionalRecord(written);
  if (path === undefined) return ok(undefined);
  if (path.type === 'ReplaceFullPath') return ok({ kind: 'full', path: text(path.replaceFullPath) || '/' });
  if (path.type !== 'ReplacePrefixMatch') return fail(`path.type \`${text(path.type)}\` is not known`);
  if (prefix === undefined) return fail('ReplacePrefixMatch needs a rule with exactly one match, by PathPrefix');
  return ok({ kind: 'prefix', prefix, replacement: text(path.replacePrefixMatch), by: 'segments' });
}

const STATUSES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export function readRedirect(written: Json, prefix: string | undefined): Result<Redirect, string> {
  const path = readPath(written.path, prefix);
  if (!path.ok) return path;
  const status = integer(written.statusCode) ?? 302;
  if (!STATUSES.has(status)) return fail(`statusCode ${status} is no redirect`);
  const scheme = optionalText(written.scheme)?.toLowerCase();
  if (scheme !== undefined && scheme !== 'http' && scheme !== 'https') return fail(`scheme \`${scheme}\` is not known`);
  const host = optionalText(written.hostname)?.toLowerCase();
  if (host !== undefined && !HOST.test(host)) return fail(`\`${host}\` is no host name`);
  const port = integer(written.port) ?? (scheme === undefined ? 'requested' : 'ofScheme');
  return ok({ kind: 'redirect', status, scheme, host, port, path: path.value });
}

export function readRewrite(written: Json, prefix: string | undefined): Result<RouteFilter, string> {
  const path = readPath(written.path, prefix);
  if (!path.ok) return path;
  const host = optionalText(written.hostname)?.toLowerCase();
  if (host !== undefined && !HOST.test(host)) return fail(`\`${host}\` is no host name`);
  return ok({ kind: 'rewrite', host, path: path.value });
}

/** @returns undefined for a mirror that gets nothing */
export function readShare(written: Json): Share | undefined {
  const fraction = optionalRecord(written.fraction);
  const numerator = fraction === undefined ? (integer(written.percent) ?? 100) : (integer(fraction.numerator) ?? 0);
  const denominator = (fraction && integer(fraction.denominator)) || 100;
  return numerator === 0 ? undefined : { numerator: Math.min(numerator, denominator), denominator };
}

const escaped = (literal: string): string => literal.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** `*` is any origin; a star elsewhere stands for anything. */
function readOrigin(written: string): TextPredicate {
  if (written === '*') return { kind: 'present' };
  if (!written.includes('*')) return { kind: 'exact', value: written };
  return { kind: 'regex', pattern: written.split('*').map(escaped).join('.*') };
}

const DEFAULT_MAX_AGE_SECONDS = 5;

export function readCors(written: Json): CorsFilter {
  return {
    kind: 'cors',
    allowOrigins: texts(written.allowOrigins).map(readOrigin),
    allowCredentials: flag(written.allowCredentials),
    allowMethods: texts(written.allowMethods),
    allowHeaders: texts(written.allowHeaders),
    exposeHeaders: texts(written.exposeHeaders),
    maxAgeSeconds: integer(written.maxAge) ?? DEFAULT_MAX_AGE_SECONDS,
    unmatchedPreflights: 'answer',
  };
}
