// The `baggage` header of a tunnel request: who the source workload is, for telemetry. Never trusted for policy.

import type { Workload, WorkloadType } from '../model/workload.ts';

/** What a baggage header says; an absent or empty member is undefined. */
export interface Baggage {
  readonly clusterId: string | undefined;
  readonly namespace: string | undefined;
  readonly workloadName: string | undefined;
  readonly workloadType: WorkloadType | undefined;
  readonly canonicalName: string | undefined;
  readonly canonicalRevision: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
}

const WORKLOAD_KEYS: ReadonlyMap<string, WorkloadType> = new Map([
  ['k8s.deployment.name', 'deployment'],
  ['k8s.cronjob.name', 'cronjob'],
  ['k8s.pod.name', 'pod'],
  ['k8s.job.name', 'job'],
]);

/** Longest header that is looked at, in characters; the header list of a tunnel is bounded above it anyway. */
const MAX_LENGTH = 16 * 1024;

/** `key=value` pairs joined by commas in Istio's order, empty members left out; nothing is escaped. */
export function encodeBaggage(workload: Workload): string {
  const pairs: [string, string][] = [
    ['k8s.cluster.name', workload.clusterId],
    ['k8s.namespace.name', workload.namespace],
    [`k8s.${workload.workloadType}.name`, workload.workloadName],
    ['service.name', workload.canonicalName],
    ['service.version', workload.canonicalRevision],
    ['cloud.region', workload.locality.region],
    ['cloud.availability_zone', workload.locality.zone],
  ];
  return pairs
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/** Reads baggage headers (several are one list). Unknown keys are passed over; of a repeated key the last one counts. */
export function parseBaggage(header: string | readonly string[] | undefined): Baggage {
  const values = new Map<string, string>();
  let workloadType: WorkloadType | undefined;
  let workloadName: string | undefined;
  const text = header === undefined || typeof header === 'string' ? (header ?? '') : header.join(',');
  for (const pair of text.slice(0, MAX_LENGTH).split(',')) {
    const equals = pair.indexOf('=');
    if (equals < 0) continue;
    const key = pair.slice(0, equals).trim();
    const value = pair.slice(equals + 1).trim();
    if (value === '') continue;
    const type = WORKLOAD_KEYS.get(key);
    if (type === undefined) values.set(key, value);
    else [workloadType, workloadName] = [type, value];
  }
  return {
    clusterId: values.get('k8s.cluster.name'),
    namespace: values.get('k8s.namespace.name'),
    workloadName,
    workloadType,
    canonicalName: values.get('service.name'),
    canonicalRevision: values.get('service.version'),
    region: values.get('cloud.region'),
    zone: values.get('cloud.availability_zone'),
  };
}
