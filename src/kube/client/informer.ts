// A live copy of one resource: list, then watch from there, list again when the server forgot (410) or a watch breaks
// in a way that may have lost something. Level-based: after a new list, handlers hear only of what differs.
// Leans towards going on: an error is told and retried with back-off for as long as the informer lives.

import { setTimeout as delay } from 'node:timers/promises';
import { objectKey } from './resources.ts';
import {
  type Informer,
  type KubeClient,
  KubeError,
  type KubeObject,
  type ListOptions,
  type Resource,
} from './types.ts';

const FIRST_BACKOFF_MS = 50;
const LAST_BACKOFF_MS = 5_000;
const PAGE_SIZE = 500;

export interface InformerOptions<T extends KubeObject = KubeObject> extends ListOptions {
  /**
   * What of an object stays in `items`, for followers of many large objects; at least name, namespace, uid and
   * resourceVersion. Handlers registered before the first list get whole objects as `now`, and what was kept as `before`.
   */
  readonly keep?: (object: T) => T;
  /** Ends the informer, like `stop()`. */
  readonly signal?: AbortSignal;
  /** Told of each failed list or watch and of handlers that throw; the informer goes on. */
  readonly onError?: (error: unknown) => void;
  /** Tests put a fake clock here. Rejects or resolves early when the signal aborts. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Jitter, 0 ≤ x < 1. */
  readonly random?: () => number;
}

/**
 * Starts following a resource at once.
 * A handler that is registered after the first list is called for every object that is already there, before onChange returns.
 */
export function startInformer<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  options: InformerOptions<T> = {},
): Informer<T> {
  return new ListWatch(client, resource, options);
}

type ChangeHandler<T> = (key: string, now: T | undefined, before: T | undefined) => void;

class ListWatch<T extends KubeObject> implements Informer<T> {
  readonly items = new Map<string, T>();
  readonly synced: Promise<void>;
  readonly #client: KubeClient;
  readonly #resource: Resource<T>;
  readonly #options: InformerOptions<T>;
  readonly #handlers: ChangeHandler<T>[] = [];
  readonly #stop = new AbortController();
  #markSynced: () => void = () => {};
  #failures = 0;

  constructor(client: KubeClient, resource: Resource<T>, options: InformerOptions<T>) {
    this.#client = client;
    this.#resource = resource;
    this.#options = options;
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
    if (options.signal?.aborted) this.stop();
    options.signal?.addEventListener('abort', () => this.stop(), { once: true, signal: this.#stop.signal });
    void this.#run();
  }

  onChange(handler: ChangeHandler<T>): void {
    this.#handlers.push(handler);
    for (const [key, object] of [...this.items]) this.#call(handler, key, object, undefined);
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    let resourceVersion: string | undefined;
    while (!this.#stop.signal.aborted) {
      try {
        resourceVersion ??= await this.#list();
        resourceVersion = await this.#watch(resourceVersion);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        // What is gone or refused needs a new list; after a lost connection the watch goes on where it was.
        if (error instanceof KubeError) resourceVersion = undefined;
        if (error instanceof KubeError && error.code === 410 && this.#failures === 0) {
          this.#failures = 1;
          continue; // old, not broken: list again without delay, once
        }
        this.#tell(error);
        await this.#backOff();
      }
    }
  }

  async #list(): Promise<string> {
    const seen = new Set<string>();
    let resourceVersion = '';
    let page: string | undefined;
    do {
      const got = await this.#page(page, seen);
      ({ resourceVersion, continue: page } = got);
      if (this.#stop.signal.aborted) return resourceVersion;
      for (const object of got.items) this.#listed(object, seen);
    } while (page !== undefined);
    for (const key of [...this.items.keys()]) if (!seen.has(key)) this.#set(key, undefined);
    this.#markSynced();
    return resourceVersion;
  }

  /** Pages bound what is in memory at a time. One that has expired gives way to the whole, as it is now. */
  async #page(
    from: string | undefined,
    seen: Set<string>,
  ): Promise<{ items: T[]; resourceVersion: string; continue?: string }> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const selection = {
      ...(namespace === undefined ? {} : { namespace }),
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    };
    if (from === undefined) return this.#client.list(this.#resource, { ...selection, limit: PAGE_SIZE });
    try {
      return await this.#client.list(this.#resource, { ...selection, limit: PAGE_SIZE, continue: from });
    } catch (error) {
      if (!(error instanceof KubeError && error.code === 410)) throw error;
      seen.clear();
      return this.#client.list(this.#resource, selection);
    }
  }

  #listed(object: T, seen: Set<string>): void {
    const key = objectKey(object);
    seen.add(key);
    const before = this.items.get(key);
    if (before?.metadata?.uid !== undefined && before.metadata.uid !== object.metadata?.uid) this.#set(key, undefined);
    if (before?.metadata?.resourceVersion !== object.metadata?.resourceVersion) this.#set(key, object);
  }

  /** @returns where to go on when the server ends the watch in peace */
  async #watch(from: string): Promise<string> {
    let resourceVersion = from;
    let events = 0;
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const options = {
      ...(namespace === undefined ? {} : { namespace }),
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
      resourceVersion,
      signal: this.#stop.signal,
    };
    try {
      for await (const { type, object } of this.#client.watch(this.#resource, options)) {
        if (this.#stop.signal.aborted) return resourceVersion;
        events++;
        this.#failures = 0;
        resourceVersion = object.metadata?.resourceVersion ?? resourceVersion;
        if (type === 'BOOKMARK') continue;
        const key = objectKey(object);
        const before = this.items.get(key);
        if (type === 'DELETED') {
          if (before !== undefined) this.#set(key, undefined);
        } else this.#set(key, object);
      }
    } catch (error) {
      if (error instanceof KubeError) throw error;
      this.#tell(error);
      events = 0;
    }
    if (events === 0) await this.#backOff(); // an empty or broken watch must not become a busy loop
    return resourceVersion;
  }

  #set(key: string, now: T | undefined): void {
    const before = this.items.get(key);
    if (now === undefined) this.items.delete(key);
    else this.items.set(key, this.#options.keep?.(now) ?? now);
    for (const handler of this.#handlers) this.#call(handler, key, now, before);
  }

  #call(handler: ChangeHandler<T>, key: string, now: T | undefined, before: T | undefined): void {
    try {
      handler(key, now, before);
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error: unknown): void {
    if (!this.#stop.signal.aborted) this.#options.onError?.(error);
  }

  async #backOff(): Promise<void> {
    const { sleep = sleepUnlessStopped, random = Math.random } = this.#options;
    const ms = Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failures++, 16));
    await sleep(ms * (0.5 + random() / 2), this.#stop.signal);
  }
}

async function sleepUnlessStopped(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {});
}
