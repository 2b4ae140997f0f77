// Random HTTPRoutes and requests: what the control plane sends, decoded and made a table, takes the request as a direct
// reading of the objects does (Gateway API, precedence of matches and host names).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { matchRoute } from '../../model/http/match-route.ts';
import { type HttpRequest, requestFacts } from '../../model/http/request.ts';
import { buildRouteTable } from '../../model/http/route-table.ts';
import { lines, request as someone } from '../../model/http/testing/builders.ts';
import { decodeRoute, encodeRoute } from '../../wire/l7/resources.ts';
import { ambientOf } from '../testing.ts';
import { gateway, listener, route, service, TO_ORDER } from './testing.ts';

interface PlainMatch {
  readonly type: 'Exact' | 'PathPrefix' | 'RegularExpression';
  readonly path: string;
  readonly method: string | undefined;
  readonly headers: readonly (readonly [string, string])[];
  readonly query: readonly (readonly [string, string])[];
}
interface PlainRoute {
  readonly hostnames: readonly string[];
  readonly day: number;
  readonly rules: readonly (readonly PlainMatch[])[];
}
interface PlainRequest {
  readonly host: string;
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly query: string;
}

const paths = fc.constantFrom('/', '/a', '/a/', '/a/b', '/ab', '/a/b/c');
const pairs = (names: readonly string[]) =>
  fc.uniqueArray(fc.tuple(fc.constantFrom(...names), fc.constantFrom('1', '2')), {
    selector: ([name]) => name,
    maxLength: 2,
  });
const someMatch: fc.Arbitrary<PlainMatch> = fc.oneof(
  fc.record({
    type: fc.constantFrom('Exact' as const, 'PathPrefix' as const),
    path: paths,
    method: fc.constantFrom('GET', undefined, undefined),
    headers: pairs(['x-a', 'x-b']),
    query: pairs(['p', 'q']),
  }),
  fc.record({
    type: fc.constant('RegularExpression' as const),
    path: fc.constantFrom('/a.*', '/[ab]+', '.*'),
    method: fc.constantFrom('GET', undefined),
    headers: pairs(['x-a']),
    query: fc.constant([]),
  }),
);
const hosts = ['a.example.com', 'b.example.com', '*.example.com', 'other.org'];
const someRoute: fc.Arbitrary<PlainRoute> = fc.record({
  hostnames: fc.uniqueArray(fc.constantFrom(...hosts), { maxLength: 2 }),
  day: fc.integer({ min: 1, max: 3 }),
  rules: fc.array(fc.array(someMatch, { maxLength: 2 }), { minLength: 1, maxLength: 3 }),
});
const someRequest: fc.Arbitrary<PlainRequest> = fc.record({
  host: fc.constantFrom('a.example.com', 'b.example.com', 'c.d.example.com', 'other.org', 'none.net'),
  path: fc.constantFrom('/', '/a', '/a/', '/a/b', '/ab', '/a/b/c', '/b'),
  method: fc.constantFrom('GET', 'POST'),
  headers: fc.dictionary(fc.constantFrom('x-a', 'x-b'), fc.constantFrom('1', '2'), { noNullPrototype: true }),
  query: fc.constantFrom('', 'p=1', 'q=2&p=1', 'p=2'),
});

// The direct reading

const hostRank = (host: string, request: string): number =>
  host === request
    ? 1000
    : host === '*'
      ? 1
      : host.startsWith('*.') && request.endsWith(host.slice(1))
        ? 1 + host.length
        : 0;

function holds(match: PlainMatch, request: PlainRequest): boolean {
  const prefix = match.path.replace(/\/+$/, '');
  const byPath =
    match.type === 'Exact'
      ? request.path === match.path
      : match.type === 'PathPrefix'
        ? request.path === prefix || request.path.startsWith(`${prefix}/`)
        : new RegExp(`^(?:${match.path})$`).test(request.path);
  const query = new URLSearchParams(request.query);
  return (
    byPath &&
    (match.method === undefined || match.method === request.method) &&
    match.headers.every(([name, value]) => request.headers[name] === value) &&
    match.query.every(([name, value]) => query.get(name) === value)
  );
}

