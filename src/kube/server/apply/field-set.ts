// Sets of field paths in the form that `managedFields` stores (Kubernetes: FieldsV1): `f:<name>`, `k:{<keys of an item>}`,
// `v:<value of a set's item>`; `.` or an empty object means that the path itself is in the set.

import { isRecord } from '../schema/check.ts';
import type { ListRule } from '../schema/lists.ts';
import type { SchemaNode } from '../schema/node.ts';
import { ANYTHING } from '../schema/node.ts';

export interface FieldSet {
  [element: string]: FieldSet;
}

const SELF = '.';

export function isEmpty(set: FieldSet): boolean {
  for (const _ in set) return false;
  return true;
}

/** Whether the path that a node stands for is itself in the set. */
function holdsSelf(node: FieldSet): boolean {
  return isEmpty(node) || Object.hasOwn(node, SELF);
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = { ...a };
  for (const [element, node] of Object.entries(b)) {
    const mine = out[element];
    if (mine === undefined || mine === node) out[element] = node;
    else if (isEmpty(mine) !== isEmpty(node)) {
      // One side is a leaf, the other has children: both the path and the children are in the union.
      out[element] = { [SELF]: {}, ...mine, ...node };
    } else out[element] = union(mine, node);
  }
  return out;
}

/** Paths of `a` that are not in `b`. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = {};
  for (const [element, node] of Object.entries(a)) {
    const other = b[element];
    if (other === undefined) out[element] = node;
    else if (element !== SELF) {
      const rest = isEmpty(node) ? {} : difference(node, other);
      const selfStays = holdsSelf(node) && !holdsSelf(other);
      if (selfStays && isEmpty(rest)) out[element] = isEmpty(node) ? {} : { [SELF]: {} };
      else {
        if (selfStays) rest[SELF] = {};
        else delete rest[SELF];
        if (!isEmpty(rest)) out[element] = rest;
      }
    }
  }
  return out;
}

/** `a` without every path that a leaf of `b` names, and all below it. */
export function withoutSubtrees(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = {};
  for (const [element, node] of Object.entries(a)) {
    const other = b[element];
    if (other === undefined) out[element] = node;
    else if (!isEmpty(other)) {
      const rest = withoutSubtrees(node, other);
      if (!isEmpty(rest)) out[element] = rest;
    }
  }
  return out;
}

/** Paths in both. */
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = {};
  for (const [element, node] of Object.entries(a)) {
    const other = b[element];
    if (other === undefined) continue;
    if (element === SELF) {
      out[SELF] = {};
      continue;
    }
    const children = intersection(node, other);
    delete children[SELF];
    const self = holdsSelf(node) && holdsSelf(other);
    if (self) out[element] = isEmpty(children) ? {} : { [SELF]: {}, ...children };
    else if (!isEmpty(children)) out[element] = children;
  }
  return out;
}

/** `.spec.template.spec.containers[name="app"].image`, one text a path. */
export function pathsOf(set: FieldSet, prefix = ''): string[] {
  const paths: string[] = [];
  for (const [element, node] of Object.entries(set)) {
    if (element === SELF) continue;
    const path = prefix + elementText(element);
    if (holdsSelf(node)) paths.push(path);
    paths.push(...pathsOf(node, path));
  }
  return paths;
}

function elementText(element: string): string {
  const rest = element.slice(2);
  switch (element.slice(0, 2)) {
    case 'f:':
      return `.${rest}`;
    case 'k:': {
      const keys = Object.entries(parseElement(rest) as Record<string, unknown>);
      return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
    }
    case 'v:':
      return `[=${rest}]`;
    default:
      return `[${rest}]`;
  }
}

function parseElement(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Whether text from a client is a field set at all; depth and width are bounded by the body's size. */
export function isFieldSet(value: unknown, depth = 0): value is FieldSet {
  if (!isRecord(value) || depth > 64) return false;
  return Object.entries(value).every(
    ([element, node]) => (element === SELF || /^[fkvi]:/.test(element)) && isFieldSet(node, depth + 1),
  );
}

/** Every leaf of a value: what a manager that writes it owns. */
export function fieldsOf(schema: SchemaNode, value: unknown): FieldSet {
  const out: FieldSet = {};
  for (const [element, child, item] of childrenOf(schema, value)) {
    const below = fieldsOf(child, item);
    out[element] = element.startsWith('k:') ? { [SELF]: {}, ...below } : below;
  }
  return out;
}

/** The members of a value that has them: not of scalars, atomic lists and atomic maps. */
export function* childrenOf(schema: SchemaNode, value: unknown): Generator<[string, SchemaNode, unknown]> {
  if (isRecord(value)) {
    if (schema.type === 'object' && schema.atomic) return;
    for (const [key, item] of Object.entries(value))
      if (item !== undefined) yield [`f:${key}`, childSchema(schema, key), item];
  } else if (Array.isArray(value) && schema.type === 'list') {
    const { rule, items } = schema;
    if (rule.merge === 'byKey') for (const item of value) yield [itemElement(rule, item), items, item];
    else if (rule.merge === 'set') for (const item of value) yield [`v:${JSON.stringify(item)}`, items, item];
  }
}

export function childSchema(schema: SchemaNode, key: string): SchemaNode {
  if (schema.type === 'object') return schema.fields.get(key) ?? ANYTHING;
  return schema.type === 'map' ? schema.values : ANYTHING;
}

/** Keys that may be left out of an item have their default. */
const KEY_DEFAULTS: Readonly<Record<string, unknown>> = { protocol: 'TCP' };

export function itemElement(rule: Extract<ListRule, { merge: 'byKey' }>, item: unknown): string {
  const keys = [...rule.keys].sort().flatMap((key): [string, unknown][] => {
    const value = isRecord(item) ? (item[key] ?? KEY_DEFAULTS[key]) : undefined;
    return value === undefined ? [] : [[key, value]];
  });
  return `k:${JSON.stringify(Object.fromEntries(keys))}`;
}
