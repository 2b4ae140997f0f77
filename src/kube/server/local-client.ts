// KubeClient without a socket: the same REST operations, called in this process. Objects that it returns are the store's
// own, frozen: change a copy.

import {
  type KubeClient,
  KubeError,
  type KubeObject,
  type ListOptions,
  type PageOptions,
  type PatchType,
  type Resource,
  type WatchEvent,
  type WriteOptions,
} from '../client/types.ts';
import { asKubeError, methodNotAllowed, noSuchPath } from './errors.ts';
import { cloneJson } from './json.ts';
import { inVersion } from './kinds/kind.ts';
import { remove } from './rest/delete.ts';
import { getStored, list, watch } from './rest/read.ts';
import type { RestContext, Target, WriteParams } from './rest/request.ts';
import { bindPod, evictPod, getScale, writeScale } from './rest/subresources.ts';
import { create, patch, update } from './rest/write.ts';

/** A watcher that falls behind this far is told to list again. */
const MAX_QUEUED_EVENTS = 20_000;

export class LocalKubeClient implements KubeClient {
  readonly #context: RestContext;
  readonly #manager: string;

  /** @param manager  name in managedFields when a call names none */
  constructor(context: RestContext, manager = 'ambit-controllers') {
    this.#context = context;
    this.#manager = manager;
  }

  async get<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string): Promise<T | undefined> {
    const target = this.#target(resource, namespace, name);
    try {
      return this.#shown<T>(target, getStored(this.#context, target).object);
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  async list<T extends KubeObject>(
    resource: Resource<T>,
    options: PageOptions = {},
  ): Promise<{ items: T[]; resourceVersion: string; continue?: string }> {
    const target = this.#target(resource, options.namespace);
    const { items, resourceVersion, continue: next } = list(this.#context, target, options);
    const shown = items.map(({ object }) => this.#shown<T>(target, object));
    return { items: shown, resourceVersion, ...(next === undefined ? {} : { continue: next }) };
  }

  async create<T extends KubeObject>(resource: Resource<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { name, namespace } = object.metadata ?? {};
    const target = this.#target(resource, namespace, options.subresource && name);
    const body = cloneJson(object);
    const params = this.#params(options);
    switch (options.subresource) {
      case undefined:
        return this.#shown<T>(target, (await create(this.#context, target, body, params)).object);
      case 'binding':
        return bindPod(this.#context, target, body, params) as KubeObject as T;
      case 'eviction':
        return evictPod(this.#context, target, body, params) as KubeObject as T;
      default:
        throw methodNotAllowed(resource, `create ${options.subresource}`);
    }
  }

  async update<T extends KubeObject>(resource: Resource<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { name, namespace } = object.metadata ?? {};
    const target = { ...this.#target(resource, namespace, name), subresource: options.subresource };
    if (options.subresource === 'scale')
      return (await writeScale(
        this.#context,
        target,
        undefined,
        cloneJson(object),
        this.#params(options),
      )) as KubeObject as T;
    return this.#shown<T>(
      target,
      (await update(this.#context, target, cloneJson(object), this.#params(options))).object,
    );
  }

  async patch<T extends KubeObject>(
    resource: Resource<T>,
    name: string,
    namespace: string | undefined,
    type: PatchType,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<T> {
    const target = { ...this.#target(resource, namespace, name), subresource: options.subresource };
    if (options.subresource === 'scale')
      return (await writeScale(this.#context, target, type, cloneJson(body), this.#params(options))) as KubeObject as T;
    return this.#shown<T>(
      target,
      (await patch(this.#context, target, type, cloneJson(body), this.#params(options))).object,
    );
  }

  /** Current replicas, through the scale subresource. */
  scale(resource: Resource, name: string, namespace: string): ReturnType<typeof getScale> {
    return getScale(this.#context, this.#target(resource, namespace, name));
  }

  async delete<T extends KubeObject>(
    resource: Resource<T>,
    name: string,
    namespace?: string,
    options: {
      readonly gracePeriodSeconds?: number;
      readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
    } = {},
  ): Promise<void> {
    try {
      remove(this.#context, this.#target(resource, namespace, name), options);
    } catch (error) {
      if (!(error instanceof KubeError && error.code === 404)) throw error;
    }
  }

  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions & { readonly resourceVersion: string; readonly signal: AbortSignal },
  ): AsyncGenerator<WatchEvent<T>> {
    const { signal } = options;
    const target = this.#target(resource, options.namespace);
    let queue: WatchEvent<T>[] = [];
    let wake: () => void = () => {};
    let overflow = false;
    const push = (event: WatchEvent<T>) => {
      if (queue.length < MAX_QUEUED_EVENTS) queue.push(event);
      else overflow = true;
      wake();
    };
    const stop = this.#watching(target, options, push);
    const onAbort = () => wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        const batch = queue;
        queue = [];
        for (const event of batch) yield event;
        if (overflow) throw new KubeError(410, 'Expired', 'the watcher fell too far behind', {});
        if (queue.length === 0 && !signal.aborted)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      stop();
    }
  }

  #watching<T extends KubeObject>(
    target: Target,
    options: ListOptions & { readonly resourceVersion: string },
    push: (event: WatchEvent<T>) => void,
  ): () => void {
    try {
      return watch(this.#context, target, options, {
        event: (type, { object }) => push({ type, object: this.#shown<T>(target, object) }),
        bookmark: () => {},
      });
    } catch (error) {
      throw asKubeError(error);
    }
  }

  #shown<T extends KubeObject>({ kind, version }: Target, object: KubeObject): T {
    return inVersion(kind, version, object) as T;
  }

  #target({ group, version, plural, namespaced }: Resource, namespace?: string, name?: string): Target {
    const served = this.#context.registry.find(group, version, plural);
    if (served === undefined) throw noSuchPath();
    return { ...served, namespace: namespaced ? namespace : undefined, name };
  }

  #params({ fieldManager, force, dryRun }: WriteOptions): WriteParams {
    return { manager: fieldManager ?? this.#manager, force, dryRun };
  }
}
