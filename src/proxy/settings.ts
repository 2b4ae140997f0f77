// The L7 proxy's settings: the environment, with Istio's names. A pure function from what was found to a whole
// `ProxySettings`, or to everything that is wrong with it. After start-up nothing reads the environment.

import type { NodeDescription } from '../dataplane/ads/protocol.ts';
import { controlPlaneAccess, readDrainMs } from '../dataplane/control-plane-settings.ts';
import type { ControlPlaneAccess } from '../dataplane/grpc/access.ts';
import { SettingsReader } from '../dataplane/settings-reader.ts';
import { DEFAULT_TRUST_DOMAIN, type SpiffeId } from '../model/identity.ts';
import { type Ip, parseIp } from '../model/ip.ts';
import { HBONE_PORT, METRICS_PORT, READINESS_PORT, ZTUNNEL_ADMIN_PORT } from '../model/ports.ts';
import type { ProxyRole } from '../model/proxy/proxy-config.ts';
import { fail, ok, type Result } from '../model/result.ts';
import type { LogFormat } from '../telemetry/log.ts';
import { parseFilter } from '../telemetry/log-filter.ts';
import type { StructValue } from '../wire/protobuf/writer.ts';

export interface ProxySettings {
  readonly role: ProxyRole;
  readonly namespace: string;
  readonly podName: string;
  readonly ip: Ip;
  readonly nodeName: string;
  /** Name of the Gateway object. */
  readonly gatewayName: string;
  /** Name of the Deployment: what reports call this proxy. */
  readonly workloadName: string;
  /** Whose certificate the proxy has. */
  readonly identity: SpiffeId;
  readonly network: string;
  readonly clusterId: string;
  readonly istioVersion: string;
  readonly ipv6: boolean;
  readonly xds: { readonly access: ControlPlaneAccess; readonly node: NodeDescription };
  readonly ca: { readonly access: ControlPlaneAccess; readonly ttlSeconds: number };
  readonly ports: {
    readonly hbone: number;
    readonly admin: number;
    readonly metrics: number;
    readonly readiness: number;
  };
  readonly drain: {
    /** Not ready, but still accepting: time for clients and endpoints to hear of it. */
    readonly announceMs: number;
    /** How long exchanges may finish after that. */
    readonly deadlineMs: number;
  };
  readonly log: { readonly filter: string; readonly format: LogFormat };
}

export interface RawSettings {
  /** `waypoint`, or `router` as Istio calls a gateway. */
  readonly command: 'waypoint' | 'router';
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly exists: (path: string) => boolean;
}

const DAY_MS = 86_400_000;
/** As Istio's proxies: the least time in which others stop sending. */
const ANNOUNCE_MS = 1_000;

/** @returns every problem, one sentence each, if there is any */
export function parseSettings({ command, env, exists }: RawSettings): Result<ProxySettings, readonly string[]> {
  const read = new SettingsReader(env);
  const metadata = new Map(read.prefixed('ISTIO_META_'));
  const needed = (name: string, otherwise?: string): string => {
    const value = read.text(name) ?? otherwise;
    if (value === undefined) read.problem(`${name} is not set: it comes from the pod's own description (downward API)`);
    return value ?? '';
  };
  const namespace = needed('POD_NAMESPACE');
  const podName = needed('POD_NAME');
  const gatewayName = needed('GATEWAY_NAME', metadata.get('GATEWAY_NAME'));
  const serviceAccount = needed('SERVICE_ACCOUNT');
  const ip = read.take('INSTANCE_IP', parseIp(needed('INSTANCE_IP', read.text('POD_IP'))), '0.0.0.0' as Ip);
  const trustDomain = read.text('TRUST_DOMAIN') ?? DEFAULT_TRUST_DOMAIN;
  const clusterId = metadata.get('CLUSTER_ID') || read.text('CLUSTER_ID') || 'Kubernetes';
  const istioVersion = metadata.get('ISTIO_VERSION') || 'unknown';
  const nodeName = read.text('NODE_NAME') ?? '';
  const node: NodeDescription = {
    id: `${command}~${ip}~${podName}.${namespace}~${namespace}.svc.cluster.local`,
    metadata: {
      NAME: podName,
      NAMESPACE: namespace,
      INSTANCE_IPS: ip,
      NODE_NAME: nodeName,
      SERVICE_ACCOUNT: serviceAccount,
      CLUSTER_ID: clusterId,
      ...(Object.fromEntries(metadata) as Record<string, StructValue>),
      GATEWAY_NAME: gatewayName,
    },
  };
  const access = controlPlaneAccess({ exists }, read, { clusterId, discoveryAddress: undefined, tls12: false });
  const [xds, ca] = [access('XDS'), access('CA')];
  if (xds === undefined) read.problem('XDS_ADDRESS is empty: an L7 proxy has no configuration of its own');
  if (ca === undefined) read.problem('CA_ADDRESS is empty: an L7 proxy needs a certificate');
  const filter = read.text('RUST_LOG') ?? 'info';
  read.take('RUST_LOG', parseFilter(filter), undefined as never);
  const port = (name: string, otherwise: number): number => read.integer(name, otherwise, 0, 65_535);
  const announceMs = read.durationMs('MINIMUM_DRAIN_DURATION', ANNOUNCE_MS);
  const drainMs = readDrainMs(read);
  const settings = {
    role: command === 'waypoint' ? ('waypoint' as const) : ('gateway' as const),
    namespace,
    podName,
    ip,
    nodeName,
    gatewayName,
    workloadName: metadata.get('WORKLOAD_NAME') || gatewayName,
    identity: { trustDomain, namespace, serviceAccount },
    network: read.raw('NETWORK') ?? metadata.get('NETWORK') ?? '',
    clusterId,
    istioVersion,
    ipv6: read.boolean('IPV6_ENABLED', true),
    ports: {
      hbone: HBONE_PORT,
      admin: port('PROXY_ADMIN_PORT', ZTUNNEL_ADMIN_PORT),
      metrics: port('STATS_PORT', METRICS_PORT),
      readiness: port('READINESS_PORT', READINESS_PORT),
    },
    drain: { announceMs: Math.min(announceMs, drainMs), deadlineMs: Math.max(0, drainMs - announceMs) },
    log: { filter, format: read.choice('LOG_FORMAT', ['plain', 'json'], 'plain') },
  };
  const ttlSeconds = Math.max(1, Math.round(read.durationMs('SECRET_TTL', DAY_MS) / 1000));
  if (read.problems.length > 0 || xds === undefined || ca === undefined) return fail(read.problems);
  return ok({ ...settings, xds: { access: xds, node }, ca: { access: ca, ttlSeconds } });
}
