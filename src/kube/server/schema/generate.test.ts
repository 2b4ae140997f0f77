import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatSchemas, generateSchemas } from './generate.ts';
import { schemaNamed, schemaNames } from './node.ts';

test('gen/schemas.json is what the generator makes', () => {
  const kept = readFileSync(join(import.meta.dirname, '../gen/schemas.json'), 'utf8');
  assert.ok(
    kept === formatSchemas(generateSchemas()),
    'run `node src/kube/server/schema/generate.ts` and commit the result',
  );
});

test('every schema can be built, and every reference leads somewhere', () => {
  for (const name of schemaNames())
    assert.ok(schemaNamed(name).fields.size > 0 || EMPTY.has(name), `${name} has no fields`);
});

/** Messages that have no fields in their API. */
const EMPTY = new Set(['apiextensions.k8s.io.v1.CustomResourceSubresourceStatus']);
