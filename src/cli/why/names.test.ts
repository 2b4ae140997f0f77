import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../failure.ts';
import { parseReference, parseTarget } from './names.ts';

const cases = [
  ['payment-service', { kind: 'any', name: 'payment-service', namespace: undefined }, undefined],
  ['payment-service:80', { kind: 'any', name: 'payment-service', namespace: undefined }, 80],
  ['payment-service:http', { kind: 'any', name: 'payment-service', namespace: undefined }, 'http'],
  ['payment.bank', { kind: 'any', name: 'payment.bank', namespace: undefined }, undefined],
  ['bank/payment:80', { kind: 'any', name: 'payment', namespace: 'bank' }, 80],
  ['deploy/shopper', { kind: 'deployment', name: 'shopper', namespace: undefined }, undefined],
  ['pods/a.shop:81', { kind: 'pod', name: 'a', namespace: 'shop' }, 81],
  ['svc/a', { kind: 'service', name: 'a', namespace: undefined }, undefined],
  ['api.example.com:443', { kind: 'any', name: 'api.example.com', namespace: undefined }, 443],
  ['10.0.0.1', { kind: 'ip', ip: '10.0.0.1' }, undefined],
  ['10.0.0.1:80', { kind: 'ip', ip: '10.0.0.1' }, 80],
  ['fd00::1', { kind: 'ip', ip: 'fd00::1' }, undefined],
  ['[fd00::1]', { kind: 'ip', ip: 'fd00::1' }, undefined],
  ['[fd00::1]:80', { kind: 'ip', ip: 'fd00::1' }, 80],
] as const;
for (const [text, reference, port] of cases)
  test(`\`${text}\``, () => assert.deepEqual(parseTarget(text), { reference, port }));

for (const text of ['', 'a/b/c', '/a', 'deploy/', 'a b', 'a:', 'a:0', 'a:65536', 'a:8_0', ':80', 'Payment', 'a/:80'])
  test(`\`${text}\` is refused`, () =>
    assert.throws(
      () => parseTarget(text),
      (error) => error instanceof Failure && error.exitCode === 2,
    ));

test('a source has no port', () => assert.throws(() => parseReference('shopper:80'), Failure));
