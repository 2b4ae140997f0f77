import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { applyDefaults, compileRoot } from '../crd/schema.ts';
import { checkAndPrune } from './check.ts';
import { schemaNamed, schemaNames } from './node.ts';

const found = (name: string, value: unknown) => checkAndPrune(schemaNamed(name), value);
const faults = (name: string, value: unknown) => found(name, value).faults.map(({ kind, path }) => `${kind} ${path}`);

test('faults name their field; what is unknown or null is taken out', () => {
  const pod = {
    metadata: { name: 'p', creationTimestamp: null, colour: 'red' },
    spec: {
      containers: [{ name: 'a', image: 1, ports: [{ containerPort: 80.5 }] }],
      restartPolicy: 'Maybe',
      nodeSelector: { a: 1 },
      hostNetwork: 'yes',
    },
  };
  const { value } = found('core.v1.Pod', pod);
  assert.deepEqual((value as { metadata: unknown }).metadata, { name: 'p' });
  assert.deepEqual(faults('core.v1.Pod', pod), [
    'unknown metadata.colour',
    'type spec.containers[0].image',
    'type spec.containers[0].ports[0].containerPort',
    'unsupported spec.restartPolicy',
    'type spec.nodeSelector[a]',
    'type spec.hostNetwork',
  ]);
  assert.deepEqual(faults('core.v1.Pod', { spec: [] }), ['type spec']);
  assert.deepEqual(faults('core.v1.Pod', { spec: { containers: {} } }), ['type spec.containers']);
  assert.deepEqual(faults('apps.v1.DeploymentSpec', {}), ['required selector', 'required template']);
});

test('an object without faults is not copied', () => {
  const pod = { metadata: { name: 'p' }, spec: { containers: [{ name: 'a', image: 'i' }] } };
  assert.equal(found('core.v1.Pod', pod).value, pod);
});

test('any JSON against any type: faults or none, never an exception, and pruning twice is pruning once', () =>
  fc.assert(
    fc.property(fc.constantFrom(...schemaNames()), fc.jsonValue({ maxDepth: 6 }), (name, value) => {
      const once = found(name, value);
      assert.deepEqual(found(name, once.value).value, once.value);
      assert.ok(!found(name, once.value).faults.some(({ kind }) => kind === 'unknown'));
    }),
  ));

const schema = {
  type: 'object',
  required: ['spec'],
  properties: {
    spec: {
      type: 'object',
      properties: {
        size: { type: 'integer', minimum: 1, maximum: 9, default: 3 },
        name: { type: 'string', pattern: '^[a-z]+$', maxLength: 4 },
        ratio: { type: 'number' },
        port: { 'x-kubernetes-int-or-string': true },
        note: { type: 'string', nullable: true },
        tags: { type: 'array', minItems: 1, maxItems: 2, items: { type: 'string' } },
        parts: {
          type: 'object',
          additionalProperties: { type: 'object', properties: { on: { type: 'boolean', default: true } } },
        },
        free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      },
    },
  },
};

test('a definition’s schema: limits, patterns, nullable, maps, free parts', () => {
  const root = compileRoot('example.com.v1.Widget', schema);
  const tell = (spec: unknown) =>
    checkAndPrune(root, { metadata: { name: 'w' }, spec }).faults.map(({ path, detail }) => `${path}: ${detail}`);
  assert.deepEqual(
    tell({
      size: 1,
      name: 'abcd',
      ratio: 0.5,
      port: 'http',
      note: null,
      tags: ['a'],
      parts: { a: { on: false } },
      free: { any: [1] },
    }),
    [],
  );
  assert.deepEqual(tell({ size: 10, name: 'Abcde', tags: [], parts: { a: { off: 1 } } }), [
    'spec.size: should be less than or equal to 9',
    'spec.name: may not be more than 4 bytes',
    "spec.name: should match '^[a-z]+$'",
    'spec.tags: should have at least 1 items',
    'spec.parts[a].off: unknown field "spec.parts[a].off"',
  ]);
  assert.deepEqual(
    checkAndPrune(root, {}).faults.map(({ kind, path }) => [kind, path]),
    [['required', 'spec']],
  );
});

test('defaults go where something is, and only where nothing was said', () => {
  const object = { spec: { parts: { a: {}, b: { on: false } } } };
  applyDefaults(schema, object);
  assert.deepEqual(object, { spec: { size: 3, parts: { a: { on: true }, b: { on: false } } } });
});

test('any schema compiles, and checks anything', () =>
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.jsonValue(), (source, value) => {
      checkAndPrune(compileRoot('x', source), value);
      applyDefaults(source, structuredClone(value));
    }),
  ));
