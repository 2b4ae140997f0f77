// Objects that every cluster has from its first moment; whoever changes or deletes one of these gets it back at the next
// start only if it is gone.

import type { KubeObject } from '../client/types.ts';
import { AUTHENTICATED, MASTERS } from './auth/user.ts';

/** Where the API and the cluster DNS listen inside the room. */
export const ROOM_ADDRESS = '172.31.0.1';
export const ROOM_API_PORT = 6443;
export const KUBERNETES_SERVICE_IP = '10.96.0.1';
export const DNS_SERVICE_IP = '10.96.0.10';

const namespace = (name: string): KubeObject =>
  object(
    'v1',
    'Namespace',
    name,
    undefined,
    {
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    },
    { 'kubernetes.io/metadata.name': name },
  );

function object(
  apiVersion: string,
  kind: string,
  name: string,
  inNamespace: string | undefined,
  rest: Record<string, unknown>,
  labels?: Record<string, string>,
): KubeObject {
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(inNamespace === undefined ? {} : { namespace: inNamespace }),
      ...(labels === undefined ? {} : { labels }),
    },
    ...rest,
  };
}

interface Port {
  readonly name: string;
  readonly port: number;
  readonly targetPort: number;
  readonly protocol: 'TCP' | 'UDP';
}

/** A Service without a selector, and the slice that says where it is. */
function fixedService(
  inNamespace: string,
  name: string,
  ip: string,
  ports: readonly Port[],
  labels: Record<string, string>,
): KubeObject[] {
  return [
    object(
      'v1',
      'Service',
      name,
      inNamespace,
      {
        spec: {
          type: 'ClusterIP',
          clusterIP: ip,
          clusterIPs: [ip],
          ipFamilies: ['IPv4'],
          ipFamilyPolicy: 'SingleStack',
          internalTrafficPolicy: 'Cluster',
          sessionAffinity: 'None',
          ports: ports.map(({ name, port, targetPort, protocol }) => ({ name, port, protocol, targetPort })),
        },
        status: { loadBalancer: {} },
      },
      labels,
    ),
    object(
      'discovery.k8s.io/v1',
      'EndpointSlice',
      name,
      inNamespace,
      {
        addressType: 'IPv4',
        endpoints: [{ addresses: [ROOM_ADDRESS], conditions: { ready: true, serving: true, terminating: false } }],
        ports: ports.map(({ name, targetPort, protocol }) => ({ name, port: targetPort, protocol })),
      },
      { 'kubernetes.io/service-name': name },
    ),
  ];
}

const RBAC = 'rbac.authorization.k8s.io';
const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update'];

interface Rule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

const rule = (apiGroups: readonly string[], resources: readonly string[], verbs: readonly string[]): Rule => ({
  apiGroups,
  resources,
  verbs,
});
const clusterRole = (name: string, rules: readonly Rule[]): KubeObject =>
  object(`${RBAC}/v1`, 'ClusterRole', name, undefined, { rules });
const bindGroup = (name: string, role: string, group: string): KubeObject =>
  object(`${RBAC}/v1`, 'ClusterRoleBinding', name, undefined, {
    roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: role },
    subjects: [{ apiGroup: RBAC, kind: 'Group', name: group }],
  });

const MESH_GROUPS = [
  'networking.istio.io',
  'security.istio.io',
  'telemetry.istio.io',
  'extensions.istio.io',
  'gateway.networking.k8s.io',
];

/** What kubectl's users may do inside a namespace whose `edit` or `view` they have. */
const NAMESPACE_WORK = [
  rule([''], ['configmaps', 'events', 'pods', 'pods/status', 'pods/log', 'serviceaccounts', 'services'], READ),
  rule(['apps'], ['*'], READ),
  rule(['discovery.k8s.io'], ['endpointslices'], READ),
  rule(MESH_GROUPS, ['*'], READ),
];
const NAMESPACE_EDIT = [
  ...NAMESPACE_WORK,
  rule([''], ['secrets', 'pods/attach', 'pods/exec', 'pods/portforward'], [...READ, ...WRITE]),
  rule(
    [''],
    ['configmaps', 'events', 'pods', 'pods/eviction', 'serviceaccounts', 'serviceaccounts/token', 'services'],
    WRITE,
  ),
  rule(['apps'], ['*'], WRITE),
  rule(MESH_GROUPS, ['*'], WRITE),
];

/** Roles that every cluster has. Nobody else may do anything that no further Role says: the mesh's parts bring theirs. */
const ROLES: readonly KubeObject[] = [
  clusterRole('cluster-admin', [rule(['*'], ['*'], ['*']), { nonResourceURLs: ['*'], verbs: ['*'] }]),
  bindGroup('cluster-admin', 'cluster-admin', MASTERS),
  clusterRole('system:discovery', [
    {
      nonResourceURLs: [
        '/',
        '/api',
        '/api/*',
        '/apis',
        '/apis/*',
        '/openapi',
        '/openapi/*',
        '/openid/v1/jwks',
        '/.well-known/openid-configuration',
      ],
      verbs: ['get'],
    },
  ]),
  bindGroup('system:discovery', 'system:discovery', AUTHENTICATED),
  clusterRole('system:basic-user', [
    rule(['authorization.k8s.io'], ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
    rule(['authentication.k8s.io'], ['selfsubjectreviews'], ['create']),
  ]),
  bindGroup('system:basic-user', 'system:basic-user', AUTHENTICATED),
  clusterRole('view', NAMESPACE_WORK),
  clusterRole('edit', NAMESPACE_EDIT),
  clusterRole('admin', [...NAMESPACE_EDIT, rule([RBAC], ['roles', 'rolebindings'], [...READ, ...WRITE])]),
];

export const BOOTSTRAP_OBJECTS: readonly KubeObject[] = [
  ...ROLES,
  ...['default', 'kube-system', 'kube-public', 'kube-node-lease'].map(namespace),
  ...fixedService(
    'default',
    'kubernetes',
    KUBERNETES_SERVICE_IP,
    [{ name: 'https', port: 443, targetPort: ROOM_API_PORT, protocol: 'TCP' }],
    {
      component: 'apiserver',
      provider: 'kubernetes',
    },
  ),
  ...fixedService(
    'kube-system',
    'kube-dns',
    DNS_SERVICE_IP,
    [
      { name: 'dns', port: 53, targetPort: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, targetPort: 53, protocol: 'TCP' },
    ],
    { 'k8s-app': 'kube-dns', 'kubernetes.io/name': 'CoreDNS' },
  ),
];
