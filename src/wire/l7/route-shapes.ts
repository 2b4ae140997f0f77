// The shape of a route resource.

import type {
  Backend,
  BackendTarget,
  CorsFilter,
  HttpRouteRule,
  InvalidBackend,
  PathRewrite,
  Redirect,
  RetryCondition,
  RetryPolicy,
  RouteAction,
  RouteCondition,
  RouteFilter,
  RouteMatch,
  RouteOrigin,
  RouteTimeouts,
  SessionFilter,
  Share,
} from '../../model/http/route.ts';
import type {
  ConnectionOrigin,
  HttpRouteResource,
  RouteAttachment,
  RouteResource,
  TcpMatch,
  TcpRouteResource,
  TcpRouteRule,
  TlsRouteResource,
  TlsRouteRule,
  WeightedTarget,
} from '../../model/proxy/route-resource.ts';
import {
  cidr,
  headerFilter,
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
import { either, flag, integer, list, object, optional, type Shape, text, union, word, words } from './shape.ts';

const UINT32 = 2 ** 32 - 1;
const weight = integer(0, UINT32);

const attachment: Shape<RouteAttachment> = union<RouteAttachment, 'kind'>('kind', {
  listener: object({ kind: word('listener'), listener: name, hosts: list(host, MAX_ITEMS) }),
  service: object({ kind: word('service'), service: key, port: optional(port) }),
});

const attached = { attachments: list(attachment, 100_000), order: integer(0, Number.MAX_SAFE_INTEGER) };

const routeOrigin = object<RouteOrigin>({
  kind: words<RouteOrigin['kind']>({ HTTPRoute: true, GRPCRoute: true, VirtualService: true }),
  namespace: name,
  name,
  createdAtMs: milliseconds,
});

const connectionOrigin = object<ConnectionOrigin>({
  kind: words<ConnectionOrigin['kind']>({ TCPRoute: true, TLSRoute: true, VirtualService: true }),
  namespace: name,
  name,
  createdAtMs: milliseconds,
});

const invalidStatus: Shape<500 | 503> = (status) =>
  status === 500 || status === 503 ? undefined : 'is neither 500 nor 503';

const target: Shape<BackendTarget> = union<BackendTarget, 'kind'>('kind', {
  service: object({ kind: word('service'), service: key, port, subset: optional(name) }),
  invalid: object({
    kind: word('invalid'),
    status: invalidStatus,
    reason: words<InvalidBackend>({
      InvalidKind: true,
      RefNotPermitted: true,
      BackendNotFound: true,
      InvalidDestination: true,
      InvalidFilter: true,
    }),
    detail: value,
  }),
});

const pathRewrite: Shape<PathRewrite> = union<PathRewrite, 'kind'>('kind', {
  full: object({ kind: word('full'), path: value }),
  prefix: object({
    kind: word('prefix'),
    prefix: value,
    replacement: value,
    by: words<'segments' | 'characters'>({ segments: true, characters: true }),
  }),
  regex: object({ kind: word('regex'), pattern: value, substitution: value }),
});

type RedirectPort = Redirect['port'];
const redirectPort: Shape<RedirectPort> = either(
  (given) => typeof given === 'number',
  port,
  words<'requested' | 'ofScheme'>({ requested: true, ofScheme: true }),
);

const action: Shape<RouteAction> = union<RouteAction, 'kind'>('kind', {
  forward: object({
    kind: word('forward'),
    backends: list(object<Backend>({ target, weight, filters: list(headerFilter, MAX_ITEMS) }), MAX_ITEMS),
  }),
  redirect: object<Redirect>({
    kind: word('redirect'),
    status: integer(300, 399),
    scheme: optional(words<'http' | 'https'>({ http: true, https: true })),
    host: optional(host),
    port: redirectPort,
    path: optional(pathRewrite),
  }),
  direct: object({ kind: word('direct'), status: integer(200, 599), body: text(MAX_PEM) }),
});

const shareFields = object<Share>({ numerator: integer(0, UINT32), denominator: integer(1, UINT32) });
const share: Shape<Share> = (given) => {
  const problem = shareFields(given);
  if (problem !== undefined) return problem;
  const { numerator, denominator } = given as Share;
  return numerator > denominator ? '.numerator: is more than the denominator' : undefined;
};

type Abort = Extract<RouteFilter, { kind: 'abort' }>['with'];
const abortWith: Shape<Abort> = either(
  (given) => typeof given === 'object' && given !== null && 'grpcStatus' in given,
  object<{ readonly grpcStatus: number }>({ grpcStatus: integer(0, 99) }),
  object<{ readonly httpStatus: number }>({ httpStatus: integer(200, 599) }),
);

const filter: Shape<RouteFilter> = union<RouteFilter, 'kind'>('kind', {
  requestHeaders: headerFilter,
  responseHeaders: headerFilter,
  rewrite: object({ kind: word('rewrite'), host: optional(host), path: optional(pathRewrite) }),
  mirror: object({ kind: word('mirror'), target, share }),
  session: object<SessionFilter>({
    kind: word('session'),
    by: union<SessionFilter['by'], 'kind'>('kind', {
      cookie: object({ kind: word('cookie'), name, ttlMs: optional(milliseconds) }),
      header: object({ kind: word('header'), name }),
    }),
  }),
  cors: object<CorsFilter>({
    kind: word('cors'),
    allowOrigins: list(textPredicate, MAX_ITEMS),
    allowCredentials: flag,
    allowMethods: list(key, MAX_ITEMS),
    allowHeaders: list(key, MAX_ITEMS),
    exposeHeaders: list(key, MAX_ITEMS),
    maxAgeSeconds: optional(milliseconds),
    unmatchedPreflights: words<CorsFilter['unmatchedPreflights']>({ forward: true, answer: true }),
  }),
  delay: object({ kind: word('delay'), delayMs: milliseconds, share }),
  abort: object({ kind: word('abort'), with: abortWith, share }),
});

const condition = object<RouteCondition>({ field: requestField, predicate: textPredicate, negated: flag });
const match: Shape<RouteMatch> = list(condition, MAX_ITEMS);

const retry = object<RetryPolicy>({
  attempts: integer(0, UINT32),
  on: list(
    words<RetryCondition>({
      '5xx': true,
      'gateway-error': true,
      reset: true,
      'reset-before-request': true,
      'connect-failure': true,
      'retriable-4xx': true,
      'refused-stream': true,
      'retriable-status-codes': true,
      'retriable-headers': true,
      'http3-post-connect-failure': true,
      cancelled: true,
      'deadline-exceeded': true,
      internal: true,
      'resource-exhausted': true,
      unavailable: true,
    }),
    100,
  ),
  statuses: list(integer(100, 599), 500),
  backoffMs: milliseconds,
  remoteLocalities: flag,
  ignorePreviousHosts: flag,
});

const httpRule = object<HttpRouteRule>({
  name,
  anyMatch: list(match, MAX_ITEMS),
  filters: list(filter, MAX_ITEMS),
  action,
  timeouts: object<RouteTimeouts>({ requestMs: optional(milliseconds), perTryMs: optional(milliseconds) }),
  retry: optional(retry),
});

const anyMatch = list(object<TcpMatch>({ destinations: list(cidr, MAX_ITEMS), port: optional(port) }), MAX_ITEMS);
const backends = list(object<WeightedTarget>({ target, weight }), MAX_ITEMS);

export const routeShape: Shape<RouteResource> = union<RouteResource, 'kind'>('kind', {
  http: object<HttpRouteResource>({
    ...attached,
    kind: word('http'),
    origin: routeOrigin,
    rules: list(httpRule, MAX_ITEMS),
  }),
  tcp: object<TcpRouteResource>({
    ...attached,
    kind: word('tcp'),
    origin: connectionOrigin,
    rules: list(object<TcpRouteRule>({ anyMatch, backends }), MAX_ITEMS),
  }),
  tls: object<TlsRouteResource>({
    ...attached,
    kind: word('tls'),
    origin: connectionOrigin,
    rules: list(object<TlsRouteRule>({ serverNames: list(host, MAX_ITEMS), anyMatch, backends }), MAX_ITEMS),
  }),
});
