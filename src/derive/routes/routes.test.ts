// Routes of the Gateway API against whole small clusters: who takes them, what their statuses say, what proxies are told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteAttachment } from '../../model/proxy/route-resource.ts';
import type { Json } from '../read.ts';
import { ambientOf } from '../testing.ts';
import {
  BOUND,
  conditionsOf,
  gateway,
  httpRoute,
  listener,
  messagesOf,
  namespace,
  route,
  routesOf,
  rulesOf,
  service,
  TO_ORDER,
  waypoint,
} from './testing.ts';

const OK = ['Accepted=True Accepted', 'ResolvedRefs=True ResolvedRefs'];
const refused = (reason: string): readonly string[] => [`Accepted=False ${reason}`, 'ResolvedRefs=True ResolvedRefs'];

const attachments: {
  name: string;
  listeners: readonly Json[];
  spec?: Json;
  kind?: string;
  metadata?: Json;
  others?: readonly Json[];
  status: readonly string[];
  at?: Readonly<Record<string, readonly string[]>>;
}[] = [
  { name: 'no host name anywhere', listeners: [listener('a')], status: OK, at: { a: ['*'] } },
  {
    name: "the listener's, where the route says none",
    listeners: [listener('a', { hostname: 'A.example.com' })],
    status: OK,
    at: { a: ['a.example.com'] },
  },
  {
    name: 'a wildcard of the listener spans several labels',
    listeners: [listener('a', { hostname: '*.example.com' })],
    spec: { hostnames: ['a.example.com', 'b.c.example.com', 'example.com', 'other.org'] },
    status: OK,
    at: { a: ['a.example.com', 'b.c.example.com'] },
  },
  {
    name: 'a wildcard of the route narrows to the listener',
    listeners: [listener('a', { hostname: 'a.example.com' })],
    spec: { hostnames: ['*.example.com'] },
    status: OK,
    at: { a: ['a.example.com'] },
  },
  {
    name: 'a suffix that is no label boundary is no match',
    listeners: [listener('a', { hostname: '*.example.com' })],
    spec: { hostnames: ['badexample.com'] },
    status: refused('NoMatchingListenerHostname'),
  },
  {
    name: 'every listener that fits',
    listeners: [listener('a', { hostname: 'a.org' }), listener('b', { hostname: 'b.org' })],
    status: OK,
    at: { a: ['a.org'], b: ['b.org'] },
  },
  {
    name: 'a more specific listener takes a name from a wider one',
    listeners: [listener('a'), listener('b', { hostname: '*.b.org' }), listener('c', { hostname: 'x.b.org' })],
    spec: { hostnames: ['x.b.org', 'y.b.org', 'z.org'] },
    status: OK,
    at: { a: ['z.org'], b: ['y.b.org'], c: ['x.b.org'] },
  },
  {
    name: 'not from a listener of another port',
    listeners: [listener('a'), listener('b', { hostname: 'x.org', port: 81 })],
    spec: { hostnames: ['x.org'] },
    status: OK,
    at: { a: ['x.org'], b: ['x.org'] },
  },
  {
    name: 'by the name of a listener',
    listeners: [listener('a'), listener('b', { port: 81 })],
    spec: { parentRefs: [{ name: 'edge', sectionName: 'b' }] },
    status: OK,
    at: { b: ['*'] },
  },
  {
    name: 'by port',
    listeners: [listener('a'), listener('b', { port: 81 })],
    spec: { parentRefs: [{ name: 'edge', port: 80 }] },
    status: OK,
    at: { a: ['*'] },
  },
  {
    name: 'a name that no listener has',
    listeners: [listener('a')],
    spec: { parentRefs: [{ name: 'edge', sectionName: 'b' }] },
    status: refused('NoMatchingParent'),
  },
  {
    name: 'a port that no listener has',
    listeners: [listener('a')],
    spec: { parentRefs: [{ name: 'edge', port: 81 }] },
    status: refused('NoMatchingParent'),
  },
  {
    name: 'a namespace that is not allowed',
    listeners: [listener('a')],
    spec: { parentRefs: [{ name: 'edge', namespace: 'shop' }], rules: [] },
    metadata: { namespace: 'bank' },
    status: refused('NotAllowedByListeners'),
  },
  {
    name: 'all namespaces',
    listeners: [listener('a', { allowedRoutes: { namespaces: { from: 'All' } } })],
    spec: { parentRefs: [{ name: 'edge', namespace: 'shop' }], rules: [] },
    metadata: { namespace: 'bank' },
    status: OK,
    at: { a: ['*'] },
  },
  {
    name: 'namespaces by label',
    listeners: [
      listener('a', {
        allowedRoutes: { namespaces: { from: 'Selector', selector: { matchLabels: { edge: 'yes' } } } },
      }),
      listener('b', {
        port: 81,
        allowedRoutes: { namespaces: { from: 'Selector', selector: { matchLabels: { edge: 'no' } } } },
      }),
    ],
    others: [namespace('bank', { edge: 'yes' })],
    spec: { parentRefs: [{ name: 'edge', namespace: 'shop' }], rules: [] },
    metadata: { namespace: 'bank' },
    status: OK,
    at: { a: ['*'] },
  },
  {
    name: 'a kind that the listener does not take',
    listeners: [listener('a', { allowedRoutes: { kinds: [{ kind: 'GRPCRoute' }] } })],
    status: refused('NotAllowedByListeners'),
  },
  {
    name: 'a kind that the protocol does not carry',
    listeners: [listener('a', { protocol: 'TCP' })],
    status: refused('NotAllowedByListeners'),
  },
  {
    name: 'the same parent twice',
    listeners: [listener('a')],
    spec: { parentRefs: [{ name: 'edge' }, { name: 'edge', group: 'gateway.networking.k8s.io', kind: 'Gateway' }] },
    status: OK,
    at: { a: ['*'] },
  },
];
for (const c of attachments)
  test(`attachment: ${c.name}`, () => {
    const kind = c.kind ?? 'HTTPRoute';
    const written = route(c.spec ?? {}, { ...(c.metadata && { metadata: c.metadata }) }, kind);
    const ambient = ambientOf([gateway(c.listeners), service('order'), written, ...(c.others ?? [])]);
    const at = (written.metadata as Json).namespace;
    assert.deepEqual(conditionsOf(ambient, `${kind}/${at}/r`)[0], c.status);
    const found = Object.values(routesOf(ambient, 'shop/edge'))[0]?.attachments ?? [];
    const byListener = found.map((each) => (each.kind === 'listener' ? [each.listener, each.hosts] : []));
    assert.deepEqual(Object.fromEntries(byListener), c.at ?? {});
  });

