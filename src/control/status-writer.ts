// Writes conditions: whatever the derivation reports as different from what an object says, by server-side apply under
// the field managers that Istio uses. Only the leader runs it.

import { equal } from '../derive/graph/equal.ts';
import type { Collection } from '../derive/graph/graph.ts';
import type { Condition } from '../derive/objects/meta.ts';
import type { FoundParent } from '../derive/objects/route.ts';
import { type Json, list, record, text } from '../derive/read.ts';
import {
  OWN_CONTROLLERS,
  type StatusFields,
  type StatusKind,
  type StatusReport,
  type Wanted,
  type WantedParent,
} from '../derive/status/report.ts';
import {
  AUTHORIZATION_POLICIES,
  apiVersionOf,
  BACKEND_TLS_POLICIES,
  GATEWAY_CLASSES,
  GATEWAYS,
  GRPC_ROUTES,
  HTTP_ROUTES,
  SERVICE_ENTRIES,
  SERVICES,
  TCP_ROUTES,
  TLS_ROUTES,
  VIRTUAL_SERVICES,
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
  HTTPRoute: HTTP_ROUTES as Resource,
  GRPCRoute: GRPC_ROUTES as Resource,
  TLSRoute: TLS_ROUTES as Resource,
  TCPRoute: TCP_ROUTES as Resource,
  BackendTLSPolicy: BACKEND_TLS_POLICIES as Resource,
  VirtualService: VIRTUAL_SERVICES as Resource,
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

/** @param present  the entries of the list as it is; those of other controllers stay */
function parentsBody(
  refField: string,
  wanted: readonly WantedParent[],
  found: readonly FoundParent[],
  present: readonly Json[],
  now: string,
): readonly object[] {
  const others = present.filter(({ controllerName }) => !OWN_CONTROLLERS.has(text(controllerName)));
  const ours = wanted.map(({ ref, controllerName, conditions }) => {
    const before = found.find((each) => each.controllerName === controllerName && equal(each.ref, ref));
    return { [refField]: ref, controllerName, conditions: stamped(conditions, before?.conditions ?? [], now) };
  });
  return [...others, ...ours];
}

function bodyOf(fields: StatusFields, present: Json, now: string): object {
  if (fields.kind === 'GatewayClass') return { supportedFeatures: fields.wanted.map((name) => ({ name })) };
  if (fields.kind !== 'Gateway') {
    const refField = fields.kind === 'parents' ? 'parentRef' : 'ancestorRef';
    const entries = list(present[fields.kind]).map(record);
    return { [fields.kind]: parentsBody(refField, fields.wanted, fields.found, entries, now) };
  }
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

/**
 * The object to apply. A status without conditions lets go of those that were applied before.
 * @param present  the object as it is, for lists that others write, too: it is only applied to this version
 */
export function statusBody(
  report: StatusReport,
  nowMs: number,
  present?: KubeObject,
): KubeObject & { status: unknown } {
  const { kind, namespace, name, wanted, found, fields } = report;
  const now = new Date(nowMs).toISOString().replace(/\.[0-9]+Z$/, 'Z');
  const conditions = stamped(wanted, found, now);
  return {
    apiVersion: apiVersionOf(RESOURCES[kind]),
    kind,
    metadata: {
      name,
      ...(namespace === '' ? {} : { namespace }),
      ...(present?.metadata?.resourceVersion !== undefined && { resourceVersion: present.metadata.resourceVersion }),
    },
    status: {
      ...(conditions.length > 0 && { conditions }),
      ...(fields && bodyOf(fields, record(record(present).status), now)),
    },
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
      const isShared = report.fields?.kind === 'parents' || report.fields?.kind === 'ancestors';
      const present = isShared ? await kube.get(RESOURCES[kind], name, namespace || undefined) : undefined;
      if (isShared && present === undefined) return;
      await kube.patch(
        RESOURCES[kind],
        name,
        namespace || undefined,
        'apply',
        statusBody(report, clock.nowMs(), present),
        {
          subresource: 'status',
          fieldManager: manager,
          force: true,
        },
      );
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return; // gone, and the report will follow
      throw error;
    }
    metrics.statusWrites.labels(kind, 'ok').inc();
    log.debug('status written', { key });
  }
}
