// delete and deletecollection: at once, or in steps when finalizers, a pod's grace period or a namespace's contents wait.

import type { IPod } from 'kubernetes-models/v1/Pod';
import type { KubeObject, ObjectMeta } from '../../client/types.ts';
import { badRequest, forbidden } from '../errors.ts';
import { collectionOf, type Kind } from '../kinds/kind.ts';
import type { Stored } from '../store/store.ts';
import { IMMORTAL } from './namespaces.ts';
import { getStored, type ListParams, list } from './read.ts';
import type { DeleteParams, RestContext, Target } from './request.ts';
import { checkPreconditions, seconds } from './write.ts';

const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';

export interface Deleted {
  /** The last state, or the state it waits in. */
  readonly object: KubeObject;
  /** It is gone; otherwise it has a deletionTimestamp and waits. */
  readonly gone: boolean;
}

export function remove(context: RestContext, target: Target, params: DeleteParams): Deleted {
  const stored = getStored(context, target);
  return removeStored(context, target.kind, stored, params);
}

/** Deletes what a list selects. @returns the states they were left in */
export function removeCollection(
  context: RestContext,
  target: Target,
  selection: ListParams,
  params: DeleteParams,
): KubeObject[] {
  const { items } = list(context, target, { ...selection, limit: undefined, continue: undefined });
  return items.map((stored) => removeStored(context, target.kind, stored, params).object);
}

function removeStored(context: RestContext, kind: Kind, stored: Stored, params: DeleteParams): Deleted {
  checkPreconditions(kind, stored, params.preconditions ?? {});
  const before = stored.object;
  if (isNamespace(kind) && IMMORTAL.has(stored.name))
    throw forbidden(kind, stored.name, 'this namespace may not be deleted');
  const grace = graceSeconds(kind, before, params.gracePeriodSeconds);
  const finalizers = finalizersOf(before.metadata ?? {}, params.propagationPolicy);
  const waits = finalizers.length > 0 || grace > 0 || hasContents(kind, before);
  if (!waits) {
    if (!params.dryRun) context.store.write({ collection: collectionOf(kind), object: before, remove: true });
    return { object: before, gone: true };
  }
  const next = terminating(context, kind, before, finalizers, grace);
  if (next === undefined || params.dryRun) return { object: next ?? before, gone: false };
  return { object: context.store.write({ collection: collectionOf(kind), object: next }).object, gone: false };
}

/** @returns undefined when it waits already, and not longer than this asks */
function terminating(
  { now }: RestContext,
  kind: Kind,
  before: KubeObject,
  finalizers: string[],
  grace: number,
): KubeObject | undefined {
  const { metadata = {} } = before;
  const shorter = grace < (metadata.deletionGracePeriodSeconds ?? Number.POSITIVE_INFINITY);
  const sameFinalizers = finalizers.length === (metadata.finalizers ?? []).length;
  if (metadata.deletionTimestamp !== undefined && !shorter && sameFinalizers) return undefined;
  const next: KubeObject & { status?: object } = {
    ...before,
    metadata: {
      ...metadata,
      ...(metadata.generation === undefined ? {} : { generation: metadata.generation + 1 }),
      deletionTimestamp:
        metadata.deletionTimestamp === undefined || shorter
          ? seconds(new Date(now().getTime() + grace * 1000))
          : metadata.deletionTimestamp,
      deletionGracePeriodSeconds: Math.min(grace, metadata.deletionGracePeriodSeconds ?? grace),
      ...(finalizers.length === 0 ? {} : { finalizers }),
    },
  };
  if (isNamespace(kind)) next.status = { ...next.status, phase: 'Terminating' };
  return next;
}

function finalizersOf(metadata: ObjectMeta, policy: string | undefined): string[] {
  const kept = metadata.finalizers ?? [];
  switch (policy) {
    case undefined:
      return [...kept];
    case 'Background':
      return kept.filter((name) => name !== FOREGROUND && name !== ORPHAN);
    case 'Foreground':
      return [...kept.filter((name) => name !== ORPHAN && name !== FOREGROUND), FOREGROUND];
    case 'Orphan':
      return [...kept.filter((name) => name !== ORPHAN && name !== FOREGROUND), ORPHAN];
    default:
      throw badRequest(`invalid propagationPolicy \`${policy}\`: use Background, Foreground or Orphan`);
  }
}

/** Only pods that a kubelet runs have a grace period; what never ran or has ended is gone at once. */
function graceSeconds(kind: Kind, object: KubeObject, asked: number | undefined): number {
  if (kind.kind !== 'Pod' || kind.group !== '') return 0;
  const { spec, status, metadata } = object as IPod;
  if (!spec?.nodeName || status?.phase === 'Succeeded' || status?.phase === 'Failed') return 0;
  if (asked !== undefined && asked < 0) throw badRequest('gracePeriodSeconds must not be negative');
  return asked ?? metadata?.deletionGracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? 30;
}

const isNamespace = (kind: Kind): boolean => kind.kind === 'Namespace' && kind.group === '';

function hasContents(kind: Kind, object: KubeObject): boolean {
  return isNamespace(kind) && ((object as { spec?: { finalizers?: string[] } }).spec?.finalizers ?? []).length > 0;
}
