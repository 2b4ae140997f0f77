// The whole derivation put together: Kubernetes objects in, workloads, services, policies and status reports out.
//
//   inputs -> scope -> waypoints -> bindings -> services ----> by host name --> workloads
//                  \-> policies (authorization, converted, static) ----------/
//
//   gateways planned -> routes -> gateways reported -> proxies
//
// Reads top to bottom in the order in which things are computed.

import type { Policy } from '../model/policy.ts';
import { type Service, serviceKey, type Workload } from '../model/workload.ts';
import { serviceAliases, workloadAliases } from '../wire/xds/names.ts';
import { deriveGateways, type Gateways, planGateways } from './gateways.ts';
import { type Collection, Graph, type Index } from './graph/graph.ts';
import { Inputs } from './inputs.ts';
import type { ServiceEntry } from './objects/entry.ts';
import { derivePolicies } from './policies.ts';
import { deriveProxies, type Proxies } from './proxies.ts';
import { deriveReports } from './reports.ts';
import type { ProxyRoute } from './routes/translate.ts';
import { deriveRoutes } from './routes.ts';
import { type ScopeOptions, scopeOf } from './scope.ts';
import { deriveServices } from './services.ts';
import type { StatusReport } from './status/report.ts';
import { deriveWorkloads } from './workloads.ts';

export interface AmbientOptions extends ScopeOptions {
  readonly clusterDomain: string;
  /** Each waypoint yields a policy that allows it, listed by every workload behind it. */
  readonly autoAllowWaypoints: boolean;
  /** Send dry-run policies. Proxies that do not know them would enforce them. */
  readonly dryRunPolicies: boolean;
  /** Own revision; `default` is the one without a name. */
  readonly revision: string;
  /** Image of the L7 proxy. */
  readonly proxyImage: string;
}

export const DEFAULT_AMBIENT_OPTIONS: AmbientOptions = {
  clusterId: 'Kubernetes',
  clusterDomain: 'cluster.local',
  systemNamespace: 'istio-system',
  revisions: new Set(['default']),
  autoAllowWaypoints: false,
  dryRunPolicies: false,
  revision: 'default',
  proxyImage: 'ambit/proxy',
};

/** Everything derived, as of the last flush. */
export interface Ambient {
  readonly graph: Graph;
  readonly inputs: Inputs;
  /** By uid. */
  readonly workloads: Collection<Workload>;
  /** By `<namespace>/<hostname>`. */
  readonly services: Collection<Service>;
  /** By `<namespace>/<name>`. */
  readonly policies: Collection<Policy>;
  /** The ServiceEntries that this control plane looks after. */
  readonly serviceEntries: Collection<ServiceEntry>;
  readonly gateways: Gateways;
  /** What L7 proxies route by, by `<proxy> <name of the resource>`. */
  readonly routes: Collection<ProxyRoute>;
  readonly proxies: Proxies;
  /** Statuses that should be written. */
  readonly reports: Collection<StatusReport>;
  /** By `<network>/<ip>`. */
  readonly workloadsByAddress: Index<Workload>;
  /** By key of a service they are behind. */
  readonly workloadsByService: Index<Workload>;
  readonly workloadsByNode: Index<Workload>;
  /** By `<network>/<ip>`, or `<network>/<ip>/<length>` for a range. */
  readonly servicesByAddress: Index<Service>;
}

/** The graph's `onWork` tells when an input has changed and a flush is due. */
export function deriveAmbient(options: AmbientOptions = DEFAULT_AMBIENT_OPTIONS): Ambient {
  const graph = new Graph();
  const inputs = new Inputs(graph);
  const scope = scopeOf(graph, inputs, options);
  const offer = deriveServices(graph, scope, inputs.sources.gatewayclasses, options.clusterDomain);
  const rules = derivePolicies(graph, scope, offer.waypoints, options);
  const workloads = deriveWorkloads(graph, scope, inputs.sources.nodes, offer, rules, options.clusterDomain);
  const services = graph.deriveMany('addressServices', offer.infos, (_get, { service }) => [
    [serviceKey(service), service],
  ]);
  const planned = planGateways(graph, scope, inputs, options);
  const routes = deriveRoutes(graph, scope, inputs, offer, planned, options.clusterDomain);
  const gateways = deriveGateways(graph, scope, planned, options, routes.attachedRoutes);
  const workloadsByService = workloads.index('byService', (workload) => [...workload.services.keys()]);
  const behind = { byService: workloadsByService };
  const proxies = deriveProxies(graph, scope, inputs, offer, planned, routes, behind, options.clusterDomain);
  return {
    graph,
    inputs,
    workloads,
    services,
    policies: rules.policies,
    serviceEntries: scope.entries,
    gateways,
    routes: routes.proxyRoutes,
    proxies,
    reports: deriveReports(graph, scope, inputs.sources.gatewayclasses, offer, rules, [
      gateways.reports,
      routes.reports,
      proxies.backendTls.reports,
    ]),
    workloadsByAddress: workloads.index('byAddress', workloadAliases),
    workloadsByService,
    workloadsByNode: workloads.index('byNode', ({ node }) => (node === '' ? [] : [node])),
    servicesByAddress: services.index('byAddress', serviceAliases),
  };
}
