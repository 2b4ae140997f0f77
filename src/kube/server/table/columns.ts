// The columns that kubectl's users know, per built-in kind (what `kubectl get` and `-o wide` print).

import type { ICondition } from '@kubernetes-models/apimachinery/apis/meta/v1/Condition';
import type { IGateway } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/Gateway';
import type { IDaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IReplicaSet } from 'kubernetes-models/apps/v1/ReplicaSet';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/RoleBinding';
import type { IEvent } from 'kubernetes-models/v1/Event';
import type { INode } from 'kubernetes-models/v1/Node';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { IService } from 'kubernetes-models/v1/Service';
import { formatLabelSelector, type LabelSelectorObject, selectorFromObject } from '../../client/selectors.ts';
import type { KubeObject } from '../../client/types.ts';
import { valueAt } from '../json.ts';
import type { Column } from '../kinds/kind.ts';
import { ageSince, NONE, UNKNOWN } from './age.ts';
import { podColumns } from './pod-columns.ts';

type Cell = Column['cell'];

const column = (name: string, cell: Cell, more: Partial<Column> = {}): Column => ({ name, cell, ...more });
const wide = { wide: true } as const;
const text = (path: string, otherwise = NONE): Cell => {
  return (object) => {
    const value = valueAt(object, path);
    return value === undefined || value === '' ? otherwise : typeof value === 'string' ? value : JSON.stringify(value);
  };
};
const number = (path: string): Cell => {
  return (object) => {
    const value = valueAt(object, path);
    return typeof value === 'number' ? value : 0;
  };
};
const list = (path: string): Cell => {
  return (object) => {
    const value = valueAt(object, path);
    return Array.isArray(value) ? JSON.stringify(value) : '';
  };
};
const NAME = column('Name', (object) => object.metadata?.name ?? '');
const AGE = column('Age', (object, nowMs) => ageSince(object.metadata?.creationTimestamp, nowMs));
const CREATED = column('Created At', (object) => object.metadata?.creationTimestamp ?? UNKNOWN);

export const NAME_AND_AGE: readonly Column[] = [NAME, AGE];
export const NAME_AND_CREATED: readonly Column[] = [NAME, CREATED];
export const POD: readonly Column[] = [NAME, ...podColumns(AGE)];

export const CONFIG_MAP: readonly Column[] = [
  NAME,
  column('Data', (o) => entries(o, 'data') + entries(o, 'binaryData'), { type: 'integer' }),
  AGE,
];
export const SECRET: readonly Column[] = [
  NAME,
  column('Type', text('type')),
  column('Data', (o) => entries(o, 'data'), { type: 'integer' }),
  AGE,
];
export const NAMESPACE: readonly Column[] = [NAME, column('Status', text('status.phase')), AGE];
export const SERVICE_ACCOUNT: readonly Column[] = [
  NAME,
  column('Secrets', (o) => (valueAt(o, 'secrets') as unknown[] | undefined)?.length ?? 0, { type: 'integer' }),
  AGE,
];
export const WHO_AM_I: readonly Column[] = [column('Username', text('status.userInfo.username'))];

function entries(object: KubeObject, path: string): number {
  return Object.keys((valueAt(object, path) as object | undefined) ?? {}).length;
}

export const SERVICE: readonly Column[] = [
  NAME,
  column('Type', text('spec.type')),
  column('Cluster-IP', text('spec.clusterIP')),
  column('External-IP', (o) => externalAddresses(o as IService)),
  column('Port(s)', (o) => servicePorts(o as IService)),
  AGE,
  column('Selector', (o) => labelsText((o as IService).spec?.selector), wide),
];

function externalAddresses({ spec, status }: IService): string {
  const extra = spec?.externalIPs ?? [];
  if (spec?.type === 'ExternalName') return spec.externalName || NONE;
  if (spec?.type === 'LoadBalancer') {
    const given = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? '');
    return [...given, ...extra].join(',') || '<pending>';
  }
  return extra.join(',') || NONE;
}

function servicePorts({ spec }: IService): string {
  const ports = (spec?.ports ?? []).map(({ port, nodePort, protocol }) =>
    nodePort === undefined ? `${port}/${protocol}` : `${port}:${nodePort}/${protocol}`,
  );
  return ports.join(',') || NONE;
}

function labelsText(labels: Record<string, string> | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return pairs.sort().join(',') || NONE;
}

function selectorText(selector: LabelSelectorObject | undefined): string {
  try {
    return selector === undefined ? NONE : formatLabelSelector(selectorFromObject(selector)) || NONE;
  } catch {
    return '<invalid>';
  }
}

const templateOf = (object: KubeObject) => valueAt(object, 'spec.template.spec') as IPodSpec | undefined;
const WORKLOAD_WIDE: readonly Column[] = [
  column('Containers', (o) => (templateOf(o)?.containers ?? []).map(({ name }) => name).join(','), wide),
  column('Images', (o) => (templateOf(o)?.containers ?? []).map(({ image }) => image ?? '').join(','), wide),
  column('Selector', (o) => selectorText(valueAt(o, 'spec.selector') as LabelSelectorObject | undefined), wide),
];

