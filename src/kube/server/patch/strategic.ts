// Strategic merge patch: as a merge patch, but lists that have a merge key merge item by item, and directives
// (`$patch`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`, `$retainKeys`) say what plain JSON cannot
// (Kubernetes: "Update API Objects in Place Using kubectl patch").

import { badRequest } from '../errors.ts';
import { cloneJson, sameJson } from '../json.ts';
import { isRecord } from '../schema/check.ts';
import type { ListRule } from '../schema/lists.ts';
import { ANYTHING, type SchemaNode } from '../schema/node.ts';

const ORDER = '$setElementOrder/';
const DELETE = '$deleteFromPrimitiveList/';

type Fields = Record<string, unknown>;

/** @throws KubeError 400 for a directive that cannot be meant */
export function applyStrategicPatch(schema: SchemaNode, target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) throw badRequest('a strategic merge patch must be an object');
  return mergeObject(schema, isRecord(target) ? target : {}, patch);
}

function mergeObject(schema: SchemaNode, target: Fields, patch: Fields): Fields | undefined {
  const directive = patch.$patch;
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive === 'delete') return undefined;
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(`unknown patch type found: ${String(directive)}`);
  const merged: Fields = { ...target };
  retainKeys(merged, patch);
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(DELETE)) deletePrimitives(merged, key.slice(DELETE.length), value);
    if (key.startsWith('$')) continue;
    if (value === null) delete merged[key];
    else assign(merged, key, mergeValue(childOf(schema, key), merged[key], value, patch[`${ORDER}${key}`]));
  }
  for (const [key, order] of Object.entries(patch))
    if (key.startsWith(ORDER) && !Object.hasOwn(patch, key.slice(ORDER.length)))
      reorderOnly(schema, merged, key.slice(ORDER.length), order);
  return merged;
}

function assign(fields: Fields, key: string, value: unknown): void {
  if (value === undefined) delete fields[key];
  else fields[key] = value;
}

function childOf(schema: SchemaNode, key: string): SchemaNode {
  if (schema.type === 'object') return schema.fields.get(key) ?? ANYTHING;
  return schema.type === 'map' ? schema.values : ANYTHING;
}

function mergeValue(schema: SchemaNode, target: unknown, patch: unknown, order: unknown): unknown {
  if (isRecord(patch)) return mergeObject(schema, isRecord(target) ? target : {}, patch);
  if (!Array.isArray(patch)) return patch;
  const rule: ListRule = schema.type === 'list' ? schema.rule : { merge: 'atomic' };
  if (rule.merge === 'atomic' || schema.type !== 'list') return cloneJson(patch).map(withoutDirectives);
  const current = Array.isArray(target) ? target : [];
  if (rule.merge === 'set')
    return ordered([...current, ...patch.filter((item) => !current.includes(item))], order, (item) => item);
  return mergeByKey(schema.items, rule.patchKey, current, patch, order);
}

function mergeByKey(items: SchemaNode, key: string, current: unknown[], patch: unknown[], order: unknown): unknown[] {
  if (patch.some((item) => isRecord(item) && item.$patch === 'replace'))
    return patch
      .filter((item) => !(isRecord(item) && item.$patch === 'replace' && Object.keys(item).length === 1))
      .map(withoutDirectives);
  let merged = current.filter(isRecord);
  const added: Fields[] = [];
  for (const item of patch) {
    if (!isRecord(item)) throw badRequest(`an item of a list that merges by \`${key}\` must be an object`);
    const id = item[key];
    if (id === undefined) throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
    if (item.$patch === 'delete') {
      merged = merged.filter((one) => !sameJson(one[key], id));
      continue;
    }
    const at = merged.findIndex((one) => sameJson(one[key], id));
    const next = mergeObject(items, at < 0 ? {} : merged[at]!, item);
    if (next === undefined) continue;
    if (at < 0) added.push(next);
    else merged = merged.with(at, next);
  }
  return ordered([...merged, ...added], order, (item) => (isRecord(item) ? item[key] : item));
}

/** Items that the order names come in that order, the others keep their place relative to what stood before them. */
function ordered(items: unknown[], order: unknown, idOf: (item: unknown) => unknown): unknown[] {
  if (!Array.isArray(order)) return items;
  const rank = (item: unknown) => order.findIndex((one) => sameJson(idOf(one), idOf(item)));
  const named = items.filter((item) => rank(item) >= 0).sort((a, b) => rank(a) - rank(b));
  const result: unknown[] = [];
  let next = 0;
  for (const item of items) result.push(rank(item) >= 0 ? named[next++] : item);
  return result;
}

function reorderOnly(schema: SchemaNode, fields: Fields, key: string, order: unknown): void {
  const list = fields[key];
  const child = childOf(schema, key);
  if (!Array.isArray(list) || child.type !== 'list' || child.rule.merge === 'atomic') return;
  const patchKey = child.rule.merge === 'byKey' ? child.rule.patchKey : undefined;
  fields[key] = ordered(list, order, (item) => (patchKey !== undefined && isRecord(item) ? item[patchKey] : item));
}

function deletePrimitives(fields: Fields, key: string, values: unknown): void {
  const list = fields[key];
  if (Array.isArray(list) && Array.isArray(values)) fields[key] = list.filter((item) => !values.includes(item));
}

/** `$retainKeys` lists what may stay: a union's other members go. */
function retainKeys(fields: Fields, patch: Fields): void {
  const keep = patch.$retainKeys;
  if (!Array.isArray(keep)) return;
  for (const key of Object.keys(fields)) if (!keep.includes(key)) delete fields[key];
}

function withoutDirectives<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutDirectives) as T;
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) =>
      key.startsWith('$') || item === null ? [] : [[key, withoutDirectives(item)]],
    ),
  ) as T;
}
