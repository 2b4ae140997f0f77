// Namespaces as admission sees them: nothing is made in one that is not there or is going, and each is born with its
// default service account, so that the first pod need not wait for a controller.

import { randomUUID } from 'node:crypto';
import { KubeError, type KubeObject } from '../../client/types.ts';
import { forbidden, notFound } from '../errors.ts';
import type { Kind } from '../kinds/kind.ts';
import type { Store, StoreChange } from '../store/store.ts';
import type { RestContext } from './request.ts';

const NAMESPACES = { group: '', plural: 'namespaces' };
/** Namespaces that cannot be deleted. */
export const IMMORTAL: ReadonlySet<string> = new Set(['default', 'kube-system', 'kube-public']);

/** @throws KubeError 404 for a namespace that does not exist, 403 for one that is being deleted */
export function admitToNamespace(store: Store, kind: Kind, name: string, namespace: string): void {
  const found = store.get('/namespaces', '', namespace)?.object;
  if (found === undefined) throw notFound(NAMESPACES, namespace);
  if (found.metadata?.deletionTimestamp === undefined) return;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const refusal = forbidden(kind, name, why);
  throw new KubeError(refusal.code, refusal.reason, refusal.message, {
    ...(refusal.details as object),
    causes: [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${namespace} is being terminated`,
        field: 'metadata.namespace',
      },
    ],
  });
}

/** What is written together with a new object. */
export function companionsOf({ now }: RestContext, kind: Kind, object: KubeObject): StoreChange[] {
  if (kind.kind !== 'Namespace' || kind.group !== '') return [];
  const account: KubeObject = {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: {
      name: 'default',
      namespace: object.metadata?.name ?? '',
      uid: randomUUID(),
      creationTimestamp: `${now().toISOString().slice(0, 19)}Z`,
    },
  };
  return [{ collection: '/serviceaccounts', object: account }];
}
