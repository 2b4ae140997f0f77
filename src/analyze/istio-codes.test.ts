// Istio's codes: each with a manifest that raises it, and what cures it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { analyze } from './analyze.ts';
import { ANALYZERS } from './analyzers.ts';
import { CODES, type Code } from './codes.ts';
import { ISTIO_CODES } from './istio-codes.ts';
import type { Report } from './message.ts';
import { ISTIO_CASES } from './testing/istio-cases.ts';
import { resourcesOf, testCase } from './testing/messages.ts';
import type { World } from './world.ts';

for (const one of ISTIO_CASES) testCase(one);

test('every code of Istio that we raise has a case', () => {
  const tested = new Set<Code>(['IST0001', ...ISTIO_CASES.map(({ code }) => code)]);
  assert.deepEqual(
    Object.keys(ISTIO_CODES).filter((code) => !tested.has(code as Code)),
    [],
  );
});

test('every code is declared by an analyzer, and analyzers have names of their own', () => {
  const declared = new Set<string>(['IST0001', ...ANALYZERS.flatMap(({ codes }) => codes)]);
  assert.deepEqual(
    Object.keys(CODES).filter((code) => !declared.has(code)),
    [],
  );
  assert.equal(new Set(ANALYZERS.map(({ name }) => name)).size, ANALYZERS.length);
});

test('an analyzer reports only codes that it declares', () => {
  const undeclared: string[] = [];
  const watched = ANALYZERS.map((analyzer) => ({
    ...analyzer,
    analyze(world: World, report: Report) {
      const guarded: Report = (code, resource, field, ...parameters) => {
        if (!(analyzer.codes as readonly string[]).includes(code)) undeclared.push(`${analyzer.name} reports ${code}`);
        report(code, resource, field, ...parameters);
      };
      analyzer.analyze(world, guarded);
    },
  }));
  for (const { yaml, live } of ISTIO_CASES) analyze(resourcesOf(yaml, live), { analyzers: watched });
  assert.deepEqual(undeclared, []);
});

test('IST0001: an analyzer that fails is told, and the others go on', () => {
  const broken = { name: 'broken', description: '', codes: [], analyze: () => assert.fail('oops') };
  const messages = analyze(resourcesOf('{apiVersion: v1, kind: Namespace, metadata: {name: shop}}'), {
    analyzers: [broken, ...ANALYZERS],
  });
  assert.deepEqual(messages.map(({ code, text }) => `${code} ${text}`).slice(0, 1), [
    'IST0001 the analysis itself failed: broken: oops',
  ]);
  assert.ok(messages.some(({ code }) => code === 'IST0102'));
});
