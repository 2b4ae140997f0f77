// A Kubernetes API in memory behind KubeClient, for tests of controllers: resource versions, optimistic locking, watches,
// merge patch and a small server-side apply. It validates nothing: the embedded API (kube/server) is the real thing.

import { randomUUID } from 'node:crypto';
import { apiVersionOf, objectKey } from '../client/resources.ts';
import { matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector } from '../client/selectors.ts';
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
import { applyPatch, type Json, mergePatch } from './apply.ts';

/** Requests that are answered and not stored (TokenReview, a token of a service account). */
export type Answerer = (object: KubeObject, options: WriteOptions) => KubeObject | Promise<KubeObject>;

interface Shelf {
  readonly objects: Map<string, KubeObject>;
  readonly events: { readonly version: number; readonly event: WatchEvent<KubeObject> }[];
  readonly watchers: Set<() => void>;
  /** `<key> <manager> <subresource>` -> what was applied */
  readonly applied: Map<string, unknown>;
}

export interface Recorded {
  readonly verb: 'get' | 'list' | 'create' | 'update' | 'patch' | 'delete' | 'watch';
  readonly plural: string;
  readonly key: string;
  readonly options: WriteOptions;
}

export class MemoryKubeClient implements KubeClient {
  /** Everything that was asked, in order. */
  readonly requests: Recorded[] = [];
  readonly #shelves = new Map<string, Shelf>();
  readonly #answerers = new Map<string, Answerer>();
  readonly #missing = new Set<string>();
  #version = 0;
  /** Called before each request; may throw to play a broken API. */
  onRequest: (request: Recorded) => void = () => {};

  /** Puts an object in as somebody else would have, its status included. */
  put<T extends KubeObject>(resource: Resource<T>, object: Omit<T, 'apiVersion' | 'kind'> & KubeObject): T {
    const key = objectKey(object);
    return this.#store(resource, key, object, this.#shelf(resource).objects.get(key)) as T;
  }

