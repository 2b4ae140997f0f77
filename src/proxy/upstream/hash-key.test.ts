import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request } from '../../model/http/testing/builders.ts';
import { ip } from '../../model/testing/builders.ts';
import { Fields } from '../../wire/http1/index.ts';
import type { Exchange } from '../contracts.ts';
import { cookieOf, hashOf } from './hash-key.ts';
import { client, seeded } from './testing.ts';

function exchange(headers: Readonly<Record<string, string>>, query = '', remoteIp?: string): Exchange {
  const requestFields = new Fields();
  for (const [name, value] of Object.entries(headers)) requestFields.append(name, value);
  const of = request({ query, remoteIp: remoteIp === undefined ? undefined : ip(remoteIp) });
  return { request: of, requestFields } as unknown as Exchange;
}
const cookie = { kind: 'cookie', name: 'user', path: '/shop', ttlMs: 90_000, attributes: [] } as const;

test('header, query and address: the same text, the same hash; nothing to go by, none', () => {
  const by = (key: Parameters<typeof hashOf>[0], of: Exchange | undefined) => hashOf(key, client(), of, seeded(1)).hash;
  const header = { kind: 'header', name: 'X-User' } as const;
  assert.equal(by(header, exchange({ 'x-user': 'jane' })), by(header, exchange({ 'X-USER': 'jane' })));
  assert.notEqual(by(header, exchange({ 'x-user': 'jane' })), by(header, exchange({ 'x-user': 'joe' })));
  assert.equal(by(header, exchange({})), undefined);
  assert.equal(by(header, undefined), undefined, 'a plain connection has no header');
  const query = { kind: 'query', name: 'id' } as const;
  assert.equal(by(query, exchange({}, '?a=1&id=7')), by(query, exchange({}, '?id=7')));
  assert.equal(by(query, exchange({}, '')), undefined);
  const sourceIp = { kind: 'sourceIp' } as const;
  assert.notEqual(
    by(sourceIp, exchange({}, '', '192.0.2.1')),
    by(sourceIp, exchange({})),
    'the original client counts',
  );
  assert.notEqual(by(sourceIp, undefined), undefined);
});

test('a cookie is read, or made with its path, time to live and attributes', () => {
  const read = hashOf(cookie, client(), exchange({ cookie: 'a=1; user="abc"' }), seeded(1));
  assert.equal(read.setCookie, undefined);
  assert.notEqual(read.hash, undefined);
  const made = hashOf(cookie, client(), exchange({}), seeded(1));
  assert.match(made.setCookie ?? '', /^user="[0-9a-f]{16}"; Max-Age=90; Path=\/shop; HttpOnly$/);
  const value = /"(.*?)"/.exec(made.setCookie ?? '')?.[1];
  assert.equal(hashOf(cookie, client(), exchange({ cookie: `user=${value}` }), seeded(2)).hash, made.hash, 'it sticks');
  const attributes = [
    { name: 'SameSite', value: 'Strict' },
    { name: 'Secure', value: '' },
  ];
  const session = hashOf({ ...cookie, ttlMs: 0, path: '', attributes }, client(), exchange({}), seeded(1));
  assert.match(session.setCookie ?? '', /^user="[0-9a-f]{16}"; SameSite=Strict; Secure; HttpOnly$/);
  const given = hashOf({ ...cookie, ttlMs: undefined }, client(), exchange({}), seeded(1));
  assert.deepEqual(given, { hash: undefined, setCookie: undefined });
});

test('cookies: the first of the name, of several fields, odd ones are passed over', () => {
  assert.equal(cookieOf(['x; user2=1; user=a=b', 'user=c'], 'user'), 'a=b');
  assert.equal(cookieOf(['y=1', ' user = "q" '], 'user'), 'q');
  assert.equal(cookieOf([], 'user'), undefined);
});
