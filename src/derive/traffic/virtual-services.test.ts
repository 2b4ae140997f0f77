import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestField } from '../../model/facts.ts';
import { matchRoute } from '../../model/http/match-route.ts';
import { requestFacts } from '../../model/http/request.ts';
import type { HttpRouteRule } from '../../model/http/route.ts';
import { buildRouteTable } from '../../model/http/route-table.ts';
import type { Ip } from '../../model/ip.ts';
import type { RouteResource } from '../../model/proxy/route-resource.ts';
import { parseVirtualService } from '../objects/routing.ts';
import type { Json } from '../read.ts';
import {
  orderAtWaypoint,
  type RoutedService,
  type VirtualServiceWorld,
  virtualServiceAtListener,
  virtualServiceAtWaypoint,
} from './virtual-services.ts';

const virtualService = (spec: Json, name = 'orders', namespace = 'shop') =>
  parseVirtualService({ metadata: { name, namespace, creationTimestamp: '2026-01-01T00:00:00Z' }, spec });

const known = new Map([
  ['order.shop.svc.cluster.local', [80]],
  ['order-v2.shop.svc.cluster.local', [80]],
  ['two.shop.svc.cluster.local', [80, 9090]],
]);
const world: VirtualServiceWorld = {
  clusterDomain: 'cluster.local',
  services: {
    find: (hostname) => {
      const ports = known.get(hostname);
      return ports && { key: `shop/${hostname}`, ports };
    },
  },
  delegate: (key) => delegates.get(key),
  defaultExportTo: ['*'],
};
const delegates = new Map([
  [
    'shop/inner',
    virtualService(
      {
        http: [
          { match: [{ uri: { prefix: '/api/v2' } }], route: [{ destination: { host: 'order-v2' } }] },
          { route: [{ destination: { host: 'order' } }], timeout: '3s' },
        ],
      },
      'inner',
    ),
  ],
]);
const service: RoutedService = {
  key: 'shop/order.shop.svc.cluster.local',
  namespace: 'shop',
  hostname: 'order.shop.svc.cluster.local',
  ports: [80, 9090],
};

const translate = (spec: Json) => virtualServiceAtWaypoint(virtualService(spec), 0, service, 'shop', world);
const httpRules = (routes: readonly RouteResource[]): readonly HttpRouteRule[] =>
  routes.flatMap((route) => (route.kind === 'http' ? route.rules : []));
const rulesOf = (spec: Json): readonly HttpRouteRule[] => httpRules(translate(spec).routes);
const to = (host: string): Json => ({ route: [{ destination: { host } }] });

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly port?: number;
}

/** Name of the rule that takes a request. */
function taken(spec: Json, asked: Asked): string | undefined {
  const [resource] = translate(spec).routes;
  assert.equal(resource?.kind, 'http');
  const table = buildRouteTable([{ origin: resource.origin, hosts: ['*'], rules: resource.rules }]);
  const { method = 'GET', path = '/', query = '', headers = {}, port = 80 } = asked;
  const result = matchRoute(
    table,
    requestFacts({
      connection: {
        source: { ip: '10.0.0.1' as Ip, port: 1 },
        destination: { ip: '10.96.0.1' as Ip, port },
        identity: undefined,
      },
      method,
      scheme: 'http',
      authority: 'order',
      path,
      query,
      headers: {
        all: (key) => (headers[key] === undefined ? [] : [headers[key]]),
        joined: (key) => headers[key],
      },
      remoteIp: undefined,
      sni: undefined,
      token: undefined,
    }),
  );
  return result.kind === 'matched' ? result.entry.rule.name : undefined;
}

test('matches: each field, and what empty means', () => {
  const rule = (match: Json): Json => ({
    hosts: ['order'],
    http: [
      { name: 'yes', match: [match], ...to('order') },
      { name: 'no', ...to('order') },
    ],
  });
  const cases: readonly (readonly [string, Json, Asked, 'yes' | 'no'])[] = [
    ['a prefix is text, not segments', { uri: { prefix: '/foo' } }, { path: '/foobar' }, 'yes'],
    ['exact', { uri: { exact: '/foo' } }, { path: '/foo/' }, 'no'],
    ['regex, the whole path', { uri: { regex: '/v[0-9]+' } }, { path: '/v12' }, 'yes'],
    ['regex, no part', { uri: { regex: '/v[0-9]+' } }, { path: '/v12/x' }, 'no'],
    ['without case', { uri: { prefix: '/FOO' }, ignoreUriCase: true }, { path: '/fOo/x' }, 'yes'],
    ['method', { method: { exact: 'POST' } }, {}, 'no'],
    ['header', { headers: { 'X-Tier': { exact: 'gold' } } }, { headers: { 'x-tier': 'gold' } }, 'yes'],
    ['header present', { headers: { 'x-tier': {} } }, { headers: { 'x-tier': '' } }, 'yes'],
    ['header present by regex *', { headers: { 'x-tier': { regex: '*' } } }, {}, 'no'],
    ['without header', { withoutHeaders: { 'x-tier': {} } }, { headers: { 'x-tier': 'a' } }, 'no'],
    ['without header, absent', { withoutHeaders: { 'x-tier': { exact: 'a' } } }, {}, 'yes'],
    ['query', { queryParams: { v: { exact: '2' } } }, { query: '?a=1&v=2' }, 'yes'],
    ['query present', { queryParams: { v: {} } }, { query: '?v' }, 'yes'],
    ['port', { port: 9090 }, { port: 80 }, 'no'],
    ['two fields are both asked', { method: { exact: 'GET' }, uri: { exact: '/x' } }, { path: '/' }, 'no'],
    ['sourceLabels never hold at a waypoint', { sourceLabels: { app: 'a' } }, {}, 'no'],
    ['sourceNamespace is the waypoint’s', { sourceNamespace: 'shop' }, {}, 'yes'],
    ['another sourceNamespace', { sourceNamespace: 'other' }, {}, 'no'],
    ['for a gateway only', { gateways: ['shop/edge'] }, {}, 'no'],
  ];
  for (const [name, match, asked, expected] of cases) assert.equal(taken(rule(match), asked), expected, name);
});

