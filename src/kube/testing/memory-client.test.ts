import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startInformer } from '../client/informer.ts';
import { CONFIG_MAPS, SERVICES } from '../client/resources.ts';
import { KubeError } from '../client/types.ts';
import { MemoryKubeClient } from './memory-client.ts';

const metadata = { name: 'a', namespace: 'n' };
const configMap = { apiVersion: 'v1' as const, kind: 'ConfigMap' as const, metadata };
const service = { apiVersion: 'v1' as const, kind: 'Service' as const, metadata };
const rejectsWith = (code: number) => (error: unknown) => error instanceof KubeError && error.code === code;

test('create, get, update with optimistic locking, delete', async () => {
  const kube = new MemoryKubeClient();
  const made = await kube.create(CONFIG_MAPS, { ...configMap, data: { k: '1' } });
  await assert.rejects(kube.create(CONFIG_MAPS, configMap), rejectsWith(409));
  await kube.update(CONFIG_MAPS, { ...made, data: { k: '2' } });
  await assert.rejects(kube.update(CONFIG_MAPS, { ...made, data: { k: '3' } }), rejectsWith(409));
  assert.deepEqual((await kube.get(CONFIG_MAPS, 'a', 'n'))?.data, { k: '2' });
  await kube.delete(CONFIG_MAPS, 'a', 'n');
  assert.equal(await kube.get(CONFIG_MAPS, 'a', 'n'), undefined);
});

test('the status is written apart from the rest', async () => {
  const kube = new MemoryKubeClient();
  await kube.create(SERVICES, { ...service, spec: { clusterIP: '1.2.3.4' } });
  const status = { loadBalancer: { ingress: [{ ip: '9.9.9.9' }] } };
  await kube.patch(SERVICES, 'a', 'n', 'merge', { status, spec: { clusterIP: '4.4.4.4' } }, { subresource: 'status' });
  await kube.patch(SERVICES, 'a', 'n', 'merge', { status: null, metadata: { labels: { x: 'y' } } });
  const found = await kube.get(SERVICES, 'a', 'n');
  assert.deepEqual([found?.status, found?.metadata?.labels], [status, { x: 'y' }]);
});

test('apply: conditions by type, and what a manager no longer applies goes', async () => {
  const kube = new MemoryKubeClient();
  await kube.create(SERVICES, service);
  const condition = (type: string) => ({ type, status: 'True', reason: 'R', message: '', lastTransitionTime: 't' });
  const apply = (fieldManager: string, types: readonly string[]) =>
    kube.patch(
      SERVICES,
      'a',
      'n',
      'apply',
      { status: { conditions: types.map(condition) } },
      { subresource: 'status', fieldManager },
    );
  await apply('one', ['A', 'B']);
  await apply('two', ['C']);
  await apply('one', ['A']);
  assert.deepEqual(
    (await kube.get(SERVICES, 'a', 'n'))?.status?.conditions?.map(({ type }) => type),
    ['A', 'C'],
  );
  await assert.rejects(
    kube.patch(SERVICES, 'b', 'n', 'apply', { status: {} }, { subresource: 'status', fieldManager: 'one' }),
    rejectsWith(404),
  );
});

test('an informer follows it, selectors included', async () => {
  const kube = new MemoryKubeClient();
  kube.put(CONFIG_MAPS, { metadata });
  const informer = startInformer(kube, CONFIG_MAPS, { fieldSelector: 'metadata.name=a' });
  await informer.synced;
  const heard = new Promise<readonly unknown[]>((resolve) => {
    informer.onChange((key, now) => now?.data !== undefined && resolve([key, now.data]));
  });
  kube.put(CONFIG_MAPS, { metadata: { name: 'b', namespace: 'n' }, data: { no: 'no' } });
  kube.put(CONFIG_MAPS, { metadata, data: { k: 'v' } });
  assert.deepEqual(await heard, ['n/a', { k: 'v' }]);
  assert.deepEqual([...informer.items.keys()], ['n/a']);
  informer.stop();
});

test('a resource without its CRD is a 404', async () => {
  const kube = new MemoryKubeClient();
  kube.setInstalled(SERVICES, false);
  await assert.rejects(kube.list(SERVICES), rejectsWith(404));
  kube.setInstalled(SERVICES, true);
  assert.deepEqual((await kube.list(SERVICES)).items, []);
});