test('the second of two like parents is a conflict', () => {
  const ambient = ambientOf([
    gateway([listener('a')]),
    service('order'),
    route({ parentRefs: [{ name: 'edge' }, { name: 'edge' }] }),
  ]);
  assert.equal(conditionsOf(ambient)[1]?.[0], 'Accepted=False ParentRefConflict');
});

test('parents of other controllers are not answered for, and what they wrote is not ours', () => {
  const theirs = { parentRef: { name: 'other' }, controllerName: 'example.com/x', conditions: [] };
  const world = (entries: readonly Json[]) =>
    ambientOf([
      gateway([listener('a')]),
      gateway([listener('a')], { spec: { gatewayClassName: 'foreign' } }, 'other'),
      service('order'),
      route({ parentRefs: [{ name: 'edge' }, { name: 'other' }] }, { status: { parents: entries } }),
    ]);
  const report = world([theirs]).reports.get('HTTPRoute/shop/r');
  assert.equal(conditionsOf(world([theirs])).length, 1);
  assert.ok(report?.fields?.kind === 'parents');
  const ours = report.fields.wanted.map(({ ref, controllerName, conditions }) => ({
    parentRef: ref,
    controllerName,
    conditions,
  })) as unknown as readonly Json[];
  assert.equal(world([theirs, ...ours]).reports.has('HTTPRoute/shop/r'), false, 'written as wanted: nothing to do');
  assert.equal(world([theirs]).reports.has('HTTPRoute/shop/r'), true);
});

test('listeners count their routes', () => {
  const ambient = ambientOf([
    gateway([listener('a'), listener('b', { port: 81 })]),
    service('order'),
    route({}),
    route({ parentRefs: [{ name: 'edge', sectionName: 'a' }] }, { metadata: { name: 's' } }),
  ]);
  const report = ambient.reports.get('Gateway/shop/edge');
  assert.ok(report?.fields?.kind === 'Gateway');
  assert.deepEqual(
    report.fields.wanted.listeners.map(({ name, attachedRoutes }) => [name, attachedRoutes]),
    [
      ['a', 2],
      ['b', 1],
    ],
  );
});

