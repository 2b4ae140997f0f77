import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NODES, PODS } from '../../kube/client/resources.ts';
import { EmbeddedApi } from '../../kube/server/embedded.ts';
import { forgetOtherNodes } from './node-object.ts';

test('nodes of a larger mesh go, before what was bound to them', async () => {
  const api = new EmbeddedApi({ path: ':memory:' });
  const client = api.client('test');
  const deleted: string[] = [];
  const watched = new Proxy(client, {
    get: (target, key) =>
      key === 'delete'
        ? (resource: { kind: string }, name: string, ...rest: unknown[]) => {
            deleted.push(`${resource.kind} ${name}`);
            return Reflect.apply(target.delete, target, [resource, name, ...rest]);
          }
        : Reflect.get(target, key).bind(target),
  });
  for (const name of ['node-1', 'node-2', 'node-3'])
    await client.create(NODES, { apiVersion: 'v1', kind: 'Node', metadata: { name } });
  for (const nodeName of ['node-1', 'node-3'])
    await client.create(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `on-${nodeName}`, namespace: 'default' },
      spec: { nodeName, containers: [{ name: 'a', image: 'x' }] },
    });
  await forgetOtherNodes(watched, ['node-1']);
  assert.deepEqual(
    (await client.list(NODES)).items.map((n) => n.metadata?.name),
    ['node-1'],
  );
  assert.deepEqual(
    (await client.list(PODS)).items.map((p) => p.metadata?.name),
    ['on-node-1'],
  );
  assert.ok(deleted.indexOf('Node node-3') < deleted.indexOf('Pod on-node-3'));
  api.close();
});
