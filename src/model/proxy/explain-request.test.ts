import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpRequest } from '../http/request.ts';
import type { HttpRouteRule } from '../http/route.ts';
import type { Ip } from '../ip.ts';
import { explainRequest, type ProxyKnowledge } from './explain-request.ts';
import { NO_FILTERS } from './filters.ts';
import type { HttpRouteResource } from './route-resource.ts';
import { DEFAULT_TRAFFIC_POLICY } from './service-config.ts';
import { DEFAULT_TELEMETRY } from './telemetry-config.ts';

const KEY = 'shop/order.shop.svc.cluster.local';
const request = (over: Partial<HttpRequest> = {}): HttpRequest => ({
  connection: {
    source: { ip: '10.0.0.1' as Ip, port: 0 },
    destination: { ip: '10.96.0.1' as Ip, port: 80 },
    identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'shopper' },
  },
  method: 'GET',
  scheme: 'http',
  authority: 'order',
  path: '/orders/1',
  query: '',
  headers: { all: () => [], joined: () => undefined },
  remoteIp: undefined,
  sni: undefined,
  token: undefined,
  ...over,
});

const rule = (path: string, over: Partial<HttpRouteRule> = {}): HttpRouteRule => ({
  name: '',
  anyMatch: [[{ field: 'request.path', predicate: { kind: 'pathPrefix', value: path }, negated: false }]],
  filters: [],
  action: {
    kind: 'forward',
    backends: [{ target: { kind: 'service', service: KEY, port: 80, subset: undefined }, weight: 1, filters: [] }],
  },
  timeouts: { requestMs: undefined, perTryMs: undefined },
  retry: undefined,
  ...over,
});

const route = (rules: readonly HttpRouteRule[], over: Partial<HttpRouteResource> = {}): HttpRouteResource => ({
  kind: 'http',
  origin: { kind: 'HTTPRoute', namespace: 'shop', name: 'orders', createdAtMs: 0 },
  attachments: [{ kind: 'service', service: KEY, port: undefined }],
  order: 0,
  rules,
  ...over,
});

const knowledge = (routes: readonly HttpRouteResource[], paths: readonly string[] = []): ProxyKnowledge => ({
  proxy: {
    role: 'waypoint',
    namespace: 'shop',
    name: 'waypoint',
    listeners: [],
    security: { policies: [], tokens: [] },
    filters: NO_FILTERS,
    telemetry: DEFAULT_TELEMETRY,
    authorizationProviders: [],
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    pathNormalization: 'BASE',
    trustedProxies: 0,
    writesClientIdentity: false,
    hboneIdleMs: 1,
    connectTimeoutMs: 1,
  },
  routes,
  services: [
    {
      key: KEY,
      hostname: 'order.shop.svc.cluster.local',
      ports: [],
      resolution: 'endpoints',
      traffic: { policy: DEFAULT_TRAFFIC_POLICY, ports: {}, subsets: [] },
      subjectAltNames: [],
      bound: {
        filters: NO_FILTERS,
        telemetry: undefined,
        security: {
          tokens: [],
          policies:
            paths.length === 0
              ? []
              : [
                  {
                    key: 'shop/readers',
                    action: { kind: 'allow' },
                    dryRun: false,
                    anyRule: [
                      {
                        from: [],
                        to: [
                          [
                            {
                              list: 'paths',
                              negated: false,
                              anyOf: paths.map((value) => ({
                                field: 'request.path',
                                predicate: { kind: 'exact', value },
                              })),
                            },
                          ],
                        ],
                        when: [],
                      },
                    ],
                  },
                ],
        },
      },
    },
  ],
});

const place = { kind: 'service', service: KEY, port: 80 } as const;

test('without policy and route it goes to the service', () => {
  const { outcome, words } = explainRequest(knowledge([]), place, request());
  assert.deepEqual(outcome, { kind: 'forwarded' });
  assert.match(words.join('\n'), /no policy on requests applies\nno route acts on shop\/order/);
});

test('a refusal names who, the policy, its rule and what it wants', () => {
  const { outcome, words } = explainRequest(knowledge([], ['/public']), place, request());
  assert.deepEqual(outcome, { kind: 'answered', status: 403 });
  assert.match(words[1] ?? '', /^refused for cluster\.local\/ns\/shop\/sa\/shopper with 403: allow policies exist/);
  assert.equal(words[2], 'rule 1 of shop/readers wants paths: `/public`');
});

test('the route that takes it is named with its rule and backend', () => {
  const { outcome, words } = explainRequest(knowledge([route([rule('/carts'), rule('/orders')])]), place, request());
  assert.deepEqual(outcome, { kind: 'forwarded' });
  assert.match(
    words.join('\n'),
    /HTTPRoute shop\/orders, rule 2, match 1 takes it\ngoes to shop\/order\.shop\.svc\.cluster\.local:80$/,
  );
});

test('a request that nothing matches is 404, and each match says what it wants', () => {
  const { outcome, words } = explainRequest(knowledge([route([rule('/carts')])]), place, request());
  assert.deepEqual(outcome, { kind: 'answered', status: 404 });
  assert.match(words.join('\n'), /rule 1, match 1 wants request\.path `\/carts` and below/);
});

test('redirects, direct answers, faults and backends that lead nowhere answer themselves', () => {
  const status = (over: Partial<HttpRouteRule>): unknown =>
    explainRequest(knowledge([route([rule('/orders', over)])]), place, request()).outcome;
  const invalid = { kind: 'invalid', status: 500, reason: 'BackendNotFound', detail: 'gone' } as const;
  assert.deepEqual(status({ action: { kind: 'direct', status: 418, body: '' } }), { kind: 'answered', status: 418 });
  assert.deepEqual(status({ action: { kind: 'forward', backends: [{ target: invalid, weight: 1, filters: [] }] } }), {
    kind: 'answered',
    status: 500,
  });
  assert.deepEqual(status({ action: { kind: 'forward', backends: [{ target: invalid, weight: 0, filters: [] }] } }), {
    kind: 'answered',
    status: 500,
  });
  assert.deepEqual(
    status({ filters: [{ kind: 'abort', with: { httpStatus: 555 }, share: { numerator: 1, denominator: 1 } }] }),
    { kind: 'answered', status: 555 },
  );
});

test('at a listener only its routes and hosts count', () => {
  const attached = route([rule('/orders')], {
    attachments: [{ kind: 'listener', listener: 'http', hosts: ['shop.example'] }],
  });
  const at = (listener: string, authority: string): unknown =>
    explainRequest(knowledge([attached]), { kind: 'listener', listener }, request({ authority })).outcome;
  assert.deepEqual(at('http', 'shop.example'), { kind: 'forwarded' });
  assert.deepEqual(at('http', 'else.example'), { kind: 'answered', status: 404 });
  assert.deepEqual(at('https', 'shop.example'), { kind: 'answered', status: 404 });
});
