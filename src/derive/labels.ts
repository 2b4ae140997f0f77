// Label selectors: Kubernetes' LabelSelector with expressions, and the plain equality maps of Services and Istio's
// policies, with the index keys that find "which selectors pick this object" without trying all of them.

import type { Collection, Index, Reader } from './graph/graph.ts';
import { type Labels, list, record, text, textRecord, texts } from './read.ts';

interface Requirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/** Every requirement must hold; none: everything is selected. */
export interface LabelSelector {
  readonly everyRequirement: readonly Requirement[];
}

/** @returns undefined when an expression cannot be understood: the caller must then select nothing */
export function parseLabelSelector(value: unknown): LabelSelector | undefined {
  const source = record(value);
  const every: Requirement[] = Object.entries(textRecord(source.matchLabels)).map(([key, only]) => ({
    key,
    operator: 'In',
    values: [only],
  }));
  for (const item of list(source.matchExpressions)) {
    const key = text(record(item).key);
    const operator = text(record(item).operator);
    const values = texts(record(item).values);
    if (key === '') return undefined;
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) return undefined;
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0) return undefined;
    } else return undefined;
    every.push({ key, operator, values });
  }
  return { everyRequirement: every };
}

function holds(requirement: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.operator) {
    case 'In':
      return value !== undefined && requirement.values.includes(value);
    case 'NotIn':
      return value === undefined || !requirement.values.includes(value);
    case 'Exists':
      return value !== undefined;
    default:
      return value === undefined;
  }
}

export const selects = (selector: LabelSelector, labels: Labels): boolean =>
  selector.everyRequirement.every((requirement) => holds(requirement, labels));

/** Whether every entry of an equality map is among the labels; an empty map selects everything. */
export const isSubset = (selector: Labels, labels: Labels): boolean =>
  Object.entries(selector).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);

/** Something in a namespace that picks objects by an equality map of labels. */
export interface Selecting {
  readonly namespace: string;
  /** Undefined: picks nothing. Empty: picks everything. */
  readonly selector: Labels | undefined;
}

const everything = (namespace: string): string => namespace;
const having = (namespace: string, key: string, value: string): string => `${namespace}|${key}=${value}`;

/**
 * Files selectors under one of their entries (the alphabetically first), so that an object finds its candidates by its
 * own labels, and a changed selector wakes only objects that carry that label.
 */
export const indexSelectors = <T extends Selecting>(collection: Collection<T>): Index<T> =>
  collection.index('bySelector', ({ namespace, selector }) => {
    if (selector === undefined) return [];
    const pivot = Object.keys(selector).sort()[0];
    return [pivot === undefined ? everything(namespace) : having(namespace, pivot, selector[pivot] as string)];
  });

/** What of `index` in `namespace` selects an object with these labels. */
export function selecting<T extends Selecting>(
  get: Reader,
  index: Index<T>,
  namespace: string,
  labels: Labels,
): readonly T[] {
  const found: T[] = [...get.all(index, everything(namespace))];
  for (const key of Object.keys(labels))
    for (const candidate of get.all(index, having(namespace, key, labels[key] as string)))
      if (isSubset(candidate.selector as Labels, labels)) found.push(candidate);
  return found;
}
