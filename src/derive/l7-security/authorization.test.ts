import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { authorizeHttp } from '../../model/http/authorize.ts';
import { type HttpRequest, requestFacts, type VerifiedToken } from '../../model/http/request.ts';
import { parseSpiffeId } from '../../model/identity.ts';
import type { Ip } from '../../model/ip.ts';
import { parseAuthorizationPolicy } from '../objects/security.ts';
import type { Json } from '../read.ts';
import { type AuthorizationContext, toHttpPolicy } from './authorization.ts';

const context: AuthorizationContext = {
  trustDomain: 'cluster.local',
  trustDomainAliases: ['old.example'],
  knowsProvider: (name) => name === 'authorizer',
};

const convert = (spec: Json) =>
  toHttpPolicy(parseAuthorizationPolicy({ metadata: { name: 'p', namespace: 'shop' }, spec }), context);

const identity = parseSpiffeId('spiffe://old.example/ns/shop/sa/order');
const token: VerifiedToken = {
  principal: 'https://issuer/user-1',
  presenter: 'app',
  audiences: ['shop'],
  claims: { realm: { roles: ['admin'] }, group: 'gold' },
};

const request = (
  over: Partial<HttpRequest> & { readonly header?: Readonly<Record<string, string>> } = {},
): HttpRequest => {
  const { header = {}, ...rest } = over;
  return {
    connection: {
      source: { ip: '10.1.0.1' as Ip, port: 1 },
      destination: { ip: '10.96.0.1' as Ip, port: 8080 },
      identity: identity.ok ? identity.value : undefined,
    },
    method: 'GET',
    scheme: 'http',
    authority: 'order.shop:8080',
    path: '/api/orders/7',
    query: '',
    headers: { all: (key) => (header[key] === undefined ? [] : [header[key]]), joined: (key) => header[key] },
    remoteIp: '203.0.113.9' as Ip,
    sni: 'order.shop',
    token,
    ...rest,
  };
};

const effect = (spec: Json, over: Parameters<typeof request>[0] = {}): string =>
  authorizeHttp([convert(spec).policy], requestFacts(request(over)), 'notAsked').effect;

const rule = (from: Json | undefined, to: Json | undefined, when: readonly Json[] = []): Json => ({
  ...(from && { from: [{ source: from }] }),
  ...(to && { to: [{ operation: to }] }),
  when,
});

