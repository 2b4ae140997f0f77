// Conditions of an AuthorizationPolicy at layer 4: from written values to the model's matches.

import type { Predicate } from '../../model/facts.ts';
import { parseCidr } from '../../model/ip.ts';
import { NOTHING, type PolicyMatch } from '../../model/policy.ts';
import { integer } from '../read.ts';

export type Condition = keyof PolicyMatch;

/** `*`: present; `*x`: suffix; `x*`: prefix; anything else: exactly that. */
function parseText(value: string): Predicate {
  if (value === '*') return { kind: 'present' };
  if (value.startsWith('*')) return { kind: 'suffix', value: value.slice(1) };
  if (value.endsWith('*')) return { kind: 'prefix', value: value.slice(0, -1) };
  return { kind: 'exact', value };
}

function parseRange(value: string): Predicate | undefined {
  const range = parseCidr(value);
  return range.ok ? { kind: 'cidr', range: range.value } : undefined;
}

function parsePort(value: string): Predicate | undefined {
  const port = integer(value);
  return port === undefined || port > 65535 ? undefined : { kind: 'port', port };
}

/** `<namespace>/<account>`, or an account of the policy's own namespace. No wildcards. */
const parseAccount = (value: string, namespace: string): Predicate => ({
  kind: 'exact',
  value: value.includes('/') ? value : `${namespace}/${value}`,
});

function parseValue(condition: Condition, value: string, namespace: string): Predicate | undefined {
  switch (condition) {
    case 'sourceIps':
    case 'notSourceIps':
    case 'destinationIps':
    case 'notDestinationIps':
      return parseRange(value);
    case 'destinationPorts':
    case 'notDestinationPorts':
      return parsePort(value);
    case 'serviceAccounts':
    case 'notServiceAccounts':
      return parseAccount(value, namespace);
    default:
      return parseText(value);
  }
}

/** Written values by condition; a condition that is not written is absent. */
export type Written = Partial<Readonly<Record<Condition, readonly string[]>>>;

/**
 * Puts one match together.
 *
 * A value that cannot be read (an address that is none) is left out of its list. In DENY that can only refuse more. In
 * ALLOW an emptied list, or an exception lost from a `not` list, would let more through: there the match becomes one
 * that matches nothing.
 * @param unreadable  collects such values
 */
export function toMatch(
  action: 'allow' | 'deny',
  written: Written,
  namespace: string,
  unreadable: string[],
): PolicyMatch {
  const match: Record<Condition, readonly Predicate[]> = { ...NOTHING };
  let wider = false;
  for (const condition of Object.keys(written) as Condition[]) {
    const values = written[condition] ?? [];
    const read: Predicate[] = [];
    for (const value of values) {
      const predicate = parseValue(condition, value, namespace);
      if (predicate === undefined) unreadable.push(value);
      else read.push(predicate);
    }
    match[condition] = read;
    const isException = condition.startsWith('not');
    if (isException ? read.length < values.length : values.length > 0 && read.length === 0) wider = true;
  }
  return wider && action === 'allow' ? NOTHING : match;
}

export const matchesNothing = (match: PolicyMatch): boolean =>
  Object.values(match).every((predicates) => predicates.length === 0);
