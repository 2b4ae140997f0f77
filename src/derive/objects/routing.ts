// VirtualService and DestinationRule: who and where they are for, read; the rules themselves kept as written, since each
// proxy reads them in its own surroundings.

import { type Json, type Labels, list, optionalRecord, record, text, textRecord, texts } from '../read.ts';
import { type Condition, type Meta, parseConditions, parseMeta } from './meta.ts';

export interface VirtualService extends Meta {
  /** Lower case, as written: short names are not resolved yet. Empty for a delegate. */
  readonly hosts: readonly string[];
  /** As written; `mesh` where nothing was. */
  readonly gateways: readonly string[];
  /** Empty: the mesh's default. */
  readonly exportTo: readonly string[];
  readonly http: readonly Json[];
  readonly tls: readonly Json[];
  readonly tcp: readonly Json[];
  readonly conditions: readonly Condition[];
}

/** Ours: whether all that is written is held where the object counts. */
export const VIRTUAL_SERVICE_CONDITION = 'ambit.dev/Honoured';

export function parseVirtualService(object: Json): VirtualService {
  const spec = record(object.spec);
  const gateways = texts(spec.gateways);
  return {
    ...parseMeta(object),
    hosts: texts(spec.hosts).map((host) => host.toLowerCase()),
    gateways: gateways.length === 0 ? ['mesh'] : gateways,
    exportTo: texts(spec.exportTo),
    http: list(spec.http).map(record),
    tls: list(spec.tls).map(record),
    tcp: list(spec.tcp).map(record),
    conditions: parseConditions(object.status, new Set([VIRTUAL_SERVICE_CONDITION])),
  };
}

export interface DestinationRule extends Meta {
  /** Lower case, as written. */
  readonly host: string;
  readonly exportTo: readonly string[];
  /** Set: only for the sidecars of these workloads. */
  readonly workloadSelector: Labels | undefined;
  /** As written; undefined: none. */
  readonly trafficPolicy: Json | undefined;
  readonly subsets: readonly WrittenSubset[];
}

export interface WrittenSubset {
  readonly name: string;
  readonly labels: Labels;
  readonly trafficPolicy: Json | undefined;
}

export function parseDestinationRule(object: Json): DestinationRule {
  const spec = record(object.spec);
  const selector = optionalRecord(spec.workloadSelector);
  return {
    ...parseMeta(object),
    host: text(spec.host).toLowerCase(),
    exportTo: texts(spec.exportTo),
    workloadSelector: selector && textRecord(selector.matchLabels),
    trafficPolicy: optionalRecord(spec.trafficPolicy),
    subsets: list(spec.subsets).map((item) => {
      const subset = record(item);
      return {
        name: text(subset.name),
        labels: textRecord(subset.labels),
        trafficPolicy: optionalRecord(subset.trafficPolicy),
      };
    }),
  };
}
