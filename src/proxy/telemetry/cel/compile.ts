// From a tree to a closure that is asked about one subject. Errors are values: what is absent or of a wrong type makes the
// expression around it fail, but for `||` and `&&`, which one good side can settle (CEL's rules). Time is linear in the
// expression and the texts it looks at: no loops, regular expressions by RE2 and only written out.

import { compileRegex } from '../../../model/http/regex.ts';
import { fail, ok, type Result } from '../../../model/result.ts';
import { type BinaryOperator, type CelNode, parseCel } from './parse.ts';

/** Evaluation failed: absent, or of a wrong type. */
export const FAULT = Symbol('fault');

/** Texts by key; `get` gives undefined for what is absent. */
export interface CelMap {
  readonly kind: 'map';
  get(key: string): CelValue | undefined;
}
/** Milliseconds, apart from plain numbers. */
export interface CelTime {
  readonly kind: 'duration' | 'timestamp';
  readonly ms: number;
}
export type CelValue = string | number | boolean | null | CelMap | CelTime | readonly CelValue[];
export type CelOutcome = CelValue | typeof FAULT;
export type CelExpression<S> = (subject: S) => CelOutcome;

/** What names may stand for. A path is asked whole first, so that `request.headers` needs no value of `request`. */
export interface CelNames<S> {
  /** `['request', 'headers']`; undefined: there is no such attribute, nor one that begins so. */
  resolve(path: readonly string[]): CelExpression<S> | 'prefix' | undefined;
}

class Unsupported extends Error {}

/** @returns a closure, or a sentence saying why the expression cannot be used */
export function compileCel<S>(text: string, names: CelNames<S>): Result<CelExpression<S>, string> {
  const parsed = parseCel(text);
  if (!parsed.ok) return parsed;
  try {
    return ok(compile(parsed.value, names));
  } catch (fault) {
    if (fault instanceof Unsupported) return fail(fault.message);
    throw fault;
  }
}

function compile<S>(node: CelNode, names: CelNames<S>): CelExpression<S> {
  switch (node.kind) {
    case 'literal': {
      const { value } = node;
      return () => value;
    }
    case 'list': {
      const items = node.items.map((item) => compile(item, names));
      return (subject) => {
        const values: CelValue[] = [];
        for (const item of items) {
          const value = item(subject);
          if (value === FAULT) return FAULT;
          values.push(value);
        }
        return values;
      };
    }
    case 'name':
    case 'member':
      return compileMember(node, names);
    case 'index': {
      const of = compile(node.of, names);
      const key = compile(node.key, names);
      return (subject) => {
        const at = key(subject);
        const value = of(subject);
        if (at === FAULT || value === FAULT) return FAULT;
        if (isList(value)) return (typeof at === 'number' ? value[at] : undefined) ?? FAULT;
        return isMap(value) && typeof at === 'string' ? (value.get(at) ?? FAULT) : FAULT;
      };
    }
    case 'not': {
      const of = compile(node.of, names);
      return (subject) => {
        const value = of(subject);
        return typeof value === 'boolean' ? !value : FAULT;
      };
    }
    case 'minus': {
      const of = compile(node.of, names);
      return (subject) => {
        const value = of(subject);
        return typeof value === 'number' ? -value : FAULT;
      };
    }
    case 'choice': {
      const when = compile(node.when, names);
      const then = compile(node.then, names);
      const otherwise = compile(node.otherwise, names);
      return (subject) => {
        const value = when(subject);
        if (typeof value !== 'boolean') return FAULT;
        return value ? then(subject) : otherwise(subject);
      };
    }
    case 'binary':
      return compileBinary(node.operator, compile(node.left, names), compile(node.right, names));
    case 'call':
      return compileCall(node, names);
  }
}

function pathOf(node: CelNode): string[] | undefined {
  if (node.kind === 'name') return [node.name];
  if (node.kind !== 'member') return undefined;
  const path = pathOf(node.of);
  path?.push(node.name);
  return path;
}

