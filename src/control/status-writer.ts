// Writes conditions: whatever the derivation reports as different from what an object says, by server-side apply under
// the field managers that Istio uses. Only the leader runs it.

import type { Collection } from '../derive/graph/graph.ts';
import type { Condition } from '../derive/objects/meta.ts';
import type { StatusFields, StatusKind, StatusReport, Wanted } from '../derive/status/report.ts';
import {
  AUTHORIZATION_POLICIES,
  apiVersionOf,
  GATEWAY_CLASSES,
  GATEWAYS,
  SERVICE_ENTRIES,
  SERVICES,
  WORKLOAD_ENTRIES,
} from '../kube/client/resources.ts';
import { type KubeClient, KubeError, type KubeObject, type Resource } from '../kube/client/types.ts';
import type { Clock } from '../platform/clock.ts';
import { logger } from '../telemetry/log.ts';
import type { ControlMetrics } from './metrics.ts';
import { WorkQueue } from './work-queue.ts';

const log = logger('status');

const RESOURCES: Readonly<Record<StatusKind, Resource>> = {
  Service: SERVICES as Resource,
  ServiceEntry: SERVICE_ENTRIES as Resource,
  WorkloadEntry: WORKLOAD_ENTRIES as Resource,
  AuthorizationPolicy: AUTHORIZATION_POLICIES as Resource,
  GatewayClass: GATEWAY_CLASSES as Resource,
  Gateway: GATEWAYS as Resource,
};

/** Conditions with the time of their last change, kept while their status stays. */
const stamped = (wanted: readonly Wanted[], found: readonly Condition[], now: string): readonly object[] =>
  wanted.map(({ type, status, reason, message, observedGeneration }) => {
    const before = found.find((condition) => condition.type === type);
    return {
      type,
      status,
      reason,
      message,
      lastTransitionTime: before?.status === status ? (before.lastTransitionTime ?? now) : now,
      ...(observedGeneration === undefined ? {} : { observedGeneration }),
    };
  });

function bodyOf(fields: StatusFields, now: string): object {
  if (fields.kind === 'GatewayClass') return { supportedFeatures: fields.wanted.map((name) => ({ name })) };
  const { wanted, found } = fields;
  return {
    addresses: wanted.addresses,
    listeners: wanted.listeners.map(({ name, attachedRoutes, supportedKinds, conditions }) => ({
      name,
      attachedRoutes,
      supportedKinds,
      conditions: stamped(conditions, found.listeners.find((each) => each.name === name)?.conditions ?? [], now),
    })),
  };
}

/** The object to apply. A status without conditions lets go of those that were applied before. */
export function statusBody(report: StatusReport, nowMs: number): KubeObject & { status: unknown } {
  const { kind, namespace, name, wanted, found, fields } = report;
  const now = new Date(nowMs).toISOString().replace(/\.[0-9]+Z$/, 'Z');
  const conditions = stamped(wanted, found, now);
  return {
    apiVersion: apiVersionOf(RESOURCES[kind]),
    kind,
    metadata: { name, ...(namespace === '' ? {} : { namespace }) },
    status: { ...(conditions.length > 0 && { conditions }), ...(fields && bodyOf(fields, now)) },
  };
}

export interface StatusWriterOptions {
  readonly kube: KubeClient;
  readonly reports: Collection<StatusReport>;
  readonly clock: Clock;
  readonly metrics: ControlMetrics;
}

/**
 * A writer that follows the reports from its making; it writes between `start` and the abort of its signal.
 * What one leader leaves unwritten the next one finds among the reports.
 */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  #queue: WorkQueue | undefined;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    options.reports.subscribe((changes) => {
      for (const { key, now } of changes) if (now !== undefined) this.#queue?.add(key);
    });
  }

  start(signal: AbortSignal): void {
    const { reports, clock } = this.#options;
    this.#queue = new WorkQueue((key) => this.#write(key), {
      clock,
      concurrency: 8,
      signal,
      onError: (key, error, attempt) => {
        this.#options.metrics.statusWrites.labels(key.split('/', 1)[0] as string, 'error').inc();
        const level = attempt === 1 ? 'info' : 'warn';
        log[level]('status not written; trying again', { key, attempt, error: error as Error });
      },
    });
    for (const key of reports.keys()) this.#queue.add(key);
  }

  async #write(key: string): Promise<void> {
    const { kube, reports, clock, metrics } = this.#options;
    const report = reports.get(key);
    if (report === undefined) return;
    const { kind, name, namespace, manager } = report;
    try {
      await kube.patch(RESOURCES[kind], name, namespace || undefined, 'apply', statusBody(report, clock.nowMs()), {
        subresource: 'status',
        fieldManager: manager,
        force: true,
      });
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return; // gone, and the report will follow
      throw error;
    }
    metrics.statusWrites.labels(kind, 'ok').inc();
    log.debug('status written', { key });
  }
}