// Backends

const GRANT: Json = {
  kind: 'ReferenceGrant',
  metadata: { name: 'g', namespace: 'bank' },
  spec: {
    from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'shop' }],
    to: [{ group: '', kind: 'Service' }],
  },
};
const backends: { name: string; ref: Json; others?: readonly Json[]; want: string; status?: string }[] = [
  { name: 'a service', ref: { name: 'order', port: 80 }, want: 'shop/order.shop.svc.cluster.local:80' },
  { name: 'no such service', ref: { name: 'x', port: 80 }, want: 'BackendNotFound' },
  { name: 'no such port', ref: { name: 'order', port: 81 }, want: 'BackendNotFound' },
  { name: 'no port', ref: { name: 'order' }, want: 'InvalidDestination' },
  { name: 'a whole host name', ref: { name: 'order.shop', port: 80 }, want: 'InvalidDestination' },
  { name: 'another kind', ref: { kind: 'Bucket', group: 's3', name: 'x', port: 1 }, want: 'InvalidKind' },
  {
    name: 'another namespace without a grant, though it does not even exist',
    ref: { name: 'x', namespace: 'bank', port: 80 },
    want: 'RefNotPermitted',
  },
  {
    name: 'another namespace with a grant',
    ref: { name: 'pay', namespace: 'bank', port: 80 },
    others: [GRANT, service('pay', 'bank')],
    want: 'bank/pay.bank.svc.cluster.local:80',
  },
  {
    name: 'a host of a ServiceEntry',
    ref: { group: 'networking.istio.io', kind: 'Hostname', name: 'api.example.com', port: 443 },
    others: [
      {
        kind: 'ServiceEntry',
        metadata: { name: 'e', namespace: 'shop' },
        spec: { hosts: ['api.example.com'], ports: [{ number: 443, name: 'tls', protocol: 'TLS' }], resolution: 'DNS' },
      },
    ],
    want: 'shop/api.example.com:443',
  },
];
for (const c of backends)
  test(`backend: ${c.name}`, () => {
    const world = [gateway([listener('web')]), service('order'), ...(c.others ?? [])];
    const ambient = ambientOf([...world, route({ rules: [{ backendRefs: [c.ref] }] })]);
    const { action } = httpRoute(ambient).rules[0] ?? {};
    assert.ok(action?.kind === 'forward');
    const target = action.backends[0]?.target;
    assert.equal(target?.kind === 'service' ? `${target.service}:${target.port}` : `${target?.reason}`, c.want);
    if (target?.kind === 'invalid') assert.equal(target.status, 500);
    assert.equal(
      conditionsOf(ambient)[0]?.[1],
      target?.kind === 'invalid' ? `ResolvedRefs=False ${c.want}` : 'ResolvedRefs=True ResolvedRefs',
    );
  });

test('weights: zero gets nothing, the rest keep theirs; a broken one keeps its share of errors', () => {
  const [rule] = rulesOf([
    {
      backendRefs: [
        { name: 'order', port: 80, weight: 90 },
        { name: 'order', port: 80, weight: 0 },
        { name: 'gone', port: 80, weight: 10 },
      ],
    },
  ]);
  assert.ok(rule?.action.kind === 'forward');
  assert.deepEqual(
    rule.action.backends.map(({ weight, target }) => [weight, target.kind]),
    [
      [90, 'service'],
      [10, 'invalid'],
    ],
  );
});

for (const [name, rule] of [
  ['no backends', {}],
  ['all weights zero', { backendRefs: [{ name: 'order', port: 80, weight: 0 }] }],
] as const)
  test(`${name}: 500`, () => assert.deepEqual(rulesOf([rule])[0]?.action, { kind: 'direct', status: 500, body: '' }));

// Matches and filters

const path = (match: Json): unknown => rulesOf([{ matches: [match], ...TO_ORDER }])[0]?.anyMatch[0]?.[0]?.predicate;
test('paths', () => {
  assert.deepEqual(rulesOf([TO_ORDER])[0]?.anyMatch[0]?.[0]?.predicate, { kind: 'pathPrefix', value: '' });
  assert.deepEqual(path({ path: { value: '/a/' } }), { kind: 'pathPrefix', value: '/a' });
  assert.deepEqual(path({ path: { type: 'Exact', value: '/a/' } }), { kind: 'exact', value: '/a/' });
  assert.deepEqual(path({ path: { type: 'RegularExpression', value: '/a.*' } }), { kind: 'regex', pattern: '/a.*' });
});

