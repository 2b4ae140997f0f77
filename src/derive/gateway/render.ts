// A Gateway -> the objects that make it run: ServiceAccount, Service, Deployment and, where its parameters ask for them,
// HorizontalPodAutoscaler and PodDisruptionBudget. Pure, so that a command can show what a controller would apply.
// Source: Istio, Gateway controller: names, labels, annotations, ports and customisation are its contract with users.

import type { Gateway } from '../objects/gateway.ts';
import type { Json, Labels } from '../read.ts';
import { type Overlays, overlaid } from './parameters.ts';
import { type GatewayDefaults, podTemplate } from './pod-template.ts';
import { parseProxySettings } from './proxy-settings.ts';
import { type GatewayRole, partsName } from './role.ts';

/** An object to apply. */
export interface RenderedObject extends Json {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Json & { readonly name: string; readonly namespace: string };
}

export interface Rendered {
  /** Of Deployment and Service. */
  readonly name: string;
  readonly objects: readonly RenderedObject[];
}

const BOOKKEEPING = /^(kubectl\.kubernetes\.io\/|gateway\.istio\.io\/)/;
const RESERVED = /^gateway\.networking\.k8s\.io\//;

/** What the parts inherit: `spec.infrastructure` where it says something, else the Gateway's own. */
function inherited(own: Labels, infrastructure: Labels | undefined): Labels {
  const chosen = infrastructure !== undefined && Object.keys(infrastructure).length > 0 ? infrastructure : own;
  return Object.fromEntries(Object.entries(chosen).filter(([key]) => !RESERVED.test(key) && !BOOKKEEPING.test(key)));
}

const STATUS_PORT = 15021;
const MAX_PORT_NAME = 63;

/** A DNS label of the listener's name. */
const portName = (name: string, port: number): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .slice(0, MAX_PORT_NAME)
    .replace(/^-+|-+$/g, '') || `port-${port}`;

/** The status port, then each listener's, once. */
function servicePorts(gateway: Gateway): readonly Json[] {
  const ports: Json[] = [{ name: 'status-port', port: STATUS_PORT, protocol: 'TCP', appProtocol: 'tcp' }];
  const names = new Set(['status-port']);
  const numbers = new Set([STATUS_PORT]);
  for (const listener of gateway.listeners) {
    if (numbers.has(listener.port)) continue;
    numbers.add(listener.port);
    let name = portName(listener.name, listener.port);
    if (names.has(name)) {
      const suffix = `-${listener.port}`;
      name = `${name.slice(0, MAX_PORT_NAME - suffix.length)}${suffix}`;
    }
    names.add(name);
    ports.push({ name, port: listener.port, protocol: 'TCP', appProtocol: listener.protocol.toLowerCase() });
  }
  return ports;
}

const SERVICE_TYPES: ReadonlySet<string> = new Set(['ClusterIP', 'NodePort', 'LoadBalancer']);

/**
 * Renders the parts of a managed Gateway.
 * @param overlays  what the class and the Gateway's parameters change, in this order
 * @returns the objects in the order in which they should be applied, or why its settings cannot be used
 */
export function renderGateway(
  gateway: Gateway,
  role: GatewayRole,
  defaults: GatewayDefaults,
  overlays: readonly Overlays[] = [],
): Rendered | { readonly problem: string } {
  const name = partsName(gateway, role);
  const { namespace } = gateway;
  const serviceAccount = gateway.annotations['gateway.istio.io/service-account'] || name;
  const settings = parseProxySettings(
    gateway.annotations['proxy.istio.io/config'] ?? gateway.infrastructure?.annotations['proxy.istio.io/config'],
  );
  if ('problem' in settings) return settings;
  const type = gateway.annotations['networking.istio.io/service-type'];
  if (type !== undefined && !SERVICE_TYPES.has(type))
    return {
      problem: `annotation networking.istio.io/service-type: \`${type}\` is none of ${[...SERVICE_TYPES].join(', ')}`,
    };

  const selector: Labels = { 'gateway.networking.k8s.io/gateway-name': gateway.name };
  const network = defaults.network === '' ? {} : { 'topology.istio.io/network': defaults.network };
  const labels: Labels = {
    ...network,
    ...inherited(gateway.labels, gateway.infrastructure?.labels),
    ...selector,
    'gateway.networking.k8s.io/gateway-class-name': gateway.className,
    'gateway.istio.io/managed': role.managed,
  };
  const annotations = inherited(gateway.annotations, gateway.infrastructure?.annotations);
  const ownerReferences: readonly Json[] =
    gateway.uid === ''
      ? []
      : [{ apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', name: gateway.name, uid: gateway.uid }];
  const metadata = (own: string, more: Labels = {}): RenderedObject['metadata'] => ({
    name: own,
    namespace,
    labels,
    annotations: { ...annotations, ...more },
    ...(ownerReferences.length > 0 && { ownerReferences }),
  });

  const [requested] = gateway.requested;
  const objects: RenderedObject[] = [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata(serviceAccount) },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: metadata(
        name,
        role.kind === 'waypoint' ? { 'networking.istio.io/traffic-distribution': 'PreferClose' } : {},
      ),
      spec: {
        type: type ?? role.serviceType,
        ipFamilyPolicy: 'PreferDualStack',
        ports: servicePorts(gateway),
        selector,
        ...(requested !== undefined && { loadBalancerIP: requested.value }),
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: metadata(name),
      spec: {
        selector: { matchLabels: selector },
        // The next pod is ready before one goes: replacing a gateway loses no request.
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        template: podTemplate(gateway, role, name, { labels, annotations, serviceAccount }, defaults, settings),
      },
    },
  ];
  const optional: Readonly<Record<string, RenderedObject>> = {
    horizontalPodAutoscaler: {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: metadata(name),
      spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name }, maxReplicas: 1 },
    },
    podDisruptionBudget: {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: metadata(name),
      spec: { selector: { matchLabels: selector } },
    },
  };
  return { name, objects: overlaid(objects, optional, overlays) };
}
