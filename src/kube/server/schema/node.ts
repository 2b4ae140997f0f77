// The shape of objects as a tree that pruning, validation, strategic merge and server-side apply all walk.
// Built-in kinds come from gen/schemas.json, custom ones from a CustomResourceDefinition (crd-schema.ts).

import schemas from '../gen/schemas.json' with { type: 'json' };
import { type ListRule, listRuleOf } from './lists.ts';

export type SchemaNode =
  | { readonly type: 'any' }
  | { readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'intOrString'; readonly rules?: ScalarRules }
  | { readonly type: 'list'; readonly items: SchemaNode; readonly rule: ListRule; readonly rules?: SizeRules }
  | { readonly type: 'map'; readonly values: SchemaNode; readonly rules?: SizeRules }
  | ObjectNode;

export interface ObjectNode {
  readonly type: 'object';
  /** Name of the type, for messages and OpenAPI; undefined for an anonymous one. */
  readonly name: string | undefined;
  readonly fields: ReadonlyMap<string, SchemaNode>;
  readonly required: readonly string[];
  /** Fields that the schema does not name are kept. */
  readonly open: boolean;
  /** Replaced as one value by server-side apply. */
  readonly atomic: boolean;
  readonly rules?: SizeRules;
}

export interface ScalarRules {
  readonly oneOf?: readonly unknown[] | undefined;
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly minLength?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly pattern?: RegExp | undefined;
  readonly nullable?: boolean | undefined;
}

export interface SizeRules {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  readonly nullable?: boolean | undefined;
}

export const ANYTHING: SchemaNode = { type: 'any' };

/** Istio's CRDs keep unknown fields of a status: control planes write more than the models name (a ServiceEntry's addresses). */
const OPEN_STATUS = /\.istio\.io\.v[0-9a-z]+\.[A-Za-z]+\.status$/;

const table = schemas as unknown as Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;
const built = new Map<string, ObjectNode>();
const expressions = new Map<string, SchemaNode>();

/**
 * The named type of gen/schemas.json, built on first use and shared.
 * @throws when there is no such type: names come from our own registry
 */
export function schemaNamed(name: string): ObjectNode {
  const known = built.get(name);
  if (known !== undefined) return known;
  const source = table[name];
  if (source === undefined) throw new Error(`no schema is named \`${name}\``);
  const fields = new Map<string, SchemaNode>();
  const node: ObjectNode = {
    type: 'object',
    name,
    fields,
    required: Object.keys(source).flatMap((field) => (field.endsWith('!') ? [field.slice(0, -1)] : [])),
    open: OPEN_STATUS.test(name),
    atomic: ATOMIC.has(name),
  };
  built.set(name, node); // before its fields, which may lead back here
  for (const [key, expression] of Object.entries(source)) {
    const field = key.endsWith('!') ? key.slice(0, -1) : key;
    fields.set(field, fieldNode(name, field, expression));
  }
  return node;
}

/** Every name in gen/schemas.json. */
export function schemaNames(): string[] {
  return Object.keys(table);
}

/** Selectors and references that only make sense whole (Kubernetes: x-kubernetes-map-type atomic). */
const ATOMIC = new Set([
  'meta.v1.LabelSelector',
  'core.v1.NodeSelector',
  'core.v1.NodeSelectorTerm',
  'core.v1.LocalObjectReference',
  'core.v1.ObjectReference',
  'core.v1.TypedLocalObjectReference',
  'core.v1.SecretKeySelector',
  'core.v1.ConfigMapKeySelector',
  'core.v1.ObjectFieldSelector',
  'core.v1.ResourceFieldSelector',
  'core.v1.SecretReference',
  'rbac.authorization.k8s.io.v1.RoleRef',
  'rbac.authorization.k8s.io.v1.Subject',
]);

function fieldNode(owner: string, field: string, expression: string): SchemaNode {
  if (!expression.startsWith('[]')) return expressionNode(expression);
  return { type: 'list', items: expressionNode(expression.slice(2)), rule: listRuleOf(owner, field) };
}

const ATOMIC_LIST: ListRule = { merge: 'atomic' };

function expressionNode(expression: string): SchemaNode {
  if (expression.startsWith('#')) return schemaNamed(expression.slice(1));
  let node = expressions.get(expression);
  if (node === undefined) {
    node = parseExpression(expression);
    expressions.set(expression, node);
  }
  return node;
}

function parseExpression(expression: string): SchemaNode {
  if (expression.startsWith('[]'))
    return { type: 'list', items: expressionNode(expression.slice(2)), rule: ATOMIC_LIST };
  if (expression.startsWith('{}')) return { type: 'map', values: expressionNode(expression.slice(2)) };
  if (expression.startsWith('s:')) return { type: 'string', rules: { oneOf: expression.slice(2).split('|') } };
  switch (expression) {
    case 's':
      return { type: 'string' };
    case 'i':
      return { type: 'integer' };
    case 'n':
      return { type: 'number' };
    case 'b':
      return { type: 'boolean' };
    case 'q':
      return { type: 'intOrString' };
    default:
      return ANYTHING;
  }
}