test('claims are asked by their path', () => {
  const field = (header: string): RequestField | undefined =>
    rulesOf({ hosts: ['order'], http: [{ match: [{ headers: { [header]: { exact: 'a' } } }], ...to('order') }] })[0]
      ?.anyMatch[0]?.[0]?.field;
  assert.equal(field('@request.auth.claims.group'), 'request.claim:[group]');
  assert.equal(field('@request.auth.claims[realm][roles]'), 'request.claim:[realm][roles]');
});

test('destinations: short names, ports, subsets, weights', () => {
  const [rule] = rulesOf({
    hosts: ['order'],
    http: [
      {
        route: [
          { destination: { host: 'order', subset: 'v1' }, weight: 90 },
          { destination: { host: 'order-v2.shop.svc.cluster.local', port: { number: 80 } }, weight: 10 },
          { destination: { host: 'nowhere' }, weight: 0 },
        ],
      },
    ],
  });
  assert.equal(rule?.action.kind, 'forward');
  assert.deepEqual(
    rule.action.backends.map(({ target, weight }) => [
      target.kind === 'service' ? `${target.service}:${target.port}/${target.subset ?? ''}` : target.status,
      weight,
    ]),
    [
      ['shop/order.shop.svc.cluster.local:80/v1', 90],
      ['shop/order-v2.shop.svc.cluster.local:80/', 10],
      [503, 0],
    ],
  );
});

test('a destination with several ports that names none goes to the port that was asked for', () => {
  const rules = rulesOf({ hosts: ['order'], http: [{ ...to('two') }] });
  assert.deepEqual(
    rules.map(({ action, anyMatch }) => [
      action.kind === 'forward' && action.backends[0]?.target.kind === 'service' && action.backends[0].target.port,
      anyMatch[0]?.at(-1)?.predicate,
    ]),
    [
      [80, { kind: 'port', port: 80 }],
      [9090, { kind: 'port', port: 9090 }],
    ],
  );
});

test('rewrites follow what their match took, and rules stay in order', () => {
  const rules = rulesOf({
    hosts: ['order'],
    http: [
      {
        match: [{ uri: { prefix: '/a' } }, { uri: { exact: '/b' } }, { uri: { prefix: '/a' } }],
        rewrite: { uri: '/z', authority: 'inner' },
        ...to('order'),
      },
    ],
  });
  assert.deepEqual(
    rules.map(({ filters }) => filters.find(({ kind }) => kind === 'rewrite')),
    [
      { kind: 'rewrite', host: 'inner', path: { kind: 'prefix', prefix: '/a', replacement: '/z', by: 'characters' } },
      { kind: 'rewrite', host: 'inner', path: { kind: 'full', path: '/z' } },
      { kind: 'rewrite', host: 'inner', path: { kind: 'prefix', prefix: '/a', replacement: '/z', by: 'characters' } },
    ],
  );
});

