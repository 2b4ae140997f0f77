// TrafficFilter (ours, ambit.dev/v1alpha1) and EnvoyFilter as data: rate limits and header changes at a gateway or waypoint.

import { integer, type Json, type Labels, list, optionalRecord, record, text, textRecord } from '../read.ts';
import { type Meta, parseMeta } from './meta.ts';
import { parseTargetRefs, type TargetRef } from './security.ts';

export interface TrafficFilterResource extends Meta {
  readonly selector: Labels | undefined;
  readonly targetRefs: readonly TargetRef[];
  /** As written. */
  readonly spec: Json;
}

export function parseTrafficFilter(object: Json): TrafficFilterResource {
  const meta = parseMeta(object);
  const spec = record(object.spec);
  return { ...meta, selector: undefined, targetRefs: parseTargetRefs(spec, meta.namespace), spec };
}

export interface EnvoyFilterResource extends Meta {
  readonly selector: Labels | undefined;
  readonly targetRefs: readonly TargetRef[];
  /** Lower first. */
  readonly priority: number;
  readonly patches: readonly EnvoyPatch[];
}

export interface EnvoyPatch {
  readonly applyTo: string;
  readonly context: string;
  /** As written. */
  readonly match: Json;
  readonly operation: string;
  readonly value: Json;
}

export function parseEnvoyFilter(object: Json): EnvoyFilterResource {
  const meta = parseMeta(object);
  const spec = record(object.spec);
  const selector = optionalRecord(spec.workloadSelector);
  return {
    ...meta,
    selector: selector && textRecord(selector.labels),
    targetRefs: parseTargetRefs(spec, meta.namespace),
    priority: integer(spec.priority) ?? (typeof spec.priority === 'number' ? spec.priority : 0),
    patches: list(spec.configPatches).map((item) => {
      const written = record(item);
      const match = record(written.match);
      const patch = record(written.patch);
      return {
        applyTo: text(written.applyTo),
        context: text(match.context) || 'ANY',
        match,
        operation: text(patch.operation),
        value: record(patch.value),
      };
    }),
  };
}
