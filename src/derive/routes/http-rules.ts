// Rules of HTTPRoutes and GRPCRoutes -> the model's rules.
// Source: Gateway API, HTTPRouteRule and GRPCRouteRule; Istio where they leave a choice.

import type { TextPredicate } from '../../model/facts.ts';
import { compileRegex } from '../../model/http/regex.ts';
import { headerField, queryField } from '../../model/http/request.ts';
import type {
  Backend,
  BackendTarget,
  HeaderFilter,
  HttpRouteRule,
  Redirect,
  RetryPolicy,
  RouteAction,
  RouteCondition,
  RouteFilter,
  RouteMatch,
  RouteTimeouts,
  SessionFilter,
} from '../../model/http/route.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { isToken } from '../../wire/http1/index.ts';
import { RETRY_ANNOTATIONS, type Route } from '../objects/route.ts';
import { integer, type Json, list, optionalRecord, optionalText, record, text } from '../read.ts';
import { durationMs } from '../traffic/duration.ts';
import { readRetry } from '../traffic/virtual-service-rule.ts';
import { readCors, readHeaderFilter, readRedirect, readRewrite, readShare } from './http-filters.ts';
import type { RouteProblems } from './problems.ts';

/** Where a reference leads, in the surroundings of one kind of parent. */
export type ResolveBackend = (ref: Json) => BackendTarget;

/** Places of which a long list would make the bound of a resource: the API takes 64 of 16. */
const MAX_MATCHES = 1024;

export function readHttpRules(
  route: Route,
  resolve: ResolveBackend,
  problems: RouteProblems,
): readonly HttpRouteRule[] {
  return route.rules.map((rule, at) => readRule(route, rule, `rules[${at}]`, resolve, problems));
}

function readRule(
  route: Route,
  rule: Json,
  place: string,
  resolve: ResolveBackend,
  problems: RouteProblems,
): HttpRouteRule {
  const filters = readFilters(rule, place, resolve, problems);
  const retry = readRouteRetry(route, rule, place, problems);
  const session = readSession(optionalRecord(rule.sessionPersistence), place, problems);
  return {
    name: text(rule.name),
    anyMatch: readMatches(route, rule, place, problems),
    filters: session === undefined ? filters.filters : [...filters.filters, session],
    action: filters.action ?? forward(rule, place, resolve, problems),
    timeouts: readTimeouts(route, rule, retry !== undefined),
    retry,
  };
}

/** A cookie for the client's session unless it says otherwise (Gateway API, experimental; Istio ignores it). */
function readSession(written: Json | undefined, place: string, problems: RouteProblems): SessionFilter | undefined {
  if (written === undefined) return undefined;
  const name = text(written.sessionName) || DEFAULT_SESSION_NAME;
  if (!isToken(name)) {
    problems.note(
      `${place}.sessionPersistence.sessionName: \`${name}\` is no name of a cookie or header; it has no effect`,
    );
    return undefined;
  }
  if (written.idleTimeout !== undefined) problems.note(`${place}.sessionPersistence.idleTimeout has no effect`);
  if (written.type === 'Header') return { kind: 'session', by: { kind: 'header', name: name.toLowerCase() } };
  const permanent = record(written.cookieConfig).lifetimeType === 'Permanent';
  return {
    kind: 'session',
    by: { kind: 'cookie', name, ttlMs: permanent ? durationMs(written.absoluteTimeout) : undefined },
  };
}

const DEFAULT_SESSION_NAME = 'ambit-session';

// Matches

const EVERY_PATH: RouteCondition = {
  field: 'request.path',
  predicate: { kind: 'pathPrefix', value: '' },
  negated: false,
};

/** No match written: every path, which still ranks as a prefix. A rule that lost all of its matches takes nothing. */
function readMatches(route: Route, rule: Json, place: string, problems: RouteProblems): readonly RouteMatch[] {
  const written = list(rule.matches).map(record).slice(0, MAX_MATCHES);
  if (written.length === 0) return [[EVERY_PATH]];
  const read = route.kind === 'GRPCRoute' ? readGrpcMatch : readHttpMatch;
  const matches = written.flatMap((match, at) => {
    const result = read(match);
    if (result.ok) return [result.value];
    problems.unresolve(`${place}.matches[${at}]`, 'InvalidConfiguration', `${result.error}; the match is left out`);
    return [];
  });
  return matches.length > 0 ? matches : [NEVER];
}

