import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_MESH_CONFIG, parseMeshConfig } from './objects/mesh.ts';
import type { Json, Labels } from './read.ts';
import { ambientOf } from './testing.ts';

const space = (name: string, labels: Labels = {}): Json => ({ kind: 'Namespace', metadata: { name, labels } });
const service = (namespace: string): Json => ({ kind: 'Service', metadata: { name: 'web', namespace }, spec: {} });
const policy = (labels: Labels): Json => ({
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace: 'a', labels },
  spec: {},
});

test('namespaces that no discovery selector picks are not seen, the root namespace included', () => {
  const objects = [space('a', { seen: 'yes' }), space('b'), service('a'), service('b'), service('unknown')];
  const keys = (mesh: Json): readonly string[] =>
    [...ambientOf(objects, {}, mesh).services.values()].map((s) => s.namespace);
  assert.deepEqual(keys({}), ['a', 'b', 'unknown']);
  assert.deepEqual(keys({ discoverySelectors: [{ matchLabels: { seen: 'yes' } }] }), ['a']);
  const either = [{ matchLabels: { seen: 'yes' } }, { matchExpressions: [{ key: 'seen', operator: 'DoesNotExist' }] }];
  assert.deepEqual(keys({ discoverySelectors: either }), ['a', 'b']);
});

test('a namespace that gets the label appears with everything in it', () => {
  const mesh = { discoverySelectors: [{ matchLabels: { seen: 'yes' } }] };
  const ambient = ambientOf([space('a'), service('a')], {}, mesh);
  assert.equal(ambient.services.size, 0);
  ambient.inputs.set('namespaces', 'a', space('a', { seen: 'yes' }));
  ambient.graph.flush();
  assert.equal(ambient.services.size, 1);
});

test('objects of another revision are left to it; tags count as the revision', () => {
  const size = (labels: Labels, revisions?: readonly string[]): number =>
    ambientOf([policy(labels)], revisions && { revisions: new Set(revisions) }).policies.size;
  assert.equal(size({}), 1);
  assert.equal(size({ 'istio.io/rev': 'canary' }), 0);
  assert.equal(size({ 'istio.io/rev': 'default' }), 1);
  assert.equal(size({ 'istio.io/rev': 'prod' }, ['1-30', 'prod']), 1);
  assert.equal(size({ 'istio.io/rev': 'default' }, ['1-30', 'prod']), 0);
});

test('the mesh configuration has defaults, and keeps the old selectors when the new cannot be read', () => {
  assert.deepEqual(parseMeshConfig(undefined), { mesh: DEFAULT_MESH_CONFIG, problems: [] });
  assert.deepEqual(parseMeshConfig('nonsense').mesh, DEFAULT_MESH_CONFIG);
  const first = parseMeshConfig({ discoverySelectors: [{ matchLabels: { a: 'b' } }], trustDomain: 'td' });
  assert.deepEqual(first.problems, []);
  const bad = { discoverySelectors: [{ matchExpressions: [{ key: 'x', operator: 'In' }] }] };
  const second = parseMeshConfig(bad, first.mesh);
  assert.deepEqual(second.mesh.discoverySelectors, first.mesh.discoverySelectors);
  assert.equal(second.problems.length, 1);
  assert.equal(second.mesh.trustDomain, 'cluster.local', 'only the selectors are kept');
});

test('visibility that cannot be read hides', () => {
  const { mesh, problems } = parseMeshConfig({ serviceEntryVisibility: { defaultVisibility: 'public' } });
  assert.equal(mesh.serviceEntryVisibility?.fallback, 'NONE');
  assert.equal(problems.length, 1);
});

test('another trust domain and root namespace reach workloads and policies', () => {
  const pod = { kind: 'Pod', metadata: { name: 'p', namespace: 'a' }, status: { podIP: '10.0.0.1' } };
  const strict = {
    kind: 'PeerAuthentication',
    metadata: { name: 'd', namespace: 'root' },
    spec: { mtls: { mode: 'STRICT' } },
  };
  const ambient = ambientOf([pod, strict], {}, { trustDomain: 'td', rootNamespace: 'root' });
  const [workload] = ambient.workloads.values();
  assert.equal(workload?.trustDomain, 'td');
  assert.deepEqual(workload?.authorizationPolicies, ['root/istio_converted_static_strict']);
  assert.ok(ambient.policies.get('root/istio_converted_static_strict'));
});
