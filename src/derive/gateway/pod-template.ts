// The pods of a waypoint or gateway: one container with the L7 proxy. The same for both but for its first argument.

import { HBONE_PORT, METRICS_PORT, READINESS_PORT } from '../../model/ports.ts';
import type { Gateway } from '../objects/gateway.ts';
import type { Json, Labels } from '../read.ts';
import type { ProxySettings } from './proxy-settings.ts';
import type { GatewayRole } from './role.ts';

/** What holds for every Gateway of a mesh. */
export interface GatewayDefaults {
  readonly image: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly network: string;
  readonly trustDomain: string;
  /** `host:port` of discovery and certificates. */
  readonly discoveryAddress: string;
  readonly systemNamespace: string;
  readonly revision: string;
}

const GRACE_SECONDS = 30;
const PROXY_USER = 1337;
/** Istio's: enough for most, and a cap that one waypoint does not take a node. */
const RESOURCES: Json = { requests: { cpu: '100m', memory: '128Mi' }, limits: { cpu: '2', memory: '1Gi' } };
const ROOT_CERTIFICATE = '/var/run/secrets/istio/root-cert.pem';
const TOKEN = '/var/run/secrets/tokens/istio-token';

const field = (name: string, fieldPath: string): Json => ({ name, valueFrom: { fieldRef: { fieldPath } } });

function environment(
  gateway: Gateway,
  name: string,
  defaults: GatewayDefaults,
  { config }: ProxySettings,
): readonly Json[] {
  const control = `https://${defaults.discoveryAddress}`;
  const fixed: Readonly<Record<string, string>> = {
    GATEWAY_NAME: gateway.name,
    XDS_ADDRESS: control,
    CA_ADDRESS: control,
    XDS_ROOT_CA: ROOT_CERTIFICATE,
    CA_ROOT_CA: ROOT_CERTIFICATE,
    AUTH_TOKEN: TOKEN,
    CLUSTER_ID: defaults.clusterId,
    NETWORK: defaults.network,
    TRUST_DOMAIN: defaults.trustDomain,
    TERMINATION_GRACE_PERIOD_SECONDS: String(GRACE_SECONDS),
    ISTIO_META_CLUSTER_ID: defaults.clusterId,
    ISTIO_META_WORKLOAD_NAME: name,
    ISTIO_META_OWNER: `kubernetes://apis/apps/v1/namespaces/${gateway.namespace}/deployments/${name}`,
    ...(Object.keys(config).length > 0 && { PROXY_CONFIG: JSON.stringify(config) }),
  };
  return [
    field('POD_NAME', 'metadata.name'),
    field('POD_NAMESPACE', 'metadata.namespace'),
    field('INSTANCE_IP', 'status.podIP'),
    field('NODE_NAME', 'spec.nodeName'),
    field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    ...Object.entries(fixed).map(([key, value]) => ({ name: key, value })),
  ];
}

const probe = (periodSeconds: number, failureThreshold: number): Json => ({
  httpGet: { path: '/healthz/ready', port: READINESS_PORT },
  periodSeconds,
  failureThreshold,
  timeoutSeconds: 1,
});

/** @param name  of the Deployment */
export function podTemplate(
  gateway: Gateway,
  role: GatewayRole,
  name: string,
  metadata: { readonly labels: Labels; readonly annotations: Labels; readonly serviceAccount: string },
  defaults: GatewayDefaults,
  settings: ProxySettings,
): Json {
  const ports: Json[] = [
    { name: 'metrics', containerPort: METRICS_PORT, protocol: 'TCP' },
    { name: 'status-port', containerPort: READINESS_PORT, protocol: 'TCP' },
  ];
  if (role.kind === 'waypoint') ports.push({ name: 'mesh', containerPort: HBONE_PORT, protocol: 'TCP' });
  const container: Json = {
    name: 'istio-proxy',
    image: defaults.image,
    args: ['proxy', role.kind],
    workingDir: '/',
    ports,
    readinessProbe: probe(15, 4),
    startupProbe: probe(1, 30),
    resources: settings.resources ?? RESOURCES,
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsGroup: PROXY_USER,
      runAsNonRoot: true,
      runAsUser: PROXY_USER,
    },
    env: environment(gateway, name, defaults, settings),
    volumeMounts: [
      { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio' },
      { name: 'istio-token', mountPath: '/var/run/secrets/tokens' },
    ],
  };
  return {
    metadata: {
      labels: {
        ...metadata.labels,
        'sidecar.istio.io/inject': 'false',
        'istio.io/dataplane-mode': 'none',
        'service.istio.io/canonical-name': name,
        'service.istio.io/canonical-revision': 'latest',
      },
      annotations: {
        ...metadata.annotations,
        'istio.io/rev': defaults.revision,
        'prometheus.io/path': '/stats/prometheus',
        'prometheus.io/port': String(METRICS_PORT),
        'prometheus.io/scrape': 'true',
      },
    },
    spec: {
      serviceAccountName: metadata.serviceAccount,
      terminationGracePeriodSeconds: GRACE_SECONDS,
      // Listeners below 1024, without the power to bind them.
      securityContext: { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }] },
      containers: [container],
      volumes: [
        { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
        {
          name: 'istio-token',
          projected: {
            sources: [
              { serviceAccountToken: { path: 'istio-token', audience: 'istio-ca', expirationSeconds: 43_200 } },
            ],
          },
        },
      ],
    },
  };
}
