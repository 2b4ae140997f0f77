// create, update and patch: one pipeline of decoding, admission, defaults, validation, ownership and the write itself.
// Everything after the first await is one synchronous step, so what was read is still true when it is written.

import { randomUUID } from 'node:crypto';
import { KubeError, type KubeObject, type ObjectMeta, type PatchType } from '../../client/types.ts';
import { applyConfiguration, ownershipAfterUpdate, type Writer, writerOf } from '../apply/managed-fields.ts';
import { alreadyExists, badRequest, conflict, type FieldFault, forbiddenField, invalid, MODIFIED } from '../errors.ts';
import { cloneJson, sameJson } from '../json.ts';
import { ephemeralFaults, withEphemeralContainers } from '../kinds/ephemeral.ts';
import { collectionOf, type DeepValidator, inVersion, type Kind } from '../kinds/kind.ts';
import { nameSuffix } from '../kinds/service-account.ts';
import { validateMeta } from '../kinds/validate-names.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import { applyMergePatch } from '../patch/merge-patch.ts';
import { applyStrategicPatch } from '../patch/strategic.ts';
import { isRecord } from '../schema/check.ts';
import type { Stored } from '../store/store.ts';
import { type Decoded, decode } from './decode.ts';
import { admitToNamespace, companionsOf } from './namespaces.ts';
import { getStored } from './read.ts';
import type { RestContext, Target, WriteParams } from './request.ts';

type Named = Decoded['object'];
/** managedFields of the object as it will be stored. */
type Ownership = (object: Named) => unknown[];

/** The object that a write leaves; `created` tells 201 from 200. */
export interface Written {
  readonly object: KubeObject;
  readonly created: boolean;
}

export async function create(
  context: RestContext,
  target: Target,
  body: unknown,
  params: WriteParams,
): Promise<Written> {
  const deep = await target.kind.deepValidator?.();
  const decoded = decode(target, body, params, deep);
  const writer = writerFor(context, target, params);
  const schema = target.kind.schema(target.version);
  return createDecoded(context, target, decoded, params, (object) =>
    ownershipAfterUpdate(schema, undefined, object, writer, undefined),
  );
}

