// The documentation lists our codes as they are.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { AMBIENT_CODES } from './ambient-codes.ts';
import { ISTIO_CODES } from './istio-codes.ts';

const text = readFileSync(join(import.meta.dirname, '../../docs/analyze.md'), 'utf8');

test('every code of ours stands in the table, with its level and name', () => {
  const rows = [...text.matchAll(/^\| <a id="(\w+)"><\/a>(\w+) \| (\w+) \| (\w+) \|/gm)].map(([, id, ...rest]) => {
    assert.equal(id, rest[0]?.toLowerCase());
    return rest.join(' ');
  });
  assert.deepEqual(
    rows,
    Object.entries(AMBIENT_CODES).map(([code, { level, name }]) => `${code} ${level} ${name}`),
  );
});

test("the list of Istio's codes is the list of those that are raised", () => {
  const [, listed = ''] = /^Raised: IST(.*?);/ms.exec(text) ?? [];
  const numbers = listed.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.trim().split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => `IST${String(from + i).padStart(4, '0')}`);
  });
  const raised = new Set(Object.keys(ISTIO_CODES));
  assert.deepEqual(
    [...raised].filter((code) => !numbers.includes(code)),
    [],
    'raised and not listed',
  );
  assert.deepEqual(
    numbers.filter((code) => !raised.has(code)),
    [],
    'listed and not raised',
  );
});
