import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyManifests } from './apply.ts';
import type { HttpKubeClient } from './client/client.ts';
import { CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES } from './client/resources.ts';
import { KubeError, type KubeObject } from './client/types.ts';
import type { Manifest } from './manifests.ts';
import { MemoryKubeClient } from './testing/memory-client.ts';

const core = {
  resources: [
    { name: 'namespaces', kind: 'Namespace', namespaced: false },
    { name: 'configmaps', kind: 'ConfigMap', namespaced: true },
    { name: 'pods', kind: 'Pod', namespaced: true },
    { name: 'pods/status', kind: 'Pod', namespaced: true },
  ],
};
const definitions = {
  resources: [{ name: 'customresourcedefinitions', kind: 'CustomResourceDefinition', namespaced: false }],
};
const widgets = { resources: [{ name: 'widgets', kind: 'Widget', namespaced: true }] };

/** The in-memory API with discovery; a kind is served once its definition is there. */
class Api extends MemoryKubeClient {
  readonly asked: string[] = [];

  async text(path: string): Promise<string> {
    this.asked.push(path);
    const defined = await this.get(CUSTOM_RESOURCE_DEFINITIONS, 'widgets.example.com');
    const lists: Record<string, unknown> = {
      '/api/v1': core,
      '/apis/apiextensions.k8s.io/v1': definitions,
      ...(defined === undefined ? {} : { '/apis/example.com/v1': widgets }),
    };
    if (lists[path] === undefined) throw new KubeError(404, 'NotFound', 'the server could not find it');
    return JSON.stringify(lists[path]);
  }

  apply(manifests: readonly Manifest[], namespace?: string) {
    const client = this as unknown as HttpKubeClient;
    return applyManifests(client, manifests, namespace === undefined ? {} : { namespace });
  }
}

let line = 0;
const manifest = (apiVersion: string, kind: string, metadata: KubeObject['metadata'], more: object = {}): Manifest => ({
  object: { apiVersion, kind, ...(metadata === undefined ? {} : { metadata }), ...more },
  file: 'a.yaml',
  line: ++line,
});
const configMap = (name: string, namespace?: string): Manifest =>
  manifest('v1', 'ConfigMap', { name, ...(namespace === undefined ? {} : { namespace }) }, { data: { a: '1' } });
const definition = manifest('apiextensions.k8s.io/v1', 'CustomResourceDefinition', { name: 'widgets.example.com' });

test('objects are applied with a field manager, in the namespace they name, else the one given', async () => {
  const api = new Api();
  const { applied, refused } = await api.apply([configMap('a'), configMap('b', 'bank')], 'shop');
  assert.deepEqual(refused, []);
  assert.deepEqual(
    applied.map(({ object }) => `${object.metadata?.namespace}/${object.metadata?.name}`),
    ['shop/a', 'bank/b'],
  );
  const patches = api.requests.filter(({ verb }) => verb === 'patch');
  assert.deepEqual(
    patches.map(({ key, options }) => [key, options.fieldManager, options.force]),
    [
      ['shop/a', 'ambit', true],
      ['bank/b', 'ambit', true],
    ],
  );
  assert.equal((await api.get(CONFIG_MAPS, 'a', 'shop'))?.data?.a, '1');
});

test('applying again changes, it does not add', async () => {
  const api = new Api();
  await api.apply([configMap('a')]);
  const { applied } = await api.apply([manifest('v1', 'ConfigMap', { name: 'a' }, { data: { b: '2' } })]);
  assert.equal(applied.length, 1);
  assert.deepEqual((await api.get(CONFIG_MAPS, 'a', 'default'))?.data, { b: '2' });
});

test('cluster-wide objects have no namespace, whatever is given', async () => {
  const api = new Api();
  await api.apply([manifest('v1', 'Namespace', { name: 'shop' })], 'bank');
  assert.equal((await api.get(NAMESPACES, 'shop'))?.metadata?.namespace, undefined);
});

test('a kind may be defined by the same manifests, and namespaces come before what is in them', async () => {
  const api = new Api();
  const widget = manifest('example.com/v1', 'Widget', { name: 'w' });
  const { applied, refused } = await api.apply([
    widget,
    configMap('a', 'shop'),
    manifest('v1', 'Namespace', { name: 'shop' }),
    definition,
  ]);
  assert.deepEqual(refused, []);
  const order = api.requests.filter(({ verb }) => verb === 'patch').map(({ plural }) => plural);
  assert.deepEqual(new Set(order.slice(0, 2)), new Set(['namespaces', 'customresourcedefinitions']));
  assert.deepEqual(
    applied.map(({ object }) => object.kind),
    ['Widget', 'ConfigMap', 'Namespace', 'CustomResourceDefinition'],
  );
});

test('a kind that nobody serves is refused by name; the others are applied', async () => {
  const api = new Api();
  const { applied, refused } = await api.apply([
    manifest('example.com/v1', 'Widget', { name: 'w' }),
    manifest('v1', 'Pods', { name: 'p' }),
    configMap('a'),
  ]);
  assert.equal(applied.length, 1);
  assert.deepEqual(
    refused.map(({ manifest: m, error }) => [m.object.kind, /no kind `\w+` in `[\w./]+` is served/.test(error)]),
    [
      ['Widget', true],
      ['Pods', true],
    ],
  );
});

test('what the API refuses is told with its manifest and does not stop the rest', async () => {
  const api = new Api();
  api.onRequest = ({ verb, key }) => {
    if (verb === 'patch' && key === 'default/bad') throw new KubeError(422, 'Invalid', 'data.a: must be text');
  };
  const bad = configMap('bad');
  const { applied, refused } = await api.apply([bad, configMap('good')]);
  assert.deepEqual(refused, [{ manifest: bad, error: 'data.a: must be text' }]);
  assert.equal(applied[0]?.object.metadata?.name, 'good');
});

test('an API that cannot be reached is no refusal of a manifest', async () => {
  const api = new Api();
  api.onRequest = ({ verb }) => {
    if (verb === 'patch') throw new Error('connection refused');
  };
  await assert.rejects(api.apply([configMap('a')]), /connection refused/);
});

test('a generated name is created, since there is nothing to apply to', async () => {
  const api = new Api();
  const { applied } = await api.apply([manifest('v1', 'ConfigMap', { generateName: 'a-' })], 'shop');
  assert.match(applied[0]?.object.metadata?.name ?? '', /^a-.+/);
  assert.equal(applied[0]?.object.metadata?.namespace, 'shop');
});

test('discovery is asked once for each group and version', async () => {
  const api = new Api();
  await api.apply(Array.from({ length: 40 }, (_, i) => configMap(`c${i}`)));
  assert.deepEqual(api.asked, ['/api/v1']);
});
