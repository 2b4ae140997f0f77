// Collections of policies for node proxies, and which of them a workload lists.

import { principalOf } from '../model/identity.ts';
import { NOTHING, type Policy } from '../model/policy.ts';
import type { PolicyKey } from '../model/workload.ts';
import type { Collection, Graph, Index, Reader } from './graph/graph.ts';
import { indexSelectors, type Selecting, selecting } from './labels.ts';
import { ALLOW_WAYPOINT_POLICY_PREFIX, LABEL } from './names.ts';
import { metaKey } from './objects/meta.ts';
import type { Pod } from './objects/pod.ts';
import type { PeerAuthentication } from './objects/security.ts';
import { type Conversion, convertAuthorizationPolicy } from './policy/authorization.ts';
import {
  convertPeerAuthentication,
  type PeerAuthentications,
  peerAuthenticationKeys,
  staticStrictPolicy,
} from './policy/peer-authentication.ts';
import type { Labels } from './read.ts';
import type { Scope, Settings } from './scope.ts';
import type { Waypoint, WaypointWorld } from './waypoint.ts';

interface ConvertedPolicy extends Selecting {
  readonly key: PolicyKey;
  readonly conversion: Conversion;
}

export interface Rules {
  readonly policies: Collection<Policy>;
  /** What became of each AuthorizationPolicy without targetRefs, by `<namespace>/<name>`. */
  readonly conversions: Collection<ConvertedPolicy>;
  /** The selector-scoped policies that a workload with these labels lists. */
  keysFor(get: Reader, namespace: string, labels: Labels): readonly PolicyKey[];
  /**
   * For an inline endpoint of a ServiceEntry, with the entry's labels. An entry without labels lists every selector policy
   * of its namespace, as with istiod; nothing enforces policies in front of such an endpoint.
   */
  keysForInlineEndpoint(get: Reader, namespace: string, labels: Labels): readonly PolicyKey[];
  /** The policies that let in the waypoints in front of a workload, where that is switched on. */
  keysForWaypoints(get: Reader, waypoints: readonly Waypoint[]): readonly PolicyKey[];
}

export function derivePolicies(
  graph: Graph,
  scope: Scope,
  { waypoints }: WaypointWorld,
  options: { readonly autoAllowWaypoints: boolean; readonly dryRunPolicies: boolean },
): Rules {
  const settings = (get: Reader): Settings => get.one(scope.settings, '') as Settings;

  const conversions = graph.derive(
    'conversions',
    scope.authorizationPolicies,
    (get, policy): ConvertedPolicy | undefined => {
      if (policy.targetRefs.length > 0) return undefined;
      const conversion = convertAuthorizationPolicy(policy, settings(get).rootNamespace, options.dryRunPolicies);
      const selector = conversion.kind === 'enforced' ? policy.selector : undefined;
      return { key: metaKey(policy), namespace: policy.namespace, selector, conversion };
    },
  );
  const authorization = graph.derive('authorization', conversions, (_get, { conversion }) =>
    conversion.kind === 'enforced' ? conversion.policy : undefined,
  );
  const bySelector = indexSelectors(conversions);
  const selectingByNamespace = conversions.index('selectingByNamespace', ({ namespace, selector }) =>
    selector === undefined ? [] : [namespace],
  );

  const peers = scope.peerAuthentications;
  const peersBySelector = indexSelectors(peers);
  const peersWide = peers.index('wide', ({ namespace, selector }) => (selector === undefined ? [namespace] : []));
  const anyPeer = peers.index('any', () => ['']);
  const parents = (get: Reader, namespace: string): PeerAuthentications => {
    const { rootNamespace } = settings(get);
    return {
      mesh: get.all(peersWide, rootNamespace),
      namespace: namespace === rootNamespace ? [] : get.all(peersWide, namespace),
    };
  };
  const converted = graph.deriveMany('convertedPeers', peers, (get, peer) => {
    const policy = convertPeerAuthentication(peer, parents(get, peer.namespace), settings(get).rootNamespace);
    return policy === undefined ? [] : [[policy.key, policy]];
  });
  const hasPeers = graph.single('hasPeers', (get) => (get.all(anyPeer, '').length > 0 ? true : undefined));
  const strict = graph.deriveMany('staticStrict', hasPeers, (get) => {
    const policy = staticStrictPolicy(settings(get).rootNamespace);
    return [[policy.key, policy]];
  });
  const allowed = deriveAllowWaypoint(graph, scope, waypoints, options.autoAllowWaypoints);

  const peerKeys = (get: Reader, namespace: string, labels: Labels): readonly PolicyKey[] => {
    const { rootNamespace } = settings(get);
    const own = namespace === rootNamespace ? [] : withSelector(selecting(get, peersBySelector, namespace, labels));
    return peerAuthenticationKeys(own, parents(get, namespace), rootNamespace);
  };
  const namespacesFor = (get: Reader, namespace: string): readonly string[] => [
    ...new Set([namespace, settings(get).rootNamespace]),
  ];
  const sorted = (policies: readonly ConvertedPolicy[]): readonly PolicyKey[] => policies.map(({ key }) => key).sort();

  const keysFor = (get: Reader, namespace: string, labels: Labels): readonly PolicyKey[] => [
    ...sorted(namespacesFor(get, namespace).flatMap((at) => selecting(get, bySelector, at, labels))),
    ...peerKeys(get, namespace, labels),
  ];
  return {
    policies: graph.join('policies', [authorization, converted, strict, allowed.policies]),
    conversions,
    keysFor,
    keysForInlineEndpoint: (get, namespace, labels) =>
      Object.keys(labels).length > 0
        ? keysFor(get, namespace, labels)
        : [
            ...sorted(namespacesFor(get, namespace).flatMap((at) => get.all(selectingByNamespace, at))),
            ...peerKeys(get, namespace, labels),
          ],
    keysForWaypoints: allowed.keysFor,
  };
}