export const DEPLOYMENT: readonly Column[] = [
  NAME,
  column('Ready', (o) => `${(o as IDeployment).status?.readyReplicas ?? 0}/${(o as IDeployment).spec?.replicas ?? 0}`),
  column('Up-to-date', number('status.updatedReplicas'), { type: 'integer' }),
  column('Available', number('status.availableReplicas'), { type: 'integer' }),
  AGE,
  ...WORKLOAD_WIDE,
];

export const REPLICA_SET: readonly Column[] = [
  NAME,
  column('Desired', (o) => (o as IReplicaSet).spec?.replicas ?? 0, { type: 'integer' }),
  column('Current', number('status.replicas'), { type: 'integer' }),
  column('Ready', number('status.readyReplicas'), { type: 'integer' }),
  AGE,
  ...WORKLOAD_WIDE,
];

export const DAEMON_SET: readonly Column[] = [
  NAME,
  column('Desired', number('status.desiredNumberScheduled'), { type: 'integer' }),
  column('Current', number('status.currentNumberScheduled'), { type: 'integer' }),
  column('Ready', number('status.numberReady'), { type: 'integer' }),
  column('Up-to-date', number('status.updatedNumberScheduled'), { type: 'integer' }),
  column('Available', number('status.numberAvailable'), { type: 'integer' }),
  column('Node Selector', (o) => labelsText((o as IDaemonSet).spec?.template?.spec?.nodeSelector)),
  AGE,
  ...WORKLOAD_WIDE,
];

export const NODE: readonly Column[] = [
  NAME,
  column('Status', (o) => nodeStatus(o as INode)),
  column('Roles', (o) => nodeRoles(o)),
  AGE,
  column('Version', text('status.nodeInfo.kubeletVersion', '')),
  column('Internal-IP', (o) => nodeAddress(o as INode, 'InternalIP'), wide),
  column('External-IP', (o) => nodeAddress(o as INode, 'ExternalIP'), wide),
  column('OS-Image', text('status.nodeInfo.osImage', UNKNOWN), wide),
  column('Kernel-Version', text('status.nodeInfo.kernelVersion', UNKNOWN), wide),
  column('Container-Runtime', text('status.nodeInfo.containerRuntimeVersion', UNKNOWN), wide),
];

function nodeStatus({ spec, status }: INode): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  const words = [ready === undefined ? 'Unknown' : ready === 'True' ? 'Ready' : 'NotReady'];
  if (spec?.unschedulable) words.push('SchedulingDisabled');
  return words.join(',');
}

function nodeRoles({ metadata }: KubeObject): string {
  const prefix = 'node-role.kubernetes.io/';
  const roles = Object.keys(metadata?.labels ?? {}).flatMap((key) =>
    key.startsWith(prefix) ? [key.slice(prefix.length)] : [],
  );
  return roles.sort().join(',') || NONE;
}

function nodeAddress({ status }: INode, wanted: string): string {
  return status?.addresses?.find(({ type }) => type === wanted)?.address ?? NONE;
}

export const ENDPOINT_SLICE: readonly Column[] = [
  NAME,
  column('AddressType', text('addressType')),
  column('Ports', (o) =>
    someOf(
      ((o as IEndpointSlice).ports ?? []).map(({ port }) => (port === undefined ? '*' : String(port))),
      '<unset>',
    ),
  ),
  column('Endpoints', (o) =>
    someOf(
      ((o as IEndpointSlice).endpoints ?? []).flatMap(({ addresses }) => addresses),
      '<unset>',
    ),
  ),
  AGE,
];

function someOf(values: readonly string[], none: string): string {
  if (values.length === 0) return none;
  const shown = values.slice(0, 3).join(',');
  return values.length > 3 ? `${shown} + ${values.length - 3} more...` : shown;
}

export const EVENT: readonly Column[] = [
  column('Last Seen', (o, nowMs) => eventAge(o as IEvent, nowMs)),
  column('Type', text('type', '')),
  column('Reason', text('reason', '')),
  column('Object', (o) => {
    const { kind, name } = (o as IEvent).involvedObject ?? {};
    return `${(kind ?? '').toLowerCase()}/${name ?? ''}`;
  }),
  column('Subobject', text('involvedObject.fieldPath', ''), wide),
  column('Source', (o) => eventSource(o as IEvent), wide),
  column('Message', (o) => String((o as IEvent).message ?? '').trim()),
  column('First Seen', (o, nowMs) => ageSince((o as IEvent).firstTimestamp ?? (o as IEvent).eventTime, nowMs), wide),
  column('Count', (o) => (o as IEvent).series?.count ?? (o as IEvent).count ?? 1, { ...wide, type: 'integer' }),
  column('Name', (o) => o.metadata?.name ?? '', wide),
];

function eventAge(event: IEvent, nowMs: number): string {
  return ageSince(
    event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.firstTimestamp,
    nowMs,
  );
}

