import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseSpiffeId } from './identity.ts';
import { cidrContains, formatHostPort, ipBytes, ipFromBytes, parseCidr, parseIp } from './ip.ts';
import { cidr, ip } from './testing/builders.ts';

const bytes = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }));

test('bytes to text and back: the same address', () =>
  fc.assert(
    fc.property(bytes, (raw) => {
      const address = ipFromBytes(raw);
      assert.ok(address !== undefined);
      assert.deepEqual(ip(address), address, 'canonical text parses to itself');
      assert.deepEqual(ipFromBytes(ipBytes(address)), address);
    }),
    { numRuns: 1000 },
  ));
const canonical: readonly [string, string][] = [
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['::FFFF:0a00:0001', '10.0.0.1'],
  ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['1::', '1::'],
  ['::1.2.3.4', '::102:304'],
];
for (const [text, want] of canonical) test(`${text} is ${want}`, () => assert.equal(ip(text), want));
for (const text of [
  '',
  '1.2.3',
  '1.2.3.4.5',
  '01.2.3.4',
  '256.1.1.1',
  '1.2.3.-4',
  ':::',
  '1::2::3',
  '12345::',
  '1:2:3:4:5:6:7:8:9',
  '::1%eth0',
  'g::',
  '1.2.3.4:80',
  ' 1.2.3.4',
])
  test(`\`${text}\` is no address`, () => assert.equal(parseIp(text).ok, false));
test('ranges hold by their bits', () => {
  assert.equal(cidrContains(cidr('10.1.0.0/15'), ip('10.0.255.255')), true);
  assert.equal(cidrContains(cidr('10.1.0.0/15'), ip('10.2.0.0')), false);
  assert.equal(cidrContains(cidr('0.0.0.0/0'), ip('fd00::1')), false);
  assert.equal(cidrContains(cidr('fd00::/7'), ip('fc01::')), true);
  for (const text of ['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0.0/8/8', '::/129', 'x/8'])
    assert.equal(parseCidr(text).ok, false, text);
});
test('addresses with ports', () => {
  assert.equal(formatHostPort({ ip: ip('10.0.0.1'), port: 80 }), '10.0.0.1:80');
  assert.equal(formatHostPort({ ip: ip('::1'), port: 80 }), '[::1]:80');
});
test('SPIFFE ids: exactly five parts', () => {
  assert.deepEqual(parseSpiffeId('spiffe://td/ns/a/sa/b'), {
    ok: true,
    value: { trustDomain: 'td', namespace: 'a', serviceAccount: 'b' },
  });
  for (const text of [
    'td/ns/a/sa/b',
    'spiffe://td/ns/a/sa/b/c',
    'spiffe://td/ns/a/sa',
    'spiffe://td/xx/a/sa/b',
    'spiffe:///ns/a/sa/b',
    'spiffe://td/ns//sa/b',
    'SPIFFE://td/ns/a/sa/b',
  ])
    assert.equal(parseSpiffeId(text).ok, false, text);
});
