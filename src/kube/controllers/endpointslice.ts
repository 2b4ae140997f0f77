// EndpointSlices of Services with a selector: who answers, on which port, and whether it is ready.

import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { INode } from 'kubernetes-models/v1/Node';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { IService } from 'kubernetes-models/v1/Service';
import { ENDPOINT_SLICES, NODES, PODS, SERVICES } from '../client/resources.ts';
import { type ControllerContext, splitKey } from './context.ts';
import { isReady, isTerminal } from './pods.ts';
import { WorkQueue } from './queue.ts';
import { canonicalJson, templateHash } from './template-hash.ts';

const SERVICE_LABEL = 'kubernetes.io/service-name';
const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
const MANAGER = 'endpointslice-controller.k8s.io';
const MAX_ENDPOINTS = 100;

export function startEndpointSlices(context: ControllerContext): void {
  const services = context.informer(SERVICES);
  const queue = new WorkQueue({
    reconcile: (key) => reconcile(context, key),
    onError: (key, error) => context.log('warn', 'endpoints not reconciled', { key, error: String(error) }),
  });
  services.onChange((key) => queue.add(key));
  context.informer(PODS).onChange((_key, now, before) => {
    if (now && before && pictureOf(now) === pictureOf(before)) return;
    for (const [key, service] of services.items)
      if ((now && selects(service, now)) || (before && selects(service, before))) queue.add(key);
  });
  context.informer(ENDPOINT_SLICES).onChange((_key, now, before) => {
    const slice = now ?? before;
    const name = slice?.metadata?.labels?.[SERVICE_LABEL];
    if (name && slice?.metadata?.labels?.[MANAGED_BY] === MANAGER) queue.add(`${slice.metadata.namespace}/${name}`);
  });
}

/** Everything of a pod that an endpoint shows. */
const pictureOf = (pod: IPod): string =>
  canonicalJson([
    pod.metadata?.labels,
    pod.status?.podIPs,
    pod.status?.podIP,
    pod.status?.phase,
    isReady(pod),
    pod.metadata?.deletionTimestamp,
    pod.spec?.nodeName,
  ]);

function selects(service: IService, pod: IPod): boolean {
  const selector = Object.entries(service.spec?.selector ?? {});
  return (
    selector.length > 0 &&
    service.metadata?.namespace === pod.metadata?.namespace &&
    selector.every(([key, value]) => pod.metadata?.labels?.[key] === value)
  );
}

async function reconcile(context: ControllerContext, key: string): Promise<undefined> {
  const { namespace = '', name } = splitKey(key);
  const service = await context.client.get(SERVICES, name, namespace);
  const { items: slices } = await context.client.list(ENDPOINT_SLICES, {
    namespace,
    labelSelector: `${SERVICE_LABEL}=${name},${MANAGED_BY}=${MANAGER}`,
  });
  const wanted =
    service === undefined ||
    service.metadata?.deletionTimestamp !== undefined ||
    service.spec?.type === 'ExternalName' ||
    !service.spec?.selector
      ? []
      : await desired(context, service, namespace);
  for (const slice of wanted) {
    const existing = slices.find((s) => s.metadata?.name === slice.metadata?.name);
    if (existing === undefined) await context.client.create(ENDPOINT_SLICES, slice);
    else if (
      canonicalJson([existing.endpoints, existing.ports, existing.metadata?.labels]) !==
      canonicalJson([slice.endpoints, slice.ports, slice.metadata?.labels])
    )
      await context.client.update<IEndpointSlice>(ENDPOINT_SLICES, {
        ...existing,
        ...slice,
        metadata: { ...existing.metadata, labels: slice.metadata?.labels ?? {} },
      });
  }
  for (const slice of slices)
    if (!wanted.some((w) => w.metadata?.name === slice.metadata?.name))
      await context.client.delete(ENDPOINT_SLICES, slice.metadata?.name ?? '', namespace);
  return undefined;
}

type Port = NonNullable<IEndpointSlice['ports']>[number];
type Endpoint = NonNullable<IEndpointSlice['endpoints']>[number];

