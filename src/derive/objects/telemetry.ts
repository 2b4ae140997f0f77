// Telemetry resources as data.

import { type Json, type Labels, list, optionalRecord, record, textRecord } from '../read.ts';
import { type Meta, parseMeta } from './meta.ts';
import { parseTargetRefs, type TargetRef } from './security.ts';

export interface TelemetryResource extends Meta {
  readonly selector: Labels | undefined;
  readonly targetRefs: readonly TargetRef[];
  /** As written: they are merged block by block. */
  readonly tracing: readonly Json[];
  readonly metrics: readonly Json[];
  readonly accessLogging: readonly Json[];
}

export function parseTelemetry(object: Json): TelemetryResource {
  const meta = parseMeta(object);
  const spec = record(object.spec);
  const selector = optionalRecord(spec.selector);
  return {
    ...meta,
    selector: selector && textRecord(selector.matchLabels),
    targetRefs: parseTargetRefs(spec, meta.namespace),
    tracing: list(spec.tracing).map(record),
    metrics: list(spec.metrics).map(record),
    accessLogging: list(spec.accessLogging).map(record),
  };
}
