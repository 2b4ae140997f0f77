// A policy as node proxies show it: rules, clauses and matches as three nested lists, conditions as tagged words.

import type { Predicate } from '../../model/facts.ts';
import { parseCidr } from '../../model/ip.ts';
import type { Policy, PolicyAction, PolicyMatch, PolicyScope } from '../../model/policy.ts';
import type { Node } from './read.ts';

const SCOPES: Readonly<Record<string, PolicyScope>> = {
  Global: 'global',
  Namespace: 'namespace',
  WorkloadSelector: 'workloadSelector',
};
const ACTIONS: Readonly<Record<string, PolicyAction>> = { Allow: 'allow', Deny: 'deny' };
const FIELDS: ReadonlySet<string> = new Set(['name', 'namespace', 'scope', 'action', 'rules', 'dryRun']);
const MAX_PORT = 65535;

/** Scope and action have no default: a policy that is read as another one is worse than none. */
export function readPolicy(node: Node, local: boolean): Policy {
  const fields = node.fields();
  if (local) fields.only(FIELDS);
  const name = fields.get('name').text();
  const namespace = fields.get('namespace').text();
  const scope = fields.get('scope');
  const action = fields.get('action');
  return {
    key: `${namespace}/${name}`,
    name,
    namespace,
    scope: scope.absent ? scope.refuse(`one of ${Object.keys(SCOPES).join(', ')}`) : scope.oneOf(SCOPES),
    action: action.absent ? action.refuse(`one of ${Object.keys(ACTIONS).join(', ')}`) : action.oneOf(ACTIONS),
    dryRun: fields.get('dryRun').flag(),
    anyRule: fields
      .get('rules')
      .list()
      .map((rule) => ({
        everyClause: rule.list().map((clause) => ({ anyMatch: clause.list().map((match) => readMatch(match)) })),
      })),
  };
}

const READERS: Readonly<Record<keyof PolicyMatch, (node: Node) => Predicate>> = {
  namespaces: readText,
  notNamespaces: readText,
  serviceAccounts: readAccount,
  notServiceAccounts: readAccount,
  principals: readText,
  notPrincipals: readText,
  sourceIps: readRange,
  notSourceIps: readRange,
  destinationIps: readRange,
  notDestinationIps: readRange,
  destinationPorts: readPort,
  notDestinationPorts: readPort,
};
const LISTS: ReadonlySet<string> = new Set(Object.keys(READERS));

/** A list of conditions that nobody here knows would be a condition passed over: it refuses the policy, always. */
function readMatch(node: Node): PolicyMatch {
  const fields = node.fields();
  fields.only(LISTS);
  const read = (list: keyof PolicyMatch): Predicate[] => fields.get(list).list().map(READERS[list]);
  return {
    namespaces: read('namespaces'),
    notNamespaces: read('notNamespaces'),
    serviceAccounts: read('serviceAccounts'),
    notServiceAccounts: read('notServiceAccounts'),
    principals: read('principals'),
    notPrincipals: read('notPrincipals'),
    sourceIps: read('sourceIps'),
    notSourceIps: read('notSourceIps'),
    destinationIps: read('destinationIps'),
    notDestinationIps: read('notDestinationIps'),
    destinationPorts: read('destinationPorts'),
    notDestinationPorts: read('notDestinationPorts'),
  };
}

/** `{ Exact: "x" }`, `{ Prefix: "x" }`, `{ Suffix: "x" }`, `{ Presence: [] }`. */
function readText(node: Node): Predicate {
  if (node.value === 'Presence') return { kind: 'present' };
  const [entry, ...others] = node.fields().entries();
  if (entry !== undefined && others.length === 0) {
    const [word, value] = entry;
    if (word === 'Exact') return { kind: 'exact', value: value.text() };
    if (word === 'Prefix') return { kind: 'prefix', value: value.text() };
    if (word === 'Suffix') return { kind: 'suffix', value: value.text() };
    if (word === 'Presence') return { kind: 'present' };
  }
  return node.refuse('a map with one of Exact, Prefix, Suffix, Presence');
}

function readAccount(node: Node): Predicate {
  const fields = node.fields();
  return {
    kind: 'exact',
    value: `${fields.get('namespace').text()}/${fields.get('serviceAccount').text()}`,
  };
}

function readRange(node: Node): Predicate {
  const range = parseCidr(node.text());
  return range.ok ? { kind: 'cidr', range: range.value } : node.refuse('an address range such as 10.0.0.0/8');
}

function readPort(node: Node): Predicate {
  return { kind: 'port', port: node.number(MAX_PORT) };
}
