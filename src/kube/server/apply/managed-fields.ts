// Who owns which field: metadata.managedFields is kept for every write, and server-side apply decides by it
// (Kubernetes: "Server-Side Apply").

import { apiVersionOf } from '../../client/resources.ts';
import { KubeError, type KubeObject } from '../../client/types.ts';
import type { ObjectNode } from '../schema/node.ts';
import { compare, mergeApplied, removeFields } from './compare.ts';
import {
  difference,
  type FieldSet,
  fieldsOf,
  intersection,
  isEmpty,
  isFieldSet,
  pathsOf,
  union,
  withoutSubtrees,
} from './field-set.ts';

interface ManagedEntry {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  time?: string | undefined;
  fieldsType: 'FieldsV1';
  fieldsV1: FieldSet;
  subresource?: string | undefined;
}

/** Who writes, through which door. */
export interface Writer {
  readonly manager: string;
  readonly apiVersion: string;
  readonly subresource?: string | undefined;
  /** What is in `status` is not this writer's doing: it writes the object of a kind that has a status subresource. */
  readonly sparesStatus: boolean;
  /** RFC 3339, seconds. */
  readonly time: string;
}

/** More managers than this that only updated share one entry, as in Kubernetes. */
const MAX_UPDATERS = 10;
const ANCIENT = 'ancient-changes';

/** Nobody owns what names the object or what the server itself writes. */
const NOBODYS: FieldSet = {
  'f:apiVersion': {},
  'f:kind': {},
  'f:metadata': Object.fromEntries(
    [
      'name',
      'namespace',
      'generateName',
      'uid',
      'resourceVersion',
      'generation',
      'creationTimestamp',
      'deletionTimestamp',
      'deletionGracePeriodSeconds',
      'managedFields',
      'selfLink',
    ].map((field) => [`f:${field}`, {}]),
  ),
};

const NOBODYS_WITH_STATUS: FieldSet = { ...NOBODYS, 'f:status': {} };

function ownedByNobody({ sparesStatus }: Writer): FieldSet {
  return sparesStatus ? NOBODYS_WITH_STATUS : NOBODYS;
}

function entriesOf(object: KubeObject | undefined): ManagedEntry[] {
  return ((object?.metadata?.managedFields ?? []) as ManagedEntry[]).filter(
    (entry) => typeof entry?.manager === 'string' && isFieldSet(entry.fieldsV1),
  );
}

function isSame(entry: ManagedEntry, writer: Writer, operation: ManagedEntry['operation']): boolean {
  return (
    entry.manager === writer.manager &&
    entry.operation === operation &&
    (entry.subresource ?? '') === (writer.subresource ?? '') &&
    (operation === 'Apply' || entry.apiVersion === writer.apiVersion)
  );
}

function newEntry(writer: Writer, operation: ManagedEntry['operation'], fieldsV1: FieldSet): ManagedEntry {
  return {
    manager: writer.manager,
    operation,
    apiVersion: writer.apiVersion,
    time: writer.time,
    fieldsType: 'FieldsV1',
    fieldsV1,
    ...(writer.subresource === undefined ? {} : { subresource: writer.subresource }),
  };
}

/**
 * managedFields after a create or update: what was changed belongs to the writer alone, what is gone to nobody.
 * @param keep  the entries a client sent, when it sent any: an empty list gives up all ownership, as kubectl relies on
 */
export function ownershipAfterUpdate(
  schema: ObjectNode,
  before: KubeObject | undefined,
  now: KubeObject,
  writer: Writer,
  keep: unknown,
): unknown[] {
  const sent = Array.isArray(keep) ? entriesOf({ metadata: { managedFields: keep } }) : undefined;
  const known = sent !== undefined && before !== undefined ? sent : entriesOf(before);
  const { changed, removed } = compare(schema, before ?? {}, now);
  const written = withoutSubtrees(changed, ownedByNobody(writer));
  const lost = union(written, removed);
  const others = known.map((entry) => {
    if (isSame(entry, writer, 'Update')) return { ...entry, fieldsV1: difference(entry.fieldsV1, removed) };
    return { ...entry, fieldsV1: difference(entry.fieldsV1, lost) };
  });
  const own = others.find((entry) => isSame(entry, writer, 'Update'));
  if (own === undefined) others.push(newEntry(writer, 'Update', written));
  else if (!isEmpty(written)) {
    own.fieldsV1 = union(own.fieldsV1, written);
    own.time = writer.time;
  }
  return inOrder(capped(others.filter((entry) => !isEmpty(entry.fieldsV1))));
}