function eventSource({ source, reportingComponent }: IEvent): string {
  return [source?.component ?? reportingComponent ?? '', source?.host ?? ''].filter((part) => part !== '').join(', ');
}

export const LEASE: readonly Column[] = [NAME, column('Holder', text('spec.holderIdentity', '')), AGE];

export const ROLE_BINDING: readonly Column[] = [
  NAME,
  column('Role', (o) => `${(o as IRoleBinding).roleRef?.kind}/${(o as IRoleBinding).roleRef?.name}`),
  AGE,
  ...(['User', 'Group', 'ServiceAccount'] as const).map((kind) =>
    column(
      `${kind}s`,
      (o) =>
        ((o as IRoleBinding).subjects ?? [])
          .filter((subject) => subject.kind === kind)
          .map(({ name, namespace }) => (kind === 'ServiceAccount' ? `${namespace}/${name}` : name))
          .join(', '),
      wide,
    ),
  ),
];

const count =
  (path: string): Cell =>
  (object) =>
    (valueAt(object, path) as unknown[] | undefined)?.length ?? 0;
export const WEBHOOKS: readonly Column[] = [NAME, column('Webhooks', count('webhooks'), { type: 'integer' }), AGE];
export const AUTOSCALER: readonly Column[] = [
  NAME,
  column('Reference', (o) => `${valueAt(o, 'spec.scaleTargetRef.kind')}/${valueAt(o, 'spec.scaleTargetRef.name')}`),
  column('Targets', () => UNKNOWN),
  column('MinPods', text('spec.minReplicas', '1')),
  column('MaxPods', number('spec.maxReplicas'), { type: 'integer' }),
  column('Replicas', number('status.currentReplicas'), { type: 'integer' }),
  AGE,
];
export const NETWORK_POLICY: readonly Column[] = [
  NAME,
  column('Pod-Selector', (o) => selectorText(valueAt(o, 'spec.podSelector') as LabelSelectorObject | undefined)),
  AGE,
];
export const DISRUPTION_BUDGET: readonly Column[] = [
  NAME,
  column('Min Available', text('spec.minAvailable', 'N/A')),
  column('Max Unavailable', text('spec.maxUnavailable', 'N/A')),
  column('Allowed Disruptions', number('status.disruptionsAllowed'), { type: 'integer' }),
  AGE,
];
export const INGRESS: readonly Column[] = [
  NAME,
  column('Class', text('spec.ingressClassName')),
  column('Hosts', (o) => {
    const rules = (valueAt(o, 'spec.rules') as { host?: string }[] | undefined) ?? [];
    return rules.map(({ host }) => host || '*').join(',') || '*';
  }),
  column('Ports', (o) => (valueAt(o, 'spec.tls') === undefined ? '80' : '80, 443')),
  AGE,
];
export const INGRESS_CLASS: readonly Column[] = [NAME, column('Controller', text('spec.controller', '')), AGE];
export const PRIORITY_CLASS: readonly Column[] = [
  NAME,
  column('Value', number('value'), { type: 'integer' }),
  column('Global-Default', (o) => valueAt(o, 'globalDefault') === true, { type: 'boolean' }),
  AGE,
];

const condition = (object: KubeObject, wanted: string): string => {
  const conditions = (valueAt(object, 'status.conditions') as ICondition[] | undefined) ?? [];
  return conditions.find(({ type }) => type === wanted)?.status ?? '';
};
export const GATEWAY_CLASS: readonly Column[] = [
  NAME,
  column('Controller', text('spec.controllerName', '')),
  column('Accepted', (o) => condition(o, 'Accepted')),
  AGE,
  column('Description', text('spec.description', ''), wide),
];
export const GATEWAY: readonly Column[] = [
  NAME,
  column('Class', text('spec.gatewayClassName', '')),
  column('Address', (o) => ((o as IGateway).status?.addresses ?? []).map(({ value }) => value).join(',')),
  column('Programmed', (o) => condition(o, 'Programmed')),
  AGE,
];
export const ROUTE: readonly Column[] = [NAME, column('Hostnames', list('spec.hostnames')), AGE];

export const VIRTUAL_SERVICE: readonly Column[] = [
  NAME,
  column('Gateways', list('spec.gateways')),
  column('Hosts', list('spec.hosts')),
  AGE,
];
export const DESTINATION_RULE: readonly Column[] = [NAME, column('Host', text('spec.host', '')), AGE];
export const SERVICE_ENTRY: readonly Column[] = [
  NAME,
  column('Hosts', list('spec.hosts')),
  column('Location', text('spec.location', '')),
  column('Resolution', text('spec.resolution', '')),
  AGE,
];
export const WORKLOAD_ENTRY: readonly Column[] = [NAME, AGE, column('Address', text('spec.address', ''))];
export const AUTHORIZATION_POLICY: readonly Column[] = [NAME, column('Action', text('spec.action', '')), AGE];
export const PEER_AUTHENTICATION: readonly Column[] = [NAME, column('Mode', text('spec.mtls.mode', '')), AGE];
