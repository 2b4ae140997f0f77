// PeerAuthentication -> DENY policies, since authorization is the only thing a node proxy enforces inbound: STRICT is
// "deny whoever has no identity". Port exceptions become a policy of their own, made once a PeerAuthentication; a workload
// then lists either the static strict policy or that one.

import { NOTHING, type Policy, type PolicyClause, type PolicyMatch, type PolicyRule } from '../../model/policy.ts';
import type { PolicyKey } from '../../model/workload.ts';
import { CONVERTED_POLICY_PREFIX, STATIC_STRICT_POLICY } from '../names.ts';
import { byAge } from '../objects/meta.ts';
import type { PeerAuthentication } from '../objects/security.ts';

const plaintext: PolicyMatch = { ...NOTHING, notPrincipals: [{ kind: 'present' }] };
const clauseOf = (match: PolicyMatch): PolicyClause => ({ anyMatch: [match] });
const plaintextOn = (port: number): PolicyMatch => ({ ...plaintext, destinationPorts: [{ kind: 'port', port }] });
const notOn = (port: number): PolicyMatch => ({ ...NOTHING, notDestinationPorts: [{ kind: 'port', port }] });

const denyPolicy = (namespace: string, name: string, anyRule: readonly PolicyRule[]): Policy => ({
  key: `${namespace}/${name}`,
  name,
  namespace,
  scope: 'workloadSelector',
  action: 'deny',
  dryRun: false,
  anyRule,
});

/** Denies every peer without identity. Workloads under STRICT list it. */
export const staticStrictPolicy = (rootNamespace: string): Policy =>
  denyPolicy(rootNamespace, STATIC_STRICT_POLICY, [{ everyClause: [clauseOf(plaintext)] }]);

export const convertedKey = (peer: PeerAuthentication): PolicyKey =>
  `${peer.namespace}/${CONVERTED_POLICY_PREFIX}${peer.name}`;

/** What may apply to a workload, of any age and in any order. */
export interface PeerAuthentications {
  /** Of the root namespace, without selector. */
  readonly mesh: readonly PeerAuthentication[];
  /** Of the workload's namespace, without selector; empty when that is the root namespace. */
  readonly namespace: readonly PeerAuthentication[];
}

const oldest = (several: readonly PeerAuthentication[]): PeerAuthentication | undefined => [...several].sort(byAge)[0];

/** Whether the namespace, or the mesh where the namespace says nothing, asks for STRICT. */
function parentIsStrict({ mesh, namespace }: PeerAuthentications): boolean {
  const own = oldest(namespace)?.mode ?? 'UNSET';
  return (own === 'UNSET' ? (oldest(mesh)?.mode ?? 'UNSET') : own) === 'STRICT';
}

/**
 * The policy of one PeerAuthentication with a selector and port modes.
 *
 * Under a strict mode: one rule that denies plaintext on all but the exempt ports. Under a permissive one: a rule for
 * each strict port. Under a strict parent with strict workload mode the plaintext clause stands twice, as istiod sends it.
 * @returns undefined when its ports say nothing that the mode above does not say already
 */
export function convertPeerAuthentication(
  peer: PeerAuthentication,
  parents: PeerAuthentications,
  rootNamespace: string,
): Policy | undefined {
  if (peer.namespace === rootNamespace || peer.ports.length === 0) return undefined;
  const parentStrict = parentIsStrict(parents);
  const strict = peer.mode === 'STRICT' || (peer.mode === 'UNSET' && parentStrict);
  if (!strict) {
    const rules = peer.ports
      .filter(({ mode }) => mode === 'STRICT')
      .map(({ port }) => ({ everyClause: [clauseOf(plaintextOn(port))] }));
    return rules.length === 0 ? undefined : denyPolicy(peer.namespace, CONVERTED_POLICY_PREFIX + peer.name, rules);
  }
  const exempt = peer.ports.filter(({ mode }) => mode === 'PERMISSIVE' || mode === 'DISABLE');
  if (exempt.length === 0) return undefined;
  const everyClause = [
    ...(peer.mode === 'STRICT' ? [clauseOf(plaintext)] : []),
    ...exempt.map(({ port }) => clauseOf(notOn(port))),
    ...(parentStrict ? [clauseOf(plaintext)] : []),
  ];
  return denyPolicy(peer.namespace, CONVERTED_POLICY_PREFIX + peer.name, [{ everyClause }]);
}

/**
 * Which converted policies a workload lists: the static strict one, one with port modes, or none.
 *
 * Precedence workload > namespace > mesh, the oldest within each; UNSET inherits. One quirk of istiod is kept: under a
 * strict parent an UNSET workload mode takes its port policy only for a PERMISSIVE port; with DISABLE alone the static
 * strict policy stays (it refuses more).
 * @param selecting  those of the workload's namespace whose selector picks it; in the root namespace none counts
 */
export function peerAuthenticationKeys(
  selecting: readonly PeerAuthentication[],
  parents: PeerAuthentications,
  rootNamespace: string,
): readonly PolicyKey[] {
  const strictKey = `${rootNamespace}/${STATIC_STRICT_POLICY}`;
  const parentStrict = parentIsStrict(parents);
  const workload = oldest(selecting);
  if (workload === undefined) return parentStrict ? [strictKey] : [];
  const strict = workload.mode === 'STRICT' || (workload.mode === 'UNSET' && parentStrict);
  const has = (...modes: readonly string[]): boolean => workload.ports.some(({ mode }) => modes.includes(mode));
  if (!strict) return has('STRICT') ? [convertedKey(workload)] : [];
  const exempts = workload.mode === 'STRICT' ? has('PERMISSIVE', 'DISABLE') : has('PERMISSIVE');
  return [exempts ? convertedKey(workload) : strictKey];
}
