import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chooseBackend } from './backend.ts';
import { compileRoutes } from './compiled-routes.ts';
import { explainRoute, matchRoute, type RouteResult } from './match-route.ts';
import { type HttpRequest, requestFacts } from './request.ts';
import type { Backend, HttpRoute, RouteMatch } from './route.ts';
import { buildRouteTable } from './route-table.ts';
import { someRequest, someRoute } from './testing/arbitrary.ts';
import {
  exact,
  header,
  lines,
  method,
  path,
  pathPrefix,
  prefix,
  present,
  query,
  regex,
  request,
  route,
  routeRule,
} from './testing/builders.ts';
import { classOf, explore } from './testing/explore.ts';

const taken = (routes: readonly HttpRoute[], r: HttpRequest): string => {
  const table = buildRouteTable(routes);
  const plain = matchRoute(table, requestFacts(r));
  assert.deepEqual(compileRoutes(table).match(r), plain);
  return nameOf(plain);
};
const nameOf = (result: RouteResult): string => (result.kind === 'matched' ? result.entry.rule.name : result.why);

// Each pair: the winner is written last, so that only the rule can put it first.
const full: HttpRequest = request({
  method: 'POST',
  path: '/a/b',
  query: '?v=1&w=2',
  headers: lines({ 'x-a': ['1'], 'x-b': ['2'] }),
});
const precedence: readonly [rule: string, loser: RouteMatch, winner: RouteMatch][] = [
  ['exact before prefix', [path(pathPrefix('/a/b'))], [path(exact('/a/b'))]],
  ['prefix before regular expression, also a longer one', [path(regex('/a/b.{0,9}'))], [path(pathPrefix('/a'))]],
  ['regular expression before none', [method('POST'), header('x-a', exact('1'))], [path(regex('/.*'))]],
  ['the longer prefix', [path(pathPrefix('/a')), method('POST')], [path(pathPrefix('/a/b'))]],
  ['a method before headers', [header('x-a', present), header('x-b', present)], [method('POST')]],
  [
    'more headers before queries',
    [query('v', exact('1')), query('w', exact('2')), header('x-a', exact('1'))],
    [header('x-a', present), header('x-b', present)],
  ],
  ['more queries', [query('v', exact('1'))], [query('v', exact('1')), query('w', exact('2'))]],
];
for (const [rule, loser, winner] of precedence)
  test(`Gateway API precedence: ${rule}`, () => {
    assert.equal(taken([route('r', [routeRule('loser', loser), routeRule('winner', winner)])], full), 'winner');
    assert.equal(
      taken([route('a', [routeRule('loser', loser)]), route('b', [routeRule('winner', winner)])], full),
      'winner',
    );
    const other = request({ path: '/zzz' });
    assert.equal(taken([route('r', [routeRule('winner', [path(exact('/q'))])])], other), 'noMatch');
  });

const alike = [path(pathPrefix('/a'))];
test('Gateway API precedence: the older object', () => {
  const routes = [
    route('a', [routeRule('younger', alike)], { createdAtMs: 2 }),
    route('b', [routeRule('older', alike)], { createdAtMs: 1 }),
  ];
  assert.equal(taken(routes, full), 'older');
});
test('Gateway API precedence: at the same age, namespace and name', () => {
  const routes = [
    route('a', [routeRule('second', alike)], { namespace: 'z' }),
    route('b', [routeRule('first', alike)], { namespace: 'b' }),
  ];
  assert.equal(taken(routes, full), 'first');
});
test('Gateway API precedence: in one object, the order of rules', () => {
  assert.equal(taken([route('r', [routeRule('first', alike), routeRule('second', alike)])], full), 'first');
});
test('Gateway API: HTTPRoute and GRPCRoute of one host are sorted as one', () => {
  const routes = [
    route('a', [routeRule('http', [path(pathPrefix('/a'))])]),
    route('b', [routeRule('grpc', [path(exact('/a/b'))])], { kind: 'GRPCRoute' }),
  ];
  assert.equal(taken(routes, full), 'grpc');
});
test('VirtualService: rules stay as written, also the less specific first', () => {
  const rules = [routeRule('first', [path(prefix('/a'))]), routeRule('second', [path(exact('/a/b'))])];
  assert.equal(taken([route('r', rules, { kind: 'VirtualService' })], full), 'first');
});
test('objects of both kinds stand in the order given', () => {
  const service = route('v', [routeRule('vs', [path(prefix('/'))])], { kind: 'VirtualService' });
  const http = route('h', [routeRule('http', [path(exact('/a/b'))])]);
  assert.equal(taken([service, http], full), 'vs');
  assert.equal(taken([http, service], full), 'http');
});

