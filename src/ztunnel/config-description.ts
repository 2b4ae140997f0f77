// The settings as `config` of the configuration dump shows them: ztunnel's own keys and shapes where it has the setting,
// so that what reads one dump reads the other. Without tokens, header values, keys and the text of local state.

import type { ControlPlaneAccess, TrustRoots } from '../dataplane/grpc/access.ts';
import { formatSpiffeId } from '../model/identity.ts';
import { HBONE_PORT, INBOUND_PLAINTEXT_PORT, OUTBOUND_PORT, OWN_PORTS } from '../model/ports.ts';
import type { StructFields } from '../wire/protobuf/writer.ts';
import type { Config } from './config.ts';

const duration = (ms: number): StructFields => ({ secs: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 });
const address = (access: ControlPlaneAccess | undefined): string | null =>
  access === undefined
    ? null
    : `https://${access.host.includes(':') ? `[${access.host}]` : access.host}:${access.port}`;

/** A root given as text is named, not repeated; `Default` is the machine's own. */
const root = (roots: TrustRoots | undefined): StructFields | string =>
  roots?.kind === 'file' ? { File: roots.path } : roots?.kind === 'pem' ? 'Static' : 'Default';

export function describeConfig(config: Config): StructFields {
  const { dataPath, ownPod, xds, ca, dns, ports, log } = config;
  const { listen, hbone, pool, keepalive } = dataPath;
  const any = (port: number): string => `${listen.ipv6 ? '[::]' : '0.0.0.0'}:${port}`;
  const everywhere = (port: number): StructFields => ({ SocketAddr: any(port) });
  const localhost = (port: number): StructFields => ({ Localhost: [listen.ipv6, port] });
  const plain = {
    proxy: config.proxyEnabled,
    dnsProxy: dns !== undefined,
    windowSize: hbone.streamWindowBytes,
    connectionWindowSize: hbone.connectionWindowBytes,
    frameSize: hbone.maxFrameBytes,
    poolMaxStreamsPerConn: pool.maxStreamsPerConnection,
    poolUnusedReleaseTimeout: duration(pool.unusedReleaseMs),
    socks5Addr: null,
    adminAddr: localhost(ports.admin),
    statsAddr: everywhere(ports.metrics),
    readinessAddr: everywhere(ports.readiness),
    inboundAddr: any(HBONE_PORT),
    inboundPlaintextAddr: any(INBOUND_PLAINTEXT_PORT),
    outboundAddr: any(OUTBOUND_PORT),
    dnsProxyAddr: dnsAddress(dns),
    illegalPorts: [...OWN_PORTS],
    network: dataPath.network,
    localNode: dataPath.nodeName,
    proxyMode: 'Shared',
    proxyWorkloadInformation: null,
    clusterId: config.clusterId,
    clusterDomain: dns?.lookup.clusterDomain,
    caAddress: address(ca?.access),
    caRootCert: root(ca?.access.roots),
    altCaHostname: ca?.access.alternativeName ?? null,
    xdsAddress: address(xds?.access),
    xdsRootCert: root(xds?.access.roots),
    altXdsHostname: xds?.access.alternativeName ?? null,
    preferedServiceNamespace: dns?.lookup.preferredNamespace ?? null,
    secretTtl: ca && duration(ca.ttlSeconds * 1000),
    xdsOnDemand: xds?.onDemand ?? false,
    fakeCa: false,
    selfTerminationDeadline: duration(dataPath.drainDeadlineMs),
    proxyMetadata: xds?.node.metadata ?? {},
    requireOriginalSource: listen.originalSource === 'try' ? null : listen.originalSource === 'require',
    inpodUds: config.agentSocket,
    inpodPortReuse: listen.reusePort,
    packetMark: listen.packetMark ?? null,
    socketConfig: {
      keepaliveTime: duration(keepalive.idleSeconds * 1000),
      keepaliveInterval: duration(keepalive.intervalSeconds * 1000),
      keepaliveRetries: keepalive.retries,
      keepaliveEnabled: keepalive.enabled,
      userTimeoutEnabled: keepalive.userTimeout,
    },
    xdsHeaders: Object.keys(xds?.access.headers ?? {}),
    caHeaders: Object.keys(ca?.access.headers ?? {}),
    localhostAppTunnel: dataPath.localhostApplicationTunnel,
    ztunnelIdentity:
      ownPod === undefined
        ? null
        : formatSpiffeId({
            trustDomain: ownPod.trustDomain,
            namespace: ownPod.pod.namespace,
            serviceAccount: ownPod.pod.serviceAccount,
          }),
    ztunnelWorkload: ownPod?.pod ?? null,
    ipv6Enabled: listen.ipv6,
    enableEnhancedBaggage: hbone.responseBaggage,
    // What only this proxy tells.
    localXds: config.localState?.kind,
    tls12: hbone.tls12,
    postQuantumOnly: hbone.postQuantumOnly,
    policyDecisionsAtInfo: dataPath.policyDecisionsAtInfo,
    logging: log,
  };
  return JSON.parse(JSON.stringify(plain)) as StructFields;
}

/** Both families on one port are `Localhost`; without a DNS proxy there is nothing to show. */
function dnsAddress(dns: Config['dns']): StructFields | null {
  if (dns === undefined) return null;
  const { v4, v6 } = dns.listen;
  const one = v4 ?? v6;
  if (one === undefined) return null;
  if (one.ip === '127.0.0.1' && (v6 === undefined || v6.ip === '::1'))
    return { Localhost: [v6 !== undefined, one.port] };
  return { SocketAddr: one.ip.includes(':') ? `[${one.ip}]:${one.port}` : `${one.ip}:${one.port}` };
}
