// The embedded API as an object in this process: store, kinds and REST operations, without sockets. main.ts puts a TLS
// server in front of it; controllers and tests use its client directly.

import { randomUUID } from 'node:crypto';
import type { KubeClient, KubeObject, Resource } from '../client/types.ts';
import { BOOTSTRAP_OBJECTS } from './bootstrap.ts';
import { definitionOf } from './crd/definition.ts';
import { serveDefinitions } from './crd/serving.ts';
import { collectionOf } from './kinds/kind.ts';
import { isMeshGroup } from './kinds/mesh.ts';
import { Registry } from './kinds/registry.ts';
import { LocalKubeClient } from './local-client.ts';
import { companionsOf } from './rest/namespaces.ts';
import type { RestContext } from './rest/request.ts';
import { seconds } from './rest/write.ts';
import { Store, type StoreChange } from './store/store.ts';

export interface EmbeddedOptions {
  /** Database file, or `:memory:`. */
  readonly path: string;
  readonly now?: () => Date;
  /** 0 ≤ x < 1, for generated names. */
  readonly random?: () => number;
}

export class EmbeddedApi {
  readonly context: RestContext;

  /** Opens the database and makes what every cluster has from its first moment. @throws DatabaseError */
  constructor(options: EmbeddedOptions) {
    this.context = {
      store: new Store(options.path),
      registry: new Registry(),
      now: options.now ?? (() => new Date()),
      random: options.random ?? Math.random,
    };
    serveDefinitions(this.context.store, this.context.registry);
    bootstrap(this.context);
  }

  /** @param manager  name in managedFields of what this client writes */
  client(manager?: string): KubeClient {
    return new LocalKubeClient(this.context, manager);
  }

  /** Every resource that can be listed now, each in its preferred version. */
  resources(): readonly Resource[] {
    return this.context.registry.resources();
  }

  onResourcesChange(handler: () => void): void {
    this.context.registry.onChange(handler);
  }

  close(): void {
    this.context.store.close();
  }
}

/** Makes what is missing of it, in one step. */
function bootstrap(context: RestContext): void {
  const { store, registry, now } = context;
  const mesh = [...registry.kinds].filter(({ custom, group }) => custom && isMeshGroup(group));
  const changes: StoreChange[] = [];
  for (const object of [...BOOTSTRAP_OBJECTS, ...mesh.map((kind) => definitionOf(kind, now()) as KubeObject)]) {
    const kind = registry.findKind(object.apiVersion ?? '', object.kind ?? '')?.kind;
    if (kind === undefined) throw new Error(`${object.kind} is not served`);
    const { name = '', namespace = '' } = object.metadata ?? {};
    if (store.get(collectionOf(kind), namespace, name) !== undefined) continue;
    const born: KubeObject = {
      ...object,
      metadata: { ...object.metadata, uid: randomUUID(), creationTimestamp: seconds(now()) },
    };
    changes.push({ collection: collectionOf(kind), object: born }, ...companionsOf(context, kind, born));
  }
  if (changes.length > 0) store.writeAll(changes);
}
