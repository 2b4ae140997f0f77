// Our own codes: traps of the ambient mode that no code of Istio names.

import { define } from './define.ts';

const WAYPOINT_FIX =
  'deploy a waypoint (`ambit waypoint apply`) and label the service or namespace istio.io/use-waypoint';

export const AMBIENT_CODES = {
  AMB0001: define(
    'Error',
    'L7RuleOnlyZtunnelSees',
    (fields: string, effect: string) => `only ztunnel judges this policy, and it knows no ${fields}: ${effect}`,
    'bind the policy to a waypoint: replace the selector by targetRefs with kind Service or Gateway',
  ),
  AMB0002: define(
    'Error',
    'DenyWidens',
    (fields: string) => `only ztunnel judges this DENY policy, without ${fields}: the rule denies more than it says`,
    'bind the policy to a waypoint with targetRefs, or write the rule without HTTP fields',
  ),
  AMB0003: define(
    'Error',
    'DenyWithoutEffect',
    (fields: string) =>
      `only ztunnel judges this DENY policy, and all that its rules ask about (${fields}) is HTTP: nothing is denied`,
    'bind the policy to a waypoint with targetRefs',
  ),
  AMB0004: define(
    'Error',
    'ActionNotSupportedByZtunnel',
    (action: string) => `only ztunnel judges this policy, and it knows no ${action}: the policy has no effect`,
    'bind the policy to a waypoint with targetRefs',
  ),
  AMB0005: define(
    'Error',
    'TrustDomainsIgnoredByZtunnel',
    (fields: string) =>
      `Istio's ztunnel ignores ${fields}, so the rule holds for every trust domain; Ambit's leaves the rule out of ALLOW policies`,
    'write the trust domain into principals',
  ),
  AMB0006: define(
    'Warning',
    'SelectorPolicyBehindWaypoint',
    (workload: string, waypoint: string) =>
      `\`${workload}\` is reached through waypoint ${waypoint}, and ztunnel there sees the waypoint as the peer, not the clients that this ALLOW policy lists`,
    'move the policy to the waypoint (targetRefs), and allow the waypoint`s service account here',
  ),
  AMB0007: define(
    'Warning',
    'WaypointCanBeBypassed',
    (service: string, waypoint: string) =>
      `policies for \`${service}\` are judged at waypoint ${waypoint}, but its pods also take connections that come past it`,
    'add an ALLOW policy with a selector for the pods and the waypoint`s service account as principal',
  ),
  AMB0008: define(
    'Error',
    'SelectorNotReadInAmbient',
    (kind: string, workload: string) =>
      `this ${kind} is meant for \`${workload}\`, which is in ambient: neither ztunnel nor a waypoint reads it without targetRefs`,
    'bind it to a waypoint: targetRefs with kind Service or Gateway',
  ),
  AMB0009: define(
    'Error',
    'RouteWithoutWaypoint',
    (service: string) => `no waypoint serves \`${service}\`, so this route has no effect on clients in ambient`,
    WAYPOINT_FIX,
  ),
  AMB0010: define(
    'Error',
    'VirtualServiceAndRoute',
    (host: string, routes: string) =>
      `VirtualService and ${routes} both route \`${host}\`: which of them takes a request depends on their order`,
    'keep one kind of route for a host',
  ),
  AMB0011: define(
    'Warning',
    'ConsumerRouteWithoutEffect',
    (namespace: string, service: string) =>
      `namespace \`${namespace}\` can only be one of clients of \`${service}\`: a waypoint takes only objects of its own or the service's namespace`,
    'move it to the namespace of the service',
  ),
  AMB0012: define(
    'Warning',
    'ClientMatchAtWaypoint',
    (field: string, effect: string) => `\`${field}\` asks about the client, which a waypoint cannot answer: ${effect}`,
    'use an AuthorizationPolicy for who may call, or a header for who calls',
  ),
  AMB0013: define(
    'Warning',
    'DestinationRuleWithoutWaypoint',
    (host: string, parts: string) =>
      `no waypoint serves \`${host}\`: ${parts} of this DestinationRule have no effect in ambient`,
    `${WAYPOINT_FIX}; for locality alone, trafficDistribution of the Service will do`,
  ),
  AMB0014: define(
    'Warning',
    'DestinationRulePartIgnored',
    (part: string, why: string) => `${part} has no effect at a waypoint: ${why}`,
    'take it out',
  ),
  AMB0015: define(
    'Error',
    'EnvoyFilterWithoutEffect',
    (reason: string) => `no proxy takes this patch: ${reason}`,
    'attach the EnvoyFilter to a Gateway or Service with targetRefs, or use an API of Istio or the Gateway API instead',
  ),
  AMB0016: define(
    'Warning',
    'RetryAnnotation',
    (annotation: string) => `\`${annotation}\` is no annotation of Istio: Ambit honours it, Istio does not`,
    'write it as rules[].retry and rules[].timeouts',
  ),
  AMB0017: define(
    'Warning',
    'ConflictingPodLabels',
    (labels: string) => `the pod asks for a sidecar and for ambient (${labels}): with a sidecar it is not captured`,
    'keep one of the labels',
  ),
  AMB0018: define(
    'Warning',
    'HeadlessServiceBehindWaypoint',
    (service: string, waypoint: string) =>
      `\`${service}\` has no address of its own, so calls go to its pods and past waypoint ${waypoint}, which takes service traffic`,
    'label the waypoint istio.io/waypoint-for: all (or workload), and the pods or namespace istio.io/use-waypoint',
  ),
  AMB0019: define(
    'Warning',
    'MtlsDisableIsPermissive',
    (at: string) => `${at} is DISABLE, which ztunnel treats as PERMISSIVE: encrypted traffic is still taken`,
    'write PERMISSIVE',
  ),
  AMB0020: define(
    'Warning',
    'StrictCallersNotInMesh',
    (mode: string, callers: string) =>
      `mTLS is ${mode} here, and ${callers} in the same namespace can only call in plain text`,
    'bring them into the mesh, or allow plain text for their port',
  ),
  AMB0021: define(
    'Warning',
    'PolicyPortMeansAnother',
    (port: string, meaning: string) => `port ${port}: ${meaning}`,
    'write the port that the judging proxy sees',
  ),
  AMB0022: define(
    'Warning',
    'SidecarAnnotationWithoutEffect',
    (annotation: string) => `\`${annotation}\` speaks to a sidecar, and this workload is in ambient`,
    'take it out; ztunnel and the waypoint are sized for themselves, and a port is left out with ambient.istio.io/bypass-inbound-capture only',
  ),
  AMB0023: define(
    'Warning',
    'ExportToIgnored',
    (kind: string) => `exportTo of a ${kind} is ignored by ztunnel and waypoints: every namespace sees the host`,
    'keep others out with an AuthorizationPolicy',
  ),
  AMB0024: define(
    'Info',
    'ExternalNameNotInMesh',
    (service: string) =>
      `\`${service}\` is an ExternalName: the mesh does not know it, calls pass through without policy`,
    'use a ServiceEntry with the same host',
  ),
  AMB0025: define(
    'Info',
    'UdpNotCaptured',
    (port: string) => `port ${port} is UDP, which the mesh neither captures nor encrypts`,
    'protect it with a NetworkPolicy',
  ),
  AMB0026: define(
    'Error',
    'NetworkPolicyBlocksTunnel',
    (workload: string) =>
      `the policy lets in only some ports, and not 15008: tunnelled traffic to \`${workload}\` is dropped`,
    'allow ingress TCP 15008 beside the ports of the application',
  ),
  AMB0027: define(
    'Warning',
    'IngressSkipsWaypoint',
    (service: string, waypoint: string) =>
      `gateways send to the pods of \`${service}\` directly: rules at waypoint ${waypoint} do not hold for what comes in from outside`,
    'label the Service istio.io/ingress-use-waypoint: "true"',
  ),
  AMB0028: define(
    'Warning',
    'WaypointNotUsable',
    (what: string) => `${what}`,
    'until then traffic goes without the waypoint, and its rules are not enforced',
  ),
  AMB0029: define(
    'Error',
    'TargetNotEnforced',
    (what: string) => `the policy is enforced nowhere for this target: ${what}`,
    'let the target name a Service behind a waypoint, a ServiceEntry behind one, or a Gateway',
  ),
  AMB0030: define(
    'Error',
    'TargetClassNotWaypoint',
    (name: string) =>
      `policies for the GatewayClass \`${name}\` are judged by no proxy: only the name istio-waypoint counts`,
    'use name: istio-waypoint in the root namespace',
  ),
  AMB0031: define(
    'Warning',
    'TlsMatchAtWaypoint',
    (host: string) => `a waypoint matches TLS only where sniHosts is the host of the service (\`${host}\`)`,
    'use one sniHosts entry with that host, or route at a gateway',
  ),
  AMB0032: define(
    'Warning',
    'NotCapturedUntilRestarted',
    (pod: string) => `\`${pod}\` still has a sidecar in a namespace of ambient: it is not captured`,
    'kubectl rollout restart its workload',
  ),
  AMB0033: define(
    'Warning',
    'WaypointLabelIncomplete',
    () => 'istio.io/use-waypoint-namespace is ignored without istio.io/use-waypoint on the same object',
    'add istio.io/use-waypoint',
  ),
  AMB0034: define(
    'Warning',
    'GatewayProxyConfigInvalid',
    (key: string) => `\`${key}\` is no setting of proxy.istio.io/config: the resources stay as they are`,
    'set resources with a ConfigMap named in spec.infrastructure.parametersRef',
  ),
  AMB0035: define(
    'Info',
    'ServiceAccountWaypoint',
    () => 'istio.io/for-service-account is ignored: a waypoint serves services or workloads',
    'label the services or pods istio.io/use-waypoint',
  ),
  AMB0036: define(
    'Warning',
    'EgressHostMatchesNothing',
    (host: string) => `\`${host}\` is no full name of a Kubernetes service and matches nothing`,
    'write <namespace>/<service>.<namespace>.svc.cluster.local',
  ),
  AMB0037: define(
    'Error',
    'EgressNotRestricted',
    (workload: string) => `REGISTRY_ONLY has no counterpart in ambient: \`${workload}\` may call any address`,
    'use a NetworkPolicy, or a ServiceEntry behind an egress waypoint with an AuthorizationPolicy',
  ),
  AMB0038: define(
    'Warning',
    'HostNetworkUnderStrict',
    (pod: string) => `\`${pod}\` uses the node's network and is never in the mesh: where mTLS is STRICT it cannot call`,
    'allow plain text for the port it calls, or take it off the node`s network',
  ),
  AMB0039: define(
    'Warning',
    'ClientSelectorIgnored',
    (kind: string) => `workloadSelector of a ${kind} chooses clients with sidecars: at waypoints the object is ignored`,
    'take the selector out',
  ),
  AMB0040: define(
    'Warning',
    'TelemetrySelectorNotRead',
    (kind: string, workload: string) =>
      `this ${kind} is meant for \`${workload}\`, which is in ambient: ztunnel reads none, and a waypoint only those with targetRefs or for a whole namespace`,
    'use targetRefs, or leave the selector out',
  ),
  AMB0041: define(
    'Warning',
    'EnvoyPatchNotHonoured',
    (reason: string) => `Ambit's proxies are no Envoy and do not honour this patch: ${reason}`,
    'use a TrafficFilter (ambit.dev/v1alpha1), or an API of Istio or the Gateway API',
  ),
  AMB0042: define(
    'Warning',
    'NotHeldAsWritten',
    (problem: string) => `Ambit's proxies cannot hold this as it is written: ${problem}`,
    'write it in another way, or take it out',
  ),
  AMB0043: define(
    'Warning',
    'SidecarClientsSkipWaypoint',
    (service: string, workload: string) =>
      `policies of \`${service}\` hold at its waypoint, which clients with sidecars, as \`${workload}\`, never call`,
    'keep policies with a selector at the pods until the last client has left its sidecar',
  ),
  AMB0044: define(
    'Error',
    'TrustDomainAliasNotExpanded',
    (principal: string, alias: string) =>
      `ztunnel knows no alias: \`${principal}\` is taken as written, and nobody has trust domain ${alias}`,
    'write the principal with the trust domain of the mesh',
  ),
  AMB0045: define(
    'Error',
    'BackendNotFound',
    (what: string) => `${what} does not exist: its share of the requests is answered with 500`,
    'correct the reference, or add the Service',
  ),
  AMB0046: define(
    'Error',
    'ParentNotFound',
    (what: string) => `${what} does not exist: the route is attached to nothing there`,
    'correct the reference, or add what it names',
  ),
};
