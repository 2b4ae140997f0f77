// Keeps the registry in step with the CustomResourceDefinitions of the store: a definition's kind is served from the
// moment the definition is written, and with the definition go its objects.

import type { ICustomResourceDefinition } from 'kubernetes-models/apiextensions.k8s.io/v1/CustomResourceDefinition';
import type { KubeObject } from '../../client/types.ts';
import type { Registry } from '../kinds/registry.ts';
import type { Store } from '../store/store.ts';
import { DEFINITIONS, kindOf } from './definition.ts';

/** Kinds that are built in stay as they are, whatever a definition of the same name says. */
export function serveDefinitions(store: Store, registry: Registry): void {
  const builtIn = new Set([...registry.kinds].map(({ group, plural }) => `${group}/${plural}`));
  const serve = (object: KubeObject) => {
    const kind = kindOf(object as ICustomResourceDefinition);
    if (kind !== undefined && !builtIn.has(`${kind.group}/${kind.plural}`)) registry.add(kind);
  };
  for (const { object } of store.list(DEFINITIONS)) serve(object);
  store.watch(DEFINITIONS, store.resourceVersion, ({ before, now, last }) => {
    if (now !== undefined) {
      if (before?.object.metadata?.generation === now.object.metadata?.generation) return; // its status
      serve(now.object);
      return;
    }
    const { group = '', names } = (last.object as ICustomResourceDefinition).spec ?? {};
    const collection = `${group}/${names?.plural}`;
    if (builtIn.has(collection)) return;
    registry.remove(group, names?.plural ?? '');
    // Not within the write that is being told: its other listeners must hear of it first.
    queueMicrotask(() => {
      const left = store.list(collection).map(({ object }) => ({ collection, object, remove: true }));
      if (left.length > 0) store.writeAll(left);
    });
  });
}
