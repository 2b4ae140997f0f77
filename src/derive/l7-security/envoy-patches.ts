// The EnvoyFilter patterns that people really use at a gateway, recognised: a local rate limit, and headers of responses
// (all, or those that refuse for want of authentication). There is no Envoy here to patch, so that anything else is named
// with its reason instead of being half obeyed.

import type { HeaderFilter, HeaderValue } from '../../model/http/route.ts';
import type { LocalRateLimit, TrafficFilters } from '../../model/proxy/filters.ts';
import { NO_FILTERS } from '../../model/proxy/filters.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import type { EnvoyFilterResource, EnvoyPatch } from '../objects/traffic-filter.ts';
import { integer, type Json, list, optionalRecord, record, text, texts } from '../read.ts';
import { durationMs } from '../traffic/duration.ts';

export interface ReadEnvoyFilter {
  readonly filters: TrafficFilters;
  /** `configPatches[1]: why it is not honoured`. */
  readonly unsupported: readonly string[];
}

/** Contexts of patches that a proxy reads (Istio: waypoints go by SIDECAR_INBOUND). */
const CONTEXTS: Readonly<Record<'waypoint' | 'gateway', ReadonlySet<string>>> = {
  waypoint: new Set(['ANY', 'SIDECAR_INBOUND']),
  gateway: new Set(['ANY', 'GATEWAY']),
};

type Patch = Partial<TrafficFilters>;

export function readEnvoyFilter(object: EnvoyFilterResource, proxy: 'waypoint' | 'gateway'): ReadEnvoyFilter {
  const unsupported: string[] = [];
  let filters = NO_FILTERS;
  for (const [at, patch] of object.patches.entries()) {
    const read = CONTEXTS[proxy].has(patch.context)
      ? readPatch(patch, `EnvoyFilter/${object.namespace}/${object.name}`)
      : fail(`its context ${patch.context} does not reach a ${proxy}`);
    if (read.ok) filters = join(filters, read.value);
    else unsupported.push(`configPatches[${at}]: ${read.error}`);
  }
  return { filters, unsupported };
}

/** Lists one after the other; of what there can be only one, the later. */
export const join = (a: TrafficFilters, b: Patch): TrafficFilters => ({
  localRateLimits: [...a.localRateLimits, ...(b.localRateLimits ?? [])],
  globalRateLimit: b.globalRateLimit ?? a.globalRateLimit,
  headers: [...a.headers, ...(b.headers ?? [])],
  authenticationResponses: [...a.authenticationResponses, ...(b.authenticationResponses ?? [])],
});

function readPatch(patch: EnvoyPatch, origin: string): Result<Patch, string> {
  switch (patch.applyTo) {
    case 'HTTP_FILTER':
      return readHttpFilter(patch, origin);
    case 'NETWORK_FILTER':
      return readConnectionManager(patch);
    case 'ROUTE_CONFIGURATION':
    case 'VIRTUAL_HOST':
    case 'HTTP_ROUTE':
      return readResponseHeaders(patch);
    default:
      return fail(`applyTo ${patch.applyTo} has nothing here that it could be applied to`);
  }
}

/** A message that is written as it is, or inside a TypedStruct. */
function typed(config: Json): { readonly type: string; readonly value: Json } {
  const outer = text(config['@type']);
  if (outer.endsWith('TypedStruct')) return { type: text(config.type_url), value: record(config.value) };
  return { type: outer, value: config };
}

const typeName = (url: string): string => url.slice(url.lastIndexOf('/') + 1);

function readHttpFilter(patch: EnvoyPatch, origin: string): Result<Patch, string> {
  if (!/^(INSERT_|ADD$)/.test(patch.operation)) return fail(`operation ${patch.operation} of an HTTP_FILTER`);
  const { type, value } = typed(record(patch.value.typed_config));
  switch (typeName(type)) {
    case 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit':
      return readLocalRateLimit(value, origin);
    case 'envoy.extensions.filters.http.lua.v3.Lua':
      return readLua(value);
    default:
      return fail(`the filter ${text(patch.value.name) || typeName(type)} does not exist here`);
  }
}

/** A share below everything cannot be meant as a limit of all requests. */
const isAll = (percent: unknown): boolean => {
  const value = optionalRecord(record(percent).default_value);
  if (value === undefined) return false;
  const parts = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 }[text(value.denominator) || 'HUNDRED'];
  return integer(value.numerator) === parts;
};

function readLocalRateLimit(value: Json, origin: string): Result<Patch, string> {
  const bucket = optionalRecord(value.token_bucket);
  // Envoy enforces nothing by default: both shares must be written.
  if (!isAll(value.filter_enabled) || !isAll(value.filter_enforced))
    return fail('the rate limit is not both enabled and enforced for every request');
  if (list(value.descriptors).length > 0) return fail('descriptors of a local rate limit; use a TrafficFilter');
  const maxTokens = integer(bucket?.max_tokens);
  const fillIntervalMs = durationMs(bucket?.fill_interval);
  if (maxTokens === undefined || maxTokens === 0 || !fillIntervalMs)
    return fail('token_bucket needs max_tokens and fill_interval');
  const limit: LocalRateLimit = {
    origin,
    maxTokens,
    tokensPerFill: integer(bucket?.tokens_per_fill) || 1,
    fillIntervalMs,
    status: integer(record(value.status).code) || 429,
    headers: headerValues(value.response_headers_to_add),
    only: [],
  };
  return ok({ localRateLimits: [limit] });
}

