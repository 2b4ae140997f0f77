// One `http[]` rule of a VirtualService -> rules of the model.

import { Buffer } from 'node:buffer';
import { compileRegex } from '../../model/http/regex.ts';
import type {
  Backend,
  BackendTarget,
  CorsFilter,
  HeaderFilter,
  HttpRouteRule,
  PathRewrite,
  RetryCondition,
  RetryPolicy,
  RouteAction,
  RouteFilter,
  RouteMatch,
  RouteTimeouts,
  Share,
} from '../../model/http/route.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import {
  flag,
  integer,
  type Json,
  list,
  optionalRecord,
  optionalText,
  record,
  text,
  textRecord,
  texts,
} from '../read.ts';
import { durationMs } from './duration.ts';
import { resolveHost } from './host.ts';
import { readStringMatch } from './string-match.ts';
import type { MatchedPath, ReadMatch } from './virtual-service-match.ts';

/** What destinations are looked up in. */
export interface KnownServices {
  /** @returns undefined for a host that the mesh does not know, or that the object's namespace does not see */
  find(hostname: string): KnownService | undefined;
}

export interface KnownService {
  /** `<namespace>/<hostname>` */
  readonly key: string;
  readonly ports: readonly number[];
}

export interface RuleContext {
  readonly namespace: string;
  readonly clusterDomain: string;
  readonly services: KnownServices;
  /** The port that was asked for: destinations of services with several ports that name none go there. */
  readonly requestedPort: number;
}

/** What a mesh without `defaultHttpRetryPolicy` retries on. */
export const DEFAULT_RETRY_ON: readonly RetryCondition[] = [
  'connect-failure',
  'refused-stream',
  'unavailable',
  'cancelled',
  'retriable-status-codes',
];
const RETRY_ON: ReadonlySet<string> = new Set<RetryCondition>([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  'http3-post-connect-failure',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]);
const DEFAULT_BACKOFF_MS = 25;

/** Of 100 or 0 percent where there is nothing to decide; undefined: never. */
export function readShare(percentage: unknown, oldPercent: unknown, otherwise: number): Share | undefined {
  const written = optionalRecord(percentage);
  const value = written === undefined ? (integer(oldPercent) ?? otherwise) : Number(written.value ?? 0);
  if (!(value > 0)) return undefined;
  return { numerator: Math.round(Math.min(100, value) * 10_000), denominator: 1_000_000 };
}

/** `retries` of a rule, or of the mesh's default. */
export function readRetry(written: Json): Result<RetryPolicy, string> {
  const attempts = integer(written.attempts) ?? 0;
  const on: RetryCondition[] = [];
  const statuses: number[] = [];
  const words = text(written.retryOn);
  if (words === '') on.push(...DEFAULT_RETRY_ON);
  for (const word of words.split(',').map((part) => part.trim())) {
    if (word === '') continue;
    if (RETRY_ON.has(word)) on.push(word as RetryCondition);
    else if (/^[1-5][0-9]{2}$/.test(word)) statuses.push(Number(word));
    else return fail(`retries.retryOn: \`${word}\` is neither a condition nor a status code`);
  }
  if (statuses.length > 0 && !on.includes('retriable-status-codes')) on.push('retriable-status-codes');
  return ok({
    attempts,
    on,
    statuses: words === '' ? [503, ...statuses] : statuses,
    backoffMs: durationMs(written.backoff) ?? DEFAULT_BACKOFF_MS,
    remoteLocalities: flag(written.retryRemoteLocalities),
    ignorePreviousHosts: written.retryIgnorePreviousHosts !== false,
  });
}

/** `headers.request` or `headers.response`. `host` among the set ones is a change of the authority, see `hostFrom`. */
function headerFilter(kind: HeaderFilter['kind'], written: unknown): HeaderFilter | undefined {
  const source = record(written);
  const pairs = (value: unknown): { name: string; value: string }[] =>
    Object.entries(textRecord(value)).map(([name, one]) => ({ name, value: one }));
  const filter: HeaderFilter = {
    kind,
    set: pairs(source.set).filter(({ name }) => !isAuthority(name)),
    add: pairs(source.add),
    remove: texts(source.remove).map((name) => name.toLowerCase()),
  };
  return filter.set.length + filter.add.length + filter.remove.length === 0 ? undefined : filter;
}

const isAuthority = (name: string): boolean => ['host', ':authority'].includes(name.toLowerCase());

const headerFilters = (headers: unknown): HeaderFilter[] =>
  [
    headerFilter('requestHeaders', record(headers).request),
    headerFilter('responseHeaders', record(headers).response),
  ].filter((filter) => filter !== undefined);

function hostFrom(headers: unknown): string | undefined {
  const set = textRecord(record(record(headers).request).set);
  const name = Object.keys(set).find(isAuthority);
  return name === undefined ? undefined : set[name];
}