test('a match that cannot be read takes nothing, and the status says so', () => {
  const bad = [{ matches: [{ path: { type: 'RegularExpression', value: '(' } }], ...TO_ORDER }];
  const ambient = ambientOf([gateway([listener('web')]), service('order'), route({ rules: bad })]);
  assert.equal(conditionsOf(ambient)[0]?.[1], 'ResolvedRefs=False InvalidConfiguration');
  assert.deepEqual(httpRoute(ambient).rules[0]?.anyMatch[0]?.[0]?.predicate, { kind: 'exact', value: '' });
});

test('of a header that is named twice the first counts', () => {
  const matches = [
    {
      headers: [
        { name: 'X-A', value: '1' },
        { name: 'x-a', value: '2' },
      ],
      queryParams: [{ name: 'Q', type: 'RegularExpression', value: 'v+' }],
      method: 'GET',
    },
  ];
  assert.deepEqual(
    rulesOf([{ matches, ...TO_ORDER }])[0]
      ?.anyMatch[0]?.slice(1)
      .map(({ field, predicate }) => [field, predicate]),
    [
      ['request.method', { kind: 'exact', value: 'GET' }],
      ['request.header:x-a', { kind: 'exact', value: '1' }],
      ['request.query:Q', { kind: 'regex', pattern: 'v+' }],
    ],
  );
});

const filters: { name: string; filter: Json; match?: Json; want: unknown }[] = [
  {
    name: 'headers, and Host among them',
    filter: {
      type: 'RequestHeaderModifier',
      requestHeaderModifier: {
        set: [{ name: 'Host', value: 'b.org' }],
        add: [{ name: 'X', value: '1' }],
        remove: ['Y'],
      },
    },
    want: [
      { kind: 'requestHeaders', set: [], add: [{ name: 'x', value: '1' }], remove: ['y'] },
      { kind: 'rewrite', host: 'b.org', path: undefined },
    ],
  },
  {
    name: 'a rewrite of the prefix',
    match: { path: { value: '/a/' } },
    filter: {
      type: 'URLRewrite',
      urlRewrite: { hostname: 'b.org', path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } },
    },
    want: [
      { kind: 'rewrite', host: 'b.org', path: { kind: 'prefix', prefix: '/a', replacement: '/', by: 'segments' } },
    ],
  },
  {
    name: 'a share of a mirror',
    filter: {
      type: 'RequestMirror',
      requestMirror: { backendRef: { name: 'order', port: 80 }, fraction: { numerator: 1, denominator: 3 } },
    },
    want: [
      {
        kind: 'mirror',
        target: { kind: 'service', service: 'shop/order.shop.svc.cluster.local', port: 80, subset: undefined },
        share: { numerator: 1, denominator: 3 },
      },
    ],
  },
  {
    name: 'a mirror of nothing',
    filter: { type: 'RequestMirror', requestMirror: { backendRef: { name: 'order', port: 80 }, percent: 0 } },
    want: [],
  },
  {
    name: 'CORS',
    filter: { type: 'CORS', cors: { allowOrigins: ['https://*.example.com', 'https://a.org', '*'] } },
    want: [
      {
        kind: 'cors',
        allowOrigins: [
          { kind: 'regex', pattern: 'https://.*\\.example\\.com' },
          { kind: 'exact', value: 'https://a.org' },
          { kind: 'present' },
        ],
        allowCredentials: false,
        allowMethods: [],
        allowHeaders: [],
        exposeHeaders: [],
        maxAgeSeconds: 5,
        unmatchedPreflights: 'answer',
      },
    ],
  },
];
for (const c of filters)
  test(`filter: ${c.name}`, () => {
    const rule = { ...(c.match && { matches: [c.match] }), filters: [c.filter], ...TO_ORDER };
    assert.deepEqual(rulesOf([rule])[0]?.filters, c.want);
  });

