import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KubeError, type KubeObject } from '../../client/types.ts';
import { schemaNamed } from '../schema/node.ts';
import { compare } from './compare.ts';
import { difference, type FieldSet, fieldsOf, intersection, isEmpty, isFieldSet, pathsOf, union } from './field-set.ts';
import { applyConfiguration, ownershipAfterUpdate, type Writer, writerOf } from './managed-fields.ts';

const schema = schemaNamed('apps.v1.Deployment');
const kind = { group: 'apps', status: true };
const at = (manager: string, second = 0): Writer =>
  writerOf(kind, 'v1', manager, new Date(Date.UTC(2026, 0, 1, 0, 0, second)));

const deployment = (spec: object, labels?: Record<string, string>): KubeObject =>
  ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', ...(labels && { labels }) },
    spec,
  }) as KubeObject;
const containers = (...list: object[]) => ({ template: { spec: { containers: list } } });
const specOf = (object: KubeObject) => (object as { spec?: Record<string, unknown> }).spec;

test('fields are leaves; items are by their keys, with defaults; selectors are whole', () => {
  const object = deployment({
    selector: { matchLabels: { a: 'b' } },
    ...containers({ name: 'app', ports: [{ containerPort: 80 }], args: ['x'] }),
  });
  assert.deepEqual(
    pathsOf(fieldsOf(schema, object)).filter((path) => path.startsWith('.spec')),
    [
      '.spec.selector',
      '.spec.template.spec.containers[name="app"]',
      '.spec.template.spec.containers[name="app"].name',
      '.spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"]',
      '.spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"].containerPort',
      '.spec.template.spec.containers[name="app"].args',
    ],
  );
});

test('what changed and what is gone', () => {
  const before = deployment({
    replicas: 1,
    paused: true,
    ...containers({ name: 'a', image: 'x' }, { name: 'b', image: 'y' }),
  });
  const now = deployment(
    { replicas: 2, ...containers({ name: 'b', image: 'y' }, { name: 'a', image: 'z' }) },
    { l: '1' },
  );
  const { changed, removed } = compare(schema, before, now);
  assert.deepEqual(pathsOf(changed), [
    '.metadata.labels.l',
    '.spec.replicas',
    '.spec.template.spec.containers[name="a"].image',
  ]);
  assert.deepEqual(pathsOf(removed), ['.spec.paused']);
});

test('two appliers: each owns what it applied, agreeing is no conflict, disagreeing is one that names the field', () => {
  const first = applyConfiguration(schema, undefined, deployment({ replicas: 1, paused: false }), at('one'), false);
  const second = applyConfiguration(schema, first, deployment({ replicas: 1, minReadySeconds: 3 }), at('two'), false);
  assert.deepEqual(specOf(second), { replicas: 1, paused: false, minReadySeconds: 3 });
  assert.throws(
    () => applyConfiguration(schema, second, deployment({ replicas: 5, paused: true }), at('two'), false),
    (error) => {
      assert.ok(error instanceof KubeError);
      assert.equal(
        error.message,
        'Apply failed with 2 conflicts: conflicts with "one" using apps/v1:\n- .spec.replicas\n- .spec.paused',
      );
      assert.deepEqual((error.details as { causes: unknown }).causes, [
        { reason: 'FieldManagerConflict', message: 'conflict with "one" using apps/v1', field: '.spec.replicas' },
        { reason: 'FieldManagerConflict', message: 'conflict with "one" using apps/v1', field: '.spec.paused' },
      ]);
      return true;
    },
  );
  const forced = applyConfiguration(schema, second, deployment({ replicas: 5 }), at('two'), true);
  assert.deepEqual(specOf(forced), { replicas: 5, paused: false }, 'and what it no longer applies goes');
  const given = applyConfiguration(schema, forced, deployment({ paused: false }), at('one'), false);
  assert.deepEqual(specOf(given), { replicas: 5, paused: false }, 'it lost replicas and gives up nothing');
});