async function desired(context: ControllerContext, service: IService, namespace: string): Promise<IEndpointSlice[]> {
  const labelSelector = Object.entries(service.spec?.selector ?? {})
    .map(([k, v]) => `${k}=${v}`)
    .join(',');
  const [{ items: pods }, { items: nodes }] = await Promise.all([
    context.client.list(PODS, { namespace, labelSelector }),
    context.client.list(NODES),
  ]);
  const nodeOf = new Map(nodes.map((node) => [node.metadata?.name ?? '', node]));
  // Pods that resolve the named target ports alike share a slice.
  const groups = new Map<string, { ports: Port[]; endpoints: Endpoint[] }>();
  for (const pod of [...pods].sort((a, b) => (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? ''))) {
    const address = pod.status?.podIP;
    if (!address || isTerminal(pod)) continue;
    const ports = portsFor(service, pod);
    const id = canonicalJson(ports);
    const group = groups.get(id) ?? { ports, endpoints: [] };
    groups.set(id, group);
    group.endpoints.push(endpointOf(service, pod, address, nodeOf.get(pod.spec?.nodeName ?? '')));
  }
  if (groups.size === 0) groups.set('', { ports: [], endpoints: [] });
  const result: IEndpointSlice[] = [];
  for (const [id, { ports, endpoints }] of groups)
    for (let start = 0; start === 0 || start < endpoints.length; start += MAX_ENDPOINTS)
      result.push({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: `${(service.metadata?.name ?? '').slice(0, 55)}-${templateHash([service.metadata?.uid, groups.size > 1 ? id : '', start])}`,
          namespace,
          labels: {
            ...service.metadata?.labels,
            [SERVICE_LABEL]: service.metadata?.name ?? '',
            [MANAGED_BY]: MANAGER,
            ...(service.spec?.clusterIP === 'None' && { 'service.kubernetes.io/headless': '' }),
          },
          ownerReferences: [
            {
              apiVersion: 'v1',
              kind: 'Service',
              name: service.metadata?.name ?? '',
              uid: service.metadata?.uid ?? '',
              controller: true,
              blockOwnerDeletion: true,
            },
          ],
        },
        addressType: 'IPv4',
        endpoints: endpoints.slice(start, start + MAX_ENDPOINTS),
        ports,
      });
  return result;
}

function portsFor(service: IService, pod: IPod): Port[] {
  const ports: Port[] = [];
  for (const port of service.spec?.ports ?? []) {
    const protocol = port.protocol ?? 'TCP';
    const target =
      port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '' ? port.port : port.targetPort;
    const number = typeof target === 'number' ? target : namedPort(pod, target, protocol);
    if (number === undefined) continue;
    ports.push({
      name: port.name ?? '',
      port: number,
      protocol,
      ...(port.appProtocol !== undefined && { appProtocol: port.appProtocol }),
    });
  }
  return ports;
}

function namedPort(pod: IPod, name: string, protocol: string): number | undefined {
  const restartable = (pod.spec?.initContainers ?? []).filter((c) => c.restartPolicy === 'Always');
  for (const container of [...(pod.spec?.containers ?? []), ...restartable])
    for (const port of container.ports ?? [])
      if (port.name === name && (port.protocol ?? 'TCP') === protocol) return port.containerPort;
  return undefined;
}

function endpointOf(service: IService, pod: IPod, address: string, node: INode | undefined): Endpoint {
  const terminating = pod.metadata?.deletionTimestamp !== undefined;
  const serving = isReady(pod) || service.spec?.publishNotReadyAddresses === true;
  const zone = node?.metadata?.labels?.['topology.kubernetes.io/zone'];
  const distribution = service.spec?.trafficDistribution;
  const near = distribution === 'PreferClose' || distribution === 'PreferSameZone';
  return {
    addresses: [address],
    conditions: {
      ready: service.spec?.publishNotReadyAddresses === true || (serving && !terminating),
      serving,
      terminating,
    },
    ...(pod.spec?.hostname && pod.spec.subdomain === service.metadata?.name && { hostname: pod.spec.hostname }),
    ...(pod.spec?.nodeName && { nodeName: pod.spec.nodeName }),
    ...(zone && { zone }),
    ...(zone && near && { hints: { forZones: [{ name: zone }] } }),
    ...(distribution === 'PreferSameNode' &&
      pod.spec?.nodeName && {
        hints: { forNodes: [{ name: pod.spec.nodeName }], ...(zone && { forZones: [{ name: zone }] }) },
      }),
    targetRef: {
      kind: 'Pod',
      name: pod.metadata?.name ?? '',
      namespace: pod.metadata?.namespace ?? '',
      uid: pod.metadata?.uid ?? '',
    },
  };
}