const hosts: readonly [authority: string, host: string][] = [
  ['a.example.com', 'a.example.com'],
  ['a.example.com:8080', 'a.example.com'],
  ['b.example.com', '*.example.com'],
  ['x.y.example.com', '*.y.example.com'],
  ['x.z.example.com', '*.example.com'],
  ['example.com', '*.com'],
  ['[fd00::1]:80', 'noHost'],
];
for (const [authority, host] of hosts)
  test(`host ${authority}: ${host}`, () => {
    const routes = ['*.com', '*.example.com', 'a.example.com', '*.y.example.com'].map((name) =>
      route(name, [routeRule(name)], { hosts: [name] }),
    );
    assert.equal(taken(routes, request({ authority })), host);
  });
test('the most specific host decides: what it does not match is not found, whatever wildcards hold', () => {
  const routes = [
    route('wild', [routeRule('wild')], { hosts: ['*'] }),
    route('own', [routeRule('own', [path(exact('/only'))])], { hosts: ['shop.example.com'] }),
  ];
  assert.equal(taken(routes, request({ path: '/only' })), 'own');
  assert.equal(taken(routes, request({ path: '/else' })), 'noMatch');
});

const conditions: readonly [name: string, match: RouteMatch, set: Partial<HttpRequest>, holds: boolean][] = [
  ['path prefix by segments: itself', [path(pathPrefix('/foo'))], { path: '/foo' }, true],
  ['path prefix by segments: below', [path(pathPrefix('/foo'))], { path: '/foo/x' }, true],
  ['path prefix by segments: trailing slash', [path(pathPrefix('/foo'))], { path: '/foo/' }, true],
  ['path prefix by segments: no other word', [path(pathPrefix('/foo'))], { path: '/foobar' }, false],
  ['path prefix by characters', [path(prefix('/foo'))], { path: '/foobar' }, true],
  ['the root prefix is every path', [path(pathPrefix(''))], { path: '/x' }, true],
  ['the root prefix is not `*`', [path(pathPrefix(''))], { path: '*' }, false],
  ['regular expression: the whole path', [path(regex('/a+'))], { path: '/aab' }, false],
  ['method in its own case only', [method('GET')], { method: 'get' }, false],
  ['header names in any case', [header('X-Tier', exact('gold'))], { headers: lines({ 'x-tier': ['gold'] }) }, true],
  ['header lines joined', [header('x', exact('a,b'))], { headers: lines({ x: ['a', 'b'] }) }, true],
  ['one header line is not enough', [header('x', exact('a'))], { headers: lines({ x: ['a', 'b'] }) }, false],
  ['without header: absent', [header('x', exact('a'), true)], {}, true],
  ['without header: there', [header('x', exact('a'), true)], { headers: lines({ x: ['a'] }) }, false],
  ['query: the first value', [query('v', exact('1'))], { query: '?v=1&v=2' }, true],
  ['query: not the second', [query('v', exact('2'))], { query: '?v=1&v=2' }, false],
  ['query: name in its own case', [query('v', exact('1'))], { query: '?V=1' }, false],
  ['query: not the end of another name', [query('v', exact('1'))], { query: '?vv=1&xv=1' }, false],
  ['query without value is empty', [query('v', exact(''))], { query: '?v' }, true],
];
for (const [name, match, set, holds] of conditions)
  test(`match: ${name}`, () =>
    assert.equal(taken([route('r', [routeRule('hit', match)])], request(set)), holds ? 'hit' : 'noMatch'));

