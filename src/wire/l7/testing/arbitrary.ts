// Random resources for property tests: every arm of every union, texts of all sorts.

import fc from 'fast-check';
import type { RequestField, TextPredicate } from '../../../model/facts.ts';
import type { HttpPolicy, HttpPolicyAction } from '../../../model/http/policy.ts';
import type {
  Backend,
  BackendTarget,
  HeaderFilter,
  HttpRouteRule,
  PathRewrite,
  RouteAction,
  RouteFilter,
  SessionFilter,
} from '../../../model/http/route.ts';
import type { TrafficFilters } from '../../../model/proxy/filters.ts';
import type { ListenerTls, ProxyCertificate, ProxyConfig } from '../../../model/proxy/proxy-config.ts';
import type { RouteAttachment, RouteResource } from '../../../model/proxy/route-resource.ts';
import type { AuthorizationProviderConfig, SecurityConfig, TokenRule } from '../../../model/proxy/security.ts';
import type {
  HashKey,
  LoadBalancer,
  LocalityPolicy,
  ServiceConfig,
  TrafficPolicy,
} from '../../../model/proxy/service-config.ts';
import type { AccessLogConfig, SpanTag, TelemetryConfig } from '../../../model/proxy/telemetry-config.ts';
import { cidr } from '../../../model/testing/builders.ts';