const headerValues = (value: unknown): readonly HeaderValue[] =>
  list(value).flatMap((item) => {
    const header = record(record(item).header);
    const name = text(header.key);
    return name === '' ? [] : [{ name, value: text(header.value) }];
  });

/** Entries that overwrite are set, the others are added: Envoy's `append` and its newer `append_action`. */
function headerChanges(add: unknown, remove: unknown): HeaderFilter {
  const overwrites = (item: unknown): boolean =>
    record(item).append === false || text(record(item).append_action).startsWith('OVERWRITE');
  const entries = list(add);
  return {
    kind: 'responseHeaders',
    set: headerValues(entries.filter(overwrites)),
    add: headerValues(entries.filter((item) => !overwrites(item))),
    remove: texts(remove).map((name) => name.toLowerCase()),
  };
}

function readResponseHeaders(patch: EnvoyPatch): Result<Patch, string> {
  if (patch.operation !== 'MERGE') return fail(`operation ${patch.operation} of a ${patch.applyTo}`);
  const { response_headers_to_add: add, response_headers_to_remove: remove, ...rest } = patch.value;
  const others = Object.keys(rest);
  if (others.length > 0)
    return fail(`${patch.applyTo} with ${others.join(', ')}; only headers of responses are honoured`);
  const narrowed = Object.keys(record(patch.match.routeConfiguration)).filter((key) => key !== 'portNumber');
  if (narrowed.length > 0) return fail(`it is for one ${narrowed.join(' and ')}; write it on the HTTPRoute instead`);
  return ok({ headers: [headerChanges(add, remove)] });
}

const REFUSALS = new Set([401, 403]);

/** `local_reply_config` of the connection manager: headers for answers with 401 or 403. */
function readConnectionManager(patch: EnvoyPatch): Result<Patch, string> {
  const { value } = typed(record(patch.value.typed_config));
  const config = optionalRecord(value.local_reply_config);
  const others = Object.keys(value).filter((key) => !['@type', 'local_reply_config'].includes(key));
  if (patch.operation !== 'MERGE' || config === undefined || others.length > 0)
    return fail('of the connection manager only local_reply_config is honoured');
  const changes: HeaderFilter[] = [];
  for (const mapper of list(config.mappers).map(record)) {
    const comparison = record(record(record(mapper.filter).status_code_filter).comparison);
    const status = integer(record(comparison.value).default_value);
    const others = Object.keys(mapper).filter((key) => !['filter', 'headers_to_add'].includes(key));
    if (others.length > 0) return fail(`local_reply_config with ${others.join(', ')}`);
    if (status === undefined || !REFUSALS.has(status) || !['EQ', ''].includes(text(comparison.op)))
      return fail('local_reply_config for other answers than 401 and 403');
    changes.push(headerChanges(mapper.headers_to_add, []));
  }
  return ok({ authenticationResponses: changes });
}

const LUA_SHAPE =
  /^\s*function\s+envoy_on_response\s*\(\s*(\w+)\s*\)\s*(?:if\s+([^\n]+?)\s+then\s*)?((?:\s*\1:headers\(\):(?:add|replace|remove)\([^()]*\)\s*)+)(?:end\s*)?end\s*$/;
const LUA_CHANGE = /:headers\(\):(add|replace|remove)\(\s*"([^"]*)"\s*(?:,\s*"([^"]*)"\s*)?\)/g;

/** One `envoy_on_response` that adds, replaces and removes headers, perhaps only for 401 and 403. Nothing is executed. */
function readLua(value: Json): Result<Patch, string> {
  const code =
    text(record(value.default_source_code).inline_string) || text(value.inlineCode) || text(value.inline_code);
  const stripped = code.length > 8_192 ? '' : code.replace(/--[^\n]*/g, '');
  const shape = LUA_SHAPE.exec(stripped);
  if (shape === null)
    return fail(
      'the Lua code does more than change headers in envoy_on_response; use a TrafficFilter or an HTTPRoute filter',
    );
  const change: { kind: 'responseHeaders'; set: HeaderValue[]; add: HeaderValue[]; remove: string[] } = {
    kind: 'responseHeaders',
    set: [],
    add: [],
    remove: [],
  };
  for (const [, verb, name = '', written = ''] of (shape[3] as string).matchAll(LUA_CHANGE))
    if (verb === 'add') change.add.push({ name, value: written });
    else if (verb === 'replace') change.set.push({ name, value: written });
    else change.remove.push(name.toLowerCase());
  if (shape[2] === undefined) return ok({ headers: [change] });
  const statuses = [...shape[2].matchAll(/"([0-9]{3})"/g)].map(([, status]) => Number(status));
  const simple = /^(?:\s*(?:or\b)?\s*\w+(?::headers\(\):get\(":status"\))?\s*==\s*"[0-9]{3}"\s*)+$/.test(shape[2]);
  if (!simple || statuses.length === 0 || statuses.some((status) => !REFUSALS.has(status)))
    return fail('the Lua code asks for more than whether the status is 401 or 403');
  return ok({ authenticationResponses: [change] });
}
