// ztunnel's settings: the environment (Istio's names), over the mesh configuration of its pod. A pure function from what
// was read to either a whole `Config` or the list of everything that is wrong with it. After start-up nothing reads the
// environment. What Istio's proxy can do and this one cannot is refused here, never passed over.

import type { NodeDescription } from '../dataplane/ads/protocol.ts';
import { controlPlaneAccess, readDrainMs } from '../dataplane/control-plane-settings.ts';
import type { ControlPlaneAccess } from '../dataplane/grpc/access.ts';
import { SettingsReader } from '../dataplane/settings-reader.ts';
import type { DnsOptions } from '../model/dns.ts';
import { DEFAULT_TRUST_DOMAIN } from '../model/identity.ts';
import { type HostPort, type Ip, isV4, parseIp } from '../model/ip.ts';
import { DNS_PROXY_PORT, METRICS_PORT, READINESS_PORT, ZTUNNEL_ADMIN_PORT } from '../model/ports.ts';
import { fail, ok, type Result } from '../model/result.ts';
import type { LogFormat } from '../telemetry/log.ts';
import { parseFilter } from '../telemetry/log-filter.ts';
import type { StructValue } from '../wire/protobuf/writer.ts';
import type { DataPathSettings, OwnPod } from './contracts.ts';

/** What the process finds around it; everything may be missing. */
export interface RawConfig {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `defaultConfig` of the mesh configuration file, parsed. */
  readonly meshDefaults?: unknown;
  /** `PROXY_CONFIG`, parsed. */
  readonly proxyConfig?: unknown;
  /** Whether a file is there: a root or token setting is a path if it exists, else the thing itself. */
  readonly exists: (path: string) => boolean;
}

export interface Config {
  readonly dataPath: DataPathSettings;
  readonly ownPod: OwnPod | undefined;
  /** ZDS. */
  readonly agentSocket: string;
  readonly proxyEnabled: boolean;
  /** Undefined: discovery is off, state comes from the local file alone. */
  readonly xds:
    | { readonly access: ControlPlaneAccess; readonly node: NodeDescription; readonly onDemand: boolean }
    | undefined;
  /** Undefined: no certificate can be had. */
  readonly ca: { readonly access: ControlPlaneAccess; readonly ttlSeconds: number } | undefined;
  readonly localState:
    | { readonly kind: 'file'; readonly path: string }
    | { readonly kind: 'inline'; readonly yaml: string }
    | undefined;
  /** Undefined: pods have no DNS listeners. */
  readonly dns:
    | {
        readonly listen: { readonly v4: HostPort | undefined; readonly v6: HostPort | undefined };
        readonly lookup: DnsOptions;
      }
    | undefined;
  readonly ports: { readonly admin: number; readonly metrics: number; readonly readiness: number };
  readonly log: { readonly filter: string; readonly format: LogFormat };
  readonly clusterId: string;
  readonly istioVersion: string;
}

const INSTANCE_IP_WITHOUT_POD = '1.1.1.1';
const MARK = 1337;
const DAY_MS = 86_400_000;

/** `proxyMetadata` and the settings beside it, of the mesh configuration with PROXY_CONFIG over it, key by key. */
interface ProxyConfig {
  readonly discoveryAddress: string | undefined;
  readonly adminPort: number | undefined;
  readonly statsPort: number | undefined;
  readonly metadata: ReadonlyMap<string, string>;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function readProxyConfig(raw: RawConfig, read: SettingsReader): ProxyConfig {
  const layers = (['meshDefaults', 'proxyConfig'] as const).flatMap((name) => {
    const layer = raw[name];
    if (layer === undefined || layer === null) return [];
    if (isObject(layer)) return [layer];
    read.problem(`${name === 'proxyConfig' ? 'PROXY_CONFIG' : 'the mesh configuration'} is no YAML mapping`);
    return [];
  });
  const merged: Readonly<Record<string, unknown>> = Object.assign({}, ...layers);
  const port = (key: string): number | undefined => {
    const value = merged[key];
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 65535) return value;
    read.problem(`\`${key}\` of the proxy configuration is no port number`);
    return undefined;
  };
  const { discoveryAddress, proxyMetadata } = merged;
  if (discoveryAddress !== undefined && typeof discoveryAddress !== 'string')
    read.problem('`discoveryAddress` of the proxy configuration is no text');
  const metadata = new Map<string, string>();
  if (proxyMetadata !== undefined && !isObject(proxyMetadata))
    read.problem('`proxyMetadata` of the proxy configuration is no mapping');
  if (isObject(proxyMetadata))
    for (const [key, value] of Object.entries(proxyMetadata)) metadata.set(key, String(value));
  for (const [key, value] of read.prefixed('ISTIO_META_')) metadata.set(key, value);
  return {
    discoveryAddress: typeof discoveryAddress === 'string' ? discoveryAddress : undefined,
    adminPort: port('proxyAdminPort'),
    statsPort: port('statsPort'),
    metadata,
  };
}

