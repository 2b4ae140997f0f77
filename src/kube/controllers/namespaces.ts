// Namespaces: each gets its `default` ServiceAccount and the ConfigMap by which its pods trust the API; a namespace that
// is being deleted takes everything in it along before it goes.

import type { INamespace } from 'kubernetes-models/v1/Namespace';
import { CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS } from '../client/resources.ts';
import { KubeError } from '../client/types.ts';
import type { ControllerContext } from './context.ts';
import { WorkQueue } from './queue.ts';

const ROOT_CA = 'kube-root-ca.crt';

export function startNamespaces(context: ControllerContext): void {
  const queue = new WorkQueue({
    reconcile: (name) => reconcile(context, name),
    onError: (name, error) => context.log('warn', 'namespace not reconciled', { name, error: String(error) }),
  });
  context.informer(NAMESPACES).onChange((name) => queue.add(name));
  context.informer(SERVICE_ACCOUNTS).onChange((_key, now, before) => {
    if (now === undefined && before?.metadata?.name === 'default') queue.add(before.metadata.namespace ?? '');
  });
  context.informer(CONFIG_MAPS).onChange((_key, now, before) => {
    const map = now ?? before;
    if (map?.metadata?.name === ROOT_CA && map.metadata.namespace) queue.add(map.metadata.namespace);
  });
}

async function reconcile(context: ControllerContext, name: string): Promise<number | undefined> {
  const namespace = await context.client.get(NAMESPACES, name);
  if (namespace === undefined) return undefined;
  if (namespace.metadata?.deletionTimestamp !== undefined) return empty(context, namespace, name);
  if ((await context.client.get(SERVICE_ACCOUNTS, 'default', name)) === undefined)
    await ignoringConflict(
      context.client.create(SERVICE_ACCOUNTS, {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: 'default', namespace: name },
      }),
    );
  const data = { 'ca.crt': context.clusterCaPem };
  const map = await context.client.get(CONFIG_MAPS, ROOT_CA, name);
  if (map === undefined)
    await ignoringConflict(
      context.client.create(CONFIG_MAPS, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: ROOT_CA, namespace: name },
        data,
      }),
    );
  else if (map.data?.['ca.crt'] !== data['ca.crt'])
    await context.client.patch(CONFIG_MAPS, ROOT_CA, name, 'merge', { data });
  return undefined;
}

async function ignoringConflict(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof KubeError) || (error.reason !== 'AlreadyExists' && error.reason !== 'NotFound')) throw error;
  }
}

async function empty(context: ControllerContext, namespace: INamespace, name: string): Promise<number | undefined> {
  let left = 0;
  const seen = new Set<string>();
  for (const resource of context.resources()) {
    const id = `${resource.group}/${resource.plural}`;
    if (!resource.namespaced || seen.has(id)) continue;
    seen.add(id);
    const { items } = await context.client.list(resource, { namespace: name });
    for (const item of items) {
      left++;
      if (item.metadata?.deletionTimestamp === undefined)
        await context.client.delete(resource, item.metadata?.name ?? '', name, { propagationPolicy: 'Background' });
    }
  }
  if (left > 0) return 100; // pods take their grace period; look again
  await context.client.update<INamespace>(
    NAMESPACES,
    { ...namespace, spec: { ...namespace.spec, finalizers: [] } },
    { subresource: 'finalize' },
  );
  return undefined;
}