test('leaving an item out removes it, unless another manager has something in it', () => {
  const both = deployment(containers({ name: 'app', image: 'i' }, { name: 'side', image: 's' }));
  const only = deployment(containers({ name: 'app', image: 'i' }));
  const live = applyConfiguration(schema, undefined, both, at('me'), false);
  const names = (object: KubeObject) => JSON.stringify(specOf(object));
  assert.equal(names(applyConfiguration(schema, live, only, at('me'), false)), names(only));
  const helped = {
    ...live,
    ...deployment(containers({ name: 'app', image: 'i' }, { name: 'side', image: 's', tty: true })),
  };
  const owned = {
    ...helped,
    metadata: {
      ...helped.metadata,
      managedFields: ownershipAfterUpdate(schema, live, helped, at('helper'), undefined),
    },
  };
  assert.equal(
    names(applyConfiguration(schema, owned, only, at('me'), false)),
    names(deployment(containers({ name: 'app', image: 'i' }, { tty: true }))),
  );
});

test('an update takes what it changes from everybody; nothing changed is nothing owned anew', () => {
  const live = applyConfiguration(schema, undefined, deployment({ replicas: 1, paused: false }), at('applier'), false);
  const scaled = { ...live, ...deployment({ replicas: 3, paused: false }) };
  const managedFields = ownershipAfterUpdate(schema, live, scaled, at('scaler', 5), undefined) as {
    manager: string;
    operation: string;
    fieldsV1: FieldSet;
  }[];
  assert.deepEqual(
    managedFields.map(({ manager, operation, fieldsV1 }) => [manager, operation, pathsOf(fieldsV1)]),
    [
      ['applier', 'Apply', ['.spec.paused']],
      ['scaler', 'Update', ['.spec.replicas']],
    ],
  );
  const stored = { ...scaled, metadata: { ...scaled.metadata, managedFields } };
  assert.deepEqual(
    ownershipAfterUpdate(schema, stored, stored, at('scaler', 9), undefined),
    managedFields,
    'not even the time',
  );
  assert.deepEqual(ownershipAfterUpdate(schema, stored, stored, at('kubectl'), []), [], 'an empty list gives all up');
});

test('more than ten updaters share an entry', () => {
  let object = deployment({});
  for (let i = 0; i < 14; i++) {
    const next = deployment({}, { ...object.metadata?.labels, [`l${i}`]: 'x' });
    next.metadata = {
      ...next.metadata,
      managedFields: ownershipAfterUpdate(schema, object, next, at(`m${i}`, i), undefined),
    };
    object = next;
  }
  const entries = (object.metadata?.managedFields ?? []) as { manager: string }[];
  const managers = entries.map(({ manager }) => manager);
  assert.equal(managers.length, 10);
  assert.ok(managers.includes('ancient-changes'));
});

const sets = fc.letrec<{ set: FieldSet }>((tie) => ({
  set: fc.dictionary(
    fc.constantFrom('f:a', 'f:b', 'k:{"n":1}'),
    fc.oneof({ depthSize: 'small' }, fc.constant({}), tie('set')),
    { maxKeys: 3 },
  ),
})).set;

test('sets: union, difference and intersection agree with sets of paths', () =>
  fc.assert(
    fc.property(sets, sets, (a, b) => {
      const [left, right] = [new Set(pathsOf(a)), new Set(pathsOf(b))];
      const same = (set: FieldSet, want: string[]) => assert.deepEqual(new Set(pathsOf(set)), new Set(want));
      same(union(a, b), [...left, ...right]);
      same(
        difference(a, b),
        [...left].filter((path) => !right.has(path)),
      );
      same(
        intersection(a, b),
        [...left].filter((path) => right.has(path)),
      );
      assert.ok(isFieldSet(union(a, b)) && isEmpty(difference(a, union(a, b))));
    }),
  ));
