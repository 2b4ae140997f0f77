// Checks a value against its schema: wrong types, missing and unknown fields, broken rules, each with its path; and
// takes out what the schema does not name (pruning), as an API server does before it stores an object.

import type { ObjectNode, ScalarRules, SchemaNode } from './node.ts';

/** One thing that is wrong. `unknown` fields are an error only when the caller asked for strictness. */
export interface SchemaFault {
  readonly kind: 'unknown' | 'type' | 'required' | 'unsupported' | 'invalid';
  /** `spec.template.spec.containers[0].image` */
  readonly path: string;
  readonly value?: unknown;
  readonly detail: string;
}

const MAX_FAULTS = 64;
const MAX_DEPTH = 128;

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Checks and prunes in one walk. `null` counts as absent, as in Kubernetes' decoding of its own kinds.
 * @returns the object without unknown fields and nulls (shared with the input where nothing was taken out)
 */
export function checkAndPrune(schema: ObjectNode, value: unknown): { value: unknown; faults: SchemaFault[] } {
  const faults: SchemaFault[] = [];
  const walk = new Walk(faults);
  return { value: walk.visit(schema, value, '', 0), faults };
}

class Walk {
  readonly #faults: SchemaFault[];

  constructor(faults: SchemaFault[]) {
    this.#faults = faults;
  }

  visit(schema: SchemaNode, value: unknown, path: string, depth: number): unknown {
    if (depth > MAX_DEPTH) {
      this.#add('invalid', path, undefined, `nested deeper than ${MAX_DEPTH}`);
      return undefined;
    }
    switch (schema.type) {
      case 'any':
        return value;
      case 'object':
        return isRecord(value) ? this.#object(schema, value, path, depth) : this.#wrong(path, value, 'an object');
      case 'map':
        if (!isRecord(value)) return this.#wrong(path, value, 'an object');
        this.#size(schema.rules, Object.keys(value).length, path, 'properties');
        return this.#map(schema.values, value, path, depth);
      case 'list':
        if (!Array.isArray(value)) return this.#wrong(path, value, 'a list');
        this.#size(schema.rules, value.length, path, 'items');
        return this.#list(schema.items, value, path, depth);
      default:
        return this.#scalar(schema.type, schema.rules, value, path);
    }
  }

  #object(schema: ObjectNode, value: Record<string, unknown>, path: string, depth: number): unknown {
    let out: Record<string, unknown> | undefined; // made only when something is taken out or changed
    for (const key of Object.keys(value)) {
      const field = schema.fields.get(key);
      const at = path === '' ? key : `${path}.${key}`;
      const item = value[key];
      if (field === undefined) {
        if (schema.open) continue;
        this.#add('unknown', at, undefined, `unknown field "${at}"`);
      } else if (item !== null && item !== undefined) {
        const kept = this.visit(field, item, at, depth + 1);
        if (kept !== item) {
          out ??= { ...value };
          out[key] = kept;
        }
        continue;
      } else if (item === null && isNullable(field)) continue;
      out ??= { ...value };
      delete out[key];
    }
    for (const key of schema.required)
      if (value[key] === undefined || (value[key] === null && !isNullable(schema.fields.get(key))))
        this.#add('required', path === '' ? key : `${path}.${key}`, undefined, '');
    this.#size(schema.rules, Object.keys(out ?? value).length, path, 'properties');
    return out ?? value;
  }

  #map(values: SchemaNode, value: Record<string, unknown>, path: string, depth: number): unknown {
    let out: Record<string, unknown> | undefined;
    for (const key of Object.keys(value)) {
      const kept = value[key] === null ? undefined : this.visit(values, value[key], `${path}[${key}]`, depth + 1);
      if (kept === value[key]) continue;
      out ??= { ...value };
      if (kept === undefined) delete out[key];
      else out[key] = kept;
    }
    return out ?? value;
  }

  #list(items: SchemaNode, value: unknown[], path: string, depth: number): unknown {
    let out: unknown[] | undefined;
    for (let i = 0; i < value.length; i++) {
      const kept = this.visit(items, value[i], `${path}[${i}]`, depth + 1);
      if (kept !== value[i]) {
        out ??= [...value];
        out[i] = kept;
      }
    }
    return out ?? value;
  }

  #scalar(type: string, rules: ScalarRules | undefined, value: unknown, path: string): unknown {
    if (value === null && rules?.nullable) return value;
    if (!isOfType(type, value)) return this.#wrong(path, value, SCALARS[type] ?? type);
    if (rules === undefined) return value;
    const { oneOf, minimum, maximum, minLength, maxLength, pattern } = rules;
    if (oneOf !== undefined && !oneOf.includes(value))
      this.#add('unsupported', path, value, `supported values: ${oneOf.map((one) => JSON.stringify(one)).join(', ')}`);
    if (typeof value === 'number') {
      if (minimum !== undefined && value < minimum)
        this.#add('invalid', path, value, `should be greater than or equal to ${minimum}`);
      if (maximum !== undefined && value > maximum)
        this.#add('invalid', path, value, `should be less than or equal to ${maximum}`);
    } else if (typeof value === 'string') {
      const length = maxLength === undefined && minLength === undefined ? 0 : [...value].length;
      if (minLength !== undefined && length < minLength)
        this.#add('invalid', path, value, `should be at least ${minLength} chars long`);
      if (maxLength !== undefined && length > maxLength)
        this.#add('invalid', path, value, `may not be more than ${maxLength} bytes`);
      if (pattern !== undefined && !pattern.test(value))
        this.#add('invalid', path, value, `should match '${pattern.source}'`);
    }
    return value;
  }

  #size(
    rules: { min?: number | undefined; max?: number | undefined } | undefined,
    size: number,
    path: string,
    what: string,
  ): void {
    if (rules?.min !== undefined && size < rules.min)
      this.#add('invalid', path, size, `should have at least ${rules.min} ${what}`);
    if (rules?.max !== undefined && size > rules.max)
      this.#add('invalid', path, size, `must have at most ${rules.max} ${what}`);
  }

  #wrong(path: string, value: unknown, wanted: string): unknown {
    this.#add('type', path, value, `must be ${wanted}, not ${typeName(value)}`);
    return value;
  }

  #add(kind: SchemaFault['kind'], path: string, value: unknown, detail: string): void {
    if (this.#faults.length < MAX_FAULTS) this.#faults.push({ kind, path, value, detail });
  }
}

const SCALARS: Record<string, string> = {
  string: 'a string',
  integer: 'an integer',
  number: 'a number',
  boolean: 'a boolean',
  intOrString: 'an integer or a string',
};

function isOfType(type: string, value: unknown): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'integer':
      return Number.isSafeInteger(value);
    case 'number':
      return typeof value === 'number';
    case 'boolean':
      return typeof value === 'boolean';
    default:
      return typeof value === 'string' || typeof value === 'number';
  }
}

function isNullable(schema: SchemaNode | undefined): boolean {
  if (schema === undefined) return false;
  return schema.type === 'any' || schema.rules?.nullable === true;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