test('a redirect needs no backend; its port is that of the scheme, or the one that was asked for', () => {
  const redirect = (requestRedirect: Json): unknown =>
    rulesOf([{ filters: [{ type: 'RequestRedirect', requestRedirect }] }])[0]?.action;
  const base = {
    kind: 'redirect',
    status: 302,
    scheme: undefined,
    host: undefined,
    port: 'requested',
    path: undefined,
  };
  assert.deepEqual(redirect({}), base);
  assert.deepEqual(redirect({ scheme: 'https', statusCode: 308 }), {
    ...base,
    scheme: 'https',
    status: 308,
    port: 'ofScheme',
  });
  assert.deepEqual(redirect({ port: 8443, hostname: 'B.org' }), { ...base, host: 'b.org', port: 8443 });
});

for (const [name, filter] of [
  ['ExtensionRef', { type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'y', name: 'z' } }],
  ['ExternalAuth', { type: 'ExternalAuth', externalAuth: {} }],
  [
    'a header that no message can carry',
    { type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'a', value: 'x\r\ny' }] } },
  ],
  [
    'a prefix to replace where there is none',
    { type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } } },
  ],
] as const)
  test(`a filter that is not held makes its rule answer with 500: ${name}`, () => {
    const rules = [{ matches: [{ path: { type: 'Exact', value: '/' } }], filters: [filter as Json], ...TO_ORDER }];
    const ambient = ambientOf([gateway([listener('web')]), service('order'), route({ rules })]);
    assert.equal(conditionsOf(ambient)[0]?.[1], 'ResolvedRefs=False InvalidFilter');
    const { action } = httpRoute(ambient).rules[0] ?? {};
    assert.ok(action?.kind === 'forward' && action.backends[0]?.target.kind === 'invalid');
    assert.equal(action.backends[0].target.status, 500);
  });

test('a mirror that leads nowhere harms nobody but its condition', () => {
  const filter = { type: 'RequestMirror', requestMirror: { backendRef: { name: 'gone', port: 80 } } };
  const ambient = ambientOf([
    gateway([listener('web')]),
    service('order'),
    route({ rules: [{ filters: [filter], ...TO_ORDER }] }),
  ]);
  assert.deepEqual(httpRoute(ambient).rules[0]?.filters, []);
  assert.equal(conditionsOf(ambient)[0]?.[1], 'ResolvedRefs=False BackendNotFound');
});

// Timeouts and retries

const limits = (rule: Json, metadata: Json = {}) => {
  const [read] = rulesOf([{ ...rule, ...TO_ORDER }], { metadata });
  return { ...read?.timeouts, retry: read?.retry };
};
test('timeouts and retries', () => {
  const none = { requestMs: undefined, perTryMs: undefined, retry: undefined };
  assert.deepEqual(limits({}), none);
  assert.deepEqual(limits({ timeouts: { request: '0s' } }), none);
  assert.deepEqual(limits({ timeouts: { request: '1s500ms' } }), { ...none, requestMs: 1500 });
  assert.deepEqual(limits({ timeouts: { request: '2s', backendRequest: '1s' } }), { ...none, requestMs: 1000 });
  assert.deepEqual(limits({ retry: { codes: [500, 700] }, timeouts: { request: '2s', backendRequest: '1s' } }), {
    requestMs: 2000,
    perTryMs: 1000,
    retry: {
      attempts: 2,
      on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled', 'retriable-status-codes'],
      statuses: [500],
      backoffMs: 25,
      remoteLocalities: false,
      ignorePreviousHosts: true,
    },
  });
});

test('annotations of older guides are honoured, and the status says that Istio ignores them', () => {
  const metadata = {
    annotations: {
      'retry.istio.io/attempts': '4',
      'retry.istio.io/per-try-timeout': '2s',
      'retry.istio.io/retry-on': '5xx,reset',
    },
  };
  const { retry, perTryMs } = limits({}, metadata);
  assert.deepEqual([retry?.attempts, retry?.on, perTryMs], [4, ['5xx', 'reset'], 2000]);
  const ambient = ambientOf([gateway([listener('web')]), service('order'), route({}, { metadata })]);
  assert.match(messagesOf(ambient), /annotations retry\.istio\.io\/\* are honoured here, Istio ignores them/);
});

