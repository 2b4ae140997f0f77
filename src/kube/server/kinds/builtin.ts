// The built-in kinds: Kubernetes' own, as one table.

import type { KubeObject } from '../../client/types.ts';
import { definitionRules } from '../crd/definition.ts';
import { schemaNamed } from '../schema/node.ts';
import * as tables from '../table/columns.ts';
import {
  configMapRules,
  endpointSliceRules,
  namespaceRules,
  nodeRules,
  roleBindingRules,
  secretRules,
} from './core.ts';
import { ALL_VERBS, type Column, type Kind, type KindRules, type ScalePaths, type Subresource } from './kind.ts';
import { podRules } from './pod.ts';
import { serviceRules } from './service.ts';
import type { NameRule } from './validate-names.ts';
import { daemonSetRules, deploymentRules, replicaSetRules } from './workloads.ts';

interface Definition {
  readonly plural: string;
  readonly short?: readonly string[];
  readonly categories?: readonly string[];
  readonly cluster?: true;
  readonly status?: true;
  readonly generation?: true;
  readonly scale?: ScalePaths;
  readonly verbs?: readonly string[];
  readonly subresources?: Readonly<Record<string, Subresource>>;
  readonly fields?: readonly string[];
  readonly columns?: readonly Column[];
  readonly rules?: KindRules;
  readonly name?: NameRule;
  readonly notice?: string;
}

function define(group: string, version: string, kind: string, more: Definition): Kind {
  const schema = `${group === '' ? 'core' : group}.${version}.${kind}`;
  const { columns = tables.NAME_AND_AGE } = more;
  return {
    group,
    plural: more.plural,
    singular: kind.toLowerCase(),
    kind,
    namespaced: more.cluster !== true,
    versions: [version],
    storageVersion: version,
    shortNames: more.short ?? [],
    categories: more.categories ?? [],
    verbs: more.verbs ?? ALL_VERBS,
    status: more.status === true,
    scale: more.scale,
    subresources: more.subresources ?? {},
    generation: more.generation === true,
    custom: false,
    selectableFields: more.fields ?? [],
    schema: () => schemaNamed(schema),
    columns: () => columns,
    rules: more.rules ?? ({} satisfies KindRules<KubeObject>),
    nameRule: more.name ?? 'subdomain',
    notice: more.notice,
  };
}

const REPLICAS: ScalePaths = { specReplicas: 'spec.replicas', statusReplicas: 'status.replicas' };
const CREATE_ONLY = ['create'];
const CONNECT = ['create', 'get'];
const PROXY = ['create', 'delete', 'get', 'patch', 'update'];
const RBAC = 'rbac.authorization.k8s.io';

const POD_SUBRESOURCES: Record<string, Subresource> = {
  attach: { kind: 'PodAttachOptions', verbs: CONNECT },
  binding: { kind: 'Binding', verbs: CREATE_ONLY },
  ephemeralcontainers: { kind: 'Pod', verbs: ['get', 'patch', 'update'] },
  eviction: { kind: 'Eviction', group: 'policy', version: 'v1', verbs: CREATE_ONLY },
  exec: { kind: 'PodExecOptions', verbs: CONNECT },
  log: { kind: 'Pod', verbs: ['get'] },
  portforward: { kind: 'PodPortForwardOptions', verbs: CONNECT },
  proxy: { kind: 'PodProxyOptions', verbs: PROXY },
};

