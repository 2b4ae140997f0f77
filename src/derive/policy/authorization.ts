// AuthorizationPolicy -> what a node proxy can enforce of it, and what to tell its author.
//
// The node proxy knows connections, not requests. A rule of an ALLOW policy that asks about requests is left out whole
// (the policy stays, so it still refuses what no other rule allows); in a DENY policy only those parts are left out, so
// that it refuses more. Both ways lean to refusing.

import type { Policy, PolicyClause, PolicyRule, PolicyScope } from '../../model/policy.ts';
import { metaKey } from '../objects/meta.ts';
import type { AuthorizationPolicy, AuthorizationRule, FieldValues } from '../objects/security.ts';
import { type Condition, matchesNothing, toMatch, type Written } from './match.ts';

/** What became of a policy without targetRefs. `warning` is empty when all of it is enforced. */
export type Conversion =
  | { readonly kind: 'enforced'; readonly policy: Policy; readonly warning: string }
  | { readonly kind: 'rejected'; readonly message: string };

const SOURCE: Readonly<Record<string, Condition>> = {
  principals: 'principals',
  notPrincipals: 'notPrincipals',
  namespaces: 'namespaces',
  notNamespaces: 'notNamespaces',
  serviceAccounts: 'serviceAccounts',
  notServiceAccounts: 'notServiceAccounts',
  ipBlocks: 'sourceIps',
  notIpBlocks: 'notSourceIps',
};
const OPERATION: Readonly<Record<string, Condition>> = {
  ports: 'destinationPorts',
  notPorts: 'notDestinationPorts',
};
const WHEN: Readonly<Record<string, readonly [Condition, Condition]>> = {
  'source.ip': ['sourceIps', 'notSourceIps'],
  'source.namespace': ['namespaces', 'notNamespaces'],
  'source.principal': ['principals', 'notPrincipals'],
  'destination.ip': ['destinationIps', 'notDestinationIps'],
  'destination.port': ['destinationPorts', 'notDestinationPorts'],
};

/** What the node proxy cannot see, and values that are no addresses or ports. */
interface Findings {
  readonly unsupported: Set<string>;
  readonly unreadable: string[];
}

/**
 * Sorts the fields of one `source` or `operation` into conditions. Every other field is unsupported: those about
 * requests, and also `trustDomains`, which no condition of the node proxy stands for.
 */
function sortFields(fields: FieldValues, known: Readonly<Record<string, Condition>>, findings: Findings): Written {
  const written: Partial<Record<Condition, readonly string[]>> = {};
  for (const [field, values] of Object.entries(fields)) {
    const condition = Object.hasOwn(known, field) ? known[field] : undefined;
    if (condition === undefined) findings.unsupported.add(field);
    else written[condition] = values;
  }
  return written;
}

function convertRule(
  action: 'allow' | 'deny',
  rule: AuthorizationRule,
  namespace: string,
  all: Findings,
): PolicyRule | undefined {
  const findings: Findings = { unsupported: new Set(rule.malformed), unreadable: all.unreadable };
  const clause = (entries: readonly Written[]): PolicyClause => ({
    anyMatch: entries.map((written) => toMatch(action, written, namespace, findings.unreadable)),
  });
  const clauses: PolicyClause[] = [];
  if (rule.to.length > 0) clauses.push(clause(rule.to.map((fields) => sortFields(fields, OPERATION, findings))));
  if (rule.from.length > 0) clauses.push(clause(rule.from.map((fields) => sortFields(fields, SOURCE, findings))));
  for (const { key, values, notValues } of rule.when) {
    const known = Object.hasOwn(WHEN, key) ? WHEN[key] : undefined;
    if (known === undefined) findings.unsupported.add(key);
    clauses.push(clause([known === undefined ? {} : { [known[0]]: values, [known[1]]: notValues }]));
  }
  for (const name of findings.unsupported) all.unsupported.add(name);
  return action === 'allow' && findings.unsupported.size > 0 ? undefined : { everyClause: clauses };
}

const canMatch = (rule: PolicyRule): boolean =>
  rule.everyClause.every(({ anyMatch }) => anyMatch.some((match) => !matchesNothing(match)));

function warningFor(
  action: 'allow' | 'deny',
  rules: readonly PolicyRule[],
  { unsupported, unreadable }: Findings,
): string {
  const sentences: string[] = [];
  if (unsupported.size > 0) {
    const found = [...unsupported].sort().join(', ');
    const effect =
      action === 'allow'
        ? 'Rules that use them are left out, so the policy allows less than it says.'
        : rules.some(canMatch)
          ? 'They are left out of its rules, so the policy denies more than it says.'
          : 'Without them no rule is left, so the policy has no effect.';
    sentences.push(
      `ztunnel does not support HTTP attributes (found: ${found}). ${effect} ` +
        'To enforce them, bind the policy to a waypoint with targetRefs.',
    );
  }
  if (unreadable.length > 0) {
    const effect = action === 'allow' ? 'matches less' : 'may match more';
    sentences.push(`Not an address or port: ${unreadable.slice(0, 10).join(', ')}; the rule ${effect} without it.`);
  }
  return sentences.join(' ');
}

function scopeOf(policy: AuthorizationPolicy, rootNamespace: string): PolicyScope {
  if (policy.selector !== undefined) return 'workloadSelector';
  return policy.namespace === rootNamespace ? 'global' : 'namespace';
}

/**
 * Converts a policy without targetRefs.
 * @param dryRunEnabled  whether connected proxies know dry-run; older ones would enforce such a policy
 */
export function convertAuthorizationPolicy(
  source: AuthorizationPolicy,
  rootNamespace: string,
  dryRunEnabled: boolean,
): Conversion {
  if (source.dryRun && !dryRunEnabled)
    return {
      kind: 'rejected',
      message:
        'the policy is a dry run (annotation istio.io/dry-run), which is not enabled for ztunnel; it has no effect',
    };
  const actions: Readonly<Record<string, 'allow' | 'deny'>> = { ALLOW: 'allow', DENY: 'deny' };
  const action = Object.hasOwn(actions, source.action) ? actions[source.action] : undefined;
  if (action === undefined)
    return {
      kind: 'rejected',
      message: `ztunnel does not support the ${source.action} action; the policy has no effect`,
    };
  const findings: Findings = { unsupported: new Set(), unreadable: [] };
  const anyRule = source.rules.flatMap((rule) => convertRule(action, rule, source.namespace, findings) ?? []);
  return {
    kind: 'enforced',
    policy: {
      key: metaKey(source),
      name: source.name,
      namespace: source.namespace,
      scope: scopeOf(source, rootNamespace),
      action,
      dryRun: source.dryRun,
      anyRule,
    },
    warning: warningFor(action, anyRule, findings),
  };
}