const record = <T>(model: { [K in keyof T]-?: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const few = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { maxLength: 3 });
const maybe = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(item, { nil: undefined });
const tag = <K extends string>(kind: K): fc.Arbitrary<K> => fc.constant(kind);
/** Of several arms that have the same fields; a word that is none of theirs would not be decoded. */
const anyTag = (...kinds: readonly string[]): fc.Arbitrary<never> => fc.constantFrom(...kinds) as fc.Arbitrary<never>;
/** A literal of the union it is used for. */
const oneOf = fc.constantFrom;

const str = fc.string({ unit: 'grapheme', maxLength: 12 });
const name = fc.stringMatching(/^[a-z]{1,8}$/);
const bool = fc.boolean();
const ms = fc.nat({ max: 10_000_000 });
const nat = fc.nat({ max: 100 });
const port = fc.nat({ max: 65_535 });
const ranges = fc.constantFrom('10.0.0.0/8', '0.0.0.0/0', 'fd00::/64', '10.1.2.3/32').map(cidr);
const status = fc.integer({ min: 200, max: 599 });
const share = fc
  .tuple(fc.nat({ max: 100 }), fc.integer({ min: 100, max: 1_000_000 }))
  .map(([numerator, denominator]) => ({ numerator, denominator }));
const pairs = few(record<{ name: string; value: string }>({ name: str, value: str }));

const field: fc.Arbitrary<RequestField> = fc.oneof(
  oneOf<RequestField[]>('request.path', 'request.method', 'request.host', 'source.principal', 'destination.port'),
  name.map((at): RequestField => `request.header:${at}`),
  str.map((at): RequestField => `request.query:x${at}`),
  name.map((at): RequestField => `request.claim:[${at}]`),
);
const predicate: fc.Arbitrary<TextPredicate> = fc.oneof(
  record<TextPredicate>({
    kind: anyTag('exact', 'prefix', 'suffix', 'exactIgnoringCase', 'prefixIgnoringCase', 'pathPrefix'),
    value: str,
  }),
  fc.constant<TextPredicate>({ kind: 'present' }),
  ranges.map((range): TextPredicate => ({ kind: 'cidr', range })),
  port.map((at): TextPredicate => ({ kind: 'port', port: at })),
  few(
    fc.oneof(
      tag('one'),
      tag('rest'),
      str.map((text) => ({ text })),
    ),
  ).map((parts): TextPredicate => ({ kind: 'pathTemplate', parts })),
  str.map((pattern): TextPredicate => ({ kind: 'regex', pattern })),
);

const headerFilter = record<HeaderFilter>({
  kind: oneOf('requestHeaders', 'responseHeaders'),
  set: pairs,
  add: pairs,
  remove: few(name),
});
const target: fc.Arbitrary<BackendTarget> = fc.oneof(
  record<BackendTarget>({ kind: tag('service'), service: str, port, subset: maybe(name) }),
  record<BackendTarget>({
    kind: tag('invalid'),
    status: oneOf(500, 503),
    reason: oneOf('InvalidKind', 'RefNotPermitted', 'BackendNotFound', 'InvalidDestination', 'InvalidFilter'),
    detail: str,
  }),
);
const rewrite: fc.Arbitrary<PathRewrite> = fc.oneof(
  record<PathRewrite>({ kind: tag('full'), path: str }),
  record<PathRewrite>({ kind: tag('prefix'), prefix: str, replacement: str, by: oneOf('segments', 'characters') }),
  record<PathRewrite>({ kind: tag('regex'), pattern: str, substitution: str }),
);
const action: fc.Arbitrary<RouteAction> = fc.oneof(
  record<RouteAction>({
    kind: tag('forward'),
    backends: few(record<Backend>({ target, weight: nat, filters: few(headerFilter) })),
  }),
  record<RouteAction>({
    kind: tag('redirect'),
    status: oneOf(301, 302, 303, 307, 308),
    scheme: maybe(oneOf('http', 'https')),
    host: maybe(name),
    port: fc.oneof(port, oneOf<('requested' | 'ofScheme')[]>('requested', 'ofScheme')),
    path: maybe(rewrite),
  }),
  record<RouteAction>({ kind: tag('direct'), status, body: str }),
);
const filter: fc.Arbitrary<RouteFilter> = fc.oneof(
  headerFilter,
  record<RouteFilter>({ kind: tag('rewrite'), host: maybe(name), path: maybe(rewrite) }),
  record<RouteFilter>({ kind: tag('mirror'), target, share }),
  record<RouteFilter>({
    kind: tag('session'),
    by: fc.oneof(
      record<SessionFilter['by']>({ kind: tag('cookie'), name, ttlMs: maybe(ms) }),
      record<SessionFilter['by']>({ kind: tag('header'), name }),
    ),
  }),
  record<RouteFilter>({
    kind: tag('cors'),
    allowOrigins: few(predicate),
    allowCredentials: bool,
    allowMethods: few(name),
    allowHeaders: few(name),
    exposeHeaders: few(name),
    maxAgeSeconds: maybe(nat),
    unmatchedPreflights: oneOf('forward', 'answer'),
  }),
  record<RouteFilter>({ kind: tag('delay'), delayMs: ms, share }),
  record<RouteFilter>({
    kind: tag('abort'),
    with: fc.oneof(
      status.map((httpStatus) => ({ httpStatus })),
      fc.nat({ max: 16 }).map((grpcStatus) => ({ grpcStatus })),
    ),
    share,
  }),
);
const rule = record<HttpRouteRule>({
  name: str,
  anyMatch: few(few(record({ field, predicate, negated: bool }))),
  filters: few(filter),
  action,
  timeouts: record({ requestMs: maybe(ms), perTryMs: maybe(ms) }),
  retry: maybe(
    record({
      attempts: nat,
      on: few(oneOf('5xx', 'reset', 'connect-failure', 'unavailable', 'retriable-status-codes')),
      statuses: few(status),
      backoffMs: ms,
      remoteLocalities: bool,
      ignorePreviousHosts: bool,
    }),
  ),
});

const attachment: fc.Arbitrary<RouteAttachment> = fc.oneof(
  record<RouteAttachment>({ kind: tag('listener'), listener: name, hosts: few(name) }),
  record<RouteAttachment>({ kind: tag('service'), service: str, port: maybe(port) }),
);
const attached = { attachments: few(attachment), order: nat };
const origin = <K extends string>(...kinds: readonly [K, ...K[]]) =>
  record<{ kind: K; namespace: string; name: string; createdAtMs: number }>({
    kind: oneOf(...kinds),
    namespace: name,
    name,
    createdAtMs: ms,
  });
const tcpMatch = few(record({ destinations: few(ranges), port: maybe(port) }));
const weighted = few(record({ target, weight: nat }));

export const someRoute: fc.Arbitrary<RouteResource> = fc.oneof(
  record<RouteResource>({
    kind: tag('http'),
    origin: origin('HTTPRoute', 'GRPCRoute', 'VirtualService'),
    rules: few(rule),
    ...attached,
  }),
  record<RouteResource>({
    kind: tag('tcp'),
    origin: origin('TCPRoute', 'VirtualService'),
    rules: few(record({ anyMatch: tcpMatch, backends: weighted })),
    ...attached,
  }),
  record<RouteResource>({
    kind: tag('tls'),
    origin: origin('TLSRoute', 'VirtualService'),
    rules: few(record({ serverNames: few(name), anyMatch: tcpMatch, backends: weighted })),
    ...attached,
  }),
);

const conditions = few(record({ list: str, negated: bool, anyOf: few(record({ field, predicate })) }));
const policy = record<HttpPolicy>({
  key: str,
  action: fc.oneof(
    record<HttpPolicyAction>({ kind: anyTag('allow', 'deny', 'audit') }),
    record<HttpPolicyAction>({ kind: tag('custom'), provider: record({ name: str, known: bool }) }),
  ),
  dryRun: bool,
  anyRule: few(record({ from: few(conditions), to: few(conditions), when: conditions })),
});
const token = record<TokenRule>({
  issuer: str,
  audiences: few(str),
  keys: fc.oneof(
    record<TokenRule['keys']>({ kind: tag('set'), json: str }),
    record<TokenRule['keys']>({ kind: tag('missing'), why: str }),
  ),
  from: few(
    fc.oneof(
      record({ kind: tag('header'), name: str, prefix: str }),
      record({ kind: tag('query'), name: str }),
      record({ kind: tag('cookie'), name: str }),
    ),
  ),
  forward: bool,
  payloadToHeader: maybe(name),
  claimsToHeaders: few(record({ header: name, claim: name })),
  spaceDelimitedClaims: few(name),
});
const security = record<SecurityConfig>({ policies: few(policy), tokens: few(token) });
const trafficFilters = record<TrafficFilters>({
  localRateLimits: few(
    record({
      origin: str,
      maxTokens: nat,
      tokensPerFill: nat,
      fillIntervalMs: ms,
      status,
      headers: pairs,
      only: few(record({ field: str, predicate })),
    }),
  ),
  globalRateLimit: maybe(
    record({
      origin: str,
      domain: str,
      host: name,
      port,
      timeoutMs: ms,
      failOpen: bool,
      descriptors: few(
        few(
          fc.oneof(
            record({ kind: tag('literal'), key: str, value: str }),
            record({ kind: tag('header'), key: str, header: name }),
            record({ kind: tag('remoteAddress') }),
            record({ kind: tag('path'), key: str }),
          ),
        ),
      ),
    }),
  ),
  headers: few(headerFilter),
  authenticationResponses: few(headerFilter),
});
const accessLog = record<AccessLogConfig>({
  provider: str,
  filter: maybe(str),
  sink: fc.oneof(
    record<AccessLogConfig['sink']>({ kind: tag('stdout') }),
    record<AccessLogConfig['sink']>({ kind: tag('otlp'), logName: str, host: name, port }),
  ),
  format: fc.oneof(
    record<AccessLogConfig['format']>({ kind: anyTag('defaultText', 'defaultJson') }),
    record<AccessLogConfig['format']>({ kind: tag('text'), template: str }),
    record<AccessLogConfig['format']>({
      kind: tag('json'),
      labels: fc.dictionary(name, str, { maxKeys: 3, noNullPrototype: true }),
    }),
  ),
  omitsEmpty: bool,
});
const spanTag: fc.Arbitrary<SpanTag> = fc.oneof(
  record<SpanTag>({ kind: tag('literal'), name: str, value: str }),
  record<SpanTag>({ kind: tag('header'), name: str, header: str, otherwise: str }),
  record<SpanTag>({ kind: tag('environment'), name: str, variable: str, otherwise: str }),
  record<SpanTag>({ kind: tag('formatter'), name: str, template: str }),
);
const telemetry = record<TelemetryConfig>({
  accessLogs: few(accessLog),
  tracing: maybe(
    record({
      provider: str,
      protocol: oneOf('otlpGrpc', 'otlpHttp', 'zipkin'),
      host: name,
      port,
      path: str,
      headers: pairs,
      timeoutMs: ms,
      samplingPercent: fc.double({ min: 0, max: 100, noNaN: true }).map((it) => it + 0 || 0),
      reportsSpans: bool,
      propagates: bool,
      istioTags: bool,
      requestIdDecides: bool,
      tags: few(spanTag),
    }),
  ),
  metrics: record({
    enabled: bool,
    overrides: few(
      record({
        metric: maybe(name),
        mode: oneOf('client', 'server', 'both'),
        disabled: maybe(bool),
        tags: few(record({ tag: name, value: maybe(str) })),
      }),
    ),
  }),
});
const provider = record<AuthorizationProviderConfig>({
  name,
  protocol: oneOf('http', 'grpc'),
  host: name,
  port,
  timeoutMs: ms,
  failOpen: bool,
  statusOnError: status,
  clearsRouteCache: bool,
  pathPrefix: str,
  requestHeaders: few(predicate),
  addedHeaders: pairs,
  toUpstreamOnAllow: few(predicate),
  toDownstreamOnAllow: few(predicate),
  toDownstreamOnDeny: few(predicate),
  body: maybe(record({ maxBytes: nat, allowsPartial: bool, asBytes: bool })),
});
const tls: fc.Arbitrary<ListenerTls> = fc.oneof(
  record<ListenerTls>({ mode: tag('passthrough') }),
  record<ListenerTls>({
    mode: tag('terminate'),
    certificates: few(str),
    client: maybe(record({ rootsPem: str, mode: oneOf('required', 'optional'), subjectAltNames: few(str) })),
    minVersion: oneOf('TLSv1.2', 'TLSv1.3'),
    maxVersion: oneOf('TLSv1.2', 'TLSv1.3'),
    cipherSuites: few(name),
  }),
);

export const someProxy = record<ProxyConfig>({
  role: oneOf('waypoint', 'gateway'),
  namespace: name,
  name,
  listeners: few(
    record({
      name,
      port,
      protocol: oneOf('HTTP', 'HTTPS', 'TLS', 'TCP'),
      hostname: name,
      tls: maybe(tls),
      redirectsToHttps: bool,
    }),
  ),
  security,
  filters: trafficFilters,
  telemetry,
  authorizationProviders: few(provider),
  trustDomain: name,
  trustDomainAliases: few(name),
  pathNormalization: oneOf('NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'),
  trustedProxies: nat,
  writesClientIdentity: bool,
  hboneIdleMs: ms,
  connectTimeoutMs: ms,
});

export const someCertificate = record<ProxyCertificate>({ chainPem: str, keyPem: str, rootsPem: str });

const hashKey: fc.Arbitrary<HashKey> = fc.oneof(
  record<HashKey>({ kind: anyTag('header', 'query'), name: str }),
  record<HashKey>({ kind: tag('cookie'), name: str, path: str, ttlMs: maybe(ms), attributes: pairs }),
  record<HashKey>({ kind: tag('sourceIp') }),
);
const balancer: fc.Arbitrary<LoadBalancer> = fc.oneof(
  record<LoadBalancer>({ kind: anyTag('roundRobin', 'leastRequest', 'random', 'passthrough') }),
  record<LoadBalancer>({ kind: tag('ringHash'), by: hashKey, minimumRingSize: nat }),
  record<LoadBalancer>({ kind: tag('maglev'), by: hashKey, tableSize: nat }),
);
const locality: fc.Arbitrary<LocalityPolicy> = fc.oneof(
  record<LocalityPolicy>({ kind: tag('prefer') }),
  record<LocalityPolicy>({
    kind: tag('distribute'),
    rules: few(record({ from: name, to: fc.dictionary(name, nat, { maxKeys: 3, noNullPrototype: true }) })),
  }),
  record<LocalityPolicy>({ kind: tag('failover'), rules: few(record({ from: name, to: name })) }),
  record<LocalityPolicy>({
    kind: tag('priority'),
    labels: few(record({ name: str, value: maybe(str), members: few(str) })),
  }),
);
const trafficPolicy = record<TrafficPolicy>({
  loadBalancer: balancer,
  locality: maybe(locality),
  slowStart: maybe(record({ durationMs: ms, minimumPercent: nat, aggression: nat })),
  pool: record({
    maxConnections: nat,
    connectTimeoutMs: ms,
    tcpKeepalive: maybe(record({ probes: nat, idleSeconds: nat, intervalSeconds: nat })),
    maxConnectionMs: maybe(ms),
    tcpIdleMs: ms,
    maxPendingRequests: nat,
    maxRequests: nat,
    maxRetries: nat,
    maxRequestsPerConnection: nat,
    idleMs: ms,
    http2: oneOf('byPort', 'always', 'never'),
    usesClientProtocol: bool,
    maxConcurrentStreams: nat,
    http2Keepalive: maybe(record({ intervalMs: ms, timeoutMs: ms })),
  }),
  outlier: maybe(
    record({
      consecutive5xx: nat,
      consecutiveGatewayErrors: nat,
      consecutiveLocalOriginFailures: nat,
      splitsLocalOrigin: bool,
      intervalMs: ms,
      baseEjectionMs: ms,
      maxEjectionPercent: nat,
      minHealthPercent: nat,
    }),
  ),
  tls: maybe(
    record({
      mode: oneOf('simple', 'mutual'),
      serverName: name,
      subjectAltNames: few(predicate),
      roots: fc.oneof(
        record({ kind: tag('pem'), pem: str }),
        record({ kind: oneOf('system', 'unverified') }),
        record({ kind: tag('unusable'), why: str }),
      ),
      certificate: maybe(str),
    }),
  ),
  proxyProtocol: maybe(oneOf('v1', 'v2')),
  retryBudget: maybe(record({ percent: nat, minRetries: nat })),
});
const portPolicies = fc.dictionary(port.map(String), trafficPolicy, { maxKeys: 2, noNullPrototype: true });

export const someServiceConfig = record<ServiceConfig>({
  key: str,
  hostname: name,
  ports: few(record({ port, name, protocol: oneOf('http', 'http2', 'grpc', 'grpcWeb', 'tls', 'tcp', 'unknown') })),
  resolution: oneOf('endpoints', 'dns', 'dnsRoundRobin', 'dynamicDns', 'none'),
  traffic: record({
    policy: trafficPolicy,
    ports: portPolicies,
    subsets: few(record({ name, members: few(str), policy: trafficPolicy, ports: portPolicies })),
  }),
  bound: maybe(record({ security, filters: trafficFilters, telemetry: maybe(telemetry) })),
  subjectAltNames: few(str),
});
