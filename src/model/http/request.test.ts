import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { authorize } from '../authorize.ts';
import { concreteFacts } from '../connection.ts';
import { plainWorld } from '../plain-world.ts';
import { somePolicy, someWorkload } from '../testing/arbitrary.ts';
import { checkedRegex, compileRegex } from './regex.ts';
import { claimField, claimPath, hostOf, isManyValued, requestFacts } from './request.ts';
import { someRequest } from './testing/arbitrary.ts';
import { lines, request } from './testing/builders.ts';
import { pathPrefixOf } from './text.ts';

test('answers about a request are answers about its connection: L4 policies judge alike by both', () => {
  let denied = 0;
  fc.assert(
    fc.property(fc.array(somePolicy, { maxLength: 4 }), someWorkload, someRequest, (policies, destination, r) => {
      const world = plainWorld('', [], [], policies);
      const l4 = authorize(world, destination, concreteFacts(r.connection));
      assert.deepEqual(authorize(world, destination, requestFacts(r)), l4);
      if (l4.effect === 'deny') denied++;
    }),
    { numRuns: 400 },
  );
  assert.ok(denied > 20, `only ${denied} denied`);
});

test('host of an authority', () => {
  const hosts = ['a.b', 'a.b:80', '[fd00::1]', '[fd00::1]:80', ''].map(hostOf);
  assert.deepEqual(hosts, ['a.b', 'a.b', 'fd00::1', 'fd00::1', '']);
});
test('the path of a claim is read back as it was written', () => {
  const field = claimField(['realm.access', 'roles/x']);
  assert.equal(field, 'request.claim:[realm.access][roles/x]');
  assert.ok(isManyValued(field));
  assert.deepEqual(claimPath(field), ['realm.access', 'roles/x']);
});
test('path prefixes lose their slashes at the end', () => {
  assert.deepEqual(['/', '/a', '/a/', '/a//'].map(pathPrefixOf), ['', '/a', '/a', '/a']);
});
test('predicates about lines hold for headers alone', () => {
  const facts = requestFacts(request({ method: 'GET', headers: lines({ a: ['GET'] }) }));
  const predicate = { kind: 'someLine', anyOf: [{ kind: 'exact', value: 'GET' }] } as const;
  assert.deepEqual([facts.test('request.method', predicate), facts.test('request.header:a', predicate)], [false, true]);
});

test('regular expressions: the whole text, RE2 syntax', () => {
  const holds = (pattern: string, text: string): boolean => checkedRegex(pattern)(text);
  assert.deepEqual(
    [holds('a|ab', 'ab'), holds('b', 'abc'), holds('(?i)AB', 'ab'), holds('[[:alpha:]]+', 'abc'), holds('.*', '')],
    [true, false, true, true, true],
  );
});
test('regular expressions: what RE2 does not know is refused, and never matches by mistake', () => {
  for (const pattern of ['(', '(a)\\1', '(?=a)', 'a**', 'x'.repeat(1025)]) {
    assert.equal(compileRegex(pattern).ok, false, pattern.slice(0, 20));
    assert.throws(() => checkedRegex(pattern)('a'));
  }
});
test('regular expressions: patterns that make backtracking engines run for ever end at once', () => {
  const before = process.cpuUsage();
  for (const pattern of ['(a+)+b', '(a|a)*b', '(a|aa)+b', '(.*)*b'])
    assert.equal(checkedRegex(pattern)('a'.repeat(4096)), false);
  const { user } = process.cpuUsage(before);
  assert.ok(user < 2_000_000, `${user} µs`);
});
