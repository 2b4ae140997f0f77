// Tokens as attackers and identity providers send them. Signed with jose, an implementation of its own.

import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { CompactSign, type JWK, UnsecuredJWT } from 'jose';
import type { TokenRule } from '../../model/proxy/security.ts';
import { ManualClock } from '../../platform/clock.ts';
import type { Exchange, LocalReply } from '../contracts.ts';
import { readJwt } from './jwt.ts';
import { RequestTokens } from './request-tokens.ts';
import { exchange } from './testing.ts';

const NOW_S = 1_800_000_000;
const utf8 = new TextEncoder();

interface Signer {
  readonly algorithm: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: JWK;
}
type Pair = Pick<Signer, 'privateKey' | 'publicKey'>;
const signer = (algorithm: string, keyId: string, { privateKey, publicKey }: Pair): Signer => ({
  algorithm,
  privateKey,
  publicKey,
  jwk: { ...(publicKey.export({ format: 'jwk' }) as JWK), kid: keyId, alg: algorithm },
});
const CURVES: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };
const rsaPair = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pairFor = (algorithm: string): Pair => {
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519');
  const namedCurve = CURVES[algorithm];
  return namedCurve === undefined ? rsaPair : generateKeyPairSync('ec', { namedCurve });
};
const rsa = signer('RS256', 'rsa', rsaPair);
const other = signer('RS256', 'other', generateKeyPairSync('rsa', { modulusLength: 2048 }));
const elliptic = signer('ES256', 'ec', pairFor('ES256'));

type Claims = Record<string, unknown>;
const claims = (change: Claims = {}): Claims => ({ iss: 'https://id', sub: 'ann', exp: NOW_S + 600, ...change });
const sign = (by: Signer, payload: Claims | string, header: Claims = {}): Promise<string> =>
  new CompactSign(utf8.encode(typeof payload === 'string' ? payload : JSON.stringify(payload)))
    .setProtectedHeader({ alg: by.algorithm, kid: by.jwk.kid as string, ...header })
    .sign(by.privateKey);
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

