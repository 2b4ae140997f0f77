// Every resource that some part of Ambit reads or writes, typed. What the embedded API serves is its own registry's
// matter (kube/server/registry); a constant here only says where a kind lives. Types come from kubernetes-models,
// as types alone: importing this file costs nothing at run time.

import type { IBackendTLSPolicy } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/BackendTLSPolicy';
import type { IGateway } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/Gateway';
import type { IGatewayClass } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/GatewayClass';
import type { IGRPCRoute } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/GRPCRoute';
import type { IHTTPRoute } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute';
import type { IReferenceGrant } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/ReferenceGrant';
import type { ITLSRoute } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/TLSRoute';
import type { ITCPRoute } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1alpha2/TCPRoute';
import type { IWasmPlugin } from '@kubernetes-models/istio/extensions.istio.io/v1alpha1/WasmPlugin';
import type { IDestinationRule } from '@kubernetes-models/istio/networking.istio.io/v1/DestinationRule';
import type { IGateway as IIstioGateway } from '@kubernetes-models/istio/networking.istio.io/v1/Gateway';
import type { IServiceEntry } from '@kubernetes-models/istio/networking.istio.io/v1/ServiceEntry';
import type { ISidecar } from '@kubernetes-models/istio/networking.istio.io/v1/Sidecar';
import type { IVirtualService } from '@kubernetes-models/istio/networking.istio.io/v1/VirtualService';
import type { IWorkloadEntry } from '@kubernetes-models/istio/networking.istio.io/v1/WorkloadEntry';
import type { IWorkloadGroup } from '@kubernetes-models/istio/networking.istio.io/v1/WorkloadGroup';
import type { IEnvoyFilter } from '@kubernetes-models/istio/networking.istio.io/v1alpha3/EnvoyFilter';
import type { IProxyConfig } from '@kubernetes-models/istio/networking.istio.io/v1beta1/ProxyConfig';
import type { IAuthorizationPolicy } from '@kubernetes-models/istio/security.istio.io/v1/AuthorizationPolicy';
import type { IPeerAuthentication } from '@kubernetes-models/istio/security.istio.io/v1/PeerAuthentication';
import type { IRequestAuthentication } from '@kubernetes-models/istio/security.istio.io/v1/RequestAuthentication';
import type { ITelemetry } from '@kubernetes-models/istio/telemetry.istio.io/v1/Telemetry';
import type { ICustomResourceDefinition } from 'kubernetes-models/apiextensions.k8s.io/v1/CustomResourceDefinition';
import type { IDaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IReplicaSet } from 'kubernetes-models/apps/v1/ReplicaSet';
import type { ITokenRequest } from 'kubernetes-models/authentication.k8s.io/v1/TokenRequest';
import type { ITokenReview } from 'kubernetes-models/authentication.k8s.io/v1/TokenReview';
import type { ISelfSubjectAccessReview } from 'kubernetes-models/authorization.k8s.io/v1/SelfSubjectAccessReview';
import type { ISubjectAccessReview } from 'kubernetes-models/authorization.k8s.io/v1/SubjectAccessReview';
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler';
import type { ILease } from 'kubernetes-models/coordination.k8s.io/v1/Lease';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IEviction } from 'kubernetes-models/policy/v1/Eviction';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import type { IClusterRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole';
import type { IClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRoleBinding';
import type { IRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/Role';
import type { IRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/RoleBinding';
import type { IBinding } from 'kubernetes-models/v1/Binding';
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { IEvent } from 'kubernetes-models/v1/Event';
import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { INode } from 'kubernetes-models/v1/Node';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { ISecret } from 'kubernetes-models/v1/Secret';
import type { IService } from 'kubernetes-models/v1/Service';
import type { IServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import type { KubeObject, Resource } from './types.ts';

/** Declares a namespaced resource of `apiVersion` (`v1`, `apps/v1`, …). */
export function namespacedResource<T extends KubeObject>(
  apiVersion: string,
  plural: string,
  kind: string,
): Resource<T> {
  return { ...splitApiVersion(apiVersion), plural, kind, namespaced: true };
}

/** Declares a cluster-scoped resource. */
export function clusterResource<T extends KubeObject>(apiVersion: string, plural: string, kind: string): Resource<T> {
  return { ...splitApiVersion(apiVersion), plural, kind, namespaced: false };
}

/** `apps/v1` → group `apps`, version `v1`; `v1` is the core group, `''`. */
export function splitApiVersion(apiVersion: string): { group: string; version: string } {
  const slash = apiVersion.indexOf('/');
  return slash < 0
    ? { group: '', version: apiVersion }
    : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) };
}

/** The inverse of splitApiVersion. */
export function apiVersionOf(resource: { readonly group: string; readonly version: string }): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** The URL path of a collection, one object, or one object's subresource. */
export function resourcePath(resource: Resource, namespace?: string, name?: string, subresource?: string): string {
  let path = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  if (resource.namespaced && namespace !== undefined) path += `/namespaces/${encodeURIComponent(namespace)}`;
  path += `/${resource.plural}`;
  if (name !== undefined) path += `/${encodeURIComponent(name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

/** `<namespace>/<name>`, or `<name>` when cluster-scoped: the key of an informer's map. */
export function objectKey(object: KubeObject): string {
  const { namespace, name = '' } = object.metadata ?? {};
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

// core
export const NAMESPACES = clusterResource<INamespace>('v1', 'namespaces', 'Namespace');
export const NODES = clusterResource<INode>('v1', 'nodes', 'Node');
export const PODS = namespacedResource<IPod>('v1', 'pods', 'Pod');
export const SERVICES = namespacedResource<IService>('v1', 'services', 'Service');
export const SERVICE_ACCOUNTS = namespacedResource<IServiceAccount>('v1', 'serviceaccounts', 'ServiceAccount');
export const CONFIG_MAPS = namespacedResource<IConfigMap>('v1', 'configmaps', 'ConfigMap');
export const SECRETS = namespacedResource<ISecret>('v1', 'secrets', 'Secret');
export const EVENTS = namespacedResource<IEvent>('v1', 'events', 'Event');

// workloads
export const DEPLOYMENTS = namespacedResource<IDeployment>('apps/v1', 'deployments', 'Deployment');
export const REPLICA_SETS = namespacedResource<IReplicaSet>('apps/v1', 'replicasets', 'ReplicaSet');
export const DAEMON_SETS = namespacedResource<IDaemonSet>('apps/v1', 'daemonsets', 'DaemonSet');
export const AUTOSCALERS = namespacedResource<IHorizontalPodAutoscaler>(
  'autoscaling/v2',
  'horizontalpodautoscalers',
  'HorizontalPodAutoscaler',
);
export const DISRUPTION_BUDGETS = namespacedResource<IPodDisruptionBudget>(
  'policy/v1',
  'poddisruptionbudgets',
  'PodDisruptionBudget',
);
export const ENDPOINT_SLICES = namespacedResource<IEndpointSlice>(
  'discovery.k8s.io/v1',
  'endpointslices',
  'EndpointSlice',
);
export const LEASES = namespacedResource<ILease>('coordination.k8s.io/v1', 'leases', 'Lease');
export const CUSTOM_RESOURCE_DEFINITIONS = clusterResource<ICustomResourceDefinition>(
  'apiextensions.k8s.io/v1',
  'customresourcedefinitions',
  'CustomResourceDefinition',
);

// access
export const ROLES = namespacedResource<IRole>('rbac.authorization.k8s.io/v1', 'roles', 'Role');
export const ROLE_BINDINGS = namespacedResource<IRoleBinding>(
  'rbac.authorization.k8s.io/v1',
  'rolebindings',
  'RoleBinding',
);
export const CLUSTER_ROLES = clusterResource<IClusterRole>(
  'rbac.authorization.k8s.io/v1',
  'clusterroles',
  'ClusterRole',
);
export const CLUSTER_ROLE_BINDINGS = clusterResource<IClusterRoleBinding>(
  'rbac.authorization.k8s.io/v1',
  'clusterrolebindings',
  'ClusterRoleBinding',
);

// Requests that are answered, not stored: only `create` exists.
export const TOKEN_REVIEWS = clusterResource<ITokenReview>('authentication.k8s.io/v1', 'tokenreviews', 'TokenReview');
export const SUBJECT_ACCESS_REVIEWS = clusterResource<ISubjectAccessReview>(
  'authorization.k8s.io/v1',
  'subjectaccessreviews',
  'SubjectAccessReview',
);
export const SELF_SUBJECT_ACCESS_REVIEWS = clusterResource<ISelfSubjectAccessReview>(
  'authorization.k8s.io/v1',
  'selfsubjectaccessreviews',
  'SelfSubjectAccessReview',
);

/** `create(SERVICE_ACCOUNT_TOKENS, { metadata: { name: <service account>, namespace }, spec }, { subresource: 'token' })`. */
export const SERVICE_ACCOUNT_TOKENS = namespacedResource<ITokenRequest>('v1', 'serviceaccounts', 'TokenRequest');
/** `create(POD_BINDINGS, { metadata, target: { kind: 'Node', name } }, { subresource: 'binding' })`. */
export const POD_BINDINGS = namespacedResource<IBinding>('v1', 'pods', 'Binding');
/** `create(POD_EVICTIONS, { metadata: { name: <pod>, namespace } }, { subresource: 'eviction' })`. */
export const POD_EVICTIONS = namespacedResource<IEviction>('v1', 'pods', 'Eviction');

// Gateway API
const GATEWAY_API = 'gateway.networking.k8s.io';
export const GATEWAY_CLASSES = clusterResource<IGatewayClass>(`${GATEWAY_API}/v1`, 'gatewayclasses', 'GatewayClass');
export const GATEWAYS = namespacedResource<IGateway>(`${GATEWAY_API}/v1`, 'gateways', 'Gateway');
export const HTTP_ROUTES = namespacedResource<IHTTPRoute>(`${GATEWAY_API}/v1`, 'httproutes', 'HTTPRoute');
export const GRPC_ROUTES = namespacedResource<IGRPCRoute>(`${GATEWAY_API}/v1`, 'grpcroutes', 'GRPCRoute');
export const TLS_ROUTES = namespacedResource<ITLSRoute>(`${GATEWAY_API}/v1`, 'tlsroutes', 'TLSRoute');
export const TCP_ROUTES = namespacedResource<ITCPRoute>(`${GATEWAY_API}/v1alpha2`, 'tcproutes', 'TCPRoute');
export const REFERENCE_GRANTS = namespacedResource<IReferenceGrant>(
  `${GATEWAY_API}/v1`,
  'referencegrants',
  'ReferenceGrant',
);
export const BACKEND_TLS_POLICIES = namespacedResource<IBackendTLSPolicy>(
  `${GATEWAY_API}/v1`,
  'backendtlspolicies',
  'BackendTLSPolicy',
);

// Ours
export const TRAFFIC_FILTERS = namespacedResource('ambit.dev/v1alpha1', 'trafficfilters', 'TrafficFilter');

// Istio
export const VIRTUAL_SERVICES = namespacedResource<IVirtualService>(
  'networking.istio.io/v1',
  'virtualservices',
  'VirtualService',
);
export const DESTINATION_RULES = namespacedResource<IDestinationRule>(
  'networking.istio.io/v1',
  'destinationrules',
  'DestinationRule',
);
export const SERVICE_ENTRIES = namespacedResource<IServiceEntry>(
  'networking.istio.io/v1',
  'serviceentries',
  'ServiceEntry',
);
export const WORKLOAD_ENTRIES = namespacedResource<IWorkloadEntry>(
  'networking.istio.io/v1',
  'workloadentries',
  'WorkloadEntry',
);
export const WORKLOAD_GROUPS = namespacedResource<IWorkloadGroup>(
  'networking.istio.io/v1',
  'workloadgroups',
  'WorkloadGroup',
);
export const ISTIO_GATEWAYS = namespacedResource<IIstioGateway>('networking.istio.io/v1', 'gateways', 'Gateway');
export const SIDECARS = namespacedResource<ISidecar>('networking.istio.io/v1', 'sidecars', 'Sidecar');
export const ENVOY_FILTERS = namespacedResource<IEnvoyFilter>(
  'networking.istio.io/v1alpha3',
  'envoyfilters',
  'EnvoyFilter',
);
export const PROXY_CONFIGS = namespacedResource<IProxyConfig>(
  'networking.istio.io/v1beta1',
  'proxyconfigs',
  'ProxyConfig',
);
export const AUTHORIZATION_POLICIES = namespacedResource<IAuthorizationPolicy>(
  'security.istio.io/v1',
  'authorizationpolicies',
  'AuthorizationPolicy',
);
export const PEER_AUTHENTICATIONS = namespacedResource<IPeerAuthentication>(
  'security.istio.io/v1',
  'peerauthentications',
  'PeerAuthentication',
);
export const REQUEST_AUTHENTICATIONS = namespacedResource<IRequestAuthentication>(
  'security.istio.io/v1',
  'requestauthentications',
  'RequestAuthentication',
);
export const TELEMETRIES = namespacedResource<ITelemetry>('telemetry.istio.io/v1', 'telemetries', 'Telemetry');
export const WASM_PLUGINS = namespacedResource<IWasmPlugin>(
  'extensions.istio.io/v1alpha1',
  'wasmplugins',
  'WasmPlugin',
);
