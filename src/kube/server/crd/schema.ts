// A CustomResourceDefinition's OpenAPI schema as the tree that built-in kinds have. What it cannot hold is not enforced:
// oneOf, anyOf, not, and rules in CEL.

import { isRecord } from '../schema/check.ts';
import type { ListRule } from '../schema/lists.ts';
import {
  ANYTHING,
  type ObjectNode,
  type ScalarRules,
  type SchemaNode,
  type SizeRules,
  schemaNamed,
} from '../schema/node.ts';

/** JSONSchemaProps, of which anything may be missing or wrong. */
type Source = Record<string, unknown>;

const MAX_DEPTH = 64;

/** The whole object's shape: the definition's, with metadata as every object has it. */
export function compileRoot(name: string, schema: unknown): ObjectNode {
  const source = isRecord(schema) ? schema : { 'x-kubernetes-preserve-unknown-fields': true };
  const node = compile(source, 0);
  const fields = new Map(node.type === 'object' ? node.fields : []);
  fields.set('apiVersion', { type: 'string' });
  fields.set('kind', { type: 'string' });
  fields.set('metadata', schemaNamed('meta.v1.ObjectMeta'));
  const required = (node.type === 'object' ? node.required : []).filter((field) => field !== 'metadata');
  return { type: 'object', name, fields, required, open: node.type !== 'object' || node.open, atomic: false };
}

function compile(source: Source, depth: number): SchemaNode {
  if (depth > MAX_DEPTH) return ANYTHING;
  const nullable = source.nullable === true;
  if (source['x-kubernetes-int-or-string'] === true)
    return { type: 'intOrString', rules: scalarRules(source, nullable) };
  switch (source.type) {
    case 'string':
    case 'integer':
    case 'number':
    case 'boolean':
      return { type: source.type, rules: scalarRules(source, nullable) };
    case 'array': {
      const items = isRecord(source.items) ? compile(source.items, depth + 1) : ANYTHING;
      return { type: 'list', items, rule: listRule(source), rules: sizeRules(source, 'Items', nullable) };
    }
    case 'object':
      return compileObject(source, depth, nullable);
    default:
      return ANYTHING;
  }
}

function compileObject(source: Source, depth: number, nullable: boolean): SchemaNode {
  const { properties, additionalProperties } = source;
  const rules = sizeRules(source, 'Properties', nullable);
  const open = source['x-kubernetes-preserve-unknown-fields'] === true;
  if (!isRecord(properties)) {
    if (isRecord(additionalProperties)) return { type: 'map', values: compile(additionalProperties, depth + 1), rules };
    if (additionalProperties === true || open) return { type: 'map', values: ANYTHING, rules };
  }
  const fields = new Map(
    Object.entries(isRecord(properties) ? properties : {}).map(([field, schema]) => [
      field,
      isRecord(schema) ? compile(schema, depth + 1) : ANYTHING,
    ]),
  );
  if (source['x-kubernetes-embedded-resource'] === true)
    for (const field of ['apiVersion', 'kind', 'metadata']) if (!fields.has(field)) fields.set(field, ANYTHING);
  return {
    type: 'object',
    name: undefined,
    fields,
    required: Array.isArray(source.required) ? source.required.map(String) : [],
    open: open || additionalProperties === true,
    atomic: source['x-kubernetes-map-type'] === 'atomic',
    rules,
  };
}

const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

function scalarRules(source: Source, nullable: boolean): ScalarRules {
  return {
    nullable,
    oneOf: Array.isArray(source.enum) ? source.enum : undefined,
    minimum: number(source.minimum),
    maximum: number(source.maximum),
    minLength: number(source.minLength),
    maxLength: number(source.maxLength),
    pattern: typeof source.pattern === 'string' ? regularExpression(source.pattern) : undefined,
  };
}

/** A pattern that cannot be read here is reported when the definition is written. */
export function regularExpression(pattern: string): RegExp | undefined {
  try {
    return new RegExp(pattern, 'u');
  } catch {
    return undefined;
  }
}

function sizeRules(source: Source, what: 'Items' | 'Properties', nullable: boolean): SizeRules {
  return { nullable, min: number(source[`min${what}`]), max: number(source[`max${what}`]) };
}

function listRule(source: Source): ListRule {
  const keys = source['x-kubernetes-list-map-keys'];
  if (source['x-kubernetes-list-type'] === 'map' && Array.isArray(keys) && keys.length > 0)
    return { merge: 'byKey', keys: keys.map(String), patchKey: String(keys[0]) };
  return source['x-kubernetes-list-type'] === 'set' ? { merge: 'set' } : { merge: 'atomic' };
}

/** Fills in the defaults that a schema names, in a private copy. */
export function applyDefaults(schema: unknown, value: unknown, depth = 0): void {
  if (!isRecord(schema) || depth > MAX_DEPTH) return;
  if (Array.isArray(value)) {
    for (const item of value) applyDefaults(schema.items, item, depth + 1);
    return;
  }
  if (!isRecord(value)) return;
  const { properties, additionalProperties } = schema;
  if (isRecord(properties))
    for (const [field, property] of Object.entries(properties)) {
      if (!isRecord(property)) continue;
      if (value[field] === undefined && property.default !== undefined)
        value[field] = structuredClone(property.default);
      if (value[field] !== undefined) applyDefaults(property, value[field], depth + 1);
    }
  if (isRecord(additionalProperties))
    for (const item of Object.values(value)) applyDefaults(additionalProperties, item, depth + 1);
}
