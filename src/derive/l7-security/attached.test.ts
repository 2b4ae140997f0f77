// What of all objects is for a proxy, and for a service at its waypoint: tokens, telemetry, filters.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_FILTERS } from '../../model/proxy/filters.ts';
import { parseMeshL7 } from '../objects/mesh-l7.ts';
import { parseRequestAuthentication } from '../objects/request-authentication.ts';
import { parseAuthorizationPolicy } from '../objects/security.ts';
import { parseTelemetry } from '../objects/telemetry.ts';
import { parseEnvoyFilter, parseTrafficFilter } from '../objects/traffic-filter.ts';
import type { Json } from '../read.ts';
import { type AttachmentWorld, filtersFor, securityFor, type Target, telemetryFor } from './derive.ts';
import { readEnvoyFilter } from './envoy-patches.ts';
import { readTrafficFilter } from './traffic-filter.ts';

const meta = (name: string, namespace = 'shop', at = 0): Json => ({
  name,
  namespace,
  creationTimestamp: new Date(at * 1000).toISOString(),
});
const object = (name: string, spec: Json, namespace?: string, at?: number): Json => ({
  metadata: meta(name, namespace, at),
  spec,
});

const waypoint: Target = {
  of: 'proxy',
  gateway: { kind: 'waypoint', namespace: 'shop', name: 'wp', className: 'istio-waypoint', podLabels: { app: 'wp' } },
};
const edge: Target = {
  of: 'proxy',
  gateway: { kind: 'gateway', namespace: 'shop', name: 'edge', className: 'istio', podLabels: { app: 'edge' } },
};
const order: Target = {
  of: 'service',
  gateway: waypoint.gateway,
  service: { kind: 'Service', namespace: 'shop', name: 'order' },
};

const world = (over: Partial<AttachmentWorld['objects']>, mesh: Json = {}): AttachmentWorld => ({
  objects: {
    authorizationPolicies: [],
    requestAuthentications: [],
    telemetries: [],
    envoyFilters: [],
    trafficFilters: [],
    ...over,
  },
  mesh: parseMeshL7(mesh),
  rootNamespace: 'istio-system',
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
  fetchedKeys: (name) => (name === 'jwks https://keys.example/jwks' ? { kind: 'set', json: '{"keys":[]}' } : undefined),
});

test('attachment: waypoints by target alone, gateways also by selector', () => {
  const ref = (kind: string, name: string): Json => ({ targetRefs: [{ kind, name }] });
  const policies = [
    object('to-waypoint', ref('Gateway', 'wp')),
    object('to-edge', ref('Gateway', 'edge')),
    object('to-order', ref('Service', 'order')),
    object('to-class', ref('GatewayClass', 'istio-waypoint'), 'istio-system'),
    object('class-elsewhere', ref('GatewayClass', 'istio-waypoint')),
    object('other-namespace', { targetRefs: [{ kind: 'Service', name: 'order', namespace: 'shop' }] }, 'other'),
    object('selected', { selector: { matchLabels: { app: 'edge' } } }),
    object('selects-waypoint', { selector: { matchLabels: { app: 'wp' } } }),
    object('namespace-wide', {}),
    object('mesh-wide', {}, 'istio-system'),
    object('elsewhere', {}, 'other'),
  ].map(parseAuthorizationPolicy);
  const names = (target: Target): string =>
    securityFor(target, world({ authorizationPolicies: policies }))
      .policies.map(({ key }) => key.slice(key.indexOf('/') + 1))
      .join(' ');
  assert.equal(names(waypoint), 'to-waypoint to-class');
  assert.equal(names(edge), 'to-edge selected namespace-wide mesh-wide');
  assert.equal(names(order), 'to-order');
});