function readNode(proxy: ProxyConfig, read: SettingsReader): NodeDescription {
  const [name, namespace] = [read.text('POD_NAME') ?? '', read.text('POD_NAMESPACE') ?? ''];
  const ip = read.text('INSTANCE_IP') ?? INSTANCE_IP_WITHOUT_POD;
  const metadata: Record<string, StructValue> = {
    NAME: name,
    NAMESPACE: namespace,
    INSTANCE_IPS: ip,
    NODE_NAME: read.text('NODE_NAME') ?? '',
    ...Object.fromEntries(proxy.metadata),
  };
  for (const [key, value] of read.prefixed('ISTIO_METAJSON_')) {
    try {
      metadata[key] = JSON.parse(value) as StructValue;
    } catch {
      read.problem(`ISTIO_METAJSON_${key} is no JSON`);
    }
  }
  // The last part is fixed, whatever the cluster's domain is.
  return { id: `ztunnel~${ip}~${name}.${namespace}~${namespace}.svc.cluster.local`, metadata };
}

function readOwnPod(read: SettingsReader): OwnPod | undefined {
  const [name, namespace, serviceAccount] = ['POD_NAME', 'POD_NAMESPACE', 'SERVICE_ACCOUNT'].map((key) =>
    read.text(key),
  );
  if (name === undefined || namespace === undefined || serviceAccount === undefined) return undefined;
  const address = read.text('INSTANCE_IP');
  const ip: Ip | undefined =
    address === undefined ? undefined : read.take<Ip | undefined>('INSTANCE_IP', parseIp(address), undefined);
  return {
    pod: { name, namespace, serviceAccount },
    trustDomain: read.text('TRUST_DOMAIN') ?? DEFAULT_TRUST_DOMAIN,
    ip,
  };
}

function readDataPath(read: SettingsReader): DataPathSettings {
  const original = read.boolean('ENABLE_ORIG_SRC', undefined);
  const window = (name: string, fallback: number): number => read.integer(name, fallback, 65_535);
  return {
    network: read.raw('NETWORK') ?? '',
    nodeName: read.raw('NODE_NAME') ?? '',
    listen: {
      ipv6: read.boolean('IPV6_ENABLED', true),
      reusePort: read.boolean('INPOD_PORT_REUSE', true),
      originalSource: original === undefined ? 'try' : original ? 'require' : 'never',
      packetMark: read.integer('PACKET_MARK', MARK, 1),
      socks5: read.boolean('UNSTABLE_ENABLE_SOCKS5', false),
    },
    hbone: {
      streamWindowBytes: window('HTTP2_STREAM_WINDOW_SIZE', 4 * 1024 * 1024),
      connectionWindowBytes: window('HTTP2_CONNECTION_WINDOW_SIZE', 16 * 1024 * 1024),
      maxFrameBytes: read.integer('HTTP2_FRAME_SIZE', 1024 * 1024, 16_384, 16_777_215),
      responseBaggage: read.boolean('ENABLE_RESPONSE_BAGGAGE', true),
      tls12: read.boolean('TLS12_ENABLED', false),
      postQuantumOnly: read.choice('COMPLIANCE_POLICY', ['none', 'pqc'], 'none') === 'pqc',
    },
    pool: {
      maxStreamsPerConnection: read.integer('POOL_MAX_STREAMS_PER_CONNECTION', 100, 1, 65_535),
      unusedReleaseMs: read.durationMs('POOL_UNUSED_RELEASE_TIMEOUT', 5 * 60_000),
    },
    keepalive: {
      enabled: read.boolean('KEEPALIVE_ENABLED', true),
      idleSeconds: Math.round(read.durationMs('KEEPALIVE_TIME', 180_000) / 1000),
      intervalSeconds: Math.round(read.durationMs('KEEPALIVE_INTERVAL', 180_000) / 1000),
      retries: read.integer('KEEPALIVE_RETRIES', 9, 1, 127),
      userTimeout: read.boolean('USER_TIMEOUT_ENABLED', false),
    },
    localhostApplicationTunnel: read.boolean('LOCALHOST_APP_TUNNEL', true),
    policyDecisionsAtInfo: read.boolean('AUTHZ_POLICY_INFO_LOGGING', false),
    drainDeadlineMs: readDrainMs(read),
  };
}

