// Types of resources that analyzers ask for: `<group>/<kind>`.

const ISTIO = 'networking.istio.io';
const SECURITY = 'security.istio.io';
const GATEWAY = 'gateway.networking.k8s.io';

export const KIND = {
  namespace: '/Namespace',
  service: '/Service',
  pod: '/Pod',
  secret: '/Secret',
  deployment: 'apps/Deployment',
  networkPolicy: 'networking.k8s.io/NetworkPolicy',
  definition: 'apiextensions.k8s.io/CustomResourceDefinition',
  mutatingWebhook: 'admissionregistration.k8s.io/MutatingWebhookConfiguration',
  validatingWebhook: 'admissionregistration.k8s.io/ValidatingWebhookConfiguration',
  virtualService: `${ISTIO}/VirtualService`,
  destinationRule: `${ISTIO}/DestinationRule`,
  istioGateway: `${ISTIO}/Gateway`,
  serviceEntry: `${ISTIO}/ServiceEntry`,
  workloadEntry: `${ISTIO}/WorkloadEntry`,
  sidecar: `${ISTIO}/Sidecar`,
  envoyFilter: `${ISTIO}/EnvoyFilter`,
  authorizationPolicy: `${SECURITY}/AuthorizationPolicy`,
  peerAuthentication: `${SECURITY}/PeerAuthentication`,
  requestAuthentication: `${SECURITY}/RequestAuthentication`,
  telemetry: 'telemetry.istio.io/Telemetry',
  wasmPlugin: 'extensions.istio.io/WasmPlugin',
  gateway: `${GATEWAY}/Gateway`,
  gatewayClass: `${GATEWAY}/GatewayClass`,
  httpRoute: `${GATEWAY}/HTTPRoute`,
  grpcRoute: `${GATEWAY}/GRPCRoute`,
  tlsRoute: `${GATEWAY}/TLSRoute`,
  tcpRoute: `${GATEWAY}/TCPRoute`,
  backendTlsPolicy: `${GATEWAY}/BackendTLSPolicy`,
} as const;

/** Routes of the Gateway API that Istio serves. */
export const ROUTES = [KIND.httpRoute, KIND.grpcRoute, KIND.tlsRoute, KIND.tcpRoute] as const;

/** What makes pods, with the path of their template. */
export const POD_TEMPLATES: ReadonlyMap<string, readonly string[]> = new Map([
  ['apps/Deployment', ['spec', 'template']],
  ['apps/StatefulSet', ['spec', 'template']],
  ['apps/DaemonSet', ['spec', 'template']],
  ['apps/ReplicaSet', ['spec', 'template']],
  ['argoproj.io/Rollout', ['spec', 'template']],
  ['batch/Job', ['spec', 'template']],
  ['batch/CronJob', ['spec', 'jobTemplate', 'spec', 'template']],
  ['/ReplicationController', ['spec', 'template']],
]);