test('redirect, direct response, faults, mirrors, CORS, timeouts and retries', () => {
  const [redirect, direct, full] = rulesOf({
    hosts: ['order'],
    http: [
      { match: [{ uri: { exact: '/r' } }], redirect: { scheme: 'https', authority: 'new', redirectCode: 308 } },
      { match: [{ uri: { exact: '/d' } }], directResponse: { status: 418, body: { string: 'tea' } } },
      {
        ...to('order'),
        timeout: '1.5s',
        retries: { attempts: 3, perTryTimeout: '500ms', retryOn: '5xx,503, reset', backoff: '10ms' },
        fault: {
          delay: { fixedDelay: '2s', percentage: { value: 0.5 } },
          abort: { grpcStatus: 'UNAVAILABLE', percentage: { value: 100 } },
        },
        mirror: { host: 'order-v2' },
        mirrors: [{ destination: { host: 'order-v2' }, percentage: { value: 0 } }],
        corsPolicy: { allowOrigins: [{ exact: '*' }], allowMethods: ['GET'], maxAge: '24h' },
        headers: { request: { set: { 'X-A': '1', Host: 'inner' }, remove: ['X-B'] }, response: { add: { c: 'd' } } },
      },
    ],
  });
  assert.deepEqual(redirect?.action, {
    kind: 'redirect',
    status: 308,
    scheme: 'https',
    host: 'new',
    port: 'ofScheme',
    path: undefined,
  });
  assert.deepEqual(direct?.action, { kind: 'direct', status: 418, body: 'tea' });
  assert.deepEqual(full?.timeouts, { requestMs: 1500, perTryMs: 500 });
  assert.deepEqual(full.retry, {
    attempts: 3,
    on: ['5xx', 'reset', 'retriable-status-codes'],
    statuses: [503],
    backoffMs: 10,
    remoteLocalities: false,
    ignorePreviousHosts: true,
  });
  assert.deepEqual(
    full.filters.map((filter) => [filter.kind, 'share' in filter ? filter.share.numerator : undefined]),
    [
      ['cors', undefined],
      ['delay', 5_000],
      ['abort', 1_000_000],
      ['requestHeaders', undefined],
      ['responseHeaders', undefined],
      ['mirror', 1_000_000],
      ['rewrite', undefined],
    ],
  );
  assert.deepEqual(full.filters.at(-1), { kind: 'rewrite', host: 'inner', path: undefined });
});

test('what cannot be read takes its requests all the same, and is told', () => {
  const { routes, problems } = translate({
    hosts: ['order'],
    http: [
      { match: [{ uri: { regex: '(' } }], ...to('order') },
      { retries: { attempts: 1, retryOn: 'sometimes' }, ...to('order') },
      { ...to('order') },
    ],
  });
  const rules = httpRules(routes);
  assert.equal(rules.length, 2, 'a rule whose only match is unreadable has nothing to take');
  assert.equal(rules[0]?.action.kind === 'forward' && rules[0].action.backends[0]?.target.kind, 'invalid');
  assert.match(problems.join('\n'), /http\[0\]\.match\[0\]\.uri/);
  assert.match(problems.join('\n'), /http\[1\]: retries\.retryOn: `sometimes`/);
});

test('delegates: matches of both, what they leave out is inherited, one level', () => {
  const rules = rulesOf({
    hosts: ['order'],
    http: [
      { match: [{ uri: { prefix: '/api' } }], delegate: { name: 'inner' }, timeout: '9s' },
      { match: [{ uri: { prefix: '/lost' } }], delegate: { name: 'nowhere' } },
    ],
  });
  assert.deepEqual(
    rules.map(({ anyMatch, timeouts }) => [anyMatch[0]?.length, timeouts.requestMs]),
    [
      [2, 9000],
      [1, 3000],
      [1, undefined],
    ],
  );
});

test('tcp and tls rules', () => {
  const { routes } = translate({
    hosts: ['order'],
    tcp: [
      { match: [{ port: 9090, destinationSubnets: ['10.0.0.0/8'] }], ...to('order') },
      { match: [{ gateways: ['shop/edge'] }], ...to('order-v2') },
    ],
    tls: [{ match: [{ sniHosts: ['Order.shop.svc.cluster.local'] }], ...to('order') }],
  });
  const [tls, tcp] = routes;
  assert.equal(tls?.kind, 'tls');
  assert.deepEqual(tls.rules[0]?.serverNames, ['order.shop.svc.cluster.local']);
  assert.equal(tcp?.kind, 'tcp');
  assert.equal(tcp.rules.length, 1);
  assert.equal(tcp.rules[0]?.anyMatch[0]?.port, 9090);
});

test('which objects count at a waypoint, and their order', () => {
  const order = (spec: Json, namespace = 'shop'): number | undefined =>
    orderAtWaypoint(
      virtualService({ hosts: ['order.shop.svc.cluster.local'], ...spec }, 'v', namespace),
      service,
      'shop',
      world,
    );
  assert.equal(order({}), 3);
  assert.equal(order({ exportTo: ['.'] }), 0);
  assert.equal(order({ exportTo: ['shop', 'other'] }), 1);
  assert.equal(order({ exportTo: ['other'] }), undefined);
  assert.equal(order({ gateways: ['shop/edge'] }), undefined);
  assert.equal(order({ gateways: ['shop/edge', 'mesh'] }), 3);
  assert.equal(order({}, 'other'), undefined, 'a consumer’s object in a third namespace has no effect');
  assert.equal(order({ hosts: ['*.shop.svc.cluster.local'] }), 3);
  assert.equal(order({ hosts: ['product'] }), undefined);
});

test('at a gateway the mesh’s rules do not count', () => {
  const object = virtualService({ hosts: ['shop.example'], gateways: ['shop/edge'], http: [{ ...to('order') }] });
  const listener = { name: 'http', port: 80 };
  const { routes } = virtualServiceAtListener(object, 'shop/edge', listener, ['shop.example'], world);
  assert.deepEqual(routes[0]?.attachments, [{ kind: 'listener', listener: 'http', hosts: ['shop.example'] }]);
  assert.equal(virtualServiceAtListener(object, 'shop/other', listener, ['shop.example'], world).routes.length, 0);
});
