import assert from 'node:assert/strict';
import { test } from 'node:test';
import { grpcTimeoutMs } from './timeout.ts';

test('a timeout is digits and a unit; anything else is none', () => {
  for (const [text, ms] of [
    ['1S', 1000],
    ['250m', 250],
    ['5u', 1],
    ['1n', 1],
    ['2M', 120_000],
    ['1H', 3_600_000],
    ['0S', 0],
    ['x', undefined],
    ['', undefined],
    ['1', undefined],
    ['-1S', undefined],
    ['123456789S', undefined],
  ] as const)
    assert.equal(grpcTimeoutMs(text), ms, text);
  assert.equal(grpcTimeoutMs(undefined), undefined);
});
