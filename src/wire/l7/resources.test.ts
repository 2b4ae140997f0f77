// What is encoded is decoded as it was; anything else is refused with its path, and nothing throws.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { HttpRouteResource } from '../../model/proxy/route-resource.ts';
import type { Result } from '../../model/result.ts';
import { ProtoWriter } from '../protobuf/writer.ts';
import { routeName } from './names.ts';
import {
  decodeCertificate,
  decodeProxy,
  decodeRoute,
  decodeServiceConfig,
  encodeCertificate,
  encodeProxy,
  encodeRoute,
  encodeServiceConfig,
  proxyName,
} from './resources.ts';
import { someCertificate, someProxy, someRoute, someServiceConfig } from './testing/arbitrary.ts';

interface Codec<T> {
  readonly values: fc.Arbitrary<T>;
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (name: string, bytes: Uint8Array) => Result<T, string>;
  readonly nameOf: (value: T) => string;
}
const codec = <T>(made: Codec<T>): Codec<unknown> => made as unknown as Codec<unknown>;

const CODECS: Readonly<Record<string, Codec<unknown>>> = {
  proxies: codec({ values: someProxy, encode: encodeProxy, decode: decodeProxy, nameOf: proxyName }),
  routes: codec({
    values: someRoute,
    encode: encodeRoute,
    decode: decodeRoute,
    nameOf: ({ origin }) => routeName(origin),
  }),
  services: codec({
    values: someServiceConfig,
    encode: encodeServiceConfig,
    decode: decodeServiceConfig,
    nameOf: ({ key }) => key,
  }),
  certificates: codec({
    values: someCertificate,
    encode: encodeCertificate,
    decode: decodeCertificate,
    nameOf: () => 'shop/cert',
  }),
};

/** Fields of which each of these types has one, at several depths. */
const TELLING = ['kind', 'mode', 'role', 'policies', 'origin', 'traffic', 'predicate', 'target', 'keyPem'];

/** Every object and list inside a value. */
function* parts(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return;
  yield value as Record<string, unknown>;
  for (const inner of Object.values(value)) yield* parts(inner);
}

for (const [kind, { values, encode, decode, nameOf }] of Object.entries(CODECS)) {
  test(`${kind} come back as they were, with their undefined fields`, () =>
    fc.assert(
      fc.property(values, (value) => {
        const decoded = decode(nameOf(value), encode(value));
        assert.ok(decoded.ok, decoded.ok ? '' : decoded.error);
        assert.deepEqual(decoded.value, value);
      }),
    ));

  test(`${kind}: one more field anywhere, and all is refused with the path to it`, () =>
    fc.assert(
      fc.property(values, fc.nat(), (value, at) => {
        const copy = structuredClone(value);
        // Dictionaries, which take any name, hold nothing that has one of these.
        const closed = [...parts(copy)].filter((part) => TELLING.some((field) => Object.hasOwn(part, field)));
        const chosen = closed[at % closed.length];
        assert.ok(chosen !== undefined);
        chosen.addedLater = 1;
        const decoded = decode(nameOf(value), encode(copy));
        assert.equal(decoded.ok, false);
        assert.match(decoded.ok ? '' : decoded.error, /has a field `addedLater` that this version does not know$/);
      }),
    ));

  test(`${kind}: a value of another type anywhere is refused or harmless, never thrown at the caller`, () =>
    fc.assert(
      fc.property(values, fc.nat(), fc.nat(), fc.jsonValue(), (value, at, field, instead) => {
        const copy = structuredClone(value);
        const all = [...parts(copy)].filter((part) => Object.keys(part).length > 0);
        const chosen = all[at % all.length] as Record<string, unknown>;
        const names = Object.keys(chosen);
        chosen[names[field % names.length] as string] = instead;
        const decoded = decode(nameOf(value), encode(copy));
        if (decoded.ok) assert.deepEqual(JSON.parse(JSON.stringify(decoded.value)), JSON.parse(JSON.stringify(copy)));
        else assert.ok(decoded.error.startsWith(nameOf(value)));
      }),
    ));

  test(`${kind}: any bytes`, () =>
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        assert.equal(decode('a/b/c', bytes).ok, false);
        assert.equal(
          decode('a/b/c', new ProtoWriter().string(1, Buffer.from(bytes).toString('latin1')).finish()).ok,
          false,
        );
      }),
    ));
}

