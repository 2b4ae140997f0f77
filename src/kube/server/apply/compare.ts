// What differs between two states of an object, as field sets; and merging and removing by field sets.

import { sameJson } from '../json.ts';
import { isRecord } from '../schema/check.ts';
import type { SchemaNode } from '../schema/node.ts';
import { childrenOf, childSchema, type FieldSet, fieldsOf, isEmpty, itemElement } from './field-set.ts';

export interface Difference {
  /** Leaves that are new or have another value. */
  readonly changed: FieldSet;
  /** Leaves that are gone. */
  readonly removed: FieldSet;
}

export function compare(schema: SchemaNode, before: unknown, now: unknown): Difference {
  const changed: FieldSet = {};
  const removed: FieldSet = {};
  if (before === now) return { changed, removed };
  const old = new Map([...childrenOf(schema, before)].map(([element, child, item]) => [element, { child, item }]));
  for (const [element, child, item] of childrenOf(schema, now)) {
    const was = old.get(element);
    old.delete(element);
    if (was === undefined) changed[element] = ownsItself(element, fieldsOf(child, item));
    else if (was.item !== item) {
      const below = compare(child, was.item, item);
      if (isLeaf(child, item) || isLeaf(child, was.item)) {
        if (!sameJson(was.item, item)) changed[element] = fieldsOf(child, item);
      } else {
        if (!isEmpty(below.changed)) changed[element] = below.changed;
        if (!isEmpty(below.removed)) removed[element] = below.removed;
      }
    }
  }
  for (const [element, { child, item }] of old) removed[element] = ownsItself(element, fieldsOf(child, item));
  return { changed, removed };
}

function ownsItself(element: string, below: FieldSet): FieldSet {
  return element.startsWith('k:') ? { '.': {}, ...below } : below;
}

/** A value without members: scalars, atomic values, and empty objects and lists. */
function isLeaf(schema: SchemaNode, value: unknown): boolean {
  for (const _ of childrenOf(schema, value)) return false;
  return true;
}

/** The live object with an applied configuration laid over it. */
export function mergeApplied(schema: SchemaNode, live: unknown, applied: unknown): unknown {
  if (isRecord(applied) && isRecord(live) && !(schema.type === 'object' && schema.atomic)) {
    const merged: Record<string, unknown> = { ...live };
    for (const [key, value] of Object.entries(applied))
      if (value !== undefined) merged[key] = mergeApplied(childSchema(schema, key), live[key], value);
    return merged;
  }
  if (!Array.isArray(applied) || !Array.isArray(live) || schema.type !== 'list') return applied;
  const { rule, items } = schema;
  if (rule.merge === 'set') return [...live, ...applied.filter((item) => !live.some((one) => sameJson(one, item)))];
  if (rule.merge === 'atomic') return applied;
  const idOf = (item: unknown) => itemElement(rule, item);
  const wanted = new Map(applied.map((item) => [idOf(item), item]));
  const present = new Set(live.map(idOf));
  return [
    ...live.map((item) => (wanted.has(idOf(item)) ? mergeApplied(items, item, wanted.get(idOf(item))) : item)),
    ...applied.filter((item) => !present.has(idOf(item))),
  ];
}

/**
 * Takes fields out of a value.
 * @param gone  fields that their manager no longer wants
 * @param kept  fields that some other manager owns: these stay, and what they are in
 */
export function removeFields(schema: SchemaNode, value: unknown, gone: FieldSet, kept: FieldSet): unknown {
  if (Array.isArray(value) && schema.type === 'list') {
    const { rule, items } = schema;
    if (rule.merge === 'atomic') return value;
    return value.flatMap((item) => {
      const element = rule.merge === 'byKey' ? itemElement(rule, item) : `v:${JSON.stringify(item)}`;
      const out = gone[element];
      if (out === undefined) return [item];
      const others = kept[element];
      if (others === undefined && (isEmpty(out) || Object.hasOwn(out, '.'))) return [];
      const rest = removeFields(items, item, out, others ?? {});
      return rest === undefined ? [] : [rest];
    });
  }
  if (!isRecord(value)) return value;
  const rest: Record<string, unknown> = { ...value };
  for (const [element, out] of Object.entries(gone)) {
    const key = element.slice(2);
    if (!element.startsWith('f:') || rest[key] === undefined) continue;
    const others = kept[element];
    if (isEmpty(out)) {
      if (others === undefined) delete rest[key];
      continue;
    }
    const left = removeFields(childSchema(schema, key), rest[key], out, others ?? {});
    const emptied = isRecord(left) ? Object.keys(left).length === 0 : Array.isArray(left) && left.length === 0;
    if (emptied && others === undefined) delete rest[key];
    else rest[key] = left;
  }
  return rest;
}