const withSelector = (peers: readonly PeerAuthentication[]): readonly PeerAuthentication[] =>
  peers.filter(({ selector }) => selector !== undefined);

/** One ALLOW policy a waypoint, naming the service accounts of its pods. */
function deriveAllowWaypoint(
  graph: Graph,
  scope: Scope,
  waypoints: Collection<Waypoint>,
  enabled: boolean,
): { readonly policies: Collection<Policy>; readonly keysFor: Rules['keysForWaypoints'] } {
  const nameOf = ({ namespace, name }: Waypoint): string => `${ALLOW_WAYPOINT_POLICY_PREFIX}${namespace}_${name}`;
  const instances: Index<Pod> = scope.pods.index('byGateway', ({ namespace, labels }) => {
    const gateway = enabled ? labels[LABEL.gatewayName] : undefined;
    return gateway === undefined ? [] : [`${namespace}/${gateway}`];
  });
  const policies = graph.deriveMany('allowWaypoints', waypoints, (get, waypoint, key) => {
    const accounts = new Set(get.all(instances, key).map(({ serviceAccount }) => serviceAccount || 'default'));
    if (!enabled || accounts.size === 0) return [];
    const { trustDomain } = get.one(scope.settings, '') as Settings;
    const { namespace } = waypoint;
    const principals = [...accounts].sort().map((serviceAccount) => ({
      kind: 'exact' as const,
      value: principalOf({ trustDomain, namespace, serviceAccount }),
    }));
    const policy: Policy = {
      key: `${namespace}/${nameOf(waypoint)}`,
      name: nameOf(waypoint),
      namespace,
      scope: 'workloadSelector',
      action: 'allow',
      dryRun: false,
      anyRule: [{ everyClause: [{ anyMatch: [{ ...NOTHING, principals }] }] }],
    };
    return [[policy.key, policy]];
  });
  return {
    policies,
    keysFor: (get, behind) => {
      if (!enabled) return [];
      const keys = new Set(behind.map((waypoint) => `${waypoint.namespace}/${nameOf(waypoint)}`));
      return [...keys].filter((key) => get.one(policies, key) !== undefined).sort();
    },
  };
}
