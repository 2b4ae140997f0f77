// Labels, annotations and fixed names of Istio, Kubernetes and the Gateway API that the derivation looks at.

export const LABEL = {
  useWaypoint: 'istio.io/use-waypoint',
  useWaypointNamespace: 'istio.io/use-waypoint-namespace',
  canary: 'istio.io/use-waypoint-canary',
  canaryNamespace: 'istio.io/use-waypoint-canary-namespace',
  waypointFor: 'istio.io/waypoint-for',
  ingressUseWaypoint: 'istio.io/ingress-use-waypoint',
  gatewayName: 'gateway.networking.k8s.io/gateway-name',
  gatewayManaged: 'gateway.istio.io/managed',
  network: 'topology.istio.io/network',
  subzone: 'topology.istio.io/subzone',
  region: 'topology.kubernetes.io/region',
  zone: 'topology.kubernetes.io/zone',
  revision: 'istio.io/rev',
  tunnel: 'networking.istio.io/tunnel',
  autoAllocate: 'networking.istio.io/enable-autoallocate-ip',
  workloadName: 'service.istio.io/workload-name',
  canonicalName: 'service.istio.io/canonical-name',
  canonicalRevision: 'service.istio.io/canonical-revision',
  appName: 'app.kubernetes.io/name',
  appVersion: 'app.kubernetes.io/version',
  app: 'app',
  version: 'version',
  serviceName: 'kubernetes.io/service-name',
  podTemplateHash: 'pod-template-hash',
  rolloutTemplateHash: 'rollouts-pod-template-hash',
  deploymentConfig: 'deploymentconfig',
} as const;

export const ANNOTATION = {
  redirection: 'ambient.istio.io/redirection',
  inboundBinding: 'ambient.istio.io/waypoint-inbound-binding',
  clientIdentity: 'ambient.istio.io/xfcc-include-client-identity',
  canaryWeight: 'istio.io/use-waypoint-canary-weight',
  trafficDistribution: 'networking.istio.io/traffic-distribution',
  dryRun: 'istio.io/dry-run',
  connectStrategy: 'ambient.istio.io/connect-strategy',
  /** Ours: `required` refuses connections while the waypoint that was asked for cannot be used. */
  waypointPolicy: 'ambit.dev/waypoint-policy',
} as const;

/** Values of `gateway.istio.io/managed` on parts of a waypoint or east-west gateway: these get no waypoint themselves. */
export const MANAGED_GATEWAYS: ReadonlySet<string> = new Set([
  'istio.io-mesh-controller',
  'istio.io-eastwest-controller',
]);

export const MESH_CONTROLLER = 'istio.io/mesh-controller';

/** Istio's own gateway classes and their controllers: the control plane answers for classes of these controllers. */
export const BUILT_IN_CLASSES: Readonly<Record<string, string>> = {
  istio: 'istio.io/gateway-controller',
  'istio-waypoint': MESH_CONTROLLER,
  'istio-remote': 'istio.io/unmanaged-gateway',
};

/** `_` cannot stand in a Kubernetes name, so these never meet a user's policy. */
export const STATIC_STRICT_POLICY = 'istio_converted_static_strict';
export const CONVERTED_POLICY_PREFIX = 'converted_peer_authentication_';
export const ALLOW_WAYPOINT_POLICY_PREFIX = 'istio_allow_waypoint_';
