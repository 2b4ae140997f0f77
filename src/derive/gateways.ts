// Gateways put together: for each the parts that it should consist of, what becomes of its listeners, and its status.

import { type AddressWorld, assign, manualHosts } from './gateway/addresses.ts';
import { backendCertificateFault, type CertificateWorld } from './gateway/certificates.ts';
import { judgeListeners, type ListenerVerdict } from './gateway/listeners.ts';
import { type Overlays, parseOverlays } from './gateway/parameters.ts';
import type { GatewayDefaults } from './gateway/pod-template.ts';
import { type Rendered, renderGateway } from './gateway/render.ts';
import { type GatewayRole, partsName, roleOf } from './gateway/role.ts';
import { GATEWAY_CONDITIONS, type GatewayFault, gatewayStatus, remoteStatus } from './gateway/status.ts';
import type { Collection, Graph, Reader, Source } from './graph/graph.ts';
import type { Inputs } from './inputs.ts';
import { LABEL } from './names.ts';
import type { ConfigMap } from './objects/config-map.ts';
import type { Gateway, GatewayClass } from './objects/gateway.ts';
import type { MeshConfig } from './objects/mesh.ts';
import { byAge } from './objects/meta.ts';
import { indexGrants } from './objects/reference-grant.ts';
import type { Scope, Settings } from './scope.ts';
import { kubeHostname } from './service.ts';
import { reportUnlessEqual, type StatusReport } from './status/report.ts';

export interface GatewayOptions {
  readonly clusterDomain: string;
  readonly systemNamespace: string;
  readonly revision: string;
  readonly revisions: ReadonlySet<string>;
  /** Image of the L7 proxy. */
  readonly proxyImage: string;
}

/** What of a Gateway there should be in the cluster. */
export type GatewayParts =
  | { readonly kind: 'managed'; readonly role: GatewayRole; readonly rendered: Rendered }
  /** The services are somebody else's: nothing is made, and what was made goes. */
  | { readonly kind: 'manual'; readonly role: GatewayRole; readonly fault: GatewayFault | undefined }
  /** Runs elsewhere. */
  | { readonly kind: 'remote'; readonly role: GatewayRole }
  /** Cannot be done as asked, or a newer control plane does it: what there is stays as it is. */
  | { readonly kind: 'kept'; readonly role: GatewayRole; readonly fault: GatewayFault | undefined };

/** What is known of Gateways before their routes. */
export interface PlannedGateways {
  /** Of this control plane's revision. */
  readonly owned: Collection<Gateway>;
  /** By `<namespace>/<name>`; Gateways that others look after are missing. */
  readonly parts: Collection<GatewayParts>;
  /** One a listener, in their order. By `<namespace>/<name>`. */
  readonly verdicts: Collection<readonly ListenerVerdict[]>;
  /** What their references lead to. */
  readonly certificates: CertificateWorld;
}

export interface Gateways extends PlannedGateways {
  /** What the API said against a Gateway's parts, for its status; whoever applies them writes it. */
  readonly refusals: Source<string>;
  readonly reports: Collection<StatusReport>;
}

const DEFAULTS_LABEL = 'gateway.istio.io/defaults-for-class';
const VERSION_ANNOTATION = 'gateway.istio.io/controller-version';
/** Of the rules by which parts are made; a Gateway marked with a higher one belongs to a newer control plane. */
export const CONTROLLER_VERSION = 5;