/** No method is empty. */
const NEVER: RouteMatch = [{ field: 'request.method', predicate: { kind: 'exact', value: '' }, negated: false }];

const isCondition = (field: RouteCondition['field'], predicate: TextPredicate): RouteCondition => ({
  field,
  predicate,
  negated: false,
});

function regex(pattern: string): Result<TextPredicate, string> {
  const compiled = compileRegex(pattern);
  return compiled.ok ? ok({ kind: 'regex', pattern }) : compiled;
}

function valuePredicate(written: Json): Result<TextPredicate, string> {
  const value = text(written.value);
  const type = optionalText(written.type) ?? 'Exact';
  if (type === 'Exact') return ok({ kind: 'exact', value });
  return type === 'RegularExpression' ? regex(value) : fail(`type \`${type}\` is not known`);
}

/** Of a name that comes twice the first counts. */
function named(
  items: unknown,
  what: string,
  fieldOf: (name: string) => RouteCondition['field'],
): Result<readonly RouteCondition[], string> {
  const conditions = new Map<RouteCondition['field'], RouteCondition>();
  for (const item of list(items)) {
    const field = fieldOf(text(record(item).name));
    if (conditions.has(field)) continue;
    const predicate = valuePredicate(record(item));
    if (!predicate.ok) return fail(`${what}: ${predicate.error}`);
    conditions.set(field, isCondition(field, predicate.value));
  }
  return ok([...conditions.values()]);
}

function pathPredicate(written: Json | undefined): Result<TextPredicate, string> {
  const value = text(written?.value) || '/';
  const type = optionalText(written?.type) ?? 'PathPrefix';
  switch (type) {
    case 'Exact':
      return ok({ kind: 'exact', value });
    case 'PathPrefix':
      return ok({ kind: 'pathPrefix', value: value.replace(/\/+$/, '') });
    case 'RegularExpression':
      return regex(value);
    default:
      return fail(`path.type \`${type}\` is not known`);
  }
}

function readHttpMatch(match: Json): Result<RouteMatch, string> {
  const path = pathPredicate(optionalRecord(match.path));
  if (!path.ok) return path;
  const headers = named(match.headers, 'headers', headerField);
  if (!headers.ok) return headers;
  const query = named(match.queryParams, 'queryParams', queryField);
  if (!query.ok) return query;
  const method = text(match.method);
  return ok([
    isCondition('request.path', path.value),
    ...(method === '' ? [] : [isCondition('request.method', { kind: 'exact', value: method })]),
    ...headers.value,
    ...query.value,
  ]);
}

const ANY_SEGMENT = '[^/]+';

function grpcPath(written: Json | undefined): Result<TextPredicate | undefined, string> {
  const service = text(written?.service);
  const method = text(written?.method);
  if (service === '' && method === '') return ok(undefined);
  if (written?.type === 'RegularExpression') return regex(`/${service || ANY_SEGMENT}/${method || ANY_SEGMENT}`);
  if (service === '') return regex(`/${ANY_SEGMENT}/${method.replaceAll('.', '\\.')}`);
  return ok(
    method === '' ? { kind: 'pathPrefix', value: `/${service}` } : { kind: 'exact', value: `/${service}/${method}` },
  );
}

function readGrpcMatch(match: Json): Result<RouteMatch, string> {
  const path = grpcPath(optionalRecord(match.method));
  if (!path.ok) return path;
  const headers = named(match.headers, 'headers', headerField);
  if (!headers.ok) return headers;
  return ok([path.value === undefined ? EVERY_PATH : isCondition('request.path', path.value), ...headers.value]);
}

// Filters

interface ReadFilters {
  readonly filters: readonly RouteFilter[];
  /** Undefined: the backends say. */
  readonly action: RouteAction | undefined;
}