function readTarget(written: unknown, context: RuleContext): BackendTarget {
  const destination = record(written);
  const host = resolveHost(text(destination.host).toLowerCase(), context.namespace, context.clusterDomain);
  const known = context.services.find(host);
  const invalid = (detail: string): BackendTarget => ({
    kind: 'invalid',
    status: 503,
    reason: 'BackendNotFound',
    detail,
  });
  if (known === undefined) return invalid(`no service has the host ${host}`);
  const wanted = integer(record(destination.port).number);
  const port = wanted ?? (known.ports.length === 1 ? (known.ports[0] as number) : context.requestedPort);
  if (!known.ports.includes(port)) return invalid(`${host} has no port ${port}`);
  return { kind: 'service', service: known.key, port, subset: optionalText(destination.subset) || undefined };
}

function readBackends(rule: Json, context: RuleContext): readonly Backend[] {
  const routes = list(rule.route).map(record);
  return routes.map((route) => ({
    target: readTarget(route.destination, context),
    weight: integer(route.weight) ?? (routes.length === 1 ? 100 : 0),
    filters: headerFilters(route.headers),
  }));
}

function readRegexRewrite(written: Json): Result<PathRewrite, string> {
  const pattern = text(written.match);
  const compiled = compileRegex(pattern);
  return compiled.ok ? ok({ kind: 'regex', pattern, substitution: text(written.rewrite) }) : fail(compiled.error);
}

function readRedirect(written: Json): Result<RouteAction, string> {
  const regex = optionalRecord(written.uriRegexRewrite);
  let path: PathRewrite | undefined;
  if (regex !== undefined) {
    const read = readRegexRewrite(regex);
    if (!read.ok) return fail(`redirect.uriRegexRewrite: ${read.error}`);
    path = read.value;
  } else if (text(written.uri) !== '') path = { kind: 'full', path: text(written.uri) };
  const scheme = text(written.scheme);
  const host = text(written.authority) || undefined;
  const port = integer(written.port);
  const derived = text(written.derivePort);
  return ok({
    kind: 'redirect',
    status: integer(written.redirectCode) || 301,
    scheme: scheme === 'http' || scheme === 'https' ? scheme : undefined,
    host,
    port:
      port ||
      (derived === 'FROM_PROTOCOL_DEFAULT' || (derived === '' && host !== undefined) ? 'ofScheme' : 'requested'),
    path,
  });
}

function readDirect(written: Json): Result<RouteAction, string> {
  const status = integer(written.status) ?? 0;
  if (status < 200 || status > 599) return fail(`directResponse.status: ${status} is no final status`);
  const body = record(written.body);
  const bytes = optionalText(body.bytes);
  return ok({
    kind: 'direct',
    status,
    body: bytes === undefined ? text(body.string) : Buffer.from(bytes, 'base64').toString('utf8'),
  });
}

function readAction(rule: Json, context: RuleContext): Result<RouteAction, string> {
  const redirect = optionalRecord(rule.redirect);
  if (redirect !== undefined) return readRedirect(redirect);
  const direct = optionalRecord(rule.directResponse);
  if (direct !== undefined) return readDirect(direct);
  const backends = readBackends(rule, context);
  if (backends.length === 0) return fail('it has neither route nor redirect nor directResponse');
  if (backends.every(({ weight }) => weight === 0)) return fail('the weights of its routes sum up to 0');
  return ok({ kind: 'forward', backends });
}

function readCors(written: Json): Result<CorsFilter, string> {
  const allowOrigins = [];
  for (const origin of list(written.allowOrigins)) {
    const predicate = readStringMatch(record(origin));
    if (!predicate.ok) return fail(`corsPolicy.allowOrigins: ${predicate.error}`);
    const { value } = predicate;
    allowOrigins.push(value.kind === 'exact' && value.value === '*' ? ({ kind: 'prefix', value: '' } as const) : value);
  }
  for (const value of texts(written.allowOrigin))
    allowOrigins.push(value === '*' ? ({ kind: 'prefix', value: '' } as const) : ({ kind: 'exact', value } as const));
  const maxAge = durationMs(written.maxAge);
  return ok({
    kind: 'cors',
    allowOrigins,
    allowCredentials: flag(written.allowCredentials),
    allowMethods: texts(written.allowMethods),
    allowHeaders: texts(written.allowHeaders),
    exposeHeaders: texts(written.exposeHeaders),
    maxAgeSeconds: maxAge === undefined ? undefined : Math.floor(maxAge / 1000),
    unmatchedPreflights: written.unmatchedPreflights === 'IGNORE' ? 'answer' : 'forward',
  });
}

function readFaults(fault: Json): Result<RouteFilter[], string> {
  const filters: RouteFilter[] = [];
  const delay = optionalRecord(fault.delay);
  if (delay !== undefined) {
    const share = readShare(delay.percentage, delay.percent, 0);
    const delayMs = durationMs(delay.fixedDelay);
    if (delayMs === undefined) return fail('fault.delay.fixedDelay is no duration');
    if (share !== undefined) filters.push({ kind: 'delay', delayMs, share });
  }
  const abort = optionalRecord(fault.abort);
  if (abort !== undefined) {
    const share = readShare(abort.percentage, abort.percent, 0);
    const httpStatus = integer(abort.httpStatus);
    const grpcStatus = readGrpcStatus(abort.grpcStatus);
    if (httpStatus === undefined && grpcStatus === undefined)
      return fail('fault.abort has neither httpStatus nor a known grpcStatus');
    if (share !== undefined)
      filters.push({
        kind: 'abort',
        with: httpStatus === undefined ? { grpcStatus: grpcStatus as number } : { httpStatus },
        share,
      });
  }
  return ok(filters);
}

