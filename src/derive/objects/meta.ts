// What every parsed object keeps of its metadata, and the condition lists that statuses carry.

import { integer, type Json, type Labels, list, optionalText, record, text, textRecord, timeMs } from '../read.ts';

export interface Meta {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  /** Milliseconds since 1970: the oldest of several wins in many rules. */
  readonly createdMs: number;
  readonly generation: number;
}

/** @param keep  the annotations that matter for the kind; all others change too often and are dropped */
export function parseMeta(object: Json, keep: readonly string[] = []): Meta {
  const metadata = record(object.metadata);
  const annotations = record(metadata.annotations);
  return {
    namespace: text(metadata.namespace),
    name: text(metadata.name),
    labels: textRecord(metadata.labels),
    annotations: textRecord(Object.fromEntries(keep.map((key) => [key, annotations[key]]))),
    createdMs: timeMs(metadata.creationTimestamp),
    generation: integer(metadata.generation) ?? 0,
  };
}

/** `<namespace>/<name>`, or the name alone for a cluster-scoped object: the key of an object's source. */
export const metaKey = (meta: Pick<Meta, 'namespace' | 'name'>): string =>
  meta.namespace === '' ? meta.name : `${meta.namespace}/${meta.name}`;

/** Older first; of two made in one second the alphabetically first, so that every replica agrees. */
export const byAge = (a: Meta, b: Meta): number =>
  a.createdMs - b.createdMs || (metaKey(a) < metaKey(b) ? -1 : metaKey(a) > metaKey(b) ? 1 : 0);

/** metav1.Condition, as found on an object. */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number | undefined;
  readonly lastTransitionTime: string | undefined;
}

/** The conditions of a status whose type is one of `types`, or all. */
export const parseConditions = (status: unknown, types?: ReadonlySet<string>): readonly Condition[] =>
  list(record(status).conditions).flatMap((item) => {
    const condition = record(item);
    const type = text(condition.type);
    if (types?.has(type) === false) return [];
    return [
      {
        type,
        status: text(condition.status),
        reason: text(condition.reason),
        message: text(condition.message),
        observedGeneration: integer(condition.observedGeneration),
        lastTransitionTime: optionalText(condition.lastTransitionTime),
      },
    ];
  });