const backend = (host: string, weight: number): Backend => ({
  target: { kind: 'service', service: host, port: 80, subset: undefined },
  weight,
  filters: [],
});
const broken: Backend = {
  target: { kind: 'invalid', status: 500, reason: 'BackendNotFound', detail: 'no Service `gone`' },
  weight: 1,
  filters: [],
};
const chosen = (backends: readonly Backend[], random: number): string => {
  const choice = chooseBackend(backends, random);
  return choice.kind === 'fail' ? `${choice.status}` : (choice.backend.target as { service: string }).service;
};
test('backends: shares by weight', () => {
  const counts: Record<string, number> = {};
  for (let i = 0; i < 100; i++) {
    const name = chosen([backend('a', 3), backend('b', 0), backend('c', 1)], i / 100);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  assert.deepEqual(counts, { a: 75, c: 25 });
});
test('backends: none, or all of weight 0: 500', () => {
  assert.equal(chosen([], 0.5), '500');
  assert.equal(chosen([backend('a', 0), backend('b', 0)], 0.5), '500');
});
test('backends: a reference that leads nowhere fails its share only', () => {
  assert.deepEqual([chosen([backend('a', 1), broken], 0.4), chosen([backend('a', 1), broken], 0.6)], ['a', '500']);
});
test('backends: for every chance below 1 one with a weight is chosen', () =>
  fc.assert(
    fc.property(
      fc.array(fc.nat(5), { minLength: 1, maxLength: 5 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (weights, random) => {
        const name = chosen(
          weights.map((weight, i) => backend(`${i}`, weight)),
          random,
        );
        if (weights.every((weight) => weight === 0)) assert.equal(name, '500');
        else assert.ok((weights[Number(name)] ?? 0) > 0);
      },
    ),
  ));

// ---- properties ----

const routes = fc.array(someRoute, { maxLength: 6 });
const requests = fc.array(someRequest, { minLength: 1, maxLength: 6 });

test('compiled routes match as the definition does, and the explanation comes to the same', () => {
  let matched = 0;
  let later = 0;
  fc.assert(
    fc.property(routes, requests, (list, some) => {
      const table = buildRouteTable(list);
      const router = compileRoutes(table);
      for (const r of some) {
        const plain = matchRoute(table, requestFacts(r));
        const fast = router.match(r);
        assert.deepEqual(fast, plain);
        if (plain.kind === 'matched' && fast.kind === 'matched') assert.equal(fast.entry, plain.entry);
        const { result, tried } = explainRoute(table, requestFacts(r));
        assert.deepEqual(result, plain);
        assert.equal(tried.at(-1)?.matched ?? false, plain.kind === 'matched');
        if (plain.kind === 'matched') matched++;
        if (tried.length > 1 && plain.kind === 'matched') later++;
      }
    }),
    { numRuns: 600 },
  );
  assert.ok(matched > 300 && later > 60, `only ${matched} requests matched, ${later} of them not at once`);
});
test('Gateway API routes: the order in which objects come is irrelevant', () =>
  fc.assert(
    fc.property(routes, (list) => {
      const distinct = [...new Map(list.map((r) => [`${r.origin.namespace}/${r.origin.name}`, r])).values()].map(
        (r): HttpRoute => ({ ...r, origin: { ...r.origin, kind: 'HTTPRoute' } }),
      );
      assert.deepEqual(buildRouteTable(distinct), buildRouteTable(distinct.toReversed()));
    }),
    { numRuns: 200 },
  ));
test('matchRoute asks through facts.test alone: forked answers give every class of requests', () => {
  let several = 0;
  fc.assert(
    fc.property(fc.array(someRoute, { maxLength: 2 }), requests, (list, some) => {
      const table = buildRouteTable(list);
      const paths = explore((facts) => matchRoute(table, facts), 1_000);
      if (paths === undefined) return;
      if (paths.length > 1) several++;
      for (const r of some) assert.deepEqual(classOf(paths, requestFacts(r)), matchRoute(table, requestFacts(r)));
    }),
    { numRuns: 100 },
  );
  assert.ok(several > 20, `only ${several} tables told requests apart`);
});