const refusing = (detail: string): RouteAction => ({
  kind: 'forward',
  backends: [{ target: { kind: 'invalid', status: 500, reason: 'InvalidFilter', detail }, weight: 1, filters: [] }],
});

/** The prefix of a rule that has one match alone, by PathPrefix: what ReplacePrefixMatch takes away. */
function onlyPrefix(rule: Json): string | undefined {
  const matches = list(rule.matches);
  if (matches.length > 1) return undefined;
  const path = optionalRecord(record(matches[0]).path);
  if ((optionalText(path?.type) ?? 'PathPrefix') !== 'PathPrefix') return undefined;
  return (text(path?.value) || '/').replace(/\/+$/, '');
}

function readFilters(rule: Json, place: string, resolve: ResolveBackend, problems: RouteProblems): ReadFilters {
  const filters: RouteFilter[] = [];
  let action: RouteAction | undefined;
  const prefix = onlyPrefix(rule);
  for (const [at, item] of list(rule.filters).entries()) {
    const filter = record(item);
    const where = `${place}.filters[${at}]`;
    if (filter.type === 'RequestMirror') {
      readMirror(record(filter.requestMirror), where, filters, resolve, problems);
      continue;
    }
    const read = readFilter(filter, prefix);
    if (!read.ok) {
      problems.unresolve(where, 'InvalidFilter', `${text(filter.type)}: ${read.error}; the rule answers with 500`);
      action = refusing(`${where}: ${read.error}`);
      continue;
    }
    for (const each of read.value)
      if (each.kind === 'redirect') action ??= each;
      else filters.push(each);
  }
  return { filters, action };
}

function readFilter(filter: Json, prefix: string | undefined): Result<readonly (RouteFilter | Redirect)[], string> {
  switch (filter.type) {
    case 'RequestHeaderModifier':
    case 'ResponseHeaderModifier': {
      const kind = filter.type === 'RequestHeaderModifier' ? 'requestHeaders' : 'responseHeaders';
      const written = kind === 'requestHeaders' ? filter.requestHeaderModifier : filter.responseHeaderModifier;
      const change = readHeaderFilter(kind, record(written));
      if (!change.ok) return change;
      const { filter: headers, host } = change.value;
      const rewrite: RouteFilter = { kind: 'rewrite', host, path: undefined };
      return ok([...(headers === undefined ? [] : [headers]), ...(host === undefined ? [] : [rewrite])]);
    }
    case 'RequestRedirect': {
      const redirect = readRedirect(record(filter.requestRedirect), prefix);
      return redirect.ok ? ok([redirect.value]) : redirect;
    }
    case 'URLRewrite': {
      const rewrite = readRewrite(record(filter.urlRewrite), prefix);
      return rewrite.ok ? ok([rewrite.value]) : rewrite;
    }
    case 'CORS':
      return ok([readCors(record(filter.cors))]);
    default:
      return fail('this kind of filter is not supported');
  }
}

/** A mirror that leads nowhere is left out: it never harms the request itself. */
function readMirror(
  mirror: Json,
  where: string,
  filters: RouteFilter[],
  resolve: ResolveBackend,
  problems: RouteProblems,
): void {
  const target = resolve(record(mirror.backendRef));
  if (target.kind === 'invalid') {
    problems.unresolve(`${where}.backendRef`, target.reason, `${target.detail}; nothing is mirrored`);
    return;
  }
  const share = readShare(mirror);
  if (share !== undefined) filters.push({ kind: 'mirror', target, share });
}

// Backends

const NO_BACKENDS: RouteAction = { kind: 'direct', status: 500, body: '' };

/** Weights that are zero get nothing; where all are, or there is no backend, the rule answers with 500. */
function forward(rule: Json, place: string, resolve: ResolveBackend, problems: RouteProblems): RouteAction {
  const backends = list(rule.backendRefs).flatMap((item, at): Backend[] => {
    const ref = record(item);
    const where = `${place}.backendRefs[${at}]`;
    const target = resolve(ref);
    if (target.kind === 'invalid') problems.unresolve(where, target.reason, target.detail);
    const weight = integer(ref.weight) ?? 1;
    if (weight === 0) return [];
    return [backendFilters(ref, where, { target, weight, filters: [] }, problems)];
  });
  return backends.length === 0 ? NO_BACKENDS : { kind: 'forward', backends };
}

