// Where Kubernetes objects enter the derivation: one source a kind, each holding the parsed, reduced form.

import type { Graph, Source } from './graph/graph.ts';
import type { FetchedKeys } from './l7-security/tokens.ts';
import { type BackendTlsPolicy, parseBackendTlsPolicy } from './objects/backend-tls-policy.ts';
import {
  type EndpointSlice,
  type Namespace,
  type Node,
  parseEndpointSlice,
  parseNamespace,
  parseNode,
} from './objects/cluster.ts';
import { type ConfigMap, parseConfigMap, parseSecret, type Secret } from './objects/config-map.ts';
import { parseServiceEntry, parseWorkloadEntry, type ServiceEntry, type WorkloadEntry } from './objects/entry.ts';
import { type Gateway, type GatewayClass, parseGateway, parseGatewayClass } from './objects/gateway.ts';
import { DEFAULT_MESH_CONFIG, type MeshConfig, parseMeshConfig } from './objects/mesh.ts';
import { type Pod, parsePod } from './objects/pod.ts';
import { parseReferenceGrant, type ReferenceGrant } from './objects/reference-grant.ts';
import { parseRequestAuthentication, type RequestAuthentication } from './objects/request-authentication.ts';
import { parseRoute, type Route } from './objects/route.ts';
import {
  type DestinationRule,
  parseDestinationRule,
  parseVirtualService,
  type VirtualService,
} from './objects/routing.ts';
import {
  type AuthorizationPolicy,
  type PeerAuthentication,
  parseAuthorizationPolicy,
  parsePeerAuthentication,
} from './objects/security.ts';
import { type KubeService, parseService } from './objects/service.ts';
import { parseTelemetry, type TelemetryResource } from './objects/telemetry.ts';
import {
  type EnvoyFilterResource,
  parseEnvoyFilter,
  parseTrafficFilter,
  type TrafficFilterResource,
} from './objects/traffic-filter.ts';
import type { Json } from './read.ts';

/** The kinds that the control plane watches, by the plural that its API calls them. */
export const INPUT_KINDS = [
  'namespaces',
  'nodes',
  'pods',
  'services',
  'endpointslices',
  'serviceentries',
  'workloadentries',
  'gateways',
  'gatewayclasses',
  'referencegrants',
  'configmaps',
  'secrets',
  'peerauthentications',
  'authorizationpolicies',
  'httproutes',
  'grpcroutes',
  'tlsroutes',
  'tcproutes',
  'backendtlspolicies',
  'virtualservices',
  'destinationrules',
  'requestauthentications',
  'telemetries',
  'envoyfilters',
  'trafficfilters',
] as const;
export type InputKind = (typeof INPUT_KINDS)[number];

export interface Sources {
  readonly namespaces: Source<Namespace>;
  readonly nodes: Source<Node>;
  readonly pods: Source<Pod>;
  readonly services: Source<KubeService>;
  readonly endpointslices: Source<EndpointSlice>;
  readonly serviceentries: Source<ServiceEntry>;
  readonly workloadentries: Source<WorkloadEntry>;
  readonly gateways: Source<Gateway>;
  readonly gatewayclasses: Source<GatewayClass>;
  readonly referencegrants: Source<ReferenceGrant>;
  readonly configmaps: Source<ConfigMap>;
  readonly secrets: Source<Secret>;
  readonly peerauthentications: Source<PeerAuthentication>;
  readonly authorizationpolicies: Source<AuthorizationPolicy>;
  readonly httproutes: Source<Route>;
  readonly grpcroutes: Source<Route>;
  readonly tlsroutes: Source<Route>;
  readonly tcproutes: Source<Route>;
  readonly backendtlspolicies: Source<BackendTlsPolicy>;
  readonly virtualservices: Source<VirtualService>;
  readonly destinationrules: Source<DestinationRule>;
  readonly requestauthentications: Source<RequestAuthentication>;
  readonly telemetries: Source<TelemetryResource>;
  readonly envoyfilters: Source<EnvoyFilterResource>;
  readonly trafficfilters: Source<TrafficFilterResource>;
}

export class Inputs {
  readonly sources: Sources;
  /** Under the key `''`. */
  readonly mesh: Source<MeshConfig>;
  /** Keys of tokens as they were fetched last, by the name of their source. */
  readonly tokenKeys: Source<FetchedKeys>;
  private readonly setters: Readonly<Record<InputKind, (key: string, object: Json | undefined) => void>>;