  /** Takes an object out as somebody else would have. */
  remove<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string): void {
    this.#drop(resource, keyOf(name, namespace));
  }

  answer(resource: Resource, answerer: Answerer): void {
    this.#answerers.set(resource.plural, answerer);
  }

  /** As long as its CRD is not installed, every request for the resource is a 404. */
  setInstalled(resource: Resource, installed: boolean): void {
    if (installed) this.#missing.delete(shelfName(resource));
    else this.#missing.add(shelfName(resource));
  }

  async get<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string): Promise<T | undefined> {
    await this.#enter('get', resource, keyOf(name, namespace));
    return clone(this.#shelf(resource).objects.get(keyOf(name, namespace))) as T | undefined;
  }

  async list<T extends KubeObject>(
    resource: Resource<T>,
    options: PageOptions = {},
  ): Promise<{ items: T[]; resourceVersion: string; continue?: string }> {
    await this.#enter('list', resource, options.namespace ?? '');
    const all = [...this.#shelf(resource).objects.values()].filter((object) => selected(object, options));
    const start = Number(options.continue ?? 0);
    const end = start + (options.limit ?? all.length);
    return {
      items: all.slice(start, end).map(clone) as T[],
      resourceVersion: String(this.#version),
      ...(end < all.length ? { continue: String(end) } : {}),
    };
  }

  async create<T extends KubeObject>(resource: Resource<T>, object: T, options: WriteOptions = {}): Promise<T> {
    await this.#enter('create', resource, objectKey(object), options);
    const answerer = this.#answerers.get(resource.plural);
    if (answerer !== undefined && (!this.#isStored(resource) || options.subresource !== undefined))
      return (await answerer(clone(object), options)) as T;
    const made = clone(object);
    const { generateName } = made.metadata ?? {};
    if (generateName !== undefined) made.metadata = { ...made.metadata, name: generateName + randomUUID().slice(0, 5) };
    const key = objectKey(made);
    if (this.#shelf(resource).objects.has(key))
      throw new KubeError(409, 'AlreadyExists', `${resource.plural} "${key}" already exists`);
    return clone(this.#store(resource, key, made, undefined)) as T;
  }

  async update<T extends KubeObject>(resource: Resource<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const key = objectKey(object);
    await this.#enter('update', resource, key, options);
    const before = this.#existing(resource, key);
    const wanted = object.metadata?.resourceVersion;
    if (wanted !== undefined && wanted !== before.metadata?.resourceVersion)
      throw new KubeError(409, 'Conflict', `${resource.plural} "${key}": the object has been modified`);
    const parts = before as Json;
    const next = object as Json;
    const made: Json =
      options.subresource === 'status' ? { ...parts, status: next.status } : { ...next, ...statusOf(parts) };
    return clone(this.#store(resource, key, made, before)) as T;
  }

  async patch<T extends KubeObject>(
    resource: Resource<T>,
    name: string,
    namespace: string | undefined,
    type: PatchType,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<T> {
    const key = keyOf(name, namespace);
    await this.#enter('patch', resource, key, options);
    if (type === 'json' || type === 'strategic')
      throw new KubeError(415, 'UnsupportedMediaType', `the in-memory API takes no ${type} patch`);
    const shelf = this.#shelf(resource);
    const current = shelf.objects.get(key);
    if (current === undefined && (type !== 'apply' || options.subresource !== undefined)) this.#existing(resource, key);
    const before = current ?? { metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
    let made: unknown;
    if (type === 'merge') made = mergePatch(before, body);
    else {
      const owner = `${key} ${options.fieldManager ?? ''} ${options.subresource ?? ''}`;
      const fields = contentOf(body as Json, options.subresource);
      made = applyPatch(before, shelf.applied.get(owner), fields);
      shelf.applied.set(owner, structuredClone(fields));
    }
    const result = { ...(made as Json) };
    if (options.subresource !== 'status') Object.assign(result, statusOf(before as Json));
    return clone(this.#store(resource, key, result, current)) as T;
  }

  async delete<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string): Promise<void> {
    await this.#enter('delete', resource, keyOf(name, namespace));
    this.#drop(resource, keyOf(name, namespace));
  }

  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions & { readonly resourceVersion: string; readonly signal: AbortSignal },
  ): AsyncGenerator<WatchEvent<T>> {
    await this.#enter('watch', resource, options.namespace ?? '');
    const shelf = this.#shelf(resource);
    let at = shelf.events.findIndex(({ version }) => version > Number(options.resourceVersion));
    if (at < 0) at = shelf.events.length;
    while (!options.signal.aborted) {
      const next = shelf.events[at];
      if (next !== undefined) {
        at++;
        if (selected(next.event.object, options)) yield clone(next.event) as WatchEvent<T>;
        continue;
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          shelf.watchers.delete(wake);
          options.signal.removeEventListener('abort', wake);
          resolve();
        };
        shelf.watchers.add(wake);
        options.signal.addEventListener('abort', wake);
      });
    }
  }

  #isStored(resource: Resource): boolean {
    return resource.plural !== 'tokenreviews' && resource.plural !== 'subjectaccessreviews';
  }

  async #enter(verb: Recorded['verb'], resource: Resource, key: string, options: WriteOptions = {}): Promise<void> {
    const request: Recorded = { verb, plural: resource.plural, key, options };
    this.requests.push(request);
    this.onRequest(request);
    if (this.#missing.has(shelfName(resource)))
      throw new KubeError(404, 'NotFound', 'the server could not find the requested resource');
  }

  #existing(resource: Resource, key: string): KubeObject {
    const found = this.#shelf(resource).objects.get(key);
    if (found === undefined) throw new KubeError(404, 'NotFound', `${resource.plural} "${key}" not found`);
    return found;
  }

  #shelf(resource: Resource): Shelf {
    const name = shelfName(resource);
    let shelf = this.#shelves.get(name);
    if (shelf === undefined) {
      shelf = { objects: new Map(), events: [], watchers: new Set(), applied: new Map() };
      this.#shelves.set(name, shelf);
    }
    return shelf;
  }

  #store(resource: Resource, key: string, object: KubeObject, before: KubeObject | undefined): KubeObject {
    const version = ++this.#version;
    const stored: KubeObject = {
      ...clone(object),
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      metadata: {
        creationTimestamp: before?.metadata?.creationTimestamp ?? new Date().toISOString().replace(/\.[0-9]+Z$/, 'Z'),
        uid: before?.metadata?.uid ?? randomUUID(),
        ...clone(object.metadata),
        resourceVersion: String(version),
      },
    };
    this.#shelf(resource).objects.set(key, stored);
    this.#tell(resource, version, { type: before === undefined ? 'ADDED' : 'MODIFIED', object: stored });
    return stored;
  }

  #drop(resource: Resource, key: string): void {
    const shelf = this.#shelf(resource);
    const gone = shelf.objects.get(key);
    if (gone === undefined) return;
    shelf.objects.delete(key);
    const version = ++this.#version;
    const object = { ...gone, metadata: { ...gone.metadata, resourceVersion: String(version) } };
    this.#tell(resource, version, { type: 'DELETED', object });
  }

  #tell(resource: Resource, version: number, event: WatchEvent<KubeObject>): void {
    const shelf = this.#shelf(resource);
    shelf.events.push({ version, event });
    for (const wake of [...shelf.watchers]) wake();
  }
}

const clone = <T>(value: T): T => structuredClone(value);
const keyOf = (name: string, namespace: string | undefined): string =>
  namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
const shelfName = (resource: Resource): string => `${resource.group}/${resource.plural}`;
const statusOf = (object: Json): Json => (object.status === undefined ? {} : { status: object.status });

function contentOf({ apiVersion, kind, metadata, ...rest }: Json, subresource: string | undefined): Json {
  const { name, namespace, ...own } = (metadata ?? {}) as Json;
  return subresource === 'status' ? { status: rest.status ?? {} } : { ...rest, metadata: own };
}

function selected(object: KubeObject, options: ListOptions): boolean {
  if (options.namespace !== undefined && object.metadata?.namespace !== options.namespace) return false;
  const { labelSelector, fieldSelector } = options;
  if (labelSelector !== undefined && !matchesLabels(parseLabelSelector(labelSelector), object.metadata?.labels))
    return false;
  return fieldSelector === undefined || matchesFields(parseFieldSelector(fieldSelector), object);
}