function backendFilters(ref: Json, where: string, backend: Backend, problems: RouteProblems): Backend {
  const filters: HeaderFilter[] = [];
  for (const [at, item] of list(ref.filters).entries()) {
    const filter = record(item);
    const change =
      filter.type === 'RequestHeaderModifier'
        ? readHeaderFilter('requestHeaders', record(filter.requestHeaderModifier))
        : filter.type === 'ResponseHeaderModifier'
          ? readHeaderFilter('responseHeaders', record(filter.responseHeaderModifier))
          : fail(`${text(filter.type)} is not supported on a backend`);
    const why = !change.ok ? change.error : change.value.host === undefined ? undefined : 'Host cannot be set here';
    if (why !== undefined) {
      problems.unresolve(`${where}.filters[${at}]`, 'InvalidFilter', `${why}; its share answers with 500`);
      return { ...backend, target: { kind: 'invalid', status: 500, reason: 'InvalidFilter', detail: why } };
    }
    if (change.ok && change.value.filter !== undefined) filters.push(change.value.filter);
  }
  return { ...backend, filters };
}

// Timeouts and retries

/** `0s` is no limit. Without retries the backend's limit is the request's (Istio). */
function readTimeouts({ annotations }: Route, rule: Json, retries: boolean): RouteTimeouts {
  const timeouts = record(rule.timeouts);
  const request = durationMs(timeouts.request) || undefined;
  const backend = durationMs(timeouts.backendRequest) || undefined;
  const annotated = rule.retry === undefined ? durationMs(annotations[RETRY_ANNOTATIONS.perTryTimeout]) : undefined;
  return retries
    ? { requestMs: request, perTryMs: backend ?? (annotated || undefined) }
    : { requestMs: backend ?? request, perTryMs: undefined };
}

const DEFAULT_ATTEMPTS = 2;
/** What is tried again beside the codes that are named (Istio). */
const ALWAYS_ON: RetryPolicy['on'] = ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'];
const DEFAULT_BACKOFF_MS = 25;

function readRouteRetry(route: Route, rule: Json, place: string, problems: RouteProblems): RetryPolicy | undefined {
  const retry = optionalRecord(rule.retry);
  if (retry === undefined) return route.kind === 'HTTPRoute' ? annotatedRetry(route, problems) : undefined;
  const statuses = list(retry.codes).flatMap((code) => {
    const status = integer(code);
    return status !== undefined && status >= 400 && status <= 599 ? [status] : [];
  });
  if (statuses.length < list(retry.codes).length)
    problems.note(`${place}.retry.codes: only codes from 400 to 599 count`);
  return {
    attempts: integer(retry.attempts) ?? DEFAULT_ATTEMPTS,
    on: statuses.length === 0 ? ALWAYS_ON : [...ALWAYS_ON, 'retriable-status-codes'],
    statuses,
    backoffMs: durationMs(retry.backoff) ?? DEFAULT_BACKOFF_MS,
    remoteLocalities: false,
    ignorePreviousHosts: true,
  };
}

/** Istio knows no such annotations, guides write them all the same. */
function annotatedRetry({ annotations }: Route, problems: RouteProblems): RetryPolicy | undefined {
  const [attempts, retryOn] = [annotations[RETRY_ANNOTATIONS.attempts], annotations[RETRY_ANNOTATIONS.retryOn]];
  if (attempts === undefined && retryOn === undefined && annotations[RETRY_ANNOTATIONS.perTryTimeout] === undefined)
    return undefined;
  const read = readRetry({ attempts: attempts ?? String(DEFAULT_ATTEMPTS), retryOn });
  if (!read.ok) {
    problems.note(`annotations retry.istio.io/*: ${read.error}; they have no effect`);
    return undefined;
  }
  problems.note('annotations retry.istio.io/* are honoured here, Istio ignores them: use rules[].retry instead');
  return read.value;
}