function compileMember<S>(node: CelNode & { kind: 'name' | 'member' }, names: CelNames<S>): CelExpression<S> {
  const path = pathOf(node);
  if (path !== undefined) {
    const resolved = names.resolve(path);
    if (typeof resolved === 'function') return resolved;
    if (resolved === 'prefix') throw new Unsupported(`\`${path.join('.')}\` is no value by itself`);
    if (node.kind === 'name' || names.resolve(path.slice(0, -1)) === 'prefix')
      throw new Unsupported(`\`${path.join('.')}\` is no attribute that is known here`);
  }
  if (node.kind === 'name') throw new Unsupported(`\`${node.name}\` is no attribute that is known here`);
  const of = compile(node.of, names);
  const { name } = node;
  return (subject) => {
    const value = of(subject);
    return value !== FAULT && isMap(value) ? (value.get(name) ?? FAULT) : FAULT;
  };
}

const isMap = (value: CelValue): value is CelMap =>
  typeof value === 'object' && value !== null && !isList(value) && value.kind === 'map';
const isTime = (value: CelValue): value is CelTime =>
  typeof value === 'object' && value !== null && !isList(value) && value.kind !== 'map';
const isList = (value: CelValue): value is readonly CelValue[] => Array.isArray(value);

function compileBinary<S>(operator: BinaryOperator, left: CelExpression<S>, right: CelExpression<S>): CelExpression<S> {
  if (operator === '||' || operator === '&&') {
    const settled = operator === '||';
    return (subject) => {
      const a = left(subject);
      if (a === settled) return settled;
      const b = right(subject);
      if (b === settled) return settled;
      return typeof a === 'boolean' && typeof b === 'boolean' ? !settled : FAULT;
    };
  }
  return (subject) => {
    const a = left(subject);
    const b = right(subject);
    return a === FAULT || b === FAULT ? FAULT : combine(operator, a, b);
  };
}

function combine(operator: Exclude<BinaryOperator, '||' | '&&'>, a: CelValue, b: CelValue): CelOutcome {
  switch (operator) {
    case '==':
      return equal(a, b);
    case '!=':
      return !equal(a, b);
    case 'in':
      if (isList(b)) return b.some((item) => equal(a, item));
      return isMap(b) && typeof a === 'string' ? b.get(a) !== undefined : FAULT;
    case '+':
      if (typeof a === 'string' && typeof b === 'string') return a + b;
      return arithmetic(operator, a, b);
    case '-':
    case '*':
    case '/':
    case '%':
      return arithmetic(operator, a, b);
    default:
      return compare(operator, a, b);
  }
}

function equal(a: CelValue, b: CelValue): boolean {
  if (isList(a) && isList(b)) return a.length === b.length && a.every((item, i) => equal(item, b[i] as CelValue));
  if (isTime(a) && isTime(b)) return a.kind === b.kind && a.ms === b.ms;
  return a === b;
}

function compare(operator: '<' | '<=' | '>' | '>=', a: CelValue, b: CelValue): CelOutcome {
  const sign = order(a, b);
  if (sign === undefined) return FAULT;
  switch (operator) {
    case '<':
      return sign < 0;
    case '<=':
      return sign <= 0;
    case '>':
      return sign > 0;
    case '>=':
      return sign >= 0;
  }
}

function order(a: CelValue, b: CelValue): number | undefined {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  return isTime(a) && isTime(b) && a.kind === b.kind ? a.ms - b.ms : undefined;
}

/** Attributes are whole numbers, so division is that of int: towards zero, and never by zero. */
function arithmetic(operator: '+' | '-' | '*' | '/' | '%', a: CelValue, b: CelValue): CelOutcome {
  if (typeof a !== 'number' || typeof b !== 'number') return FAULT;
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      if (!Number.isInteger(a) || !Number.isInteger(b)) return a / b;
      return b === 0 ? FAULT : Math.trunc(a / b);
    case '%':
      return b === 0 ? FAULT : a % b;
  }
}

