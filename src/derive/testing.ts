// Helpers of tests: feeding whole objects into the derivation, as a watch would.

import { type Ambient, type AmbientOptions, DEFAULT_AMBIENT_OPTIONS, deriveAmbient } from './ambient.ts';
import type { InputKind } from './inputs.ts';
import { type Json, record, text } from './read.ts';

export const PLURALS: Readonly<Record<string, InputKind>> = {
  Namespace: 'namespaces',
  Node: 'nodes',
  Pod: 'pods',
  Service: 'services',
  EndpointSlice: 'endpointslices',
  ServiceEntry: 'serviceentries',
  WorkloadEntry: 'workloadentries',
  Gateway: 'gateways',
  GatewayClass: 'gatewayclasses',
  ReferenceGrant: 'referencegrants',
  ConfigMap: 'configmaps',
  Secret: 'secrets',
  PeerAuthentication: 'peerauthentications',
  AuthorizationPolicy: 'authorizationpolicies',
  HTTPRoute: 'httproutes',
  GRPCRoute: 'grpcroutes',
  TLSRoute: 'tlsroutes',
  TCPRoute: 'tcproutes',
  BackendTLSPolicy: 'backendtlspolicies',
  VirtualService: 'virtualservices',
  DestinationRule: 'destinationrules',
  RequestAuthentication: 'requestauthentications',
  Telemetry: 'telemetries',
  EnvoyFilter: 'envoyfilters',
  TrafficFilter: 'trafficfilters',
};

export function keyOf(object: Json): string {
  const metadata = record(object.metadata);
  const namespace = text(metadata.namespace);
  return namespace === '' ? text(metadata.name) : `${namespace}/${text(metadata.name)}`;
}

/** Feeds an object in; a kind that the derivation does not know is a mistake of the test. */
export function feed(ambient: Ambient, object: Json): void {
  const kind = PLURALS[text(object.kind)];
  if (kind === undefined) throw new Error(`the derivation takes no ${text(object.kind)}`);
  ambient.inputs.set(kind, keyOf(object), object);
}

/** The derivation of these objects, settled. */
export function ambientOf(objects: readonly Json[], options: Partial<AmbientOptions> = {}, mesh?: unknown): Ambient {
  const ambient = deriveAmbient({ ...DEFAULT_AMBIENT_OPTIONS, ...options });
  if (mesh !== undefined) ambient.inputs.setMesh(mesh);
  for (const object of objects) feed(ambient, object);
  ambient.graph.flush();
  return ambient;
}