test('session persistence by cookie or header; what of it is not held is said', () => {
  const filters = (sessionPersistence: Json) => {
    const rules = [{ sessionPersistence, ...TO_ORDER }];
    const ambient = ambientOf([gateway([listener('web')]), service('order'), route({ rules })]);
    assert.equal(conditionsOf(ambient)[0]?.[0], 'Accepted=True Accepted');
    const [made] = [...ambient.routes.values()];
    return { by: made?.route.kind === 'http' ? made.route.rules[0]?.filters : undefined, says: messagesOf(ambient) };
  };
  const cookie = { kind: 'cookie', name: 'ambit-session', ttlMs: undefined };
  assert.deepEqual(filters({}).by, [{ kind: 'session', by: cookie }]);
  const permanent = { sessionName: 's', absoluteTimeout: '1h', cookieConfig: { lifetimeType: 'Permanent' } };
  assert.deepEqual(filters(permanent).by, [{ kind: 'session', by: { kind: 'cookie', name: 's', ttlMs: 3_600_000 } }]);
  const header = filters({ type: 'Header', sessionName: 'X-Session', idleTimeout: '1m' });
  assert.deepEqual(header.by, [{ kind: 'session', by: { kind: 'header', name: 'x-session' } }]);
  assert.match(header.says, /idleTimeout has no effect/);
  assert.deepEqual(filters({ sessionName: 'a b' }).by, []);
});

// Other kinds

const grpc = (method: Json): unknown => {
  const ambient = ambientOf([
    gateway([listener('web')]),
    service('order'),
    route({ rules: [{ matches: [{ method }], ...TO_ORDER }] }, {}, 'GRPCRoute'),
  ]);
  return httpRoute(ambient, 'shop/edge', 'GRPCRoute/shop/r').rules[0]?.anyMatch[0]?.[0]?.predicate;
};
test('GRPCRoute: services and methods are paths', () => {
  assert.deepEqual(grpc({ service: 'a.B', method: 'C' }), { kind: 'exact', value: '/a.B/C' });
  assert.deepEqual(grpc({ service: 'a.B' }), { kind: 'pathPrefix', value: '/a.B' });
  assert.deepEqual(grpc({ method: 'C' }), { kind: 'regex', pattern: '/[^/]+/C' });
  assert.deepEqual(grpc({ type: 'RegularExpression', service: 'a\\..*' }), {
    kind: 'regex',
    pattern: '/a\\..*/[^/]+',
  });
});

test('TCPRoute: the first rule; an invalid backend stays invalid', () => {
  const ambient = ambientOf([
    gateway([listener('t', { protocol: 'TCP', port: 9000 })]),
    service('order'),
    route({ rules: [{ backendRefs: [{ name: 'gone', port: 80 }] }, TO_ORDER] }, {}, 'TCPRoute'),
  ]);
  const found = routesOf(ambient, 'shop/edge')['TCPRoute/shop/r'];
  assert.ok(found?.kind === 'tcp');
  assert.deepEqual(
    found.rules.map(({ backends: [first] }) => first?.target.kind),
    ['invalid'],
  );
  assert.match(messagesOf(ambient, 'TCPRoute/shop/r'), /only the first counts/);
});

test('TLSRoute: by server name, within those of the listener', () => {
  const ambient = ambientOf([
    gateway([listener('p', { protocol: 'TLS', port: 443, hostname: '*.example.com', tls: { mode: 'Passthrough' } })]),
    service('order'),
    route({ hostnames: ['a.example.com', 'b.org'], rules: [TO_ORDER] }, {}, 'TLSRoute'),
  ]);
  const found = routesOf(ambient, 'shop/edge')['TLSRoute/shop/r'];
  assert.ok(found?.kind === 'tls');
  assert.deepEqual(found.attachments, [{ kind: 'listener', listener: 'p', hosts: ['a.example.com'] }]);
  assert.deepEqual(found.rules[0]?.serverNames, []);
});

// The mesh

const mesh = (spec: Json, more: Json, others: readonly Json[] = []) =>
  ambientOf([waypoint(), namespace('shop'), service('order', 'shop', BOUND), route(spec, more), ...others]);
const ORDER_PARENT = { group: '', kind: 'Service', name: 'order', namespace: 'shop' };
const ORDER_KEY = 'shop/order.shop.svc.cluster.local';
const MESH_OK = [...OK, 'ResolvedWaypoints=True ResolvedWaypoints'];
const atService = (port?: number): RouteAttachment => ({ kind: 'service', service: ORDER_KEY, port });

test('a route of a Service is held by its waypoint; its host names do not matter', () => {
  const ambient = mesh({ parentRefs: [ORDER_PARENT], hostnames: ['other.org'] }, {});
  assert.deepEqual(conditionsOf(ambient)[0], MESH_OK);
  assert.deepEqual(httpRoute(ambient, 'shop/waypoint').attachments, [atService()]);
  assert.match(messagesOf(ambient), /held by waypoint shop\/waypoint/);
});

