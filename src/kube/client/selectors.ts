// Label and field selectors: text or LabelSelector -> requirements that are data, and whether an object meets them.
// Text is parsed strictly; what cannot be read is a KubeError 400, never a selector that matches more.

import { KubeError, type KubeObject } from './types.ts';

export type LabelRequirement =
  | { readonly key: string; readonly operator: 'in' | 'notIn'; readonly values: readonly string[] }
  | { readonly key: string; readonly operator: 'exists' | 'doesNotExist' }
  | { readonly key: string; readonly operator: 'greater' | 'less'; readonly than: bigint };

/** Every requirement must hold; an empty list matches everything. */
export type LabelSelector = readonly LabelRequirement[];

/** metav1.LabelSelector, as it stands in Deployments, Services' policies and the like. */
export interface LabelSelectorObject {
  matchLabels?: Record<string, string> | undefined;
  matchExpressions?: { key: string; operator: string; values?: string[] | undefined }[] | undefined;
}

export interface FieldRequirement {
  /** Path of the field, `metadata.name`, `spec.nodeName`, … */
  readonly field: string;
  readonly operator: 'equals' | 'notEquals';
  readonly value: string;
}

const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const PREFIX = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** A label or annotation key: an optional DNS prefix of at most 253 characters and a name of at most 63. */
export function isQualifiedName(key: string): boolean {
  const slash = key.indexOf('/');
  if (slash < 0) return NAME.test(key);
  const prefix = key.slice(0, slash);
  return prefix.length <= 253 && PREFIX.test(prefix) && NAME.test(key.slice(slash + 1));
}

/** A label's value: empty, or at most 63 of `A-Za-z0-9_.-` beginning and ending alphanumeric. */
export function isLabelValue(value: string): boolean {
  return value === '' || NAME.test(value);
}

/**
 * Reads kubectl's `-l` syntax: `a=b,c==d,e!=f,g in (x,y),h notin (z),i,!j,k>1`.
 * @throws KubeError 400 BadRequest naming the requirement that cannot be read
 */
export function parseLabelSelector(text: string): LabelSelector {
  return splitOutsideParentheses(text).map(parseLabelRequirement);
}

function splitOutsideParentheses(text: string): string[] {
  if (text.trim() === '') return [];
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '(') depth++;
    else if (c === ')') depth--;
    else if (c === ',' && depth === 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
    if (depth < 0 || depth > 1) throw unreadable(text);
  }
  if (depth !== 0) throw unreadable(text);
  parts.push(text.slice(start));
  return parts.map((part) => part.trim());
}

const SET = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;
const COMPARE = /^([^\s=!<>()]+)\s*(==|=|!=|<|>)\s*([^\s=!<>()]*)$/;
const PRESENCE = /^(!?)\s*([^\s=!<>()]+)$/;

function parseLabelRequirement(part: string): LabelRequirement {
  const set = SET.exec(part);
  if (set) {
    const values = set[3]!.split(',').map((value) => value.trim());
    return requirement(part, set[1]!, set[2] === 'in' ? 'in' : 'notIn', values);
  }
  const compare = COMPARE.exec(part);
  if (compare) {
    const [, key = '', operator, value = ''] = compare;
    if (operator === '<' || operator === '>') {
      if (!isQualifiedName(key) || !/^-?\d{1,19}$/.test(value)) throw unreadable(part);
      return { key, operator: operator === '<' ? 'less' : 'greater', than: BigInt(value) };
    }
    return requirement(part, key, operator === '!=' ? 'notIn' : 'in', [value]);
  }
  const presence = PRESENCE.exec(part);
  if (presence && isQualifiedName(presence[2]!))
    return { key: presence[2]!, operator: presence[1] === '!' ? 'doesNotExist' : 'exists' };
  throw unreadable(part);
}

function requirement(part: string, key: string, operator: 'in' | 'notIn', values: string[]): LabelRequirement {
  if (!isQualifiedName(key) || values.length === 0 || !values.every(isLabelValue)) throw unreadable(part);
  return { key, operator, values };
}

function unreadable(part: string): KubeError {
  return new KubeError(400, 'BadRequest', `unable to parse requirement: \`${part}\` is not a label requirement`);
}