const ROUTE: HttpRouteResource = {
  kind: 'http',
  origin: { kind: 'HTTPRoute', namespace: 'shop', name: 'orders', createdAtMs: 5 },
  attachments: [{ kind: 'listener', listener: 'web', hosts: ['a.example.com'] }],
  order: 0,
  rules: [
    {
      name: '',
      anyMatch: [[{ field: 'request.path', predicate: { kind: 'pathPrefix', value: '/orders' }, negated: false }]],
      filters: [],
      action: {
        kind: 'forward',
        backends: [
          {
            target: { kind: 'service', service: 'shop/orders.shop.svc.cluster.local', port: 80, subset: undefined },
            weight: 1,
            filters: [],
          },
        ],
      },
      timeouts: { requestMs: undefined, perTryMs: undefined },
      retry: undefined,
    },
  ],
};
const NAME = 'HTTPRoute/shop/orders';
type LooseRule = Record<'filters' | 'action' | 'anyMatch', unknown>;
type Loose = Record<'kind' | 'origin', unknown> & { rules: LooseRule[] };
const changed = (edit: (route: Loose) => void): Uint8Array => {
  const copy = structuredClone(ROUTE) as unknown as Loose;
  edit(copy);
  return encodeRoute(copy as unknown as HttpRouteResource);
};
const rule = (route: Loose): LooseRule => route.rules[0] as LooseRule;

const refused: { name: string; bytes: Uint8Array; why: RegExp; as?: string }[] = [
  {
    name: 'a filter that is not known yet',
    bytes: changed((route) => {
      rule(route).filters = [{ kind: 'externalAuth', url: 'x' }];
    }),
    why: /^HTTPRoute\/shop\/orders: \.rules\[0\]\.filters\[0\]\.kind: `externalAuth` is not known to this version$/,
  },
  {
    name: 'a predicate that is not known yet',
    bytes: changed((route) => {
      rule(route).anyMatch = [[{ field: 'request.path', predicate: { kind: 'glob', value: '*' }, negated: false }]];
    }),
    why: /\.rules\[0\]\.anyMatch\[0\]\[0\]\.predicate\.kind: `glob`/,
  },
  {
    name: 'a field of requests that is not known',
    bytes: changed((route) => {
      rule(route).anyMatch = [[{ field: 'request.body', predicate: { kind: 'present' }, negated: false }]];
    }),
    why: /\.field: is no field of a request/,
  },
  {
    name: 'a condition without its sign',
    bytes: changed((route) => {
      rule(route).anyMatch = [[{ field: 'request.path', predicate: { kind: 'present' } }]];
    }),
    why: /\.negated: is missing/,
  },
  {
    name: 'a weight below zero',
    bytes: changed((route) => {
      rule(route).action = {
        kind: 'forward',
        backends: [{ target: { kind: 'service', service: 'a/b', port: 1 }, weight: -1, filters: [] }],
      };
    }),
    why: /\.backends\[0\]\.weight: is no integer from 0 to/,
  },
  {
    name: 'a share of more than all',
    bytes: changed((route) => {
      rule(route).filters = [{ kind: 'delay', delayMs: 1, share: { numerator: 2, denominator: 1 } }];
    }),
    why: /\.share\.numerator: is more than the denominator/,
  },
  {
    name: 'more rules than are taken',
    bytes: changed((route) => {
      route.rules = new Array<LooseRule>(4097).fill(rule(route));
    }),
    why: /\.rules: has 4097 items, at most 4096 are taken/,
  },
  {
    name: 'a text longer than is taken',
    bytes: changed((route) => {
      route.origin = { ...ROUTE.origin, name: 'x'.repeat(254) };
    }),
    why: /\.origin\.name: has 254 characters/,
  },
  {
    name: 'a kind that a table inherits from Object',
    bytes: changed((route) => {
      route.kind = 'constructor';
    }),
    why: /\.kind: `constructor` is not known/,
  },
  { name: 'another name', bytes: encodeRoute(ROUTE), why: /of another name/, as: 'HTTPRoute/shop/order' },
  { name: 'nothing', bytes: new Uint8Array(), why: /is no JSON/ },
  {
    name: 'two values',
    bytes: Buffer.concat([encodeRoute(ROUTE), encodeRoute(ROUTE)]),
    why: /given twice/,
  },
  {
    name: 'a field of protobuf that is not known',
    bytes: Buffer.concat([encodeRoute(ROUTE), new ProtoWriter().string(2, 'x').finish()]),
    why: /has a field 2 that this version does not know/,
  },
  { name: 'too many bytes', bytes: new Uint8Array(16 * 1024 * 1024 + 1), why: /bytes, at most/ },
  { name: 'depth without end', bytes: new ProtoWriter().string(1, '['.repeat(2_000_000)).finish(), why: /no JSON/ },
];
for (const c of refused)
  test(`refused: ${c.name}`, () => {
    const decoded = decodeRoute(c.as ?? NAME, c.bytes);
    assert.match(decoded.ok ? 'taken' : decoded.error, c.why);
  });

test('what is wrong with a certificate is told without quoting it', () => {
  const decoded = decodeCertificate('shop/cert', new ProtoWriter().string(1, '{"keyPem": SECRET').finish());
  assert.equal(decoded.ok ? '' : decoded.error, 'shop/cert: is no JSON');
});

test('parts of one object have names of their own', () => {
  const encoded = encodeRoute(ROUTE);
  assert.ok(decodeRoute(routeName(ROUTE.origin, 'web'), encoded).ok);
  assert.equal(decodeRoute(`${NAME}-web`, encoded).ok, false);
});