export const BUILTIN_KINDS: readonly Kind[] = [
  define('', 'v1', 'ConfigMap', {
    plural: 'configmaps',
    short: ['cm'],
    columns: tables.CONFIG_MAP,
    rules: configMapRules,
  }),
  define('', 'v1', 'Event', { plural: 'events', short: ['ev'], columns: tables.EVENT, fields: eventFields() }),
  define('', 'v1', 'Namespace', {
    plural: 'namespaces',
    short: ['ns'],
    cluster: true,
    status: true,
    verbs: ALL_VERBS.filter((verb) => verb !== 'deletecollection'),
    subresources: { finalize: { kind: 'Namespace', verbs: ['update'] } },
    fields: ['status.phase'],
    columns: tables.NAMESPACE,
    rules: namespaceRules,
    name: 'label',
  }),
  define('', 'v1', 'Node', {
    plural: 'nodes',
    short: ['no'],
    cluster: true,
    status: true,
    fields: ['spec.unschedulable'],
    columns: tables.NODE,
    rules: nodeRules,
  }),
  define('', 'v1', 'Pod', {
    plural: 'pods',
    short: ['po'],
    categories: ['all'],
    status: true,
    generation: true,
    subresources: POD_SUBRESOURCES,
    fields: [
      'spec.nodeName',
      'spec.restartPolicy',
      'spec.schedulerName',
      'spec.serviceAccountName',
      'spec.hostNetwork',
      'status.phase',
      'status.podIP',
      'status.nominatedNodeName',
    ],
    columns: tables.POD,
    rules: podRules,
  }),
  define('', 'v1', 'Secret', { plural: 'secrets', columns: tables.SECRET, rules: secretRules, fields: ['type'] }),
  define('', 'v1', 'Service', {
    plural: 'services',
    short: ['svc'],
    categories: ['all'],
    status: true,
    subresources: { proxy: { kind: 'ServiceProxyOptions', verbs: PROXY } },
    fields: ['spec.clusterIP', 'spec.type'],
    columns: tables.SERVICE,
    rules: serviceRules,
    name: 'label1035',
  }),
  define('', 'v1', 'ServiceAccount', {
    plural: 'serviceaccounts',
    short: ['sa'],
    subresources: {
      token: { kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: CREATE_ONLY },
    },
    columns: tables.SERVICE_ACCOUNT,
  }),
  define('apps', 'v1', 'DaemonSet', {
    plural: 'daemonsets',
    short: ['ds'],
    categories: ['all'],
    status: true,
    generation: true,
    columns: tables.DAEMON_SET,
    rules: daemonSetRules,
  }),
  define('apps', 'v1', 'Deployment', {
    plural: 'deployments',
    short: ['deploy'],
    categories: ['all'],
    status: true,
    generation: true,
    scale: REPLICAS,
    columns: tables.DEPLOYMENT,
    rules: deploymentRules,
  }),
  define('apps', 'v1', 'ReplicaSet', {
    plural: 'replicasets',
    short: ['rs'],
    categories: ['all'],
    status: true,
    generation: true,
    scale: REPLICAS,
    fields: ['status.replicas'],
    columns: tables.REPLICA_SET,
    rules: replicaSetRules,
  }),
  define('discovery.k8s.io', 'v1', 'EndpointSlice', {
    plural: 'endpointslices',
    generation: true,
    columns: tables.ENDPOINT_SLICE,
    rules: endpointSliceRules,
  }),
  define('coordination.k8s.io', 'v1', 'Lease', { plural: 'leases', columns: tables.LEASE }),
  define(RBAC, 'v1', 'ClusterRole', {
    plural: 'clusterroles',
    cluster: true,
    columns: tables.NAME_AND_CREATED,
    name: 'path',
  }),
  define(RBAC, 'v1', 'ClusterRoleBinding', {
    plural: 'clusterrolebindings',
    cluster: true,
    columns: tables.ROLE_BINDING,
    rules: roleBindingRules,
    name: 'path',
  }),
  define(RBAC, 'v1', 'Role', { plural: 'roles', columns: tables.NAME_AND_CREATED, name: 'path' }),
  define(RBAC, 'v1', 'RoleBinding', {
    plural: 'rolebindings',
    columns: tables.ROLE_BINDING,
    rules: roleBindingRules,
    name: 'path',
  }),
  define('authentication.k8s.io', 'v1', 'TokenReview', { plural: 'tokenreviews', cluster: true, verbs: CREATE_ONLY }),
  define('authentication.k8s.io', 'v1', 'SelfSubjectReview', {
    plural: 'selfsubjectreviews',
    cluster: true,
    verbs: CREATE_ONLY,
    columns: tables.WHO_AM_I,
  }),
  define('authorization.k8s.io', 'v1', 'SubjectAccessReview', {
    plural: 'subjectaccessreviews',
    cluster: true,
    verbs: CREATE_ONLY,
  }),
  define('authorization.k8s.io', 'v1', 'SelfSubjectAccessReview', {
    plural: 'selfsubjectaccessreviews',
    cluster: true,
    verbs: CREATE_ONLY,
  }),
  define('authorization.k8s.io', 'v1', 'LocalSubjectAccessReview', {
    plural: 'localsubjectaccessreviews',
    verbs: CREATE_ONLY,
  }),
  define('authorization.k8s.io', 'v1', 'SelfSubjectRulesReview', {
    plural: 'selfsubjectrulesreviews',
    cluster: true,
    verbs: CREATE_ONLY,
  }),
  // Kinds that charts bring along. They are kept for whoever reads them, and their writers are told that this is all.
  define('admissionregistration.k8s.io', 'v1', 'MutatingWebhookConfiguration', {
    plural: 'mutatingwebhookconfigurations',
    cluster: true,
    categories: ['api-extensions'],
    columns: tables.WEBHOOKS,
    notice: 'kept, but not called: this API has no admission webhooks yet',
  }),
  define('admissionregistration.k8s.io', 'v1', 'ValidatingWebhookConfiguration', {
    plural: 'validatingwebhookconfigurations',
    cluster: true,
    categories: ['api-extensions'],
    columns: tables.WEBHOOKS,
    notice: 'kept, but not called: this API has no admission webhooks yet',
  }),
  define('autoscaling', 'v2', 'HorizontalPodAutoscaler', {
    plural: 'horizontalpodautoscalers',
    short: ['hpa'],
    categories: ['all'],
    status: true,
    columns: tables.AUTOSCALER,
    notice: 'kept, but nothing scales by it: there are no metrics to scale by',
  }),
  define('networking.k8s.io', 'v1', 'Ingress', {
    plural: 'ingresses',
    short: ['ing'],
    status: true,
    generation: true,
    columns: tables.INGRESS,
    notice: 'kept, but nothing routes by it: use a Gateway and an HTTPRoute',
  }),
  define('networking.k8s.io', 'v1', 'IngressClass', {
    plural: 'ingressclasses',
    cluster: true,
    generation: true,
    columns: tables.INGRESS_CLASS,
    notice: 'kept, but nothing routes by it',
  }),
  define('networking.k8s.io', 'v1', 'NetworkPolicy', {
    plural: 'networkpolicies',
    short: ['netpol'],
    generation: true,
    columns: tables.NETWORK_POLICY,
    notice: 'kept, but not enforced: use an AuthorizationPolicy',
  }),
  define('policy', 'v1', 'PodDisruptionBudget', {
    plural: 'poddisruptionbudgets',
    short: ['pdb'],
    status: true,
    generation: true,
    columns: tables.DISRUPTION_BUDGET,
    notice: 'kept, but evictions do not ask it',
  }),
  define('scheduling.k8s.io', 'v1', 'PriorityClass', {
    plural: 'priorityclasses',
    short: ['pc'],
    cluster: true,
    columns: tables.PRIORITY_CLASS,
    notice: 'kept, but pods are not preempted here',
  }),
  define('apiextensions.k8s.io', 'v1', 'CustomResourceDefinition', {
    plural: 'customresourcedefinitions',
    short: ['crd', 'crds'],
    categories: ['api-extensions'],
    cluster: true,
    status: true,
    generation: true,
    columns: tables.NAME_AND_CREATED,
    rules: definitionRules,
  }),
];

function eventFields(): string[] {
  const about = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'];
  return [...about.map((field) => `involvedObject.${field}`), 'reason', 'reportingComponent', 'source', 'type'];
}
