// From a request's body to an object of the kind that the URL names: right type, no unknown fields, storage version.

import { apiVersionOf } from '../../client/resources.ts';
import type { KubeObject } from '../../client/types.ts';
import { badRequest, type FieldFault } from '../errors.ts';
import type { DeepValidator, Kind, ServedKind } from '../kinds/kind.ts';
import { checkAndPrune, isRecord, type SchemaFault } from '../schema/check.ts';
import type { WriteParams } from './request.ts';

export interface Decoded {
  /** Has an `apiVersion` of the storage version, `kind` and `metadata`, in this order. */
  readonly object: KubeObject & { metadata: NonNullable<KubeObject['metadata']> };
  /** To be reported with the other faults of validation. */
  readonly faults: FieldFault[];
}

/**
 * @param body  parsed JSON that the caller may still use: nothing in it is changed
 * @throws KubeError 400 for another kind, wrong types, and unknown fields when validation is strict
 */
export function decode(
  { kind, version }: ServedKind,
  body: unknown,
  params: WriteParams,
  deep?: DeepValidator,
): Decoded {
  if (!isRecord(body)) throw badRequest(`the body of the request must be a ${kind.kind}`);
  const apiVersion = apiVersionOf({ group: kind.group, version });
  if (body.apiVersion !== undefined && body.apiVersion !== apiVersion)
    throw badRequest(
      `the API version in the data (${String(body.apiVersion)}) does not match the expected API version (${apiVersion})`,
    );
  if (body.kind !== undefined && body.kind !== kind.kind)
    throw badRequest(
      `the object provided is unrecognized: its kind is ${String(body.kind)}, this path takes ${kind.kind}`,
    );
  const { value, faults } = checkAndPrune(kind.schema(version), body);
  refuseWrongTypes(kind, version, faults);
  if (kind.notice !== undefined) params.warn?.(`${kind.kind}: ${kind.notice}`);
  tellUnknown(kind, version, faults, params);
  const { apiVersion: _a, kind: _k, metadata, ...rest } = value as KubeObject & Record<string, unknown>;
  const object = {
    apiVersion: apiVersionOf({ group: kind.group, version: kind.storageVersion }),
    kind: kind.kind,
    metadata: { ...metadata },
    ...rest,
  };
  return { object, faults: [...schemaFaults(kind, faults, deep !== undefined), ...(deep?.(object) ?? [])] };
}

function refuseWrongTypes(kind: Kind, version: string, faults: readonly SchemaFault[]): void {
  const wrong = faults.filter((fault) => fault.kind === 'type');
  if (wrong.length === 0) return;
  const text = wrong.map(({ path, detail }) => `${path || 'the object'}: ${detail}`).join(', ');
  throw badRequest(`${kind.kind} in version "${version}" cannot be handled as a ${kind.kind}: ${text}`);
}

function tellUnknown(kind: Kind, version: string, faults: readonly SchemaFault[], params: WriteParams): void {
  const unknown = faults.filter((fault) => fault.kind === 'unknown');
  if (unknown.length === 0 || params.fieldValidation === 'Ignore') return;
  if (params.fieldValidation !== 'Strict') {
    for (const { detail } of unknown) params.warn?.(detail);
    return;
  }
  const text = unknown.map(({ detail }) => detail).join(', ');
  throw badRequest(
    `${kind.kind} in version "${version}" cannot be handled as a ${kind.kind}: strict decoding error: ${text}`,
  );
}

/**
 * For built-in kinds what is missing is for their rules to say: much that the schema calls required has a zero value.
 * Where a deep validator runs, it says all the rest.
 */
function schemaFaults(kind: Kind, faults: readonly SchemaFault[], hasDeep: boolean): FieldFault[] {
  if (hasDeep) return [];
  return faults.flatMap(({ kind: fault, path, value, detail }): FieldFault[] => {
    if (fault === 'unknown' || fault === 'type') return [];
    if (fault === 'required' && !kind.custom) return [];
    return [{ type: fault, path, detail, ...(value === undefined ? {} : { value }) }];
  });
}
