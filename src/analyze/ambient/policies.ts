// AuthorizationPolicies that ztunnel judges: what it cannot see of them, and what becomes of the rest. The conversion is
// the control plane's own; here its outcome is told per field.

import { parseAuthorizationPolicy } from '../../derive/objects/security.ts';
import { convertAuthorizationPolicy } from '../../derive/policy/authorization.ts';
import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import { hasTargets, type World } from '../world.ts';

const L4_SOURCE = new Set(['principals', 'namespaces', 'serviceAccounts', 'ipBlocks'].flatMap(withNot));
const L4_OPERATION = new Set(['ports'].flatMap(withNot));
const L4_KEYS = new Set(['source.ip', 'source.namespace', 'source.principal', 'destination.ip', 'destination.port']);
const TRUST_DOMAINS = new Set(withNot('trustDomains'));

function withNot(name: string): string[] {
  return [name, `not${name[0]?.toUpperCase()}${name.slice(1)}`];
}

/** Whether the policy is ztunnel's to judge: it selects pods in ambient, or stands in a namespace of ambient. */
function isForZtunnel(world: World, policy: Resource): boolean {
  return !hasTargets(policy) && (world.isAmbient(policy.namespace) || world.judgedByZtunnel(policy).size > 0);
}

/** A part of one rule that ztunnel does not see. */
interface Unseen {
  readonly field: Field;
  readonly name: string;
}

function unseenIn(rule: Field): readonly Unseen[] {
  const found: Unseen[] = [];
  for (const [list, inner, known] of [
    ['from', 'source', L4_SOURCE],
    ['to', 'operation', L4_OPERATION],
  ] as const)
    for (const entry of rule.at(list).items())
      for (const [name, field] of entry.at(inner).entries())
        if (field.items().length > 0 && !known.has(name)) found.push({ field, name });
  for (const condition of rule.at('when').items()) {
    const key = condition.at('key');
    if (key.text !== '' && !L4_KEYS.has(key.text)) found.push({ field: key, name: key.text });
  }
  return found;
}

const namesOf = (unseen: readonly Unseen[]): string => [...new Set(unseen.map(({ name }) => name))].sort().join(', ');

export const ztunnelPolicyAnalyzer: Analyzer = {
  name: 'ambient.ZtunnelPolicyAnalyzer',
  description: 'AuthorizationPolicies of which ztunnel sees only a part',
  codes: ['AMB0001', 'AMB0002', 'AMB0003', 'AMB0004', 'AMB0005', 'AMB0044'],
  analyze(world, report) {
    for (const policy of world.all(KIND.authorizationPolicy))
      if (isForZtunnel(world, policy)) checkPolicy(world, policy, report);
  },
};

function checkPolicy(world: World, policy: Resource, report: Report): void {
  const parsed = parseAuthorizationPolicy(policy.object);
  const conversion = convertAuthorizationPolicy(parsed, world.settings.rootNamespace, false);
  if (conversion.kind === 'rejected') {
    const at = parsed.dryRun ? policy.root.at('metadata', 'annotations', 'istio.io/dry-run') : policy.spec.at('action');
    report('AMB0004', policy, at, parsed.dryRun ? 'dry run' : `action ${parsed.action}`);
    return;
  }
  const rules = policy.spec.at('rules').items();
  for (const rule of rules) checkAliases(world, policy, rule, report);
  const unseen = rules.map(unseenIn);
  const lost = unseen.flat().filter(({ name }) => !TRUST_DOMAINS.has(name));
  for (const { field, name } of unseen.flat()) if (TRUST_DOMAINS.has(name)) report('AMB0005', policy, field, name);
  if (lost.length === 0) return;
  if (conversion.policy.action === 'deny') {
    checkDeny(policy, rules, unseen, report);
    return;
  }
  const nothingLeft = conversion.policy.anyRule.length === 0;
  for (const { field, name } of lost)
    report(
      'AMB0001',
      policy,
      field,
      name,
      nothingLeft
        ? 'the rule is left out, no other is left, and everything is denied'
        : 'the rule is left out, and what it allows is denied',
    );
}

/** Proxies at layer 7 take an alias for the trust domain; ztunnel compares letter by letter. */
function checkAliases(world: World, policy: Resource, rule: Field, report: Report): void {
  for (const entry of rule.at('from').items())
    for (const list of ['principals', 'notPrincipals'])
      for (const principal of entry.at('source', list).items()) {
        const domain = principal.text.slice(0, Math.max(0, principal.text.indexOf('/')));
        if (world.settings.trustDomainAliases.includes(domain))
          report('AMB0044', policy, principal, principal.text, domain);
      }
}

function checkDeny(
  policy: Resource,
  rules: readonly Field[],
  unseen: readonly (readonly Unseen[])[],
  report: Report,
): void {
  let effective = false;
  for (const [i, rule] of rules.entries()) {
    const parts = unseen[i] ?? [];
    if (parts.length === 0 || seenIn(rule)) effective = true;
    if (parts.length > 0 && seenIn(rule)) report('AMB0002', policy, parts[0]?.field ?? rule, namesOf(parts));
  }
  const all = unseen.flat();
  if (!effective) report('AMB0003', policy, all[0]?.field ?? policy.spec, namesOf(all));
}

/** Something of the rule is left for ztunnel: each of its lists has an entry that ztunnel can match. */
function seenIn(rule: Field): boolean {
  const some = (list: string, inner: string, known: ReadonlySet<string>): boolean => {
    const entries = rule.at(list).items();
    return (
      entries.length === 0 ||
      entries.some((entry) => Object.keys(entry.at(inner).record).some((name) => known.has(name)))
    );
  };
  const conditions = rule.at('when').items();
  return (
    some('from', 'source', L4_SOURCE) &&
    some('to', 'operation', L4_OPERATION) &&
    conditions.every((condition) => L4_KEYS.has(condition.at('key').text))
  );
}