function createDecoded(
  context: RestContext,
  target: Target,
  decoded: Decoded,
  params: WriteParams,
  owned: Ownership,
): Written {
  const { kind } = target;
  const sent = decoded.object.metadata;
  if (sent.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  if (kind.namespaced && sent.namespace && target.namespace && sent.namespace !== target.namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  const object = cloneJson(decoded.object) as Named & { status?: unknown };
  object.metadata = newMeta(context, target, sent);
  if (kind.status) delete object.status;
  const { name = '', namespace = '' } = object.metadata;
  if (kind.namespaced) admitToNamespace(context.store, kind, name, namespace);
  if (context.store.get(collectionOf(kind), namespace, name) !== undefined) throw alreadyExists(kind, name);
  kind.rules.defaults?.(object);
  kind.rules.admit?.(object, context);
  refuseInvalid(kind, object, [...decoded.faults, ...(kind.rules.validate?.(object, context) ?? [])]);
  for (const warning of kind.rules.warnings?.(object, context) ?? []) params.warn?.(warning);
  object.metadata.managedFields = owned(object);
  if (params.dryRun) return { object, created: true };
  const written = context.store.writeAll([
    { collection: collectionOf(kind), object },
    ...companionsOf(context, kind, object),
  ]);
  return { object: written[0]!.object, created: true };
}

function newMeta(context: RestContext, { kind, namespace }: Target, sent: ObjectMeta): ObjectMeta {
  const { name, generateName, labels, annotations, ownerReferences, finalizers } = sent;
  const place = kind.namespaced ? (namespace ?? sent.namespace) : undefined;
  return {
    name: name || (generateName ? freeName(context, kind, generateName, place ?? '') : ''),
    ...(generateName ? { generateName } : {}),
    ...(place === undefined ? {} : { namespace: place }),
    uid: randomUUID(),
    ...(kind.generation ? { generation: 1 } : {}),
    creationTimestamp: seconds(context.now()),
    ...(labels === undefined ? {} : { labels: { ...labels } }),
    ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
    ...(ownerReferences === undefined ? {} : { ownerReferences: cloneJson(ownerReferences) }),
    ...(finalizers === undefined ? {} : { finalizers: [...finalizers] }),
  };
}

const MAX_GENERATED_BASE = 58;
const NAME_TRIES = 8;

function freeName({ store, random }: RestContext, kind: Kind, generateName: string, namespace: string): string {
  const base = generateName.slice(0, MAX_GENERATED_BASE);
  for (let i = 0; ; i++) {
    const name = base + nameSuffix(random);
    if (i >= NAME_TRIES || store.get(collectionOf(kind), namespace, name) === undefined) return name;
  }
}

export function seconds(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

function writerFor(context: RestContext, target: Target, params: WriteParams): Writer {
  return writerOf(target.kind, target.version, params.manager, context.now(), target.subresource);
}

function refuseInvalid(kind: Kind, object: Named, faults: readonly FieldFault[]): void {
  const all = [...validateMeta(object.metadata, kind.nameRule, kind.namespaced), ...faults];
  if (all.length > 0) throw invalid(kind, object.metadata.name || object.metadata.generateName || '', all);
}

export async function update(
  context: RestContext,
  target: Target,
  body: unknown,
  params: WriteParams,
): Promise<Written> {
  const deep = await target.kind.deepValidator?.();
  const stored = getStored(context, target);
  const decoded = decode(target, statusAlone(target, stored, body), params, deep);
  const writer = writerFor(context, target, params);
  const keep = decoded.object.metadata.managedFields;
  const schema = target.kind.schema(target.version);
  return replace(context, target, stored, decoded, params, (object) =>
    ownershipAfterUpdate(schema, stored.object, object, writer, keep),
  );
}

/** Writers of a custom resource's status need not send the rest (istiod leaves `spec` empty): it is not looked at. */
function statusAlone({ kind, version, subresource }: Target, stored: Stored, body: unknown): unknown {
  if (subresource !== 'status' || !kind.custom || !isRecord(body)) return body;
  const { apiVersion, kind: name, metadata, status } = body;
  return { ...inVersion(kind, version, stored.object), apiVersion, kind: name, metadata, status };
}

/** @throws KubeError 415 for a strategic patch of a kind whose lists have no merge keys */
export async function patch(
  context: RestContext,
  target: Target,
  type: PatchType,
  body: unknown,
  params: WriteParams,
): Promise<Written> {
  const { kind, version } = target;
  const deep = await kind.deepValidator?.();
  if (type === 'apply') return apply(context, target, decode(target, body, params), params, deep);
  const stored = getStored(context, target);
  const patched = patchedObject(target, type, inVersion(kind, version, stored.object), body);
  const decoded = decode(target, patched, params, deep);
  const writer = writerFor(context, target, params);
  const keep = decoded.object.metadata.managedFields;
  return replace(context, target, stored, decoded, params, (object) =>
    ownershipAfterUpdate(kind.schema(version), stored.object, object, writer, keep),
  );
}

function patchedObject({ kind, version }: Target, type: PatchType, object: KubeObject, body: unknown): unknown {
  if (type === 'json') return applyJsonPatch(object, body);
  if (!isRecord(body)) throw badRequest('the patch must be an object');
  if (type === 'merge') return applyMergePatch(object, body);
  if (kind.custom)
    throw new KubeError(
      415,
      'UnsupportedMediaType',
      'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
      {},
    );
  return applyStrategicPatch(kind.schema(version), object, body);
}

function apply(
  context: RestContext,
  target: Target,
  decoded: Decoded,
  params: WriteParams,
  deep: DeepValidator | undefined,
): Written {
  const { kind, version } = target;
  const { metadata } = decoded.object;
  if (metadata.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil');
  if (metadata.name !== undefined && metadata.name !== target.name) throw nameDiffers(metadata.name, target.name);
  const applied = cloneJson(decoded.object) as Named & { status?: unknown };
  applied.metadata.name = target.name ?? '';
  if (kind.namespaced && target.namespace !== undefined) applied.metadata.namespace = target.namespace;
  if (kind.status && target.subresource !== 'status') delete applied.status;
  const writer = writerFor(context, target, params);
  const stored = context.store.get(collectionOf(kind), target.namespace ?? '', target.name ?? '');
  const schema = kind.schema(version);
  const merged = applyConfiguration(schema, stored?.object, applied, writer, params.force === true) as Named;
  const owned = () => merged.metadata.managedFields ?? [];
  // What is applied may be a part of an object (its status alone): it is the whole that has to be valid.
  const asStored = { ...target, version: kind.storageVersion };
  const { faults } = decode(asStored, merged, { ...params, fieldValidation: 'Ignore' }, deep);
  if (stored === undefined) {
    if (target.subresource !== undefined) getStored(context, target); // refuses: there is nothing to have a status
    return createDecoded(context, target, { object: merged, faults }, params, owned);
  }
  return replace(context, target, stored, { object: merged, faults }, params, owned);
}

function nameDiffers(sent: string, url: string | undefined): KubeError {
  return badRequest(`the name of the object (${sent}) does not match the name on the URL (${url ?? ''})`);
}

/** Puts a whole new state in the place of what is stored, or removes it when the last finalizer of a deletion goes. */
function replace(
  context: RestContext,
  target: Target,
  stored: Stored,
  decoded: Decoded,
  params: WriteParams,
  owned: Ownership,
): Written {
  const { kind } = target;
  const before = stored.object as Named;
  const sent = decoded.object;
  checkPreconditions(kind, stored, sent.metadata);
  if (sent.metadata.name !== undefined && sent.metadata.name !== stored.name)
    throw nameDiffers(sent.metadata.name, stored.name);
  const next = nextState(context, target, before, sent);
  next.metadata = nextMeta(target, before, target.subresource === undefined ? next.metadata : sent.metadata);
  const faults = [...decoded.faults, ...faultsOfUpdate(context, target, before, next)];
  refuseInvalid(kind, next, faults);
  if (target.subresource === undefined)
    for (const warning of kind.rules.warnings?.(next, context) ?? []) params.warn?.(warning);
  if (kind.generation && !sameJson(desired(next), desired(before)))
    next.metadata.generation = (before.metadata.generation ?? 0) + 1;
  next.metadata.managedFields = owned(next);
  if (sameJson(next, before)) return { object: before, created: false };
  if (params.dryRun) return { object: next, created: false };
  const remove = isFinished(kind, next);
  return {
    object: context.store.write({ collection: collectionOf(kind), object: next, remove }).object,
    created: false,
  };
}

export function checkPreconditions(
  kind: Kind,
  stored: Stored,
  wanted: { uid?: string; resourceVersion?: string },
): void {
  const { uid, resourceVersion } = stored.object.metadata ?? {};
  if (wanted.uid && wanted.uid !== uid)
    throw conflict(
      kind,
      stored.name,
      `Precondition failed: UID in precondition: ${wanted.uid}, UID in object meta: ${uid}`,
    );
  if (wanted.resourceVersion && wanted.resourceVersion !== '0' && wanted.resourceVersion !== resourceVersion)
    throw conflict(kind, stored.name, MODIFIED);
}

type WithStatus = Named & { status?: unknown; spec?: Record<string, unknown> };

/** What the write may change, laid over what it may not. Metadata is next's own matter. */
function nextState(context: RestContext, { kind, subresource }: Target, before: Named, sent: Named): Named {
  if (subresource === 'status') return { ...before, status: (cloneJson(sent) as WithStatus).status } as Named;
  if (subresource === 'finalize') {
    const finalizers = (sent as WithStatus).spec?.finalizers ?? [];
    return { ...before, spec: { ...(before as WithStatus).spec, finalizers } } as Named;
  }
  if (subresource === 'ephemeralcontainers') return withEphemeralContainers(before, sent);
  const next = cloneJson(sent) as WithStatus;
  if (kind.status) {
    const { status } = before as WithStatus;
    if (status === undefined) delete next.status;
    else next.status = status;
  }
  kind.rules.defaults?.(next);
  kind.rules.carryOver?.(next, before, context);
  return next;
}

function nextMeta({ kind, subresource }: Target, before: Named, sent: ObjectMeta): ObjectMeta {
  // A custom resource's status is all that its status door opens; Kubernetes' own kinds take labels and annotations too.
  if (subresource !== undefined && (kind.custom || subresource !== 'status')) return { ...before.metadata };
  const { labels, annotations, finalizers, ownerReferences } = sent;
  const { labels: _l, annotations: _a, finalizers: _f, ownerReferences: _o, ...fixed } = before.metadata;
  const owners = subresource === 'status' ? before.metadata.ownerReferences : ownerReferences;
  return {
    ...fixed,
    ...(labels === undefined ? {} : { labels: { ...labels } }),
    ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
    ...(owners === undefined ? {} : { ownerReferences: cloneJson(owners) }),
    ...(finalizers === undefined || finalizers.length === 0 ? {} : { finalizers: [...finalizers] }),
  };
}

function faultsOfUpdate(context: RestContext, { kind, subresource }: Target, before: Named, next: Named): FieldFault[] {
  const faults: FieldFault[] = [];
  if (before.metadata.deletionTimestamp !== undefined) {
    const added = (next.metadata.finalizers ?? []).filter((name) => !before.metadata.finalizers?.includes(name));
    if (added.length > 0)
      faults.push(
        forbiddenField(
          'metadata.finalizers',
          `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
        ),
      );
  }
  if (subresource === 'ephemeralcontainers') faults.push(...ephemeralFaults(next, before));
  if (subresource !== undefined) return faults;
  faults.push(...(kind.rules.validate?.(next, context) ?? []), ...(kind.rules.validateUpdate?.(next, before) ?? []));
  return faults;
}

/** Everything but what describes the object and what it has come to. */
function desired(object: Named): unknown {
  const { metadata: _, status: _s, ...rest } = object as WithStatus;
  return rest;
}

/** A deletion that waited for finalizers, and waits no longer. Pods also wait for their kubelet. */
function isFinished(kind: Kind, { metadata, ...rest }: Named): boolean {
  if (metadata.deletionTimestamp === undefined || (metadata.finalizers ?? []).length > 0) return false;
  if (kind.kind === 'Namespace' && kind.group === '')
    return (((rest as WithStatus).spec?.finalizers as unknown[] | undefined) ?? []).length === 0;
  return (metadata.deletionGracePeriodSeconds ?? 0) === 0;
}
