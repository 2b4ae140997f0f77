import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KubeError } from '../../client/types.ts';
import { schemaNamed } from '../schema/node.ts';
import { applyJsonPatch } from './json-patch.ts';
import { applyMergePatch } from './merge-patch.ts';
import { applyStrategicPatch } from './strategic.ts';

test('JSON patch: each operation of RFC 6902', () => {
  const from = { a: { b: [1, 2], 'x/y': 1, '~': 2 } };
  const apply = (...patch: unknown[]) => applyJsonPatch(from, patch);
  assert.deepEqual(apply({ op: 'add', path: '/a/b/1', value: 9 }), { a: { b: [1, 9, 2], 'x/y': 1, '~': 2 } });
  assert.deepEqual(apply({ op: 'add', path: '/a/b/-', value: 9 }), { a: { b: [1, 2, 9], 'x/y': 1, '~': 2 } });
  assert.deepEqual(apply({ op: 'remove', path: '/a/x~1y' }), { a: { b: [1, 2], '~': 2 } });
  assert.deepEqual(apply({ op: 'replace', path: '/a/~0', value: 3 }), { a: { b: [1, 2], 'x/y': 1, '~': 3 } });
  assert.deepEqual(apply({ op: 'move', from: '/a/b/0', path: '/c' }), { a: { b: [2], 'x/y': 1, '~': 2 }, c: 1 });
  assert.deepEqual(apply({ op: 'copy', from: '/a/b', path: '/c' }), { ...from, c: [1, 2] });
  assert.deepEqual(apply({ op: 'test', path: '/a/b', value: [1, 2] }), from);
  assert.deepEqual(from, { a: { b: [1, 2], 'x/y': 1, '~': 2 } }, 'the original is untouched');
});

const refused: [name: string, patch: unknown, code: number][] = [
  ['a path that is not there', [{ op: 'remove', path: '/b' }], 422],
  ['a failed test', [{ op: 'test', path: '/a', value: 2 }], 422],
  ['an index beyond the end', [{ op: 'add', path: '/l/5', value: 1 }], 422],
  ['moving into itself', [{ op: 'move', from: '/o', path: '/o/x' }], 422],
  ['an unknown operation', [{ op: 'merge', path: '/a' }], 400],
  ['something that is no list', { op: 'remove' }, 400],
  ['a pointer without a slash', [{ op: 'remove', path: 'a' }], 400],
  ['a pointer to the prototype', [{ op: 'add', path: '/__proto__/x', value: 1 }], 400],
];
for (const [name, patch, code] of refused)
  test(`JSON patch refuses ${name}`, () =>
    assert.throws(() => applyJsonPatch({ a: 1, l: [], o: {} }, patch), { code }));

test('any JSON patch applies or is a KubeError', () =>
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          op: fc.constantFrom('add', 'remove', 'copy', 'move', 'test', 'replace', 'x'),
          path: fc.string(),
          from: fc.string(),
          value: fc.jsonValue(),
        }),
      ),
      (patch) => {
        try {
          applyJsonPatch({ a: { b: [1] } }, patch);
        } catch (error) {
          assert.ok(error instanceof KubeError, String(error));
        }
      },
    ),
  ));

test('merge patch: the example of RFC 7386', () => {
  const from = { title: 'Goodbye!', author: { givenName: 'John', familyName: 'Doe' }, tags: ['example'], content: 'x' };
  const patch = { title: 'Hello!', phone: '1', author: { familyName: null }, tags: ['sample'] };
  assert.deepEqual(applyMergePatch(from, patch), {
    title: 'Hello!',
    author: { givenName: 'John' },
    tags: ['sample'],
    content: 'x',
    phone: '1',
  });
  assert.deepEqual(applyMergePatch({ a: 'b' }, { a: { b: null, c: 1 } }), { a: { c: 1 } });
});

const pod = {
  metadata: { finalizers: ['a', 'b'] },
  spec: {
    containers: [
      {
        name: 'app',
        image: 'one',
        env: [
          { name: 'A', value: '1' },
          { name: 'B', value: '2' },
        ],
      },
      { name: 'side', image: 'two' },
    ],
    tolerations: [{ key: 'x' }],
  },
};
const strategic: [name: string, patch: unknown, want: unknown][] = [
  [
    'items merge by their key, new ones come last',
    {
      spec: {
        containers: [
          { name: 'app', image: 'three' },
          { name: 'new', image: 'n' },
        ],
      },
    },
    {
      ...pod,
      spec: {
        ...pod.spec,
        containers: [
          { ...pod.spec.containers[0], image: 'three' },
          pod.spec.containers[1],
          { name: 'new', image: 'n' },
        ],
      },
    },
  ],
  [
    '$patch: delete takes one item out, $setElementOrder orders what is left',
    {
      spec: {
        $setElementOrder$: 0,
        '$setElementOrder/containers': [{ name: 'new' }, { name: 'app' }],
        containers: [{ name: 'side', $patch: 'delete' }, { name: 'new' }],
      },
    },
    { ...pod, spec: { ...pod.spec, containers: [{ name: 'new' }, pod.spec.containers[0]] } },
  ],
  [
    'a list inside an item merges by its own key; null removes a field',
    { spec: { containers: [{ name: 'app', image: null, env: [{ name: 'B', value: '3' }] }] } },
    {
      ...pod,
      spec: {
        ...pod.spec,
        containers: [
          {
            name: 'app',
            env: [
              { name: 'A', value: '1' },
              { name: 'B', value: '3' },
            ],
          },
          pod.spec.containers[1],
        ],
      },
    },
  ],
  [
    'a list without a key is replaced',
    { spec: { tolerations: [{ key: 'y' }] } },
    { ...pod, spec: { ...pod.spec, tolerations: [{ key: 'y' }] } },
  ],
  [
    'a list of plain values is a set',
    { metadata: { finalizers: ['b', 'c'] } },
    { ...pod, metadata: { finalizers: ['a', 'b', 'c'] } },
  ],
  [
    '$deleteFromPrimitiveList',
    { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'] } },
    { ...pod, metadata: { finalizers: ['b'] } },
  ],
  [
    '$patch: replace of a list',
    { spec: { containers: [{ name: 'only' }, { $patch: 'replace' }] } },
    { ...pod, spec: { ...pod.spec, containers: [{ name: 'only' }] } },
  ],
  ['$patch: replace of an object', { spec: { $patch: 'replace', nodeName: 'n' } }, { ...pod, spec: { nodeName: 'n' } }],
];
for (const [name, patch, want] of strategic)
  test(`strategic merge: ${name}`, () =>
    assert.deepEqual(applyStrategicPatch(schemaNamed('core.v1.Pod'), pod, patch), want));

test('strategic merge: $retainKeys drops the members of a union that are not named', () => {
  const deployment = { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } };
  const patch = { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } };
  assert.deepEqual(applyStrategicPatch(schemaNamed('apps.v1.Deployment'), deployment, patch), {
    spec: { strategy: { type: 'Recreate' } },
  });
});

test('strategic merge refuses items without their key and unknown directives', () => {
  const schema = schemaNamed('core.v1.Pod');
  assert.throws(() => applyStrategicPatch(schema, pod, { spec: { containers: [{ image: 'x' }] } }), { code: 400 });
  assert.throws(() => applyStrategicPatch(schema, pod, { spec: { $patch: 'swap' } }), { code: 400 });
  assert.throws(() => applyStrategicPatch(schema, pod, []), { code: 400 });
});