test('token rules: places, inline and fetched keys', () => {
  const source = parseRequestAuthentication(
    object('jwt', {
      targetRefs: [{ kind: 'Gateway', name: 'edge' }],
      jwtRules: [
        { issuer: 'a', jwks: '{"keys":[]}' },
        { issuer: 'b', jwks: 'not json' },
        {
          issuer: 'c',
          jwksUri: 'https://keys.example/jwks',
          fromHeaders: [{ name: 'X-Token', prefix: 'Token ' }],
          fromCookies: ['session'],
          outputClaimToHeaders: [
            { header: 'X-Sub', claim: 'sub' },
            { header: 'bad header', claim: 'sub' },
          ],
          forwardOriginalToken: true,
        },
        { issuer: 'https://issuer.example' },
      ],
    }),
  );
  const { tokens } = securityFor(edge, world({ requestAuthentications: [source] }));
  assert.deepEqual(
    tokens.map(({ keys }) => keys.kind),
    ['set', 'missing', 'set', 'missing'],
  );
  assert.deepEqual(tokens[0]?.from, [
    { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
    { kind: 'query', name: 'access_token' },
  ]);
  assert.deepEqual(tokens[2]?.from, [
    { kind: 'header', name: 'x-token', prefix: 'Token ' },
    { kind: 'cookie', name: 'session' },
  ]);
  assert.deepEqual(tokens[2]?.claimsToHeaders, [{ header: 'x-sub', claim: 'sub' }]);
  assert.equal(tokens[2]?.forward, true);
});

const MESH: Json = {
  extensionProviders: [
    { name: 'otel', opentelemetry: { service: 'obs/collector.obs.svc.cluster.local', port: 4317 } },
    {
      name: 'otel-http',
      opentelemetry: { service: 'collector.obs.svc.cluster.local', port: 4318, http: { path: '/t', timeout: '2s' } },
    },
    { name: 'json', envoyFileAccessLog: { path: '/dev/stdout', logFormat: { labels: { m: '%REQ(:METHOD)%' } } } },
    {
      name: 'authorizer',
      envoyExtAuthzHttp: { service: 'authz.shop.svc.cluster.local', port: 8000, includeRequestHeadersInCheck: ['X-*'] },
    },
  ],
};

test('telemetry: the mesh, then namespaces, then targets', () => {
  const telemetry = (name: string, spec: Json, namespace?: string, at?: number) =>
    parseTelemetry(object(name, spec, namespace, at));
  const all = [
    telemetry('root', { tracing: [{ providers: [{ name: 'otel' }], randomSamplingPercentage: 10 }] }, 'istio-system'),
    telemetry('younger', { accessLogging: [{ disabled: true }] }, 'shop', 9),
    telemetry('older', {
      accessLogging: [{ providers: [{ name: 'json' }], filter: { expression: 'response.code >= 400' } }],
    }),
    telemetry('target', {
      targetRefs: [{ kind: 'Service', name: 'order' }],
      tracing: [{ randomSamplingPercentage: 100, customTags: { a: { literal: { value: 'b' } } } }],
      metrics: [
        {
          overrides: [
            {
              match: { metric: 'REQUEST_COUNT', mode: 'SERVER' },
              tagOverrides: { request_host: { value: 'request.host' } },
            },
            { match: { metric: 'ALL_METRICS' }, tagOverrides: { source_cluster: { operation: 'REMOVE' } } },
          ],
        },
      ],
    }),
  ];
  const proxy = telemetryFor(waypoint, world({ telemetries: all }, MESH));
  assert.deepEqual(
    proxy?.accessLogs.map(({ provider, filter, format }) => [provider, filter, format.kind]),
    [['json', 'response.code >= 400', 'json']],
  );
  assert.deepEqual(
    [proxy.tracing?.protocol, proxy.tracing?.host, proxy.tracing?.port, proxy.tracing?.samplingPercent],
    ['otlpGrpc', 'collector.obs.svc.cluster.local', 4317, 10],
  );
  const service = telemetryFor(order, world({ telemetries: all }, MESH));
  assert.equal(service?.tracing?.samplingPercent, 100);
  assert.deepEqual(service.tracing.tags, [{ kind: 'literal', name: 'a', value: 'b' }]);
  assert.deepEqual(service.metrics.overrides, [
    {
      metric: 'istio_requests_total',
      mode: 'server',
      disabled: undefined,
      tags: [{ tag: 'request_host', value: 'request.host' }],
    },
    { metric: undefined, mode: 'both', disabled: undefined, tags: [{ tag: 'source_cluster', value: undefined }] },
  ]);
  const store: Target = { ...order, service: { kind: 'Service', namespace: 'shop', name: 'store' } };
  assert.equal(telemetryFor(store, world({ telemetries: all }, MESH)), undefined);
});

test('the mesh’s own access log', () => {
  const logs = (mesh: Json, telemetries: readonly Json[] = []) =>
    telemetryFor(waypoint, world({ telemetries: telemetries.map(parseTelemetry) }, mesh))?.accessLogs.map(
      ({ format, filter }) => [format.kind, filter],
    );
  assert.deepEqual(logs({}), []);
  assert.deepEqual(logs({ accessLogFile: '/dev/stdout' }), [['defaultText', undefined]]);
  assert.deepEqual(logs({ accessLogFile: '/dev/stdout', accessLogEncoding: 'JSON' }), [['defaultJson', undefined]]);
  assert.deepEqual(logs({ accessLogFile: '/dev/stdout', accessLogFormat: '%PROTOCOL%' }), [['text', undefined]]);
  assert.deepEqual(logs({ accessLogFile: '/dev/stdout' }, [object('t', { accessLogging: [{ disabled: true }] })]), []);
  assert.deepEqual(logs({}, [object('t', { accessLogging: [{ providers: [{ name: 'envoy' }] }] })]), [
    ['defaultText', undefined],
  ]);
});

test('authorizers of the mesh configuration', () => {
  const [authorizer] = parseMeshL7(MESH).authorizationProviders;
  assert.deepEqual(
    [authorizer?.host, authorizer?.port, authorizer?.timeoutMs, authorizer?.failOpen, authorizer?.statusOnError],
    ['authz.shop.svc.cluster.local', 8000, 600_000, false, 403],
  );
  assert.deepEqual(authorizer?.requestHeaders, [{ kind: 'prefix', value: 'x-' }]);
});

const patch = (applyTo: string, operation: string, value: Json, match: Json = { context: 'GATEWAY' }): Json => ({
  applyTo,
  match,
  patch: { operation, value },
});
const ALL: Json = { default_value: { numerator: 100, denominator: 'HUNDRED' } };
const rateLimit = (over: Json = {}): Json => ({
  name: 'envoy.filters.http.local_ratelimit',
  typed_config: {
    '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct',
    type_url: 'type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit',
    value: {
      stat_prefix: 'limit',
      token_bucket: { max_tokens: 100, tokens_per_fill: 10, fill_interval: '60s' },
      filter_enabled: ALL,
      filter_enforced: ALL,
      response_headers_to_add: [{ append: false, header: { key: 'x-limited', value: 'true' } }],
      ...over,
    },
  },
});
const envoyFilter = (...configPatches: readonly Json[]) =>
  parseEnvoyFilter(object('f', { workloadSelector: { labels: { app: 'edge' } }, configPatches }));

test('EnvoyFilter: a local rate limit', () => {
  const { filters, unsupported } = readEnvoyFilter(
    envoyFilter(patch('HTTP_FILTER', 'INSERT_BEFORE', rateLimit())),
    'gateway',
  );
  assert.deepEqual(unsupported, []);
  assert.deepEqual(filters.localRateLimits, [
    {
      origin: 'EnvoyFilter/shop/f',
      maxTokens: 100,
      tokensPerFill: 10,
      fillIntervalMs: 60_000,
      status: 429,
      headers: [{ name: 'x-limited', value: 'true' }],
      only: [],
    },
  ]);
  const world1 = world({ envoyFilters: [envoyFilter(patch('HTTP_FILTER', 'INSERT_FIRST', rateLimit()))] });
  assert.equal(filtersFor(edge, world1).localRateLimits.length, 1);
  assert.deepEqual(filtersFor(waypoint, world1), NO_FILTERS);
});

test('EnvoyFilter: headers of responses and of answers that refuse', () => {
  const lua = (code: string): Json =>
    patch('HTTP_FILTER', 'INSERT_BEFORE', {
      name: 'envoy.filters.http.lua',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua', inlineCode: code },
    });
  const { filters, unsupported } = readEnvoyFilter(
    envoyFilter(
      patch('VIRTUAL_HOST', 'MERGE', {
        response_headers_to_add: [{ header: { key: 'x-frame-options', value: 'DENY' } }],
        response_headers_to_remove: ['Server'],
      }),
      patch('NETWORK_FILTER', 'MERGE', {
        typed_config: {
          '@type': 'x',
          local_reply_config: {
            mappers: [
              {
                filter: { status_code_filter: { comparison: { op: 'EQ', value: { default_value: 401 } } } },
                headers_to_add: [{ append: false, header: { key: 'x-auth', value: 'no' } }],
              },
            ],
          },
        },
      }),
      lua(`function envoy_on_response(handle) -- only refusals
        if handle:headers():get(":status") == "401" or handle:headers():get(":status") == "403" then
          handle:headers():add("x-denied", "true")
          handle:headers():remove("x-internal")
        end
      end`),
    ),
    'gateway',
  );
  assert.deepEqual(unsupported, []);
  assert.deepEqual(filters.headers, [
    { kind: 'responseHeaders', set: [], add: [{ name: 'x-frame-options', value: 'DENY' }], remove: ['server'] },
  ]);
  assert.deepEqual(filters.authenticationResponses, [
    { kind: 'responseHeaders', set: [{ name: 'x-auth', value: 'no' }], add: [], remove: [] },
    { kind: 'responseHeaders', set: [], add: [{ name: 'x-denied', value: 'true' }], remove: ['x-internal'] },
  ]);
});

test('EnvoyFilter: everything else is named with its reason', () => {
  const strange: readonly Json[] = [
    patch('CLUSTER', 'MERGE', {}),
    patch('HTTP_FILTER', 'INSERT_BEFORE', rateLimit({ filter_enforced: {} })),
    patch('HTTP_FILTER', 'INSERT_BEFORE', rateLimit({ descriptors: [{}] })),
    patch('HTTP_FILTER', 'INSERT_BEFORE', { name: 'envoy.filters.http.gzip', typed_config: {} }),
    patch('HTTP_FILTER', 'INSERT_BEFORE', rateLimit(), { context: 'SIDECAR_INBOUND' }),
    patch('VIRTUAL_HOST', 'MERGE', { rate_limits: [] }),
    patch('HTTP_FILTER', 'INSERT_BEFORE', {
      typed_config: {
        '@type': 'a/envoy.extensions.filters.http.lua.v3.Lua',
        inlineCode: 'function envoy_on_response(h) os.execute("x") end',
      },
    }),
  ];
  for (const one of strange) {
    const { filters, unsupported } = readEnvoyFilter(envoyFilter(one), 'gateway');
    assert.deepEqual(filters, NO_FILTERS, JSON.stringify(one));
    assert.match(unsupported[0] ?? '', /^configPatches\[0\]: ./);
  }
});

test('TrafficFilter: rate limits and headers; a mistake puts nothing into force', () => {
  const filter = (spec: Json) =>
    parseTrafficFilter(object('t', { targetRefs: [{ kind: 'Service', name: 'order' }], ...spec }));
  const good = filter({
    localRateLimits: [
      { maxTokens: 5, fillInterval: '1s', match: [{ header: 'X-User', exact: 'a' }, { path: { prefix: '/api' } }] },
    ],
    globalRateLimit: {
      domain: 'shop',
      service: 'limits',
      port: 8081,
      descriptors: [{ entries: [{ key: 'user', header: 'X-User' }, { remoteAddress: true }] }],
    },
    responseHeaders: { set: [{ name: 'x-a', value: 'b' }] },
  });
  const read = readTrafficFilter(good, 'cluster.local');
  assert.ok(read.ok);
  assert.deepEqual(read.value.localRateLimits[0]?.only, [
    { field: 'request.header:x-user', predicate: { kind: 'exact', value: 'a' } },
    { field: 'request.path', predicate: { kind: 'prefix', value: '/api' } },
  ]);
  assert.equal(read.value.globalRateLimit?.host, 'limits.shop.svc.cluster.local');
  assert.equal(filtersFor(order, world({ trafficFilters: [good] })).localRateLimits.length, 1);
  const wrong = filter({ localRateLimits: [{ maxTokens: 5 }], responseHeaders: { remove: ['a'] } });
  assert.deepEqual(filtersFor(order, world({ trafficFilters: [wrong] })), NO_FILTERS);
  const why = readTrafficFilter(wrong, 'cluster.local');
  assert.match(why.ok ? '' : why.error, /^localRateLimits\[0\]\.fillInterval: /);
});