test('every field and key of a rule, met and not', () => {
  const cases: readonly (readonly [string, Json, boolean])[] = [
    ['principals, by an alias of the mesh', rule({ principals: ['cluster.local/ns/shop/sa/order'] }, undefined), true],
    ['principals, another account', rule({ principals: ['cluster.local/ns/shop/sa/store'] }, undefined), false],
    ['principals, prefix', rule({ principals: ['old.example/ns/shop/*'] }, undefined), true],
    ['notPrincipals', rule({ notPrincipals: ['cluster.local/ns/shop/sa/order'] }, undefined), false],
    ['requestPrincipals', rule({ requestPrincipals: ['https://issuer/*'] }, undefined), true],
    ['namespaces', rule({ namespaces: ['shop'] }, undefined), true],
    ['notNamespaces', rule({ notNamespaces: ['shop'] }, undefined), false],
    ['serviceAccounts of the policy’s namespace', rule({ serviceAccounts: ['order'] }, undefined), true],
    ['serviceAccounts elsewhere', rule({ serviceAccounts: ['other/order'] }, undefined), false],
    ['trustDomains', rule({ trustDomains: ['old.example'] }, undefined), true],
    ['ipBlocks', rule({ ipBlocks: ['10.1.0.0/16'] }, undefined), true],
    ['remoteIpBlocks', rule({ remoteIpBlocks: ['10.1.0.0/16'] }, undefined), false],
    ['hosts, without the port', rule(undefined, { hosts: ['ORDER.shop'] }), true],
    ['hosts, with the port', rule(undefined, { hosts: ['order.shop:8080'] }), true],
    ['hosts, suffix', rule(undefined, { hosts: ['*.shop'] }), true],
    ['ports', rule(undefined, { ports: ['8080'] }), true],
    ['methods', rule(undefined, { methods: ['POST', 'GET'] }), true],
    ['methods have case', rule(undefined, { methods: ['get'] }), false],
    ['paths', rule(undefined, { paths: ['/api/*'] }), true],
    ['paths by template', rule(undefined, { paths: ['/api/{*}/7'] }), true],
    ['notPaths', rule(undefined, { notPaths: ['/api/orders/7'] }), false],
    ['source and operation', rule({ namespaces: ['shop'] }, { methods: ['DELETE'] }), false],
    ['request.headers', rule(undefined, undefined, [{ key: 'request.headers[X-Tier]', values: ['gold'] }]), true],
    [
      'request.headers, absent',
      rule(undefined, undefined, [{ key: 'request.headers[x-other]', values: ['*'] }]),
      false,
    ],
    [
      'request.auth.claims',
      rule(undefined, undefined, [{ key: 'request.auth.claims[realm][roles]', values: ['admin'] }]),
      true,
    ],
    ['request.auth.audiences', rule(undefined, undefined, [{ key: 'request.auth.audiences', values: ['shop'] }]), true],
    [
      'request.auth.presenter',
      rule(undefined, undefined, [{ key: 'request.auth.presenter', notValues: ['app'] }]),
      false,
    ],
    ['remote.ip', rule(undefined, undefined, [{ key: 'remote.ip', values: ['203.0.113.0/24'] }]), true],
    ['destination.port', rule(undefined, undefined, [{ key: 'destination.port', values: ['80'] }]), false],
    ['connection.sni', rule(undefined, undefined, [{ key: 'connection.sni', values: ['order.*'] }]), true],
    [
      'values and notValues of one key',
      rule(undefined, undefined, [{ key: 'source.namespace', values: ['shop'], notValues: ['shop'] }]),
      false,
    ],
  ];
  for (const [name, one, matches] of cases) {
    const header = { 'x-tier': 'gold' };
    assert.equal(effect({ action: 'ALLOW', rules: [one] }, { header }), matches ? 'allow' : 'deny', `ALLOW ${name}`);
    assert.equal(effect({ action: 'DENY', rules: [one] }, { header }), matches ? 'deny' : 'allow', `DENY ${name}`);
  }
});

test('no rules never match; an empty rule always does', () => {
  assert.equal(effect({ action: 'ALLOW' }), 'deny');
  assert.equal(effect({ action: 'DENY' }), 'allow');
  assert.equal(effect({ action: 'ALLOW', rules: [{}] }), 'allow');
  assert.equal(effect({ action: 'DENY', rules: [{}] }), 'deny');
});

test('what cannot be read refuses more, never less, and is told', () => {
  const unreadable: readonly Json[] = [
    rule({ ipBlocks: ['10.1.0.0/99'] }, undefined),
    rule({ notIpBlocks: ['10.9.0.0/16', 'nonsense'] }, undefined),
    rule(undefined, { ports: ['http'] }),
    rule(undefined, { paths: ['/a/{**}/{*}'] }),
    rule({ colours: ['red'] }, undefined),
    rule(undefined, undefined, [{ key: 'experimental.envoy.filters.a[b]', values: ['c'] }]),
    { from: [{ source: { namespaces: 'shop' } }] },
  ];
  for (const one of unreadable) {
    assert.equal(effect({ action: 'ALLOW', rules: [one] }), 'deny', JSON.stringify(one));
    assert.equal(effect({ action: 'DENY', rules: [one] }), 'deny', JSON.stringify(one));
    assert.ok(convert({ action: 'DENY', rules: [one] }).problems.length > 0, JSON.stringify(one));
  }
  assert.equal(effect({ action: 'MAYBE', rules: [] }), 'deny');
});

test('one readable alternative is enough for ALLOW', () => {
  const from = [{ source: { ipBlocks: ['nonsense'] } }, { source: { namespaces: ['shop'] } }];
  assert.equal(effect({ action: 'ALLOW', rules: [{ from }] }), 'allow');
});

test('CUSTOM asks a provider that is known', () => {
  const spec = (name: string): Json => ({ action: 'CUSTOM', provider: { name }, rules: [{}] });
  assert.equal(effect(spec('authorizer')), 'ask');
  assert.equal(effect(spec('stranger')), 'deny');
});

test('no policy, however written, makes the conversion fail', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const spec = typeof value === 'object' && value !== null && !Array.isArray(value) ? value : { rules: [value] };
      convert({ action: 'DENY', ...(spec as Json), rules: [spec, value] });
    }),
  );
});
