// What the flags of `ambit analyze` mean, and which mean nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../failure.ts';
import { type AnalyzeFlags, planOf } from './flags.ts';

const DEFAULTS: AnalyzeFlags = {
  useKube: true,
  failureThreshold: 'Error',
  outputThreshold: 'Info',
  output: 'log',
  timeout: '30s',
};

test('the live mesh: one namespace unless all are asked for; files alone: all unless one is', () => {
  const scope = (flags: Partial<AnalyzeFlags>, files: string[] = []): string | undefined =>
    planOf(files, { ...DEFAULTS, ...flags }).scope;
  assert.equal(scope({}), 'default');
  assert.equal(scope({ namespace: 'shop' }), 'shop');
  assert.equal(scope({ allNamespaces: true }), undefined);
  assert.equal(scope({ useKube: false }, ['a.yaml']), undefined);
  assert.equal(scope({ useKube: false, namespace: 'shop' }, ['a.yaml']), 'shop');
});

test('files come as arguments and by -f; levels in any case; analyzers and suppressions are looked up', () => {
  const plan = planOf(['a'], {
    ...DEFAULTS,
    filename: ['b'],
    failureThreshold: 'warning',
    analyzer: ['ambient.RouteAnalyzer'],
    suppress: ['IST0102=Namespace *'],
    timeout: '1m',
  });
  assert.deepEqual([plan.paths, plan.failAt, plan.timeoutMs], [['a', 'b'], 'Warning', 60_000]);
  assert.deepEqual(
    plan.analyzers?.map(({ name }) => name),
    ['ambient.RouteAnalyzer'],
  );
  assert.deepEqual(plan.suppressions, [{ code: 'IST0102', kind: 'Namespace', name: '*' }]);
});

const REFUSED: readonly (readonly [string, Partial<AnalyzeFlags>])[] = [
  ['nothing to analyse', { useKube: false }],
  ['an output nobody knows', { output: 'xml' }],
  ['an analyzer nobody knows', { analyzer: ['none'] }],
  ['a suppression that is none', { suppress: ['x'] }],
  ['a level nobody knows', { failureThreshold: 'Bad' }],
  ['another', { outputThreshold: '' }],
  ['a time that is none', { timeout: 'soon' }],
];
for (const [name, flags] of REFUSED)
  test(`refused with exit code 2: ${name}`, () =>
    assert.throws(
      () => planOf([], { ...DEFAULTS, ...flags }),
      (error) => error instanceof Failure && error.exitCode === 2,
    ));