test('a port, by number or name', () => {
  for (const at of [{ port: 80 }, { sectionName: 'http' }])
    assert.deepEqual(httpRoute(mesh({ parentRefs: [{ ...ORDER_PARENT, ...at }] }, {}), 'shop/waypoint').attachments, [
      atService(80),
    ]);
  const ambient = mesh({ parentRefs: [{ ...ORDER_PARENT, port: 81 }] }, {});
  assert.equal(conditionsOf(ambient)[0]?.[0], 'Accepted=False NoMatchingParent');
});

test('without a waypoint the route is accepted and the message says that it has no effect', () => {
  const ambient = ambientOf([service('order'), route({ parentRefs: [ORDER_PARENT] })]);
  assert.deepEqual(conditionsOf(ambient)[0], MESH_OK);
  assert.match(messagesOf(ambient), /has no waypoint: clients in ambient mode do not see this route/);
  assert.equal(ambient.routes.size, 0);
});

test('a route of a consumer has no effect at a waypoint of another namespace', () => {
  const ambient = mesh({ parentRefs: [ORDER_PARENT], rules: [] }, { metadata: { namespace: 'bank' } });
  assert.deepEqual(conditionsOf(ambient, 'HTTPRoute/bank/r')[0], MESH_OK);
  assert.match(messagesOf(ambient, 'HTTPRoute/bank/r'), /a consumer's route has no effect there/);
  assert.equal(ambient.routes.size, 0);
});

test("one of the waypoint's own namespace counts, behind the service's", () => {
  const bound = { 'istio.io/use-waypoint': 'waypoint', 'istio.io/use-waypoint-namespace': 'infra' };
  const ambient = ambientOf([
    waypoint('waypoint', 'infra'),
    service('order', 'shop', bound),
    route({ parentRefs: [ORDER_PARENT] }),
    route({ parentRefs: [ORDER_PARENT], rules: [] }, { metadata: { namespace: 'infra' } }),
  ]);
  const orders = Object.values(routesOf(ambient, 'infra/waypoint')).map(({ origin, order }) => [
    origin.namespace,
    order,
  ]);
  assert.deepEqual(orders.sort(), [
    ['infra', 3],
    ['shop', 2],
  ]);
});

test('in the mesh a backend of another namespace needs no grant; at the gateway the same route does', () => {
  const rules = [{ backendRefs: [{ name: 'pay', namespace: 'bank', port: 80 }] }];
  const ambient = mesh({ parentRefs: [ORDER_PARENT, { name: 'edge' }], rules }, {}, [
    service('pay', 'bank'),
    gateway([listener('web')]),
  ]);
  assert.deepEqual(
    conditionsOf(ambient).map((each) => each[1]),
    ['ResolvedRefs=True ResolvedRefs', 'ResolvedRefs=False RefNotPermitted'],
  );
  const kindAt = (proxy: string) => {
    const { action } = httpRoute(ambient, proxy).rules[0] ?? {};
    return action?.kind === 'forward' ? action.backends[0]?.target.kind : undefined;
  };
  assert.deepEqual([kindAt('shop/waypoint'), kindAt('shop/edge')], ['service', 'invalid']);
});

test('a ServiceEntry can be a parent', () => {
  const entry: Json = {
    kind: 'ServiceEntry',
    metadata: { name: 'e', namespace: 'shop', labels: BOUND },
    spec: { hosts: ['api.example.com'], ports: [{ number: 80, name: 'http', protocol: 'HTTP' }], resolution: 'DNS' },
  };
  const ambient = mesh({ parentRefs: [{ group: 'networking.istio.io', kind: 'ServiceEntry', name: 'e' }] }, {}, [
    entry,
  ]);
  assert.deepEqual(httpRoute(ambient, 'shop/waypoint').attachments, [
    { kind: 'service', service: 'shop/api.example.com', port: undefined },
  ]);
});

test('a waypoint as parent: refused, with what to write instead', () => {
  const ambient = mesh({ parentRefs: [{ name: 'waypoint' }] }, {});
  assert.equal(conditionsOf(ambient)[0]?.[0], 'Accepted=False NotAllowedByListeners');
  assert.match(messagesOf(ambient), /name the Service that it stands before as parent/);
});
