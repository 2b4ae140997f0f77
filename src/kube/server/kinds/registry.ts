// Every kind that is served now: the built-in ones and those that CustomResourceDefinitions add and take away.

import { apiVersionOf } from '../../client/resources.ts';
import type { Resource } from '../../client/types.ts';
import { BUILTIN_KINDS } from './builtin.ts';
import { collectionOf, type Kind, resourceOf, type ServedKind } from './kind.ts';
import { MESH_KINDS } from './mesh.ts';

export class Registry {
  /** By `<group>/<plural>`. */
  readonly #kinds = new Map<string, Kind>();
  readonly #handlers = new Set<() => void>();
  /** Changes with the set of kinds; discovery documents are cached by it. */
  revision = 0;

  constructor(kinds: readonly Kind[] = [...BUILTIN_KINDS, ...MESH_KINDS]) {
    for (const kind of kinds) this.#kinds.set(collectionOf(kind), kind);
  }

  get kinds(): Iterable<Kind> {
    return this.#kinds.values();
  }

  /** What a URL names; undefined when that version does not serve it. */
  find(group: string, version: string, plural: string): ServedKind | undefined {
    const kind = this.#kinds.get(`${group}/${plural}`);
    return kind?.versions.includes(version) ? { kind, version } : undefined;
  }

  /** What an object's `apiVersion` and `kind` name. */
  findKind(apiVersion: string, name: string): ServedKind | undefined {
    for (const kind of this.#kinds.values())
      if (kind.kind === name)
        for (const version of kind.versions)
          if (apiVersionOf({ group: kind.group, version }) === apiVersion) return { kind, version };
    return undefined;
  }

  byCollection(collection: string): Kind | undefined {
    return this.#kinds.get(collection);
  }

  /** Served resources that can be listed, each in its preferred version. */
  resources(): Resource[] {
    return [...this.#kinds.values()]
      .filter((kind) => kind.verbs.includes('list'))
      .map((kind) => resourceOf(kind, kind.versions[0] ?? kind.storageVersion));
  }

  add(kind: Kind): void {
    this.#kinds.set(collectionOf(kind), kind);
    this.#changed();
  }

  remove(group: string, plural: string): void {
    if (this.#kinds.delete(`${group}/${plural}`)) this.#changed();
  }

  onChange(handler: () => void): void {
    this.#handlers.add(handler);
  }

  #changed(): void {
    this.revision++;
    for (const handler of this.#handlers) handler();
  }
}