const RANKS = { Exact: 3, PathPrefix: 2, RegularExpression: 1 };
const EVERYTHING: PlainMatch = { type: 'PathPrefix', path: '/', method: undefined, headers: [], query: [] };

/** `<route> <rule>` that takes a request at a listener for any host; undefined: none. */
function read(routes: readonly PlainRoute[], request: PlainRequest): string | undefined {
  const best = Math.max(
    0,
    ...routes.flatMap(({ hostnames }) =>
      (hostnames.length === 0 ? ['*'] : hostnames).map((host) => hostRank(host, request.host)),
    ),
  );
  if (best === 0) return undefined;
  const candidates = routes.flatMap(({ hostnames, day, rules }, at) =>
    (hostnames.length === 0 ? ['*'] : hostnames).some((host) => hostRank(host, request.host) === best)
      ? rules.flatMap((matches, rule) =>
          (matches.length === 0 ? [EVERYTHING] : matches)
            .filter((match) => holds(match, request))
            .map((match) => ({ match, rule, at, day })),
        )
      : [],
  );
  const length = ({ type, path }: PlainMatch): number =>
    type === 'PathPrefix' ? path.replace(/\/+$/, '').length : path.length;
  candidates.sort(
    (a, b) =>
      RANKS[b.match.type] - RANKS[a.match.type] ||
      length(b.match) - length(a.match) ||
      Number(b.match.method !== undefined) - Number(a.match.method !== undefined) ||
      b.match.headers.length - a.match.headers.length ||
      b.match.query.length - a.match.query.length ||
      a.day - b.day ||
      a.at - b.at ||
      a.rule - b.rule,
  );
  const [first] = candidates;
  return first && `r${first.at} ${first.rule}`;
}

// The whole way

const written = ({ hostnames, day, rules }: PlainRoute, at: number) =>
  route(
    {
      hostnames,
      rules: rules.map((matches) => ({
        ...(matches.length > 0 && {
          matches: matches.map(({ type, path, method, headers, query }) => ({
            path: { type, value: path },
            ...(method !== undefined && { method }),
            headers: headers.map(([name, value]) => ({ name, value })),
            queryParams: query.map(([name, value]) => ({ name, value })),
          })),
        }),
        ...TO_ORDER,
      })),
    },
    { metadata: { name: `r${at}`, creationTimestamp: `2026-01-0${day}T00:00:00Z` } },
  );

const toRequest = ({ host, path, method, headers, query }: PlainRequest): HttpRequest =>
  someone({
    method,
    authority: host,
    path,
    query: query === '' ? '' : `?${query}`,
    headers: lines(Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]))),
  });

test('a request is taken as the objects say', () =>
  fc.assert(
    fc.property(
      fc.array(someRoute, { maxLength: 4 }),
      fc.array(someRequest, { minLength: 1, maxLength: 8 }),
      (routes, requests) => {
        const ambient = ambientOf([gateway([listener('web')]), service('order'), ...routes.map(written)]);
        const decoded = [...ambient.routes.values()].map(({ name, route: sent }) => {
          const result = decodeRoute(name, encodeRoute(sent));
          assert.ok(result.ok && result.value.kind === 'http');
          const hostsOf = result.value.attachments.flatMap((each) => (each.kind === 'listener' ? each.hosts : []));
          return { ...result.value, hosts: hostsOf };
        });
        const table = buildRouteTable(decoded);
        for (const request of requests) {
          const found = matchRoute(table, requestFacts(toRequest(request)));
          const got = found.kind === 'matched' ? `${found.entry.origin.name} ${found.entry.ruleIndex}` : undefined;
          assert.equal(got, read(routes, request), JSON.stringify(request));
        }
      },
    ),
    { numRuns: 300 },
  ));
