// Shapes of what guards, changes and reports: parts of the proxy's resource and of the services behind it.

import type {
  AuthorizationProvider,
  ConditionSet,
  HttpCondition,
  HttpPolicy,
  HttpPolicyAction,
  HttpPolicyRule,
  HttpQuestion,
} from '../../model/http/policy.ts';
import type { GlobalRateLimit, LocalRateLimit, RateLimitEntry, TrafficFilters } from '../../model/proxy/filters.ts';
import type { AuthorizationProviderConfig, SecurityConfig, TokenPlace, TokenRule } from '../../model/proxy/security.ts';
import type {
  AccessLogConfig,
  MetricOverride,
  MetricsConfig,
  SpanTag,
  TelemetryConfig,
  TracingConfig,
} from '../../model/proxy/telemetry-config.ts';
import {
  headerFilter,
  headerValues,
  host,
  key,
  MAX_ITEMS,
  MAX_PEM,
  milliseconds,
  name,
  port,
  requestField,
  textPredicate,
  value,
} from './common-shapes.ts';
import {
  dictionary,
  flag,
  integer,
  list,
  number,
  object,
  optional,
  type Shape,
  text,
  union,
  word,
  words,
} from './shape.ts';

const POSITIVE = integer(0, Number.MAX_SAFE_INTEGER);
const predicates = list(textPredicate, MAX_ITEMS);

const question = object<HttpQuestion>({ field: requestField, predicate: textPredicate });
const condition = object<HttpCondition>({ list: key, negated: flag, anyOf: list(question, MAX_ITEMS) });
const conditions: Shape<ConditionSet> = list(condition, MAX_ITEMS);
const policyAction: Shape<HttpPolicyAction> = union<HttpPolicyAction, 'kind'>('kind', {
  allow: object({ kind: word('allow') }),
  deny: object({ kind: word('deny') }),
  audit: object({ kind: word('audit') }),
  custom: object({
    kind: word('custom'),
    provider: object<AuthorizationProvider>({ name: key, known: flag }),
  }),
});
const policy = object<HttpPolicy>({
  key,
  action: policyAction,
  dryRun: flag,
  anyRule: list(
    object<HttpPolicyRule>({
      from: list(conditions, MAX_ITEMS),
      to: list(conditions, MAX_ITEMS),
      when: conditions,
    }),
    MAX_ITEMS,
  ),
});

const tokenPlace: Shape<TokenPlace> = union<TokenPlace, 'kind'>('kind', {
  header: object({ kind: word('header'), name: key, prefix: value }),
  query: object({ kind: word('query'), name: key }),
  cookie: object({ kind: word('cookie'), name: key }),
});
const token = object<TokenRule>({
  issuer: value,
  audiences: list(value, MAX_ITEMS),
  keys: union<TokenRule['keys'], 'kind'>('kind', {
    set: object({ kind: word('set'), json: text(MAX_PEM) }),
    missing: object({ kind: word('missing'), why: value }),
  }),
  from: list(tokenPlace, MAX_ITEMS),
  forward: flag,
  payloadToHeader: optional(key),
  claimsToHeaders: list(object<TokenRule['claimsToHeaders'][number]>({ header: key, claim: key }), MAX_ITEMS),
  spaceDelimitedClaims: list(key, MAX_ITEMS),
});

export const security: Shape<SecurityConfig> = object<SecurityConfig>({
  policies: list(policy, MAX_ITEMS),
  tokens: list(token, MAX_ITEMS),
});

export const authorizationProvider = object<AuthorizationProviderConfig>({
  name: key,
  protocol: words<AuthorizationProviderConfig['protocol']>({ http: true, grpc: true }),
  host,
  port,
  timeoutMs: milliseconds,
  failOpen: flag,
  statusOnError: integer(200, 599),
  clearsRouteCache: flag,
  pathPrefix: value,
  requestHeaders: predicates,
  addedHeaders: headerValues,
  toUpstreamOnAllow: predicates,
  toDownstreamOnAllow: predicates,
  toDownstreamOnDeny: predicates,
  body: optional(
    object<NonNullable<AuthorizationProviderConfig['body']>>({
      maxBytes: integer(0, 2 ** 32 - 1),
      allowsPartial: flag,
      asBytes: flag,
    }),
  ),
});