/** `127.0.0.1:15053`, `[::1]:15053`, `localhost:15053` (both). */
function readDnsListen(
  text: string | undefined,
  ipv6: boolean,
  read: SettingsReader,
): NonNullable<Config['dns']>['listen'] {
  const localhost = (port: number) => ({
    v4: { ip: '127.0.0.1' as Ip, port },
    v6: ipv6 ? { ip: '::1' as Ip, port } : undefined,
  });
  if (text === undefined) return localhost(DNS_PROXY_PORT);
  const [, host, digits] = /^\[?([^[\]]+?)\]?:(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (host === 'localhost' && port <= 65_535) return localhost(port);
  const ip = parseIp(host ?? '');
  if (ip.ok && port <= 65_535)
    return isV4(ip.value)
      ? { v4: { ip: ip.value, port }, v6: undefined }
      : { v4: undefined, v6: { ip: ip.value, port } };
  read.problem(`DNS_PROXY_ADDR \`${text}\` is no address with a port`);
  return localhost(DNS_PROXY_PORT);
}

function readDns(proxy: ProxyConfig, onDemand: boolean, ipv6: boolean, read: SettingsReader): Config['dns'] {
  const clusterDomain = read.text('CLUSTER_DOMAIN') ?? 'cluster.local';
  const capture = proxy.metadata.get('DNS_CAPTURE');
  if (capture !== undefined && capture.toLowerCase() !== 'true') return undefined;
  if (onDemand)
    read.problem(
      'XDS_ON_DEMAND=true cannot be combined with DNS capture: set ISTIO_META_DNS_CAPTURE=false, or leave XDS_ON_DEMAND out',
    );
  return {
    listen: readDnsListen(proxy.metadata.get('DNS_PROXY_ADDR'), ipv6, read),
    lookup: { clusterDomain, ipv6, preferredNamespace: read.text('PREFERED_SERVICE_NAMESPACE') },
  };
}

/** What Istio's proxy knows and this one does not: better no start than a setting without effect. */
function refuseUnsupported(read: SettingsReader): void {
  if (read.choice('PROXY_MODE', ['shared', 'dedicated'], 'shared') === 'dedicated')
    read.problem('PROXY_MODE=dedicated is not supported: one proxy serves all pods of a node (leave it out)');
  if (read.boolean('FAKE_CA', false))
    read.problem('FAKE_CA is not supported: point CA_ADDRESS to a certificate service');
  if (read.text('CRL_PATH') !== undefined)
    read.problem('CRL_PATH is not supported: revoked certificates would be accepted');
  // One thread serves a node; the setting only has to make sense.
  const threads = read.text('ZTUNNEL_WORKER_THREADS');
  if (threads !== undefined && !/^\d+%?$/.test(threads))
    read.problem(`ZTUNNEL_WORKER_THREADS=\`${threads}\` is neither a number nor a percentage`);
}

function readLocalState(read: SettingsReader): Config['localState'] {
  const path = read.text('LOCAL_XDS_PATH');
  if (path !== undefined) return { kind: 'file', path };
  const yaml = read.text('LOCAL_XDS');
  return yaml === undefined ? undefined : { kind: 'inline', yaml };
}

/** @returns every problem, one sentence each, if there is any */
export function parseConfig(raw: RawConfig): Result<Config, readonly string[]> {
  const read = new SettingsReader(raw.env);
  const proxy = readProxyConfig(raw, read);
  const dataPath = readDataPath(read);
  const clusterId = proxy.metadata.get('CLUSTER_ID') || read.text('CLUSTER_ID') || 'Kubernetes';
  const node = readNode(proxy, read);
  const onDemand = read.boolean('XDS_ON_DEMAND', false);
  const access = controlPlaneAccess(raw, read, {
    clusterId,
    discoveryAddress: proxy.discoveryAddress,
    tls12: dataPath.hbone.tls12,
  });
  const [xds, ca] = [access('XDS'), access('CA')];
  const filter = read.text('RUST_LOG') ?? 'info';
  read.take('RUST_LOG', parseFilter(filter), undefined as never);
  refuseUnsupported(read);
  const config: Config = {
    dataPath,
    ownPod: readOwnPod(read),
    agentSocket: read.text('INPOD_UDS') ?? '/var/run/ztunnel/ztunnel.sock',
    proxyEnabled: read.boolean('ENABLE_PROXY', true),
    xds: xds && { access: xds, node, onDemand },
    ca: ca && { access: ca, ttlSeconds: Math.max(1, Math.round(read.durationMs('SECRET_TTL', DAY_MS) / 1000)) },
    localState: readLocalState(read),
    dns: readDns(proxy, onDemand, dataPath.listen.ipv6, read),
    ports: {
      admin: proxy.adminPort ?? ZTUNNEL_ADMIN_PORT,
      metrics: proxy.statsPort ?? METRICS_PORT,
      readiness: READINESS_PORT,
    },
    log: {
      filter,
      format: read.choice('LOG_FORMAT', ['plain', 'json'], 'plain'),
    },
    clusterId,
    istioVersion: proxy.metadata.get('ISTIO_VERSION') || 'unknown',
  };
  return read.problems.length === 0 ? ok(config) : fail(read.problems);
}