/**
 * A LabelSelector object as requirements. Undefined selects nothing where Kubernetes says so: that is the caller's.
 * @throws KubeError 400 for an operator that does not exist or values where none belong
 */
export function selectorFromObject(selector: LabelSelectorObject): LabelSelector {
  const requirements: LabelRequirement[] = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: 'in',
    values: [value],
  }));
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const shown = `${key} ${operator} (${values.join(',')})`;
    if ((operator === 'In' || operator === 'NotIn') && values.length > 0)
      requirements.push({ key, operator: operator === 'In' ? 'in' : 'notIn', values });
    else if (operator === 'Exists' && values.length === 0) requirements.push({ key, operator: 'exists' });
    else if (operator === 'DoesNotExist' && values.length === 0) requirements.push({ key, operator: 'doesNotExist' });
    else throw unreadable(shown);
  }
  return requirements;
}

/** Whether labels meet every requirement. A label that is absent meets `!=` and `notin`. */
export function matchesLabels(selector: LabelSelector, labels: Readonly<Record<string, string>> | undefined): boolean {
  for (const wanted of selector) {
    const value = labels !== undefined && Object.hasOwn(labels, wanted.key) ? labels[wanted.key] : undefined;
    if (!meets(wanted, value)) return false;
  }
  return true;
}

function meets(wanted: LabelRequirement, value: string | undefined): boolean {
  switch (wanted.operator) {
    case 'in':
      return value !== undefined && wanted.values.includes(value);
    case 'notIn':
      return value === undefined || !wanted.values.includes(value);
    case 'exists':
      return value !== undefined;
    case 'doesNotExist':
      return value === undefined;
    default: {
      if (value === undefined || !/^-?\d{1,19}$/.test(value)) return false;
      return wanted.operator === 'greater' ? BigInt(value) > wanted.than : BigInt(value) < wanted.than;
    }
  }
}

/** The text form, as Deployment's scale subresource and list calls want it. */
export function formatLabelSelector(selector: LabelSelector): string {
  return selector
    .map((wanted) => {
      switch (wanted.operator) {
        case 'in':
        case 'notIn': {
          if (wanted.values.length === 1)
            return `${wanted.key}${wanted.operator === 'in' ? '=' : '!='}${wanted.values[0]}`;
          return `${wanted.key} ${wanted.operator === 'in' ? 'in' : 'notin'} (${wanted.values.join(',')})`;
        }
        case 'exists':
          return wanted.key;
        case 'doesNotExist':
          return `!${wanted.key}`;
        default:
          return `${wanted.key}${wanted.operator === 'greater' ? '>' : '<'}${wanted.than}`;
      }
    })
    .join(',');
}

/**
 * Reads kubectl's `--field-selector` syntax: `metadata.name=a,status.phase!=Running`; a backslash keeps `,`, `=` and `\`.
 * @throws KubeError 400 BadRequest
 */
export function parseFieldSelector(text: string): readonly FieldRequirement[] {
  if (text.trim() === '') return [];
  return splitUnescaped(text).map((part) => {
    const match = /^([^=!\\]+)(==|!=|=)((?:[^=\\,]|\\[\\,=])*)$/.exec(part);
    if (!match)
      throw new KubeError(400, 'BadRequest', `invalid field selector: \`${part}\`; can't understand \`${part}\``);
    return {
      field: match[1]!.trim(),
      operator: match[2] === '!=' ? 'notEquals' : 'equals',
      value: match[3]!.replace(/\\([\\,=])/g, '$1'),
    };
  });
}

function splitUnescaped(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === ',') {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

/** Whether the object's fields meet every requirement; an absent field counts as the empty string, as in Kubernetes. */
export function matchesFields(selector: readonly FieldRequirement[], object: KubeObject): boolean {
  return selector.every(
    ({ field, operator, value }) => (fieldValue(object, field) === value) === (operator === 'equals'),
  );
}

function fieldValue(object: KubeObject, path: string): string {
  let at: unknown = object;
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return '';
    at = (at as Record<string, unknown>)[name];
  }
  return typeof at === 'string' || typeof at === 'number' || typeof at === 'boolean' ? String(at) : '';
}