  constructor(graph: Graph) {
    const sources: Sources = {
      namespaces: graph.source('namespaces'),
      nodes: graph.source('nodes'),
      pods: graph.source('pods'),
      services: graph.source('services'),
      endpointslices: graph.source('endpointslices'),
      serviceentries: graph.source('serviceentries'),
      workloadentries: graph.source('workloadentries'),
      gateways: graph.source('gateways'),
      gatewayclasses: graph.source('gatewayclasses'),
      referencegrants: graph.source('referencegrants'),
      configmaps: graph.source('configmaps'),
      secrets: graph.source('secrets'),
      peerauthentications: graph.source('peerauthentications'),
      authorizationpolicies: graph.source('authorizationpolicies'),
      httproutes: graph.source('httproutes'),
      grpcroutes: graph.source('grpcroutes'),
      tlsroutes: graph.source('tlsroutes'),
      tcproutes: graph.source('tcproutes'),
      backendtlspolicies: graph.source('backendtlspolicies'),
      virtualservices: graph.source('virtualservices'),
      destinationrules: graph.source('destinationrules'),
      requestauthentications: graph.source('requestauthentications'),
      telemetries: graph.source('telemetries'),
      envoyfilters: graph.source('envoyfilters'),
      trafficfilters: graph.source('trafficfilters'),
    };
    this.sources = sources;
    this.mesh = graph.source('mesh');
    this.tokenKeys = graph.source('tokenKeys');
    this.mesh.set('', DEFAULT_MESH_CONFIG);
    this.setters = {
      namespaces: setter(sources.namespaces, parseNamespace),
      nodes: setter(sources.nodes, parseNode),
      pods: setter(sources.pods, parsePod),
      services: setter(sources.services, parseService),
      endpointslices: setter(sources.endpointslices, parseEndpointSlice),
      serviceentries: setter(sources.serviceentries, parseServiceEntry),
      workloadentries: setter(sources.workloadentries, parseWorkloadEntry),
      gateways: setter(sources.gateways, parseGateway),
      gatewayclasses: setter(sources.gatewayclasses, parseGatewayClass),
      referencegrants: setter(sources.referencegrants, parseReferenceGrant),
      configmaps: setter(sources.configmaps, parseConfigMap),
      secrets: setter(sources.secrets, parseSecret),
      peerauthentications: setter(sources.peerauthentications, parsePeerAuthentication),
      authorizationpolicies: setter(sources.authorizationpolicies, parseAuthorizationPolicy),
      httproutes: setter(sources.httproutes, parseRoute('HTTPRoute')),
      grpcroutes: setter(sources.grpcroutes, parseRoute('GRPCRoute')),
      tlsroutes: setter(sources.tlsroutes, parseRoute('TLSRoute')),
      tcproutes: setter(sources.tcproutes, parseRoute('TCPRoute')),
      backendtlspolicies: setter(sources.backendtlspolicies, parseBackendTlsPolicy),
      virtualservices: setter(sources.virtualservices, parseVirtualService),
      destinationrules: setter(sources.destinationrules, parseDestinationRule),
      requestauthentications: setter(sources.requestauthentications, parseRequestAuthentication),
      telemetries: setter(sources.telemetries, parseTelemetry),
      envoyfilters: setter(sources.envoyfilters, parseEnvoyFilter),
      trafficfilters: setter(sources.trafficfilters, parseTrafficFilter),
    };
  }

  /**
   * Takes in one object as it is now.
   * @param key     `<namespace>/<name>`, or the name of a cluster-scoped object
   * @param object  undefined: it is gone
   */
  set(kind: InputKind, key: string, object: Json | undefined): void {
    this.setters[kind](key, object);
  }

  /**
   * Takes in the mesh configuration.
   * @param value  parsed YAML; undefined: there is none, the defaults hold
   * @returns one sentence for each thing that was not understood
   */
  setMesh(value: unknown): readonly string[] {
    const { mesh, problems } = parseMeshConfig(value, this.mesh.get(''));
    this.mesh.set('', mesh);
    return problems;
  }
}

const setter =
  <T>(source: Source<T>, parse: (object: Json) => T | undefined) =>
  (key: string, object: Json | undefined): void => {
    const parsed = object === undefined ? undefined : parse(object);
    if (parsed === undefined) source.delete(key);
    else source.set(key, parsed);
  };
