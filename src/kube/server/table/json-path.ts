// The JSONPath that printer columns use: `.a.b`, `[0]`, `[*]`, `['a.b']`, `\.`, and `[?(@.type=="Ready")]`.

import type { Column } from '../kinds/kind.ts';
import { ageSince } from './age.ts';

type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'filter'; readonly path: readonly Step[]; readonly equals: unknown };

const FIELD = /^\.?((?:\\.|[^.[\]\\'"()=])+)/;
const INDEX = /^\[(-?\d{1,9})\]/;
const QUOTED = /^\[(['"])((?:\\.|(?!\1).)*)\1\]/;
const FILTER = /^\[\?\(\s*@((?:\.[^=\s]+)+)\s*==\s*("[^"]*"|'[^']*'|true|false|-?\d+)\s*\)\]/;

/** @returns undefined for a path that cannot be read */
export function parseJsonPath(text: string): readonly Step[] | undefined {
  const steps: Step[] = [];
  let rest = text
    .trim()
    .replace(/^\{(.*)\}$/s, '$1')
    .replace(/^[$@]/, '');
  while (rest !== '') {
    const index = INDEX.exec(rest);
    const quoted = QUOTED.exec(rest);
    const filter = FILTER.exec(rest);
    const all = /^(\[\*\]|\.\*)/.exec(rest);
    const field = FIELD.exec(rest);
    const match = index ?? quoted ?? filter ?? all ?? field;
    if (match === null) return undefined;
    if (index) steps.push({ kind: 'index', index: Number(index[1]) });
    else if (quoted) steps.push({ kind: 'field', name: unescaped(quoted[2] ?? '') });
    else if (filter) {
      const path = parseJsonPath(filter[1] ?? '');
      if (path === undefined) return undefined;
      steps.push({ kind: 'filter', path, equals: literal(filter[2] ?? '') });
    } else if (all) steps.push({ kind: 'all' });
    else steps.push({ kind: 'field', name: unescaped(field?.[1] ?? '') });
    rest = rest.slice(match[0].length);
  }
  return steps;
}

const unescaped = (text: string): string => text.replace(/\\(.)/g, '$1');

function literal(text: string): unknown {
  if (text.startsWith('"') || text.startsWith("'")) return text.slice(1, -1);
  return text === 'true' ? true : text === 'false' ? false : Number(text);
}

/** Every value at the path. */
export function evaluate(steps: readonly Step[], value: unknown): unknown[] {
  let values: unknown[] = [value];
  for (const step of steps) values = values.flatMap((one) => follow(step, one));
  return values;
}

function follow(step: Step, value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  switch (step.kind) {
    case 'field':
      return Object.hasOwn(value, step.name) ? [(value as Record<string, unknown>)[step.name]] : [];
    case 'index': {
      const item = Array.isArray(value) ? value.at(step.index) : undefined;
      return item === undefined ? [] : [item];
    }
    case 'all':
      return Object.values(value);
    default:
      return Object.values(value).filter((item) => evaluate(step.path, item)[0] === step.equals);
  }
}

/** A column of a CustomResourceDefinition. */
export function columnFromPath(printed: { name: string; type: string; jsonPath: string; priority?: number }): Column {
  const steps = parseJsonPath(printed.jsonPath) ?? [];
  const type =
    printed.type === 'integer' || printed.type === 'number' || printed.type === 'boolean' ? printed.type : 'string';
  return {
    name: printed.name,
    type,
    wide: (printed.priority ?? 0) > 0,
    cell: (object, nowMs) => {
      const values = steps.length === 0 ? [] : evaluate(steps, object);
      const [first] = values;
      if (first === undefined || first === null) return printed.type === 'date' ? '<unknown>' : '';
      if (printed.type === 'date') return ageSince(String(first), nowMs);
      if (type !== 'string' && (typeof first === 'number' || typeof first === 'boolean')) return first;
      return values.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join(',');
    },
  };
}