const localRateLimit = object<LocalRateLimit>({
  origin: key,
  maxTokens: POSITIVE,
  tokensPerFill: POSITIVE,
  fillIntervalMs: milliseconds,
  status: integer(200, 599),
  headers: headerValues,
  only: list(object<LocalRateLimit['only'][number]>({ field: key, predicate: textPredicate }), MAX_ITEMS),
});
const rateLimitEntry: Shape<RateLimitEntry> = union<RateLimitEntry, 'kind'>('kind', {
  literal: object({ kind: word('literal'), key, value }),
  header: object({ kind: word('header'), key, header: key }),
  remoteAddress: object({ kind: word('remoteAddress') }),
  path: object({ kind: word('path'), key }),
});
const globalRateLimit = object<GlobalRateLimit>({
  origin: key,
  domain: value,
  host,
  port,
  timeoutMs: milliseconds,
  failOpen: flag,
  descriptors: list(list(rateLimitEntry, MAX_ITEMS), MAX_ITEMS),
});
const headers = list(headerFilter, MAX_ITEMS);

export const filters: Shape<TrafficFilters> = object<TrafficFilters>({
  localRateLimits: list(localRateLimit, MAX_ITEMS),
  globalRateLimit: optional(globalRateLimit),
  headers,
  authenticationResponses: headers,
});

const accessLog = object<AccessLogConfig>({
  provider: key,
  filter: optional(value),
  sink: union<AccessLogConfig['sink'], 'kind'>('kind', {
    stdout: object({ kind: word('stdout') }),
    otlp: object({ kind: word('otlp'), logName: key, host, port }),
  }),
  format: union<AccessLogConfig['format'], 'kind'>('kind', {
    defaultText: object({ kind: word('defaultText') }),
    defaultJson: object({ kind: word('defaultJson') }),
    text: object({ kind: word('text'), template: value }),
    json: object({ kind: word('json'), labels: dictionary(value, 1024, MAX_ITEMS) }),
  }),
  omitsEmpty: flag,
});
const spanTag: Shape<SpanTag> = union<SpanTag, 'kind'>('kind', {
  literal: object({ kind: word('literal'), name: key, value }),
  header: object({ kind: word('header'), name: key, header: key, otherwise: value }),
  environment: object({ kind: word('environment'), name: key, variable: key, otherwise: value }),
  formatter: object({ kind: word('formatter'), name: key, template: value }),
});
const tracing = object<TracingConfig>({
  provider: key,
  protocol: words<TracingConfig['protocol']>({ otlpGrpc: true, otlpHttp: true, zipkin: true }),
  host,
  port,
  path: value,
  headers: headerValues,
  timeoutMs: milliseconds,
  samplingPercent: number(0, 100),
  reportsSpans: flag,
  propagates: flag,
  istioTags: flag,
  requestIdDecides: flag,
  tags: list(spanTag, MAX_ITEMS),
});
const metricOverride = object<MetricOverride>({
  metric: optional(name),
  mode: words<MetricOverride['mode']>({ client: true, server: true, both: true }),
  disabled: optional(flag),
  tags: list(object<MetricOverride['tags'][number]>({ tag: key, value: optional(value) }), MAX_ITEMS),
});

export const telemetry: Shape<TelemetryConfig> = object<TelemetryConfig>({
  accessLogs: list(accessLog, MAX_ITEMS),
  tracing: optional(tracing),
  metrics: object<MetricsConfig>({ enabled: flag, overrides: list(metricOverride, MAX_ITEMS) }),
});
