// ReferenceGrants: a namespace lets objects of another refer to its own.

import type { Collection, Index, Reader } from '../graph/graph.ts';
import { type Json, list, optionalText, record, text } from '../read.ts';
import { type Meta, parseMeta } from './meta.ts';

export interface ReferenceGrant extends Meta {
  readonly from: readonly { readonly group: string; readonly kind: string; readonly namespace: string }[];
  /** Without a name: all of the kind. */
  readonly to: readonly { readonly group: string; readonly kind: string; readonly name: string | undefined }[];
}

export function parseReferenceGrant(object: Json): ReferenceGrant {
  const spec = record(object.spec);
  return {
    ...parseMeta(object),
    from: list(spec.from).map((item) => {
      const { group, kind, namespace } = record(item);
      return { group: text(group), kind: text(kind), namespace: text(namespace) };
    }),
    to: list(spec.to).map((item) => {
      const { group, kind, name } = record(item);
      return { group: text(group), kind: text(kind), name: optionalText(name) || undefined };
    }),
  };
}

interface Referrer {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
}

interface Referent extends Referrer {
  readonly name: string;
}

/** Files grants by the namespace that gives them. */
export const indexGrants = (grants: Collection<ReferenceGrant>): Index<ReferenceGrant> =>
  grants.index('byNamespace', ({ namespace }) => [namespace]);

/** Whether `from` may refer to `to`: always within a namespace, by a grant of the other's otherwise. */
export const mayRefer = (get: Reader, grants: Index<ReferenceGrant>, from: Referrer, to: Referent): boolean =>
  from.namespace === to.namespace ||
  get
    .all(grants, to.namespace)
    .some(
      (grant) =>
        grant.from.some(
          ({ group, kind, namespace }) => group === from.group && kind === from.kind && namespace === from.namespace,
        ) &&
        grant.to.some(
          ({ group, kind, name }) => group === to.group && kind === to.kind && (name === undefined || name === to.name),
        ),
    );