/** A fixed order, so that two managers who take turns without changing anything change nothing. */
function inOrder(entries: ManagedEntry[]): ManagedEntry[] {
  const rank = ({ operation, manager, subresource = '', apiVersion }: ManagedEntry) =>
    `${operation} ${manager} ${subresource} ${apiVersion}`;
  return entries.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

function capped(entries: ManagedEntry[]): ManagedEntry[] {
  const updaters = entries.filter(({ operation }) => operation === 'Update');
  if (updaters.length <= MAX_UPDATERS) return entries;
  const oldest = updaters
    .toSorted((a, b) => ((a.time ?? '') < (b.time ?? '') ? -1 : 1))
    .slice(0, updaters.length - MAX_UPDATERS + 1);
  const merged = oldest.reduce((sum, entry) => ({
    ...entry,
    manager: ANCIENT,
    fieldsV1: union(sum.fieldsV1, entry.fieldsV1),
  }));
  return [{ ...merged, manager: ANCIENT }, ...entries.filter((entry) => !oldest.includes(entry))];
}

/**
 * The live object after `applied` was applied by a manager; defaults and validation come after.
 * @throws KubeError 409 with a cause for each field that another manager owns with another value, unless forced
 */
export function applyConfiguration(
  schema: ObjectNode,
  live: KubeObject | undefined,
  applied: KubeObject,
  writer: Writer,
  force: boolean,
): KubeObject {
  const wanted = withoutSubtrees(fieldsOf(schema, applied), ownedByNobody(writer));
  const known = entriesOf(live);
  const mine = known.find((entry) => isSame(entry, writer, 'Apply'));
  let others = known.filter((entry) => entry !== mine);
  let merged = mergeApplied(schema, live ?? {}, applied) as KubeObject;
  const { changed } = compare(schema, live ?? {}, merged);
  const disputed = others
    .map((entry) => ({ entry, fields: intersection(entry.fieldsV1, intersection(changed, wanted)) }))
    .filter(({ fields }) => !isEmpty(fields));
  if (disputed.length > 0 && !force) throw conflictOf(disputed);
  for (const { entry, fields } of disputed)
    others = others.map((one) => (one === entry ? { ...one, fieldsV1: difference(one.fieldsV1, fields) } : one));
  const ownedByOthers = others.reduce<FieldSet>((sum, { fieldsV1 }) => union(sum, fieldsV1), {});
  const givenUp = difference(mine?.fieldsV1 ?? {}, wanted);
  if (!isEmpty(givenUp)) merged = removeFields(schema, merged, givenUp, union(ownedByOthers, wanted)) as KubeObject;
  const entry = newEntry(writer, 'Apply', wanted);
  if (mine !== undefined && isEmpty(changed) && isEmpty(givenUp)) entry.time = mine.time;
  const managedFields = inOrder([entry, ...others].filter(({ fieldsV1 }) => !isEmpty(fieldsV1)));
  return { ...merged, metadata: { ...merged.metadata, managedFields } };
}

function conflictOf(disputed: readonly { entry: ManagedEntry; fields: FieldSet }[]): KubeError {
  const causes = disputed.flatMap(({ entry, fields }) =>
    pathsOf(fields).map((field) => ({ reason: 'FieldManagerConflict', message: describe(entry), field })),
  );
  const lines = disputed.map(({ entry, fields }) => {
    const paths = pathsOf(fields);
    return paths.length === 1
      ? `${describe(entry)}: ${paths[0]}`
      : `${describe(entry).replace('conflict', 'conflicts')}:\n- ${paths.join('\n- ')}`;
  });
  const count = `${causes.length} conflict${causes.length === 1 ? '' : 's'}`;
  const text = lines.length === 1 ? `${lines[0]}` : `\n${lines.join('\n')}`;
  return new KubeError(409, 'Conflict', `Apply failed with ${count}: ${text}`.replace(': \n', ':\n'), { causes });
}

function describe({ manager, subresource, apiVersion }: ManagedEntry): string {
  const at = subresource ? ` with subresource "${subresource}"` : '';
  return `conflict with "${manager}"${at} using ${apiVersion}`;
}

/** The writer of one request. Manager names are at most 128 characters. */
export function writerOf(
  kind: { readonly group: string; readonly status: boolean },
  version: string,
  manager: string,
  now: Date,
  subresource?: string,
): Writer {
  return {
    manager: manager.slice(0, 128),
    apiVersion: apiVersionOf({ group: kind.group, version }),
    subresource,
    sparesStatus: kind.status && subresource !== 'status',
    time: `${now.toISOString().slice(0, 19)}Z`,
  };
}