const GRPC_STATUSES = (
  'OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED ' +
  'RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS ' +
  'UNAUTHENTICATED'
).split(' ');

function readGrpcStatus(written: unknown): number | undefined {
  const number = integer(written);
  if (number !== undefined) return number < GRPC_STATUSES.length ? number : undefined;
  const at = GRPC_STATUSES.indexOf(text(written));
  return at < 0 ? undefined : at;
}

function readMirrors(rule: Json, context: RuleContext): RouteFilter[] {
  const filters: RouteFilter[] = [];
  const mirror = (destination: unknown, share: Share | undefined): void => {
    if (share !== undefined) filters.push({ kind: 'mirror', target: readTarget(destination, context), share });
  };
  if (optionalRecord(rule.mirror) !== undefined)
    mirror(rule.mirror, readShare(rule.mirrorPercentage, rule.mirrorPercent ?? rule.mirror_percent, 100));
  for (const entry of list(rule.mirrors).map(record))
    mirror(entry.destination, readShare(entry.percentage, undefined, 100));
  return filters;
}

/** The path after a rewrite depends on what the match takes: a prefix is exchanged, anything else wholly. */
function readRewrite(rule: Json, path: MatchedPath): Result<RouteFilter | undefined, string> {
  const rewrite = optionalRecord(rule.rewrite);
  const headersHost = hostFrom(rule.headers);
  if (rewrite === undefined && headersHost === undefined) return ok(undefined);
  const written = rewrite ?? {};
  const regex = optionalRecord(written.uriRegexRewrite);
  let changed: PathRewrite | undefined;
  if (regex !== undefined) {
    const read = readRegexRewrite(regex);
    if (!read.ok) return fail(`rewrite.uriRegexRewrite: ${read.error}`);
    changed = read.value;
  } else if (text(written.uri) !== '') {
    const uri = text(written.uri);
    changed =
      path.kind === 'prefix'
        ? { kind: 'prefix', prefix: path.prefix, replacement: uri, by: 'characters' }
        : { kind: 'full', path: uri };
  }
  return ok({ kind: 'rewrite', host: text(written.authority) || headersHost, path: changed });
}

/** What all matches of a rule share. */
export interface RuleBody {
  readonly name: string;
  readonly action: RouteAction;
  /** Without the rewrite, which depends on the match. */
  readonly filters: readonly RouteFilter[];
  readonly timeouts: RouteTimeouts;
  readonly retry: RetryPolicy | undefined;
}

export function readRuleBody(rule: Json, context: RuleContext): Result<RuleBody, string> {
  const action = readAction(rule, context);
  if (!action.ok) return action;
  const filters: RouteFilter[] = [];
  const cors = optionalRecord(rule.corsPolicy);
  if (cors !== undefined) {
    const read = readCors(cors);
    if (!read.ok) return read;
    filters.push(read.value);
  }
  const faults = readFaults(record(rule.fault));
  if (!faults.ok) return faults;
  filters.push(...faults.value, ...headerFilters(rule.headers), ...readMirrors(rule, context));
  const retries = optionalRecord(rule.retries);
  const retry = retries === undefined ? undefined : readRetry(retries);
  if (retry !== undefined && !retry.ok) return retry;
  return ok({
    name: text(rule.name),
    action: action.value,
    filters,
    timeouts: {
      requestMs: durationMs(rule.timeout) || undefined,
      perTryMs: durationMs(record(rule.retries).perTryTimeout) || undefined,
    },
    retry: retry?.value,
  });
}

/** One rule of the model for each run of matches that are rewritten alike; their order stays. */
export function toRules(
  rule: Json,
  body: RuleBody,
  matches: readonly ReadMatch[],
): Result<readonly HttpRouteRule[], string> {
  const { name, action, timeouts, retry } = body;
  const rules: { anyMatch: RouteMatch[]; rewrite: string; rule: HttpRouteRule }[] = [];
  for (const { match, path } of matches) {
    const read = readRewrite(rule, path);
    if (!read.ok) return read;
    const rewrite = JSON.stringify(read.value) ?? '';
    const last = rules.at(-1);
    if (last?.rewrite === rewrite) {
      last.anyMatch.push(match);
      continue;
    }
    const filters = read.value === undefined ? body.filters : [...body.filters, read.value];
    const anyMatch = [match];
    rules.push({ anyMatch, rewrite, rule: { name, anyMatch, filters, action, timeouts, retry } });
  }
  return ok(rules.map((made) => made.rule));
}