const keySet = (...signers: readonly (Signer | JWK)[]): TokenRule['keys'] => ({
  kind: 'set',
  json: JSON.stringify({ keys: signers.map((s) => ('jwk' in s ? (s as Signer).jwk : s)) }),
});
const rule = (change: Partial<TokenRule> = {}): TokenRule => ({
  issuer: 'https://id',
  audiences: [],
  keys: keySet(rsa, elliptic),
  from: [
    { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
    { kind: 'query', name: 'access_token' },
  ],
  forward: false,
  payloadToHeader: undefined,
  claimsToHeaders: [],
  spaceDelimitedClaims: [],
  ...change,
});

function checker(...rules: TokenRule[]) {
  const clock = new ManualClock(NOW_S * 1000);
  const queries: string[] = [];
  const tokens = new RequestTokens(rules, { clock, setQuery: (_, query) => void queries.push(query) });
  return { clock, queries, tokens, check: (e: Exchange): LocalReply | undefined => tokens.check(e) };
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const outcome = (token: string, ...rules: TokenRule[]): string => {
  const e = exchange(bearer(token));
  const reply = checker(...(rules.length > 0 ? rules : [rule()])).check(e);
  return reply === undefined ? `ok ${e.token?.principal}` : `${reply.status} ${reply.body}`;
};

const valid = await sign(rsa, claims());

test('no rules: nothing is looked at', () => {
  const e = exchange(bearer('rubbish'));
  assert.equal(checker().check(e), undefined);
  assert.equal(e.token, undefined);
  assert.equal(e.requestFields.get('authorization'), 'Bearer rubbish');
});

test('no token is fine, and so is another scheme', () => {
  for (const headers of [{}, { authorization: 'Basic YTpi' }]) {
    const e = exchange(headers);
    assert.equal(checker(rule()).check(e), undefined);
    assert.equal(e.token, undefined);
  }
});

for (const algorithm of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])
  test(`${algorithm} is verified, and a changed payload is not`, async () => {
    const by = signer(algorithm, 'k', pairFor(algorithm));
    const token = await sign(by, claims());
    const own = rule({ keys: keySet(by) });
    assert.equal(outcome(token, own), 'ok https://id/ann');
    const [header, , signature] = token.split('.');
    assert.equal(outcome(`${header}.${part(claims({ sub: 'eve' }))}.${signature}`, own), '401 Jwt verification fails');
    const [, payload] = token.split('.');
    const longer = part({ alg: algorithm, kid: 'k', x: 1 });
    assert.equal(outcome(`${longer}.${payload}.${signature}`, own), '401 Jwt verification fails');
  });

const hmacWith = (secret: string, header: Claims): string => {
  const input = `${part(header)}.${part(claims())}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
};
const publicPem = rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string;
const attacks: [name: string, token: string | Promise<string>, wanted: string][] = [
  ['alg none', new UnsecuredJWT(claims()).encode(), '401 Jwt header [alg] is not supported'],
  [
    'alg none with a signature',
    `${part({ alg: 'none' })}.${part(claims())}.AAAA`,
    '401 Jwt header [alg] is not supported',
  ],
  ['alg None', `${part({ alg: 'None' })}.${part(claims())}.AAAA`, '401 Jwt header [alg] is not supported'],
  ['no alg', `${part({})}.${part(claims())}.AAAA`, '401 Jwt header [alg] field is required and must be a string'],
  [
    'alg as list',
    `${part({ alg: ['RS256'] })}.${part(claims())}.AAAA`,
    '401 Jwt header [alg] field is required and must be a string',
  ],
  [
    'alg of the prototype',
    `${part({ alg: 'constructor' })}.${part(claims())}.AAAA`,
    '401 Jwt header [alg] is not supported',
  ],
  [
    'HMAC with the public key',
    hmacWith(publicPem, { alg: 'HS256', kid: 'rsa' }),
    '401 Jwt header [alg] is not supported',
  ],
  ['HMAC called RS256', hmacWith(publicPem, { alg: 'RS256', kid: 'rsa' }), '401 Jwt verification fails'],
  [
    'RSA key, elliptic algorithm',
    hmacWith('x', { alg: 'ES256', kid: 'rsa' }),
    "401 Jwks doesn't have key to match kid or alg from Jwt",
  ],
  ['key of somebody else with our kid', sign(other, claims(), { kid: 'rsa' }), '401 Jwt verification fails'],
  ['key of somebody else without kid', sign(other, claims(), { kid: undefined }), '401 Jwt verification fails'],
  ['unknown kid', sign(rsa, claims(), { kid: 'nobody' }), "401 Jwks doesn't have key to match kid or alg from Jwt"],
  [
    'kid as path',
    sign(rsa, claims(), { kid: '../../dev/null' }),
    "401 Jwks doesn't have key to match kid or alg from Jwt",
  ],
  [
    'kid of another type',
    `${part({ alg: 'RS256', kid: { a: 1 } })}.${part(claims())}.AAAA`,
    '401 Jwt header [kid] field is not a string',
  ],
  ['key in the header', sign(other, claims(), { kid: 'rsa', jwk: other.jwk }), '401 Jwt verification fails'],
  [
    'keys by address in the header',
    sign(other, claims(), { kid: 'rsa', jku: 'http://127.0.0.1/k' }),
    '401 Jwt verification fails',
  ],
  [
    'crit',
    `${part({ alg: 'RS256', kid: 'rsa', crit: ['b64'], b64: false })}.${part(claims())}.AAAA`,
    '401 Jwt header [crit] field is not supported',
  ],
  ['expired', sign(rsa, claims({ exp: NOW_S - 61 })), '401 Jwt is expired'],
  ['expired within the skew', sign(rsa, claims({ exp: NOW_S - 60 })), 'ok https://id/ann'],
  ['not yet valid', sign(rsa, claims({ nbf: NOW_S + 61 })), '401 Jwt not yet valid'],
  ['not yet valid within the skew', sign(rsa, claims({ nbf: NOW_S + 60 })), 'ok https://id/ann'],
  ['no expiry', sign(rsa, claims({ exp: undefined })), 'ok https://id/ann'],
  ['expiry as text', sign(rsa, claims({ exp: '9999999999' })), '401 Jwt payload [exp] field is not an integer'],
  ['negative expiry', sign(rsa, claims({ exp: -1 })), '401 Jwt payload [exp] field is not an integer'],
  [
    'infinite expiry',
    sign(rsa, '{"iss":"https://id","sub":"ann","exp":1e999}'),
    '401 Jwt payload [exp] field is not an integer',
  ],
  ['null not-before', sign(rsa, claims({ nbf: null })), '401 Jwt payload [nbf] field is not an integer'],
  ['another issuer', sign(rsa, claims({ iss: 'https://id/' })), '401 Jwt issuer is not configured'],
  ['no issuer', sign(rsa, claims({ iss: undefined })), '401 Jwt issuer is not configured'],
  ['issuer as list', sign(rsa, claims({ iss: ['https://id'] })), '401 Jwt payload [iss] field is not a string'],
  [
    'audience of a wrong type',
    sign(rsa, claims({ aud: [1] })),
    '401 Jwt payload [aud] field is not a string or string list',
  ],
  ['payload as list', sign(rsa, '[]'), '401 Jwt payload is an invalid JSON'],
  ['two parts', 'a.b', '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections'],
  [
    'four parts',
    `${valid}.AAAA`,
    '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  ],
  ['no signature', valid.slice(0, valid.lastIndexOf('.') + 1), '401 Jwt signature is an invalid Base64url encoded'],
  ['half a signature', valid.slice(0, -20), '401 Jwt verification fails'],
  ['padding', `${valid}=`, '401 Jwt signature is an invalid Base64url encoded'],
  ['ordinary base64', valid.replace(/\.[^.]*$/, '.++//'), '401 Jwt signature is an invalid Base64url encoded'],
  ['spaces inside', valid.replace('.', ' .'), '401 Jwt header is an invalid Base64url encoded'],
  ['header without JSON', `AAAA.${valid.split('.')[1]}.AAAA`, '401 Jwt header is an invalid JSON'],
  [
    'header that is not UTF-8',
    `${Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]).toString('base64url')}.e30.AAAA`,
    '401 Jwt header is an invalid JSON',
  ],
  ['huge', `${valid}${'A'.repeat(40_000)}`, '401 Jwt is too long'],
  [
    'deep',
    `${part({ alg: 'RS256' })}.${Buffer.from('['.repeat(20_000)).toString('base64url')}.AAAA`,
    '401 Jwt payload is an invalid JSON',
  ],
];
for (const [name, token, wanted] of attacks)
  test(`a token: ${name}`, async () => assert.equal(outcome(await token), wanted));

test('keys that cannot verify are no keys: symmetric, for encryption, weak', async () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
  const hs = { kty: 'oct', k: Buffer.from('secret').toString('base64url'), alg: 'HS256' };
  assert.equal(
    outcome(hmacWith('secret', { alg: 'HS256' }), rule({ keys: keySet(hs) })),
    '401 Jwt header [alg] is not supported',
  );
  assert.equal(outcome(valid, rule({ keys: keySet({ ...rsa.jwk, use: 'enc' }) })), '401 Jwks remote fetch is failed');
  assert.equal(
    outcome(valid, rule({ keys: keySet(other.publicKey.export({ format: 'jwk' }) as JWK) })),
    '401 Jwt verification fails',
  );
  assert.equal(outcome(valid, rule({ keys: keySet(weak as JWK) })), '401 Jwks remote fetch is failed');
  assert.equal(
    outcome(valid, rule({ keys: keySet({ ...rsa.jwk, alg: 'RS512' }) })),
    "401 Jwks doesn't have key to match kid or alg from Jwt",
  );
  for (const json of ['', 'null', '{}', '{"keys":[null,{"kty":"RSA"}]}'])
    assert.equal(outcome(valid, rule({ keys: { kind: 'set', json } })), '401 Jwks remote fetch is failed');
});

test('keys that could not be had refuse every token', () =>
  assert.equal(outcome(valid, rule({ keys: { kind: 'missing', why: 'timeout' } })), '401 Jwks remote fetch is failed'));

test('audiences: one of the allowed; else 403', async () => {
  const token = await sign(rsa, claims({ aud: ['x', 'https://shop/'] }));
  assert.equal(outcome(token, rule({ audiences: ['shop'] })), 'ok https://id/ann');
  assert.equal(outcome(token, rule({ audiences: ['y'] })), '403 Audiences in Jwt are not allowed');
  assert.equal(outcome(valid, rule({ audiences: ['y'] })), '403 Audiences in Jwt are not allowed');
});

test('the refusal names realm and kind, and never the token', () => {
  const e = exchange(bearer('a.b'), { path: '/p', query: '?access_token=a.b', authority: 'shop"\\.example' });
  const reply = checker(rule()).check(e);
  assert.deepEqual(reply, {
    status: 401,
    headers: [
      { name: 'content-type', value: 'text/plain' },
      { name: 'www-authenticate', value: 'Bearer realm="http://shop__.example/p", error="invalid_token"' },
    ],
    body: 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
    details: 'jwt_authn_access_denied{Jwt_is_not_in_the_form_of_Header.Payload.Signature_with_two_dots_and_3_sections}',
    flag: undefined,
    grpcStatus: undefined,
  });
});

test('several issuers, and several rules for one issuer: any will do', async () => {
  const second = rule({ issuer: 'https://two', keys: keySet(other) });
  assert.equal(outcome(await sign(other, claims({ iss: 'https://two' })), rule(), second), 'ok https://two/ann');
  assert.equal(outcome(valid, second, rule()), 'ok https://id/ann');
  assert.equal(
    outcome(await sign(other, claims()), rule(), second),
    "401 Jwks doesn't have key to match kid or alg from Jwt",
  );
  assert.equal(outcome(valid, rule({ keys: keySet(other) }), rule()), 'ok https://id/ann');
});

test('two prefixes of one header: a line is the token of the longer one', async () => {
  const bare = rule({
    issuer: 'https://two',
    keys: keySet(other),
    from: [{ kind: 'header', name: 'authorization', prefix: '' }],
  });
  const second = await sign(other, claims({ iss: 'https://two' }));
  for (const rules of [
    [rule(), bare],
    [bare, rule()],
  ]) {
    const { check } = checker(...rules);
    assert.equal(check(exchange(bearer(valid))), undefined);
    assert.equal(check(exchange({ authorization: second })), undefined);
    assert.equal(check(exchange(bearer(second)))?.body, 'Jwt issuer is not configured');
  }
});

test('every place counts: a bad token beside a good one refuses', () => {
  const { check } = checker(rule());
  for (const [headers, request] of [
    [{ authorization: [`Bearer ${valid}`, 'Bearer a.b.c'] }, {}],
    [bearer(valid), { query: '?access_token=a.b.c' }],
    [{}, { query: `?access_token=${valid}&access_token=a.b.c` }],
  ] as const)
    assert.equal(check(exchange(headers, request))?.status, 401);
  const many = { authorization: Array.from({ length: 9 }, () => `Bearer ${valid}`) };
  assert.equal(check(exchange(many))?.body, 'Too many Jwts in one request');
});

test('tokens are taken out of the request unless they are forwarded', () => {
  const from: TokenRule['from'] = [
    { kind: 'header', name: 'X-Token', prefix: '' },
    { kind: 'query', name: 't' },
    { kind: 'cookie', name: 'session' },
  ];
  const headers = {
    'X-Token': valid,
    cookie: [`a=1; session=${valid}; flag`, `session=${valid}`],
    authorization: 'Bearer x',
  };
  const request = { query: `?a=%20&t=${valid}&b` };
  const taking = checker(rule({ from }));
  const e = exchange(headers, request);
  assert.equal(taking.check(e), undefined);
  assert.deepEqual(
    [
      e.requestFields.all('x-token'),
      e.requestFields.all('cookie'),
      taking.queries,
      e.requestFields.get('authorization'),
    ],
    [[], ['a=1; flag'], ['?a=%20&b'], 'Bearer x'],
  );
  const forwarding = checker(rule({ from, forward: true }));
  const kept = exchange(headers, request);
  assert.equal(forwarding.check(kept), undefined);
  assert.deepEqual([kept.requestFields.all('x-token'), forwarding.queries], [[valid], []]);
});

test('claims and payload go to headers; what a client put there is gone, with a token or without', async () => {
  const told = rule({
    payloadToHeader: 'x-payload',
    claimsToHeaders: [
      { header: 'X-Sub', claim: 'sub' },
      { header: 'x-n', claim: 'n' },
      { header: 'x-admin', claim: 'realm.admin' },
      { header: 'x-list', claim: 'list' },
      { header: 'x-bad', claim: 'bad' },
      { header: 'x-proto', claim: '__proto__.x' },
      { header: 'x-name', claim: 'name' },
    ],
  });
  const forged = { 'X-Payload': 'evil', 'x-sub': 'root', 'x-admin': 'true', 'x-list': 'evil', 'x-bad': 'evil' };
  const plain = exchange(forged);
  assert.equal(checker(told).check(plain), undefined);
  assert.deepEqual(
    ['x-payload', 'x-sub', 'x-admin', 'x-list', 'x-bad'].filter((name) => plain.requestFields.has(name)),
    [],
  );
  const preflight = exchange({ ...forged, origin: 'o', 'access-control-request-method': 'GET' }, { method: 'OPTIONS' });
  assert.equal(checker(told).check(preflight), undefined);
  assert.equal(preflight.requestFields.has('x-sub'), false);
  const payload = claims({ n: 7, realm: { admin: true }, list: ['a'], bad: 'a\r\nx: y', name: 'Åsa €' });
  const token = await sign(rsa, payload);
  const e = exchange({ ...forged, ...bearer(token) });
  assert.equal(checker(told).check(e), undefined);
  const get = (name: string): string | undefined => e.requestFields.get(name);
  assert.equal(get('x-payload'), token.split('.')[1]);
  assert.deepEqual(
    [get('x-sub'), get('x-n'), get('x-admin'), get('x-list'), get('x-bad'), get('x-proto')],
    ['ann', '7', 'true', undefined, undefined, undefined],
  );
  assert.equal(Buffer.from(get('x-name') ?? '', 'latin1').toString('utf8'), 'Åsa €');
});

test('a rule cannot write what frames the request', async () => {
  const writes = rule({
    payloadToHeader: 'transfer-encoding',
    claimsToHeaders: [
      { header: 'Content-Length', claim: 'n' },
      { header: 'host', claim: 'sub' },
    ],
  });
  const e = exchange({ ...bearer(await sign(rsa, claims({ n: 7 }))), 'content-length': '3', host: 'shop' });
  assert.equal(checker(writes).check(e), undefined);
  assert.deepEqual(
    ['transfer-encoding', 'content-length', 'host'].map((name) => e.requestFields.get(name)),
    [undefined, '3', 'shop'],
  );
});

test('what policies see: principal, presenter, audiences, claims with lists', async () => {
  const token = await sign(rsa, claims({ azp: 'app', aud: 'shop', scope: 'read write', roles: 'a b', other: 'a b' }));
  const e = exchange(bearer(token));
  assert.equal(checker(rule({ spaceDelimitedClaims: ['roles'] })).check(e), undefined);
  assert.deepEqual([e.token?.principal, e.token?.presenter, e.token?.audiences], ['https://id/ann', 'app', ['shop']]);
  assert.deepEqual(
    [e.token?.claims.scope, e.token?.claims.roles, e.token?.claims.other],
    [['read', 'write'], ['a', 'b'], 'a b'],
  );
  assert.equal(outcome(await sign(rsa, claims({ sub: undefined }))), 'ok ');
});

test('CORS preflight passes, an ordinary OPTIONS does not', () => {
  assert.equal(
    checker(rule()).check(
      exchange({ ...bearer('a.b'), origin: '', 'access-control-request-method': 'PUT' }, { method: 'OPTIONS' }),
    )?.status,
    401,
  );
  const preflight = { ...bearer('a.b'), origin: 'https://o', 'access-control-request-method': 'PUT' };
  assert.equal(checker(rule()).check(exchange(preflight, { method: 'OPTIONS' })), undefined);
  assert.equal(checker(rule()).check(exchange(preflight, { method: 'GET' }))?.status, 401);
  assert.equal(checker(rule()).check(exchange(bearer('a.b'), { method: 'OPTIONS' }))?.status, 401);
});

test('a token that was verified is not believed beyond its expiry', () => {
  const { clock, check } = checker(rule());
  assert.equal(check(exchange(bearer(valid))), undefined);
  clock.advance(660_000);
  assert.equal(check(exchange(bearer(valid))), undefined);
  clock.advance(1000);
  assert.equal(check(exchange(bearer(valid)))?.body, 'Jwt is expired');
});

test('a token verified for one place is not believed at another, whose rules differ', () => {
  const other2 = rule({ from: [{ kind: 'header', name: 'x-other', prefix: '' }], issuer: 'https://two' });
  const { check } = checker(rule(), other2);
  assert.equal(check(exchange(bearer(valid))), undefined);
  assert.equal(check(exchange({ 'x-other': valid }))?.body, 'Jwt issuer is not configured');
});

test('any text is read or refused, never thrown', () =>
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc
          .tuple(fc.json(), fc.json(), fc.base64String())
          .map((p) => p.map((x) => Buffer.from(x).toString('base64url')).join('.')),
      ),
      (text) => {
        const read = readJwt(text);
        if (!read.ok) assert.ok(read.error.startsWith('Jwt '));
      },
    ),
  ));