export function planGateways(
  graph: Graph,
  scope: Scope,
  { sources, mesh }: Inputs,
  options: GatewayOptions,
): PlannedGateways {
  const owned = graph.derive('ownedGateways', scope.gateways, (_get, gateway) => {
    const revision = gateway.labels[LABEL.revision];
    return revision === undefined || options.revisions.has(revision) ? gateway : undefined;
  });
  const defaults = graph.single('gatewayDefaults', (get): GatewayDefaults => {
    const { clusterId, network, trustDomain } = get.one(scope.settings, '') as Settings;
    const { discoveryAddress } = get.one(mesh, '') as MeshConfig;
    const suffix = options.revision === 'default' ? '' : `-${options.revision}`;
    return {
      image: options.proxyImage,
      clusterId,
      clusterDomain: options.clusterDomain,
      network,
      trustDomain,
      discoveryAddress: discoveryAddress || `istiod${suffix}.${options.systemNamespace}.svc:15012`,
      systemNamespace: options.systemNamespace,
      revision: options.revision,
    };
  });
  const forClass = sources.configmaps.index('forClass', (configMap) => {
    const cls = configMap.labels[DEFAULTS_LABEL];
    return cls === undefined || configMap.namespace !== options.systemNamespace ? [] : [cls];
  });
  const classOf = (get: Reader, gateway: Gateway): GatewayClass | undefined =>
    get.one(sources.gatewayclasses, gateway.className);

  const overlaysOf = (get: Reader, gateway: Gateway): readonly Overlays[] | { readonly problem: string } => {
    const [oldest] = [...get.all(forClass, gateway.className)].sort(byAge);
    const configMaps: ConfigMap[] = oldest === undefined ? [] : [oldest];
    const reference = gateway.infrastructure?.parameters;
    if (reference !== undefined && reference.name !== '') {
      if (reference.group !== '' || reference.kind !== 'ConfigMap')
        return { problem: `parametersRef: ${reference.group || 'core'}/${reference.kind} is no ConfigMap` };
      const found = get.one(sources.configmaps, `${gateway.namespace}/${reference.name}`);
      if (found === undefined)
        return { problem: `parametersRef: ConfigMap ${gateway.namespace}/${reference.name} does not exist` };
      configMaps.push(found);
    }
    const overlays: Overlays[] = [];
    for (const configMap of configMaps) {
      const parsed = parseOverlays(configMap);
      if ('problem' in parsed) return parsed as { problem: string };
      overlays.push(parsed);
    }
    return overlays;
  };

  const parts = graph.derive('gatewayParts', owned, (get, gateway): GatewayParts | undefined => {
    const role = roleOf(gateway, classOf(get, gateway));
    if (role === undefined) return undefined;
    if (role.kind === 'remote') return { kind: 'remote', role };
    if (isManual(gateway)) return { kind: 'manual', role, fault: manualFault(gateway) };
    const [requested] = gateway.requested;
    if (requested !== undefined && requested.type !== 'IPAddress')
      return kept(
        role,
        'UnsupportedAddress',
        `address type ${requested.type} is not supported: use IPAddress or Hostname`,
      );
    if (Number(gateway.annotations[VERSION_ANNOTATION] ?? 0) > CONTROLLER_VERSION)
      return { kind: 'kept', role, fault: undefined };
    const overlays = overlaysOf(get, gateway);
    if ('problem' in overlays) return kept(role, 'InvalidParameters', overlays.problem);
    const rendered = renderGateway(gateway, role, get.one(defaults, '') as GatewayDefaults, overlays);
    return 'problem' in rendered
      ? kept(role, 'InvalidParameters', rendered.problem)
      : { kind: 'managed', role, rendered };
  });

  const certificates: CertificateWorld = {
    secrets: sources.secrets,
    configMaps: sources.configmaps,
    grants: indexGrants(sources.referencegrants),
  };
  const verdicts = graph.derive('listenerVerdicts', owned, (get, gateway) => {
    const cls = classOf(get, gateway);
    const role = roleOf(gateway, cls);
    return role === undefined || role.kind === 'remote'
      ? undefined
      : judgeListeners(get, certificates, gateway, cls, role);
  });
  return { owned, parts, verdicts, certificates };
}

/** @param attachedRoutes  how many routes each listener has, by `<namespace>/<gateway>/<listener>` */
export function deriveGateways(
  graph: Graph,
  scope: Scope,
  { owned, parts, verdicts, certificates }: PlannedGateways,
  options: GatewayOptions,
  attachedRoutes: Collection<number>,
): Gateways {
  const addresses: AddressWorld = {
    services: scope.services,
    pods: scope.pods,
    slices: scope.slices.index('byService', ({ namespace, service }) => [`${namespace}/${service}`]),
    clusterDomain: options.clusterDomain,
  };
  const refusals: Source<string> = graph.source('gatewayRefusals');
  const reports = graph.deriveMany('gatewayReports', owned, (get, gateway, key) => {
    const made = get.one(parts, key);
    // A newer control plane that makes the parts writes the status too.
    if (made === undefined || (made.kind === 'kept' && made.fault === undefined)) return [];
    const { role } = made;
    const status =
      made.kind === 'remote'
        ? remoteStatus(gateway)
        : gatewayStatus(gateway, {
            verdicts: get.one(verdicts, key) ?? [],
            assigned: assign(get, addresses, gateway, role, hostsOf(gateway, made, options.clusterDomain)),
            fault: made.kind === 'managed' ? undefined : made.fault,
            refusal: get.one(refusals, key),
            backendCertificate: backendCertificateFault(get, certificates, gateway),
            attached: (listener) => get.one(attachedRoutes, `${key}/${listener}`) ?? 0,
          });
    const report = reportUnlessEqual({
      kind: 'Gateway',
      namespace: gateway.namespace,
      name: gateway.name,
      manager: 'istio-gateway',
      wanted: status.conditions,
      found: gateway.found.conditions.filter(({ type }) => GATEWAY_CONDITIONS.has(type)),
      fields: { kind: 'Gateway', wanted: status.parts, found: gateway.found },
    });
    return report === undefined ? [] : [[`Gateway/${key}`, report]];
  });
  return { owned, parts, verdicts, certificates, refusals, reports };
}

const kept = (role: GatewayRole, reason: GatewayFault['reason'], message: string): GatewayParts => ({
  kind: 'kept',
  role,
  fault: { reason, message },
});

/** Its services are named by the user: the controller makes nothing. */
const isManual = ({ requested }: Gateway): boolean =>
  requested.length > 1 || requested.some(({ type }) => type === 'Hostname');

function manualFault(gateway: Gateway): GatewayFault | undefined {
  const other = gateway.requested.find(({ type }) => type !== 'Hostname');
  if (other !== undefined)
    return {
      reason: 'UnsupportedAddress',
      message: `address ${other.value} is skipped: where services are named, only type Hostname is supported`,
    };
  return gateway.annotations['networking.istio.io/service-type'] === undefined
    ? undefined
    : {
        reason: 'DeprecatedField',
        message: 'annotation networking.istio.io/service-type has no effect: the service is named in spec.addresses',
      };
}

const hostsOf = (gateway: Gateway, parts: GatewayParts, domain: string): readonly string[] =>
  parts.kind === 'manual'
    ? manualHosts(gateway, domain)
    : [kubeHostname(partsName(gateway, parts.role), gateway.namespace, domain)];
