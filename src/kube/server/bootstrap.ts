// Objects that every cluster has from its first moment; whoever changes or deletes one of these gets it back at the next
// start only if it is gone.

import type { KubeObject } from '../client/types.ts';

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

export const BOOTSTRAP_OBJECTS: readonly KubeObject[] = [
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
