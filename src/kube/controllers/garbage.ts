// Garbage collection by owner references: what has owners, and none of them left, goes. Foreground deletion waits for
// the dependents that block it; orphaning lets them live on without their owner.

import type { Informer, KubeObject, OwnerReference, Resource } from '../client/types.ts';
import { type ControllerContext, splitKey } from './context.ts';
import { WorkQueue } from './queue.ts';

const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';
const TOO_COMMON = new Set(['Event', 'Lease']); // never owners, never owned here

interface Entry {
  readonly resource: Resource;
  readonly key: string;
  readonly object: KubeObject;
}

export function startGarbageCollector(context: ControllerContext): void {
  const collector = new GarbageCollector(context);
  collector.follow();
  context.onResourcesChange(() => collector.follow());
}

class GarbageCollector {
  readonly #context: ControllerContext;
  readonly #followed = new Map<string, Informer<KubeObject>>();
  readonly #byUid = new Map<string, Entry>();
  readonly #dependents = new Map<string, Set<string>>(); // owner uid -> dependent uids
  readonly #queue: WorkQueue;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#queue = new WorkQueue({
      reconcile: (uid) => this.#reconcile(uid),
      onError: (uid, error) => context.log('warn', 'garbage not collected', { uid, error: String(error) }),
    });
  }

  follow(): void {
    const preferred = new Map<string, Resource>(); // one version of a kind is enough: all share one storage
    for (const resource of this.#context.resources()) {
      const id = `${resource.group}/${resource.plural}`;
      if (!TOO_COMMON.has(resource.kind) && !preferred.has(id)) preferred.set(id, resource);
    }
    for (const [id, resource] of preferred) {
      if (this.#followed.has(id)) continue;
      const informer = this.#context.informer(resource);
      this.#followed.set(id, informer);
      informer.onChange((key, now, before) => this.#changed(resource, key, now, before));
    }
  }

  #changed(resource: Resource, key: string, now: KubeObject | undefined, before: KubeObject | undefined): void {
    const uid = (now ?? before)?.metadata?.uid;
    if (uid === undefined) return;
    const owners = (object: KubeObject | undefined): string[] =>
      (object?.metadata?.ownerReferences ?? []).map((ref) => ref.uid);
    for (const owner of owners(before)) this.#dependents.get(owner)?.delete(uid);
    for (const owner of owners(now)) {
      const set = this.#dependents.get(owner) ?? new Set();
      this.#dependents.set(owner, set.add(uid));
    }
    if (now === undefined) {
      this.#byUid.delete(uid);
      for (const owner of owners(before))
        if (this.#byUid.get(owner)?.object.metadata?.deletionTimestamp) this.#queue.add(owner);
    } else this.#byUid.set(uid, { resource, key, object: now });
    const finalizers = now?.metadata?.finalizers ?? [];
    if (now === undefined) for (const dependent of this.#dependents.get(uid) ?? []) this.#queue.add(dependent);
    else if (owners(now).length > 0 || finalizers.includes(FOREGROUND) || finalizers.includes(ORPHAN))
      this.#queue.add(uid);
  }

  async #reconcile(uid: string): Promise<undefined> {
    const entry = this.#byUid.get(uid);
    if (entry === undefined) return undefined;
    const meta = entry.object.metadata ?? {};
    if (meta.deletionTimestamp !== undefined) {
      if (meta.finalizers?.includes(ORPHAN)) await this.#orphan(entry, uid);
      else if (meta.finalizers?.includes(FOREGROUND)) await this.#deleteDependents(entry, uid);
      return undefined;
    }
    const owners = meta.ownerReferences ?? [];
    if (owners.length === 0) return undefined;
    const states = await Promise.all(owners.map((ref) => this.#ownerState(ref, meta.namespace)));
    if (states.every((state) => state === 'gone')) {
      const { name, namespace } = splitKey(entry.key);
      await this.#context.client.delete(entry.resource, name, namespace, { propagationPolicy: 'Background' });
    } else if (states.includes('gone')) {
      const left = owners.filter((_, i) => states[i] !== 'gone');
      await this.#patchMeta(entry, { ownerReferences: left });
    }
    return undefined;
  }

  /** Asks the API, not the copy: an owner may be younger than what this collector has seen. */
  async #ownerState(ref: OwnerReference, namespace: string | undefined): Promise<'there' | 'gone'> {
    if (this.#byUid.has(ref.uid)) return 'there';
    const [group, version] = ref.apiVersion.includes('/') ? ref.apiVersion.split('/') : ['', ref.apiVersion];
    const resource = this.#context
      .resources()
      .find((r) => r.kind === ref.kind && r.group === group && r.version === version);
    if (resource === undefined) return 'there'; // a kind nobody serves now: on doubt, keep
    const owner = await this.#context.client.get(resource, ref.name, resource.namespaced ? namespace : undefined);
    return owner?.metadata?.uid === ref.uid ? 'there' : 'gone';
  }

  #dependentsOf(uid: string): Entry[] {
    return [...(this.#dependents.get(uid) ?? [])]
      .map((id) => this.#byUid.get(id))
      .filter((entry) => entry !== undefined);
  }

  async #deleteDependents(owner: Entry, uid: string): Promise<void> {
    const blocking = this.#dependentsOf(uid);
    if (blocking.length === 0) return this.#dropFinalizer(owner, FOREGROUND);
    for (const dependent of blocking) {
      if (dependent.object.metadata?.deletionTimestamp !== undefined) continue;
      const { name, namespace } = splitKey(dependent.key);
      await this.#context.client.delete(dependent.resource, name, namespace, { propagationPolicy: 'Foreground' });
    }
  }

  async #orphan(owner: Entry, uid: string): Promise<void> {
    for (const dependent of this.#dependentsOf(uid))
      await this.#patchMeta(dependent, {
        ownerReferences: (dependent.object.metadata?.ownerReferences ?? []).filter((ref) => ref.uid !== uid),
      });
    await this.#dropFinalizer(owner, ORPHAN);
  }

  async #dropFinalizer(entry: Entry, finalizer: string): Promise<void> {
    await this.#patchMeta(entry, {
      finalizers: (entry.object.metadata?.finalizers ?? []).filter((f) => f !== finalizer),
    });
  }

  async #patchMeta(entry: Entry, metadata: Partial<NonNullable<KubeObject['metadata']>>): Promise<void> {
    const { name, namespace } = splitKey(entry.key);
    await this.#context.client.patch(entry.resource, name, namespace, 'merge', {
      metadata: { ...metadata, resourceVersion: entry.object.metadata?.resourceVersion },
    });
  }
}
