// How a proxy sends to a service, in the graph: the DestinationRule that counts for it there, and BackendTLSPolicies.

import type { TrafficConfig } from '../../model/proxy/service-config.ts';
import type { Workload } from '../../model/workload.ts';
import { type BackendTls, withBackendTls } from '../backend-tls.ts';
import type { Collection, Graph, Index, Reader } from '../graph/graph.ts';
import type { Inputs } from '../inputs.ts';
import { isSubset } from '../labels.ts';
import type { MeshL7 } from '../objects/mesh-l7.ts';
import { metaKey } from '../objects/meta.ts';
import type { Labels } from '../read.ts';
import type { RoutableService } from '../routes/backends.ts';
import type { Scope, Settings } from '../scope.ts';
import { deriveTrafficConfig, destinationRuleFor } from '../traffic/destination-rules.ts';
import { hostKeys, keysCovering } from '../traffic/hosts-of.ts';
import { rootsBeside, type SecretWorld } from './listeners.ts';

/** @param shown  the certificate that the Gateway shows to backends; undefined: none */
export type TrafficFor = (
  get: Reader,
  service: RoutableService,
  proxyNamespace: string,
  shown: string | undefined,
) => TrafficConfig;

export interface TrafficInputs {
  readonly workloadsByService: Index<Workload>;
  /** Labels of workloads, by uid. */
  readonly labels: Collection<Labels>;
  readonly backendTls: Collection<BackendTls>;
  readonly mesh: Collection<MeshL7>;
  readonly clusterDomain: string;
}

export function deriveTraffic(graph: Graph, scope: Scope, { sources }: Inputs, inputs: TrafficInputs): TrafficFor {
  const { clusterDomain } = inputs;
  const rules = graph.derive('destinationRules', sources.destinationrules, (get, rule) =>
    scope.owns(get, rule) ? rule : undefined,
  );
  const byHost = rules.index('byHost', (rule) => hostKeys(rule.namespace, [rule.host], clusterDomain));
  const secrets: SecretWorld = { secrets: sources.secrets, configMaps: sources.configmaps };
  return (get, service, proxyNamespace, shown) => {
    const { rootNamespace } = get.one(scope.settings, '') as Settings;
    const mesh = get.one(inputs.mesh, '') as MeshL7;
    const candidates = new Map(
      keysCovering([proxyNamespace, service.namespace, rootNamespace], service.hostname)
        .flatMap((key) => get.all(byHost, key))
        .map((rule) => [metaKey(rule), rule]),
    );
    const world = {
      clusterDomain,
      rootNamespace,
      defaultExportTo: mesh.exportTo.destinationRules,
      membersWith: (labels: Labels) =>
        get
          .all(inputs.workloadsByService, service.key)
          .filter(({ uid }) => isSubset(labels, get.one(inputs.labels, uid) ?? {}))
          .map(({ uid }) => uid),
      credential: (name: string) => {
        const key = `${proxyNamespace}/${name}`;
        const secret = get.one(sources.secrets, key);
        const roots = rootsBeside(get, secrets, key);
        if (secret === undefined && roots === '') return undefined;
        return { certificate: key, roots: roots || undefined };
      },
      meshDefaults: mesh.defaultTrafficPolicy,
      meshLocality: mesh.locality,
      connectTimeoutMs: mesh.connectTimeoutMs,
    };
    const rule = destinationRuleFor([...candidates.values()], service, proxyNamespace, world);
    return withBackendTls(deriveTrafficConfig(rule, world), get.one(inputs.backendTls, service.key), shown);
  };
}
