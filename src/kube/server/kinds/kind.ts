// What the server knows about one kind: where it is served, its shape, and what is particular about writing it.

import { apiVersionOf } from '../../client/resources.ts';
import type { KubeObject, Resource } from '../../client/types.ts';
import type { FieldFault } from '../errors.ts';
import type { ObjectNode } from '../schema/node.ts';
import type { Store } from '../store/store.ts';
import type { NameRule } from './validate-names.ts';

export interface Column {
  readonly name: string;
  readonly type?: 'string' | 'integer' | 'date' | 'boolean' | 'number';
  /** Shown only with `-o wide`. */
  readonly wide?: boolean;
  readonly cell: (object: KubeObject, nowMs: number) => string | number | boolean | null;
}

/** Dotted paths into the object, as in a CustomResourceDefinition's scale subresource. */
export interface ScalePaths {
  readonly specReplicas: string;
  readonly statusReplicas: string;
  /** A text selector at this path; for built-in kinds the LabelSelector at `spec.selector` is used instead. */
  readonly labelSelector?: string | undefined;
}

/** What admission and validation may look at besides the object. */
export interface WriteContext {
  readonly store: Store;
  readonly now: () => Date;
}

/**
 * Rules of one kind `T`. All get a private copy that they may change; it has passed the schema's types, but a required
 * field may still be missing. None does I/O. Methods, so that the rules of Pods are also rules of objects.
 */
export interface KindRules<T extends KubeObject = KubeObject> {
  /** Fills in what the user left out; must be idempotent. */
  defaults?(object: T): void;
  /** On creation, before defaults are validated: what depends on other objects (cluster addresses, token volumes). */
  admit?(object: T, context: WriteContext): void;
  /** On update, before validation: keeps what the server allocated. */
  carryOver?(object: T, before: T, context: WriteContext): void;
  validate?(object: T, context: WriteContext): FieldFault[];
  validateUpdate?(object: T, before: T): FieldFault[];
  /** What the writer is told although the object is taken; asked after `validate` found no fault. */
  warnings?(object: T, context: WriteContext): readonly string[];
}

/** How discovery shows a subresource. */
export interface Subresource {
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly string[];
}

export interface Kind {
  readonly group: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Served versions, the preferred one first. All have one shape. */
  readonly versions: readonly string[];
  readonly storageVersion: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
  /** Has `/status`: writes to the object leave status alone, and the other way round. */
  readonly status: boolean;
  readonly scale?: ScalePaths | undefined;
  /** Further subresources with the kind of their body: `{ log: 'Pod', exec: 'PodExecOptions' }`. */
  readonly subresources: Readonly<Record<string, Subresource>>;
  /** metadata.generation counts changes of anything but metadata and status. */
  readonly generation: boolean;
  /** Defined by CustomResourceDefinition semantics: schema decides, status updates touch status alone. */
  readonly custom: boolean;
  /** Fields that `--field-selector` may name besides metadata.name and metadata.namespace. */
  readonly selectableFields: readonly string[];
  readonly schema: (version: string) => ObjectNode;
  readonly columns: (version: string) => readonly Column[];
  readonly rules: KindRules;
  readonly nameRule: NameRule;
  /** For kinds that are kept although nothing here acts on them: writers are warned with this. */
  readonly notice?: string | undefined;
  /** Checks what the schema's tree cannot say; loaded on first use. */
  readonly deepValidator?: (() => Promise<DeepValidator>) | undefined;
}

/** @returns the object's faults */
export type DeepValidator = (object: KubeObject) => FieldFault[];

/** One version of a kind, as a request names it. */
export interface ServedKind {
  readonly kind: Kind;
  readonly version: string;
}

/** Key of the store's collection: versions share it. */
export function collectionOf(kind: { readonly group: string; readonly plural: string }): string {
  return `${kind.group}/${kind.plural}`;
}

export function resourceOf(kind: Kind, version: string): Resource {
  return { group: kind.group, version, plural: kind.plural, kind: kind.kind, namespaced: kind.namespaced };
}

/** The object as another served version shows it: all versions of our kinds have one shape. */
export function inVersion(kind: Kind, version: string, object: KubeObject): KubeObject {
  const apiVersion = apiVersionOf({ group: kind.group, version });
  if (object.apiVersion === apiVersion) return object;
  return { ...object, apiVersion };
}

export const ALL_VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'] as const;
