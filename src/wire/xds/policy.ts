// `istio.security.Authorization` <-> the model's Policy. An entry that cannot be read never lets an ALLOW policy say
// more than it was written to say.

import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Predicate } from '../../model/facts.ts';
import { ipBytes } from '../../model/ip.ts';
import { NOTHING, type Policy, type PolicyAction, type PolicyMatch, type PolicyScope } from '../../model/policy.ts';
import { type Result, unreachable } from '../../model/result.ts';
import type { PolicyKey } from '../../model/workload.ts';
import type {
  AuthorizationSchema,
  MatchSchema,
  StringMatchSchema,
  Address as WireAddress,
  Authorization as WireAuthorization,
  Match as WireMatch,
  StringMatch as WireStringMatch,
} from '../gen/istio/security/authorization_pb.ts';
import { type Decoded, decoding, named, port16, rangeFromBytes } from './decoding.ts';
import { numberOf } from './encoding.ts';

const SCOPES: readonly PolicyScope[] = ['global', 'namespace', 'workloadSelector'];
const ACTIONS: readonly PolicyAction[] = ['allow', 'deny'];

/**
 * Reads one policy.
 *
 * A string match without a kind, or a range with wrong bytes or length, is left out of its list with a warning, as
 * Istio's ztunnel does. That can turn a list into "no condition", which for ALLOW would widen the policy: there the
 * whole match matches nothing instead (the policy stays and still restricts).
 * @param key the resource name; workloads refer to the policy by it
 * @returns the reason if it must be refused: an unknown scope or action
 */
export const decodePolicy = (key: PolicyKey, wire: WireAuthorization): Result<Decoded<Policy>, string> =>
  decoding((warnings) => {
    const action = named('action', ACTIONS, wire.action);
    return {
      key,
      name: wire.name,
      namespace: wire.namespace,
      scope: named('scope', SCOPES, wire.scope),
      action,
      dryRun: wire.dryRun,
      anyRule: wire.rules.map((rule) => ({
        everyClause: rule.clauses.map((clause) => ({
          anyMatch: clause.matches.map((match) => readMatch(match, action, warnings)),
        })),
      })),
    };
  });

function readMatch(wire: WireMatch, action: PolicyAction, warnings: string[]): PolicyMatch {
  const before = warnings.length;
  const texts = (field: string, list: readonly WireStringMatch[]): Predicate[] =>
    list.flatMap((entry) => readText(field, entry, warnings));
  const ranges = (field: string, list: readonly WireAddress[]): Predicate[] =>
    list.flatMap((entry) => readRange(field, entry, warnings));
  const match: PolicyMatch = {
    namespaces: texts('namespaces', wire.namespaces),
    notNamespaces: texts('not_namespaces', wire.notNamespaces),
    serviceAccounts: wire.serviceAccounts.map(readAccount),
    notServiceAccounts: wire.notServiceAccounts.map(readAccount),
    principals: texts('principals', wire.principals),
    notPrincipals: texts('not_principals', wire.notPrincipals),
    sourceIps: ranges('source_ips', wire.sourceIps),
    notSourceIps: ranges('not_source_ips', wire.notSourceIps),
    destinationIps: ranges('destination_ips', wire.destinationIps),
    notDestinationIps: ranges('not_destination_ips', wire.notDestinationIps),
    destinationPorts: wire.destinationPorts.map(readPortNumber),
    notDestinationPorts: wire.notDestinationPorts.map(readPortNumber),
  };
  return action === 'allow' && warnings.length > before ? NOTHING : match;
}

function readText(field: string, wire: WireStringMatch, warnings: string[]): Predicate[] {
  const { matchType } = wire;
  switch (matchType.case) {
    case 'exact':
    case 'prefix':
    case 'suffix':
      return [{ kind: matchType.case, value: matchType.value }];
    case 'presence':
      return [{ kind: 'present' }];
    default:
      warnings.push(`${field} has an entry without exact, prefix, suffix or presence; ignored`);
      return [];
  }
}

function readRange(field: string, wire: WireAddress, warnings: string[]): Predicate[] {
  const range = rangeFromBytes(wire.address, wire.length);
  if (range !== undefined) return [{ kind: 'cidr', range }];
  warnings.push(`${field} has a range of ${wire.address.length} bytes and length ${wire.length}; ignored`);
  return [];
}

const readAccount = (wire: { readonly namespace: string; readonly serviceAccount: string }): Predicate => ({
  kind: 'exact',
  value: `${wire.namespace}/${wire.serviceAccount}`,
});

const readPortNumber = (port: number): Predicate => ({ kind: 'port', port: port16(port) });

/**
 * The message of one policy.
 * @throws if a list holds a predicate of a kind that its field has no wire form for: such a policy was not built by
 *   the derivation or by `decodePolicy`
 */
export const policyMessage = (p: Policy): MessageInitShape<typeof AuthorizationSchema> => ({
  name: p.name,
  namespace: p.namespace,
  scope: numberOf(SCOPES, p.scope),
  action: numberOf(ACTIONS, p.action),
  rules: p.anyRule.map((rule) => ({
    clauses: rule.everyClause.map((clause) => ({ matches: clause.anyMatch.map(matchMessage) })),
  })),
  dryRun: p.dryRun,
});

const matchMessage = (m: PolicyMatch): MessageInitShape<typeof MatchSchema> => ({
  namespaces: m.namespaces.map(writeText),
  notNamespaces: m.notNamespaces.map(writeText),
  principals: m.principals.map(writeText),
  notPrincipals: m.notPrincipals.map(writeText),
  sourceIps: m.sourceIps.map(writeRange),
  notSourceIps: m.notSourceIps.map(writeRange),
  destinationIps: m.destinationIps.map(writeRange),
  notDestinationIps: m.notDestinationIps.map(writeRange),
  destinationPorts: m.destinationPorts.map(writePortNumber),
  notDestinationPorts: m.notDestinationPorts.map(writePortNumber),
  serviceAccounts: m.serviceAccounts.map(writeAccount),
  notServiceAccounts: m.notServiceAccounts.map(writeAccount),
});

function writeText(predicate: Predicate): MessageInitShape<typeof StringMatchSchema> {
  switch (predicate.kind) {
    case 'exact':
    case 'prefix':
    case 'suffix':
      return { matchType: { case: predicate.kind, value: predicate.value } };
    case 'present':
      return { matchType: { case: 'presence', value: {} } };
    case 'cidr':
    case 'port':
      return noWireForm('text', predicate);
    default:
      return unreachable(predicate);
  }
}

function writeRange(predicate: Predicate): { address: Uint8Array; length: number } {
  if (predicate.kind !== 'cidr') return noWireForm('address', predicate);
  return { address: ipBytes(predicate.range.ip), length: predicate.range.length };
}

const writePortNumber = (predicate: Predicate): number =>
  predicate.kind === 'port' ? predicate.port : noWireForm('port', predicate);

function writeAccount(predicate: Predicate): { namespace: string; serviceAccount: string } {
  const slash = predicate.kind === 'exact' ? predicate.value.indexOf('/') : -1;
  if (predicate.kind !== 'exact' || slash < 0) return noWireForm('service account', predicate);
  return { namespace: predicate.value.slice(0, slash), serviceAccount: predicate.value.slice(slash + 1) };
}

function noWireForm(list: string, predicate: Predicate): never {
  throw new Error(`a ${list} condition cannot be \`${JSON.stringify(predicate)}\``);
}
