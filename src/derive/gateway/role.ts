// What the controllers behind Istio's gateway classes have in common and where they differ.
// Source: Istio, Gateway controller (class defaults).

import { BUILT_IN_CLASSES, MESH_CONTROLLER } from '../names.ts';
import type { Gateway, GatewayClass } from '../objects/gateway.ts';

export const GATEWAY_CONTROLLER = 'istio.io/gateway-controller';
export const REMOTE_CONTROLLER = 'istio.io/unmanaged-gateway';

/** What a Gateway of a class becomes. */
export interface GatewayRole {
  readonly kind: 'router' | 'waypoint' | 'remote';
  readonly controller: string;
  /** Value of the label `gateway.istio.io/managed`. */
  readonly managed: string;
  readonly serviceType: 'LoadBalancer' | 'ClusterIP';
  /** Kinds of internal addresses that the status shows. */
  readonly addressTypes: readonly ('IPAddress' | 'Hostname')[];
}

const ROLES: ReadonlyMap<string, GatewayRole> = new Map(
  (
    [
      ['router', GATEWAY_CONTROLLER, 'LoadBalancer', ['Hostname']],
      ['waypoint', MESH_CONTROLLER, 'ClusterIP', ['IPAddress', 'Hostname']],
      ['remote', REMOTE_CONTROLLER, 'ClusterIP', []],
    ] as const
  ).map(([kind, controller, serviceType, addressTypes]) => [
    controller,
    { kind, controller, managed: controller.replace('/', '-'), serviceType, addressTypes },
  ]),
);

/** @returns undefined for a Gateway that somebody else looks after; built-in classes count though their object is gone */
export function roleOf(gateway: Gateway, cls: GatewayClass | undefined): GatewayRole | undefined {
  const controller = cls?.controllerName ?? BUILT_IN_CLASSES[gateway.className];
  return controller === undefined ? undefined : ROLES.get(controller);
}

/** Name of Deployment and Service. */
export const partsName = (gateway: Gateway, role: GatewayRole): string =>
  gateway.annotations['gateway.istio.io/name-override'] ||
  (role.kind === 'router' ? `${gateway.name}-${gateway.className}` : gateway.name);

/**
 * Features of the Gateway API that a GatewayClass claims: what this mesh holds of the names that the Gateway API's
 * conformance tests use, in the order of the alphabet.
 */
export const SUPPORTED_FEATURES: readonly string[] = [
  'BackendTLSPolicy',
  'GRPCRoute',
  'Gateway',
  'GatewayAddressEmpty',
  'GatewayInfrastructurePropagation',
  'GatewayPort8080',
  'HTTPRoute',
  'HTTPRoute303RedirectStatusCode',
  'HTTPRoute307RedirectStatusCode',
  'HTTPRoute308RedirectStatusCode',
  'HTTPRouteBackendProtocolH2C',
  'HTTPRouteBackendProtocolWebSocket',
  'HTTPRouteBackendRequestHeaderModification',
  'HTTPRouteBackendTimeout',
  'HTTPRouteCORS',
  'HTTPRouteDestinationPortMatching',
  'HTTPRouteHostRewrite',
  'HTTPRouteMethodMatching',
  'HTTPRouteNamedRouteRule',
  'HTTPRouteParentRefPort',
  'HTTPRoutePathRedirect',
  'HTTPRoutePathRewrite',
  'HTTPRoutePortRedirect',
  'HTTPRouteQueryParamMatching',
  'HTTPRouteRequestMirror',
  'HTTPRouteRequestMultipleMirrors',
  'HTTPRouteRequestPercentageMirror',
  'HTTPRouteRequestTimeout',
  'HTTPRouteResponseHeaderModification',
  'HTTPRouteSchemeRedirect',
  'Mesh',
  'MeshClusterIPMatching',
  'MeshConsumerRoute',
  'ReferenceGrant',
  'TCPRoute',
  'TLSRoute',
].sort();
