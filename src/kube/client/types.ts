// What every part of Ambit knows about a Kubernetes API: resources, objects, and the client's verbs.
// Two implementations: HTTP (client.ts, any cluster) and in-process over the embedded store (kube/server).

/** One served resource; `T` is the object's type, carried only for the compiler. */
export interface Resource<T extends KubeObject = KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly _type?: T;
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  name?: string;
  namespace?: string;
  generateName?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: unknown[];
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata?: ObjectMeta;
}

export interface ListOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** One page of a list. A client that knows no pages gives everything at once, and no `continue`. */
export interface PageOptions extends ListOptions {
  readonly limit?: number;
  /** What the page before gave; expires with 410. */
  readonly continue?: string;
}

export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: T;
}

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply';

export interface WriteOptions {
  readonly subresource?: 'status' | 'scale' | 'eviction' | 'token' | 'binding' | 'finalize';
  readonly fieldManager?: string;
  /** With `apply`: take over fields that another manager owns. */
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

/** An answer of the API that is not a success; `reason` and `code` as in metav1.Status. */
export class KubeError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: unknown;
  constructor(code: number, reason: string, message: string, details?: unknown) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }
}

export interface KubeClient {
  /** Undefined when the object does not exist; every other failure throws KubeError. */
  get<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string): Promise<T | undefined>;
  list<T extends KubeObject>(
    resource: Resource<T>,
    options?: PageOptions,
  ): Promise<{ items: T[]; resourceVersion: string; continue?: string }>;
  create<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  update<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  patch<T extends KubeObject>(
    resource: Resource<T>,
    name: string,
    namespace: string | undefined,
    type: PatchType,
    body: unknown,
    options?: WriteOptions,
  ): Promise<T>;
  /** Deleting what is not there is not an error. */
  delete<T extends KubeObject>(
    resource: Resource<T>,
    name: string,
    namespace?: string,
    options?: {
      readonly gracePeriodSeconds?: number;
      readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
    },
  ): Promise<void>;
  /** Ends (or throws KubeError 410 Gone) when the server ends it; callers list again. `informer.ts` does that. */
  watch<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions & { readonly resourceVersion: string; readonly signal: AbortSignal },
  ): AsyncIterable<WatchEvent<T>>;
}

/** A live, complete copy of one resource. Level-based: handlers are told what changed, and look at what is. */
export interface Informer<T extends KubeObject> {
  /** By `<namespace>/<name>`, or `<name>` when cluster-scoped. */
  readonly items: ReadonlyMap<string, T>;
  /** Resolves after the first complete list. */
  readonly synced: Promise<void>;
  /** Called after `items` has the change; `now` or `before` is undefined on delete or add. */
  onChange(handler: (key: string, now: T | undefined, before: T | undefined) => void): void;
  stop(): void;
}