type TextMethod = (text: string, argument: string) => CelValue;
const TEXT_METHODS: ReadonlyMap<string, TextMethod> = new Map<string, TextMethod>([
  ['startsWith', (text, argument) => text.startsWith(argument)],
  ['endsWith', (text, argument) => text.endsWith(argument)],
  ['contains', (text, argument) => text.includes(argument)],
]);
type Conversion = (value: CelValue) => CelOutcome;
const CONVERSIONS: ReadonlyMap<string, Conversion> = new Map<string, Conversion>([
  ['string', (v) => (typeof v === 'string' || typeof v === 'number' || typeof v === 'boolean' ? String(v) : FAULT)],
  ['int', (v) => whole(v)],
  ['uint', (v) => whole(v)],
  ['double', (v) => numberOf(v)],
  ['size', (v) => (typeof v === 'string' ? [...v].length : isList(v) ? v.length : FAULT)],
  ['duration', (v) => (typeof v === 'string' ? durationOf(v) : FAULT)],
  ['timestamp', (v) => (typeof v === 'string' ? timestampOf(v) : FAULT)],
]);

const numberOf = (value: CelValue): CelOutcome => {
  const number =
    typeof value === 'number' ? value : typeof value === 'string' && value.trim() !== '' ? Number(value) : Number.NaN;
  return Number.isFinite(number) ? number : FAULT;
};
const whole = (value: CelValue): CelOutcome => {
  if (isTime(value)) return Math.trunc(value.ms / 1000);
  const number = numberOf(value);
  return typeof number === 'number' ? Math.trunc(number) : FAULT;
};
const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 0.001, ns: 0.000001 };
function durationOf(text: string): CelOutcome {
  if (!/^-?(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s|us|ns))+$/.test(text)) return FAULT;
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/([0-9.]+)(h|ms|m|s|us|ns)/g))
    ms += Number(count) * (UNITS[unit ?? ''] ?? 0);
  return { kind: 'duration', ms: text.startsWith('-') ? -ms : ms };
}
function timestampOf(text: string): CelOutcome {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? FAULT : { kind: 'timestamp', ms };
}

function compileCall<S>(node: CelNode & { kind: 'call' }, names: CelNames<S>): CelExpression<S> {
  const { name, on, args } = node;
  const [first] = args;
  if (name === 'has' && on === undefined && args.length === 1 && first !== undefined) {
    const value = compile(first, names);
    return (subject) => {
      const found = value(subject);
      return found !== FAULT && found !== null;
    };
  }
  if (name === 'matches') return compileMatches(on ?? first, on === undefined ? args[1] : first, names);
  const method = TEXT_METHODS.get(name);
  if (method !== undefined && on !== undefined && first !== undefined && args.length === 1) {
    const text = compile(on, names);
    const argument = compile(first, names);
    return (subject) => {
      const a = text(subject);
      const b = argument(subject);
      return typeof a === 'string' && typeof b === 'string' ? method(a, b) : FAULT;
    };
  }
  const conversion = CONVERSIONS.get(name);
  const converted = on ?? first;
  if (conversion !== undefined && converted !== undefined && args.length === (on === undefined ? 1 : 0)) {
    const value = compile(converted, names);
    return (subject) => {
      const found = value(subject);
      return found === FAULT ? FAULT : conversion(found);
    };
  }
  throw new Unsupported(`\`${name}(…)\` is not known here, or has other arguments`);
}

function compileMatches<S>(
  on: CelNode | undefined,
  pattern: CelNode | undefined,
  names: CelNames<S>,
): CelExpression<S> {
  if (on === undefined || pattern?.kind !== 'literal' || typeof pattern.value !== 'string')
    throw new Unsupported('`matches` takes a regular expression that is written out');
  // CEL finds the pattern anywhere in the text; ours are over the whole text.
  const test = compileRegex(`(?s:.*)(?:${pattern.value})(?s:.*)`);
  if (!test.ok) throw new Unsupported(test.error);
  const text = compile(on, names);
  return (subject) => {
    const value = text(subject);
    return typeof value === 'string' ? test.value(value) : FAULT;
  };
}
