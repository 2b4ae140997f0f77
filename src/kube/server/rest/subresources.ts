// scale, binding and eviction: small doors to parts of an object, each with a body of its own.

import type { IScale } from 'kubernetes-models/autoscaling/v1/Scale';
import type { IBinding } from 'kubernetes-models/v1/Binding';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { formatLabelSelector, type LabelSelectorObject, selectorFromObject } from '../../client/selectors.ts';
import type { KubeObject, PatchType } from '../../client/types.ts';
import { badRequest, conflict, invalid, invalidField, noSuchPath, type Status, success } from '../errors.ts';
import { valueAt } from '../json.ts';
import { collectionOf, type Kind, type ScalePaths } from '../kinds/kind.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import { applyMergePatch } from '../patch/merge-patch.ts';
import { isRecord } from '../schema/check.ts';
import type { Stored } from '../store/store.ts';
import { remove } from './delete.ts';
import { getStored } from './read.ts';
import type { RestContext, Target, WriteParams } from './request.ts';
import { patch, seconds } from './write.ts';

export function getScale(context: RestContext, target: Target): IScale {
  return scaleOf(target.kind, getStored(context, target));
}

function scalePaths(kind: Kind): ScalePaths {
  if (kind.scale === undefined) throw noSuchPath();
  return kind.scale;
}

function scaleOf(kind: Kind, { object }: Stored): IScale {
  const paths = scalePaths(kind);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata ?? {};
  const selector =
    paths.labelSelector === undefined
      ? formatLabelSelector(selectorFromObject((valueAt(object, 'spec.selector') ?? {}) as LabelSelectorObject))
      : valueAt(object, paths.labelSelector);
  const metadata = { name, namespace, uid, resourceVersion, creationTimestamp };
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== undefined)),
    spec: { replicas: Number(valueAt(object, paths.specReplicas) ?? 0) },
    status: {
      replicas: Number(valueAt(object, paths.statusReplicas) ?? 0),
      ...(typeof selector === 'string' && selector !== '' ? { selector } : {}),
    },
  };
}

/** Replaces (`type` undefined) or patches the number of replicas. */
export async function writeScale(
  context: RestContext,
  target: Target,
  type: PatchType | undefined,
  body: unknown,
  params: WriteParams,
): Promise<IScale> {
  const paths = scalePaths(target.kind);
  const current = scaleOf(target.kind, getStored(context, target));
  const sent = (
    type === undefined ? body : type === 'json' ? applyJsonPatch(current, body) : applyMergePatch(current, body)
  ) as IScale;
  const replicas = isRecord(sent) ? sent.spec?.replicas : undefined;
  if (!Number.isInteger(replicas) || (replicas ?? 0) < 0)
    throw invalid({ group: 'autoscaling', kind: 'Scale' }, target.name ?? '', [
      invalidField('spec.replicas', replicas, 'must be a whole number greater than or equal to 0'),
    ]);
  const wanted = paths.specReplicas
    .split('.')
    .filter((name) => name !== '')
    .reduceRight<unknown>((value, name) => ({ [name]: value }), replicas);
  const { resourceVersion } = sent.metadata ?? {};
  const change = { ...(wanted as object), ...(resourceVersion ? { metadata: { resourceVersion } } : {}) };
  const { object } = await patch(context, { ...target, subresource: undefined }, 'merge', change, params);
  return scaleOf(target.kind, { object } as Stored);
}

/** Puts a pod on a node, once. */
export function bindPod(context: RestContext, target: Target, body: unknown, params: WriteParams): Status {
  const stored = getStored(context, target);
  const node = isRecord(body) ? (body as unknown as IBinding).target?.name : undefined;
  if (!node) throw badRequest('a Binding must name its node in `target.name`');
  const pod = stored.object as IPod;
  if (pod.metadata?.deletionTimestamp !== undefined)
    throw conflict(target.kind, stored.name, `pod ${stored.name} is being deleted, cannot be assigned to a host`);
  if (pod.spec?.nodeName)
    throw conflict(target.kind, stored.name, `pod ${stored.name} is already assigned to node "${pod.spec.nodeName}"`);
  if (params.dryRun) return success();
  const scheduled = { type: 'PodScheduled', status: 'True' as const, lastTransitionTime: seconds(context.now()) };
  const conditions = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
  const next = {
    ...pod,
    spec: { ...pod.spec, nodeName: node },
    status: { ...pod.status, conditions: [...conditions, scheduled] },
  };
  context.store.write({ collection: collectionOf(target.kind), object: next as KubeObject });
  return success();
}

/** Deletes a pod as a drain does. There are no disruption budgets to ask here. */
export function evictPod(context: RestContext, target: Target, body: unknown, params: WriteParams): Status {
  const options = isRecord(body) && isRecord(body.deleteOptions) ? body.deleteOptions : {};
  const grace = options.gracePeriodSeconds;
  remove(context, target, {
    dryRun: params.dryRun,
    ...(typeof grace === 'number' ? { gracePeriodSeconds: grace } : {}),
  });
  return success();
}
