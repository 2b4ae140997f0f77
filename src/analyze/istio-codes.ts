// Istio's codes that our analyzers raise: its numbers, names, levels and parameters; the sentences are our own.
// (Istio: reference of configuration analysis messages.)

import { define } from './define.ts';

export const ISTIO_CODES = {
  IST0001: define(
    'Error',
    'InternalError',
    (detail: string) => `the analysis itself failed: ${detail}`,
    'this is a mistake of ambit: please report it with the object',
  ),
  IST0002: define(
    'Warning',
    'Deprecated',
    (detail: string) => `deprecated: ${detail}`,
    'replace it before a later version stops to understand it',
  ),
  IST0101: define(
    'Error',
    'ReferencedResourceNotFound',
    (type: string, value: string) => `there is no ${type} \`${value}\``,
    'correct the name, or add what it names',
  ),
  IST0102: define(
    'Info',
    'NamespaceNotInjected',
    (namespace: string, again: string) =>
      `namespace \`${namespace}\` is in no mesh: \`${again}\` has neither a label for sidecars nor istio.io/dataplane-mode`,
    'kubectl label namespace NAME istio.io/dataplane-mode=ambient, or leave it out on purpose',
  ),
  IST0103: define(
    'Warning',
    'PodMissingProxy',
    (pod: string) => `pod \`${pod}\` has no sidecar although its namespace asks for one`,
    'restart the pod, so that the sidecar is injected',
  ),
  IST0106: define(
    'Error',
    'SchemaValidationError',
    (error: string) => `${error}`,
    'the API refuses this object: correct the field',
  ),
  IST0107: define(
    'Warning',
    'MisplacedAnnotation',
    (annotation: string, kind: string) => `annotation \`${annotation}\` has no meaning on a ${kind}`,
    'move it to a kind it is for',
  ),
  IST0108: define(
    'Warning',
    'UnknownAnnotation',
    (annotation: string) => `annotation \`${annotation}\` is not known to Istio`,
    'check its spelling, or take it out',
  ),
  IST0109: define(
    'Error',
    'ConflictingMeshGatewayVirtualServiceHosts',
    (virtualServices: string, host: string) =>
      `several VirtualServices (${virtualServices}) speak for host \`${host}\` in the mesh`,
    'join them into one, or narrow their exportTo',
  ),
  IST0110: define(
    'Error',
    'ConflictingSidecarWorkloadSelectors',
    (sidecars: string, namespace: string, pod: string) =>
      `the Sidecars ${sidecars} of namespace \`${namespace}\` all select \`${pod}\``,
    'let one Sidecar select a workload',
  ),
  IST0111: define(
    'Error',
    'MultipleSidecarsWithoutWorkloadSelectors',
    (sidecars: string, namespace: string) => `the Sidecars ${sidecars} of namespace \`${namespace}\` have no selector`,
    'keep one as the default of the namespace',
  ),
  IST0112: define(
    'Error',
    'VirtualServiceDestinationPortSelectorRequired',
    (host: string, ports: string) => `destination \`${host}\` has several ports (${ports}) and none is chosen`,
    'set destination.port.number',
  ),
  IST0116: define(
    'Warning',
    'DeploymentAssociatedToMultipleServices',
    (deployment: string, port: string, services: string) =>
      `port ${port} of \`${deployment}\` has different protocols in the Services ${services}`,
    'name the port, or set appProtocol, alike in all of them',
  ),
  IST0118: define(
    'Info',
    'PortNameIsNotUnderNamingConvention',
    (portName: string, port: string, target: string) =>
      `port \`${portName}\` (${port}, target ${target}) does not say its protocol`,
    'name it <protocol>[-suffix], or set appProtocol',
  ),
  IST0123: define(
    'Warning',
    'NamespaceMultipleInjectionLabels',
    (labels: string) => `the namespace says in several ways how its pods join the mesh: ${labels}`,
    'keep one label: with a sidecar injected, a pod is not captured for ambient',
  ),
  IST0125: define(
    'Warning',
    'InvalidAnnotation',
    (annotation: string, problem: string) => `annotation \`${annotation}\`: ${problem}`,
    'correct its value',
  ),
  IST0127: define(
    'Warning',
    'NoMatchingWorkloadsFound',
    (labels: string) => `no workload in the mesh has the labels ${labels}`,
    'correct the selector; until then the policy has no effect',
  ),
  IST0128: define(
    'Warning',
    'NoServerCertificateVerificationDestinationLevel',
    (rule: string, namespace: string, mode: string, host: string) =>
      `DestinationRule ${namespace}/${rule} calls \`${host}\` with TLS mode ${mode} and does not verify the server`,
    'set caCertificates or credentialName',
  ),
  IST0129: define(
    'Warning',
    'NoServerCertificateVerificationPortLevel',
    (rule: string, namespace: string, mode: string, host: string, port: string) =>
      `DestinationRule ${namespace}/${rule} calls port ${port} of \`${host}\` with TLS mode ${mode} and does not verify the server`,
    'set caCertificates or credentialName for the port',
  ),
  IST0130: define(
    'Warning',
    'VirtualServiceUnreachableRule',
    (rule: string, reason: string) => `rule ${rule} is never reached: ${reason}`,
    'move it up, or take it out',
  ),
  IST0131: define(
    'Info',
    'VirtualServiceIneffectiveMatch',
    (rule: string, match: string, earlier: string) =>
      `match ${match} of rule ${rule} is the same as that of rule ${earlier}, which takes the request`,
    'take it out',
  ),
  IST0132: define(
    'Warning',
    'VirtualServiceHostNotFoundInGateway',
    (host: string, virtualService: string, gateway: string) =>
      `host \`${host}\` of VirtualService ${virtualService} is served by none of the servers of Gateway ${gateway}`,
    'add it to the hosts of a server, or take it out',
  ),
  IST0133: define(
    'Warning',
    'SchemaWarning',
    (error: string) => `${error}`,
    'the API takes it; look whether it is meant so',
  ),
  IST0134: define(
    'Warning',
    'ServiceEntryAddressesRequired',
    () => 'a TCP port without addresses takes every connection to that port, whatever its destination',
    'set addresses, or let them be allocated (label networking.istio.io/enable-autoallocate-ip)',
  ),
  IST0135: define(
    'Info',
    'DeprecatedAnnotation',
    (annotation: string, extra: string) =>
      `annotation \`${annotation}\` is deprecated${extra === '' ? '' : `: ${extra}`}`,
    'replace it',
  ),
  IST0137: define(
    'Warning',
    'DeploymentConflictingPorts',
    (deployment: string, services: string, target: string, ports: string) =>
      `the Services ${services} of \`${deployment}\` reach target port ${target} by different ports (${ports})`,
    'use one port for one target port',
  ),
  IST0138: define(
    'Warning',
    'GatewayDuplicateCertificate',
    (gateways: string) =>
      `one certificate is used by several gateways (${gateways}): a browser that keeps its HTTP/2 connection may get 404`,
    'use one Gateway, or a certificate each',
  ),
  IST0139: define('Error', 'InvalidWebhook', (error: string) => `${error}`, 'correct the webhook configuration'),
  IST0140: define(
    'Warning',
    'IngressRouteRulesNotAffected',
    (subset: string, virtualService: string) =>
      `the subset routes of VirtualService ${subset} do not hold for what VirtualService ${virtualService} brings in through a gateway`,
    'let the gateway route to the subsets itself, or send ingress traffic through the waypoint',
  ),
  IST0144: define(
    'Warning',
    'InvalidApplicationUID',
    () => 'a container runs as user 1337, which is the proxy`s own: its traffic is not captured',
    'choose another runAsUser',
  ),
  IST0145: define(
    'Error',
    'ConflictingGateways',
    (gateway: string, selector: string, port: string, hosts: string) =>
      `Gateway ${gateway} has the same selector (${selector}), port ${port} and hosts ${hosts}`,
    'let one Gateway serve a host at a port',
  ),
  IST0146: define(
    'Warning',
    'ImageAutoWithoutInjectionWarning',
    (type: string, name: string) => `${type} \`${name}\` has image \`auto\`, and nothing injects a proxy there`,
    'label its pods or namespace for injection',
  ),
  IST0147: define(
    'Error',
    'ImageAutoWithoutInjectionError',
    (type: string, name: string) => `${type} \`${name}\` has image \`auto\`, and nothing injected a proxy`,
    'label it or its namespace for injection, and make it anew',
  ),
  IST0149: define(
    'Error',
    'JwtClaimBasedRoutingWithoutRequestAuthN',
    (key: string, gateway: string, pod: string) =>
      `\`${key}\` routes by a claim, but no RequestAuthentication reads tokens at gateway ${gateway} (${pod})`,
    'add a RequestAuthentication for the gateway',
  ),
  IST0150: define(
    'Warning',
    'ExternalNameServiceTypeInvalidPortName',
    () => 'a port of an ExternalName service without a protocol other than tcp takes all traffic to that port',
    'name the port for its protocol, as in `https`',
  ),
  IST0151: define(
    'Warning',
    'EnvoyFilterUsesRelativeOperation',
    () => 'a patch is placed relative to another, and the order of EnvoyFilters is not set',
    'set priority',
  ),
  IST0152: define(
    'Error',
    'EnvoyFilterUsesReplaceOperationIncorrectly',
    () => 'REPLACE is only for filters (HTTP_FILTER, NETWORK_FILTER, LISTENER_FILTER)',
    'use MERGE, or REMOVE and ADD',
  ),
  IST0153: define(
    'Error',
    'EnvoyFilterUsesAddOperationIncorrectly',
    () => 'ADD has no effect on ROUTE_CONFIGURATION and HTTP_ROUTE',
    'use INSERT_FIRST, or patch the VIRTUAL_HOST',
  ),
  IST0154: define(
    'Error',
    'EnvoyFilterUsesRemoveOperationIncorrectly',
    () => 'REMOVE has no effect on ROUTE_CONFIGURATION and HTTP_ROUTE',
    'remove the VIRTUAL_HOST, or change the route by an API',
  ),
  IST0155: define(
    'Warning',
    'EnvoyFilterUsesRelativeOperationWithProxyVersion',
    () => 'a patch is placed relative to another for one proxy version, and the order of EnvoyFilters is not set',
    'set priority',
  ),
  IST0157: define(
    'Warning',
    'InvalidTelemetryProvider',
    (name: string, namespace: string) => `Telemetry ${namespace}/${name} has an empty list of providers: it is ignored`,
    'name a provider, or leave the list out',
  ),
  IST0159: define(
    'Error',
    'ConflictingTelemetryWorkloadSelectors',
    (telemetries: string, namespace: string, pod: string) =>
      `the Telemetries ${telemetries} of namespace \`${namespace}\` all select \`${pod}\``,
    'let one Telemetry select a workload',
  ),
  IST0160: define(
    'Error',
    'MultipleTelemetriesWithoutWorkloadSelectors',
    (telemetries: string, namespace: string) =>
      `the Telemetries ${telemetries} of namespace \`${namespace}\` have no selector`,
    'keep one as the default of the namespace: only the oldest counts',
  ),
  IST0161: define(
    'Error',
    'InvalidGatewayCredential',
    (name: string, namespace: string) => `the certificate of Gateway ${namespace}/${name} cannot be used`,
    'put a PEM certificate and its key into the Secret (kubectl create secret tls)',
  ),
  IST0162: define(
    'Warning',
    'GatewayPortNotDefinedOnService',
    (port: string, selector: string) => `no Service of the gateway's pods (${selector}) has port ${port}`,
    'add the port to the Service, or use one that it has',
  ),
  IST0165: define(
    'Warning',
    'ReferencedInternalGateway',
    (virtualService: string, gateway: string) =>
      `VirtualService ${virtualService} names \`${gateway}\`, which Istio makes for itself`,
    'use a Gateway of networking.istio.io, or an HTTPRoute with the Gateway as parent',
  ),
  IST0166: define(
    'Warning',
    'IneffectiveSelector',
    (gateway: string) => `the selector picks pods of the Gateway ${gateway}, where only targetRefs count`,
    'use targetRefs with kind Gateway',
  ),
  IST0167: define(
    'Warning',
    'IneffectivePolicy',
    (reason: string) => `it has no effect: ${reason}`,
    'see docs/analyze.md for what takes its place in ambient',
  ),
  IST0171: define(
    'Warning',
    'NegativeConditionStatus',
    (type: string, reason: string, message: string) => `condition ${type} says ${reason}: ${message}`,
    'its message says what is missing',
  ),
  IST0173: define(
    'Error',
    'DestinationRuleSubsetNotSelectPods',
    (subset: string) => `no pod of the host has the labels of subset \`${subset}\``,
    'correct the labels: requests to the subset fail with 503',
  ),
  IST0174: define(
    'Warning',
    'UnknownDestinationRuleHost',
    (host: string) => `no service is called \`${host}\``,
    'correct the host: short names mean a service of the rule`s own namespace',
  ),
  IST0175: define(
    'Warning',
    'JwksUriFetchUnrestricted',
    (count: string, names: string) =>
      `${count} RequestAuthentications fetch keys from a URL (${names}) and no range of addresses is blocked for that`,
    'set BLOCKED_CIDRS_IN_JWKS_URIS on the control plane',
  ),
  IST0176: define(
    'Warning',
    'GatewayAPICRDVersionBelowMinimum',
    (crd: string, installed: string, least: string) =>
      `definition ${crd} is of bundle ${installed}, below ${least}: Istio ignores its kind`,
    'install the newer Gateway API definitions; the control plane of Ambit reads the kind all the same',
  ),
  IST0177: define(
    'Warning',
    'ConflictingServiceEntryProtocol',
    (names: string, host: string, port: string, protocols: string) =>
      `the ServiceEntries ${names} give port ${port} of \`${host}\` different protocols (${protocols})`,
    'use one protocol for a host and port',
  ),
};
