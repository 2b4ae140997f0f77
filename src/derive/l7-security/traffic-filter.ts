// TrafficFilter: our own small resource for what Istio leaves to EnvoyFilter.

import type { TextPredicate } from '../../model/facts.ts';
import { headerField } from '../../model/http/request.ts';
import type { HeaderFilter, HeaderValue } from '../../model/http/route.ts';
import type { GlobalRateLimit, LocalRateLimit, RateLimitEntry, TrafficFilters } from '../../model/proxy/filters.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import type { TrafficFilterResource } from '../objects/traffic-filter.ts';
import { flag, integer, type Json, list, optionalRecord, record, text, texts } from '../read.ts';
import { durationMs } from '../traffic/duration.ts';
import { resolveHost } from '../traffic/host.ts';
import { readStringMatch } from '../traffic/string-match.ts';

const DEFAULT_TIMEOUT_MS = 20;

/** @returns the filters, or what is wrong with its field: nothing of such an object is then in force */
export function readTrafficFilter(
  object: TrafficFilterResource,
  clusterDomain: string,
): Result<TrafficFilters, string> {
  const { spec } = object;
  const origin = `TrafficFilter/${object.namespace}/${object.name}`;
  const localRateLimits: LocalRateLimit[] = [];
  for (const [at, item] of list(spec.localRateLimits).entries()) {
    const limit = readLocal(record(item), origin);
    if (!limit.ok) return fail(`localRateLimits[${at}].${limit.error}`);
    localRateLimits.push(limit.value);
  }
  const written = optionalRecord(spec.globalRateLimit);
  const global = written && readGlobal(written, origin, object.namespace, clusterDomain);
  if (global !== undefined && !global.ok) return fail(`globalRateLimit.${global.error}`);
  return ok({
    localRateLimits,
    globalRateLimit: global?.value,
    headers: [
      ...readHeaders('requestHeaders', spec.requestHeaders),
      ...readHeaders('responseHeaders', spec.responseHeaders),
    ],
    authenticationResponses: readHeaders('responseHeaders', spec.authenticationResponseHeaders),
  });
}

const readValues = (value: unknown): readonly HeaderValue[] =>
  list(value).map((item) => ({ name: text(record(item).name), value: text(record(item).value) }));

function readHeaders(kind: HeaderFilter['kind'], value: unknown): readonly HeaderFilter[] {
  const written = optionalRecord(value);
  if (written === undefined) return [];
  const remove = texts(written.remove).map((name) => name.toLowerCase());
  return [{ kind, set: readValues(written.set), add: readValues(written.add), remove }];
}

function readLocal(written: Json, origin: string): Result<LocalRateLimit, string> {
  const maxTokens = integer(written.maxTokens);
  const fillIntervalMs = durationMs(written.fillInterval);
  if (!maxTokens) return fail('maxTokens: a number above 0 is wanted');
  if (!fillIntervalMs) return fail('fillInterval: a duration above 0 is wanted, such as 1s');
  const only: { field: string; predicate: TextPredicate }[] = [];
  for (const [at, item] of list(written.match).entries()) {
    const match = record(item);
    const header = text(match.header);
    const field = header !== '' ? headerField(header) : match.method !== undefined ? 'request.method' : 'request.path';
    const asked = header !== '' ? match : record(match.method ?? match.path);
    const predicate = readStringMatch(asked, { emptyIsPresent: header !== '' });
    if (!predicate.ok) return fail(`match[${at}]: ${predicate.error}`);
    only.push({ field, predicate: predicate.value });
  }
  const status = integer(written.status) ?? 429;
  if (status < 400 || status > 599) return fail('status: an error status is wanted');
  return ok({
    origin,
    maxTokens,
    tokensPerFill: integer(written.tokensPerFill) || maxTokens,
    fillIntervalMs,
    status,
    headers: readValues(written.headers),
    only,
  });
}

function readGlobal(
  written: Json,
  origin: string,
  namespace: string,
  clusterDomain: string,
): Result<GlobalRateLimit, string> {
  const host = resolveHost(text(written.service).toLowerCase(), namespace, clusterDomain);
  const port = integer(written.port);
  if (host === '') return fail('service: the host of the rate-limit service is wanted');
  if (!port) return fail('port: the port of the rate-limit service is wanted');
  const descriptors = list(written.descriptors).map((item) => list(record(item).entries).map(readEntry));
  if (descriptors.length === 0 || descriptors.some((entries) => entries.length === 0 || entries.includes(undefined)))
    return fail('descriptors: each needs entries of value, header, remoteAddress or path');
  return ok({
    origin,
    domain: text(written.domain),
    host,
    port,
    timeoutMs: durationMs(written.timeout) || DEFAULT_TIMEOUT_MS,
    failOpen: flag(written.failOpen),
    descriptors: descriptors as RateLimitEntry[][],
  });
}

function readEntry(item: unknown): RateLimitEntry | undefined {
  const entry = record(item);
  const key = text(entry.key);
  if (flag(entry.remoteAddress)) return { kind: 'remoteAddress' };
  if (key === '') return undefined;
  if (flag(entry.path)) return { kind: 'path', key };
  if (text(entry.header) !== '') return { kind: 'header', key, header: text(entry.header).toLowerCase() };
  return typeof entry.value === 'string' ? { kind: 'literal', key, value: entry.value } : undefined;
}
