// Istio's annotations: on which kinds each has a meaning, and what its value must be (Istio: resource annotations).

import { parse } from 'yaml';
import { looseBoolean, optionalRecord } from '../../derive/read.ts';
import { parseCidr } from '../../model/ip.ts';

interface Known {
  /** Kinds; `Any` for all. Pod stands for pod templates too. */
  readonly kinds: readonly string[];
  /** @returns what is wrong with the value */
  readonly problem?: (value: string) => string | undefined;
  /** Deprecated: what to use instead. */
  readonly instead?: string;
}

const bool = (value: string): string | undefined =>
  looseBoolean(value) === undefined ? `\`${value}\` is not true or false` : undefined;
const whole = (value: string): string | undefined =>
  /^\d{1,9}$/.test(value) ? undefined : `\`${value}\` is no whole number`;
const port = (value: string): string | undefined =>
  /^\d{1,5}$/.test(value) && Number(value) <= 65_535 ? undefined : `\`${value}\` is no port`;
const oneOf =
  (...words: readonly string[]) =>
  (value: string): string | undefined =>
    words.includes(value) ? undefined : `\`${value}\` is none of ${words.join(', ')}`;
const quantity = (value: string): string | undefined =>
  /^\d+(\.\d+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$/.test(value)
    ? undefined
    : `\`${value}\` is no quantity, as 100m or 128Mi`;
const each =
  (problem: (item: string) => string | undefined, all: boolean) =>
  (value: string): string | undefined => {
    if (value === '' || (all && value === '*')) return undefined;
    for (const item of value.split(',')) {
      const found = problem(item.trim());
      if (found !== undefined) return found;
    }
    return undefined;
  };
const range = (value: string): string | undefined =>
  parseCidr(value).ok ? undefined : `\`${value}\` is no range of addresses`;

/** Settings of a proxy (Istio: ProxyConfig of the mesh configuration). */
export const PROXY_CONFIG_KEYS: ReadonlySet<string> = new Set([
  'configPath',
  'binaryPath',
  'serviceCluster',
  'drainDuration',
  'parentShutdownDuration',
  'discoveryAddress',
  'discoveryRefreshDelay',
  'zipkinAddress',
  'statsdUdpAddress',
  'proxyAdminPort',
  'availabilityZone',
  'controlPlaneAuthPolicy',
  'customConfigFile',
  'statNameLength',
  'concurrency',
  'proxyBootstrapTemplatePath',
  'interceptionMode',
  'tracing',
  'sds',
  'envoyAccessLogService',
  'envoyMetricsService',
  'proxyMetadata',
  'runtimeValues',
  'statusPort',
  'extraStatTags',
  'gatewayTopology',
  'terminationDrainDuration',
  'meshId',
  'readinessProbe',
  'proxyStatsMatcher',
  'holdApplicationUntilProxyStarts',
  'caCertificatesPem',
  'image',
  'privateKeyProvider',
  'proxyHeaders',
  'connectionSettings',
  'fileFlushInterval',
  'fileFlushMinSizeKb',
  'statsCompression',
  'tracingServiceName',
]);

function proxyConfig(value: string): string | undefined {
  try {
    const config = optionalRecord(parse(value, { maxAliasCount: 0 }) ?? {});
    return config === undefined ? 'is no mapping of settings' : undefined;
  } catch {
    return 'is no YAML';
  }
}

const POD = ['Pod'] as const;
const SERVICE_LIKE = ['Service', 'ServiceEntry', 'Namespace'] as const;

export const ANNOTATIONS: Readonly<Record<string, Known>> = {
  'galley.istio.io/analyze-suppress': { kinds: ['Any'] },
  'inject.istio.io/templates': { kinds: POD },
  'install.operator.istio.io/chart-owner': { kinds: ['Any'] },
  'install.operator.istio.io/owner-generation': { kinds: ['Any'] },
  'internal.istio.io/parents': { kinds: ['Any'] },
  'internal.istio.io/service-account-name': { kinds: ['Any'] },
  'internal.istio.io/route-semantics': { kinds: ['Any'] },
  'istio.io/autoRegistrationGroup': { kinds: ['WorkloadEntry'] },
  'istio.io/connectedAt': { kinds: ['WorkloadEntry'] },
  'istio.io/disconnectedAt': { kinds: ['WorkloadEntry'] },
  'istio.io/workloadController': { kinds: ['WorkloadEntry'] },
  'istio.io/dry-run': { kinds: ['AuthorizationPolicy'], problem: bool },
  'istio.io/for-service-account': { kinds: ['Gateway'] },
  'istio.io/ignore-policy-attachment': { kinds: ['BackendTLSPolicy'], problem: bool },
  'istio.io/reroute-virtual-interfaces': { kinds: POD },
  'istio.io/rev': { kinds: ['Pod', 'Namespace'] },
  'istio.io/use-waypoint-canary-weight': {
    kinds: SERVICE_LIKE,
    problem: (value) =>
      /^\d+$/.test(value) && Number(value) <= 100 ? undefined : `\`${value}\` is no share from 0 to 100`,
  },
  'ambient.istio.io/redirection': { kinds: POD, problem: oneOf('enabled', 'disabled', 'pending') },
  'ambient.istio.io/bypass-inbound-capture': { kinds: POD, problem: bool },
  'ambient.istio.io/dns-capture': { kinds: POD, problem: bool },
  'ambient.istio.io/connect-strategy': { kinds: ['ServiceEntry'] },
  'ambient.istio.io/waypoint-inbound-binding': {
    kinds: ['Gateway', 'GatewayClass'],
    problem: (value) =>
      /^(NONE|PROXY)(\/\d{1,5})?$/.test(value) ? undefined : `\`${value}\` is not NONE or PROXY with an optional /port`,
  },
  'ambient.istio.io/xfcc-include-client-identity': { kinds: ['Gateway', 'GatewayClass'], problem: bool },
  'gateway.istio.io/service-account': { kinds: ['Gateway'] },
  'gateway.istio.io/name-override': { kinds: ['Gateway'] },
  'gateway.istio.io/controller-version': { kinds: ['Gateway'] },
  'gateway.istio.io/tls-cipher-suites': { kinds: ['Gateway'] },
  'gateway.istio.io/alias-for': { kinds: ['Any'] },
  'networking.istio.io/address-type': { kinds: ['Gateway'] },
  'networking.istio.io/exportTo': { kinds: ['Service'] },
  'networking.istio.io/service-type': { kinds: ['Gateway'], problem: oneOf('ClusterIP', 'NodePort', 'LoadBalancer') },
  'networking.istio.io/traffic-distribution': { kinds: SERVICE_LIKE },
  'prometheus.istio.io/merge-metrics': { kinds: POD, problem: bool },
  'proxy.istio.io/config': { kinds: ['Pod', 'Gateway'], problem: proxyConfig },
  'proxy.istio.io/overrides': { kinds: POD },
  'readiness.status.sidecar.istio.io/applicationPorts': { kinds: POD, problem: each(port, false) },
  'readiness.status.sidecar.istio.io/failureThreshold': { kinds: POD, problem: whole },
  'readiness.status.sidecar.istio.io/initialDelaySeconds': { kinds: POD, problem: whole },
  'readiness.status.sidecar.istio.io/periodSeconds': { kinds: POD, problem: whole },
  'security.istio.io/tlsMode': { kinds: POD },
  'sidecar.istio.io/agentLogLevel': { kinds: POD },
  'sidecar.istio.io/bootstrapOverride': { kinds: POD },
  'sidecar.istio.io/componentLogLevel': { kinds: POD },
  'sidecar.istio.io/discoveryAddress': { kinds: POD, instead: 'proxy.istio.io/config' },
  'sidecar.istio.io/enableCoreDump': { kinds: POD, problem: bool },
  'sidecar.istio.io/extraStatTags': { kinds: POD },
  'sidecar.istio.io/inject': { kinds: POD, instead: 'the label of the same name' },
  'sidecar.istio.io/interceptionMode': { kinds: POD, problem: oneOf('REDIRECT', 'TPROXY', 'NONE') },
  'sidecar.istio.io/logLevel': { kinds: POD },
  'sidecar.istio.io/nativeSidecar': { kinds: POD, problem: bool },
  'sidecar.istio.io/proxyCPU': { kinds: POD, problem: quantity },
  'sidecar.istio.io/proxyCPULimit': { kinds: POD, problem: quantity },
  'sidecar.istio.io/proxyMemory': { kinds: POD, problem: quantity },
  'sidecar.istio.io/proxyMemoryLimit': { kinds: POD, problem: quantity },
  'sidecar.istio.io/proxyImage': { kinds: POD },
  'sidecar.istio.io/proxyImageType': { kinds: POD },
  'sidecar.istio.io/rewriteAppHTTPProbers': { kinds: POD, problem: bool },
  'sidecar.istio.io/statsCompression': { kinds: POD, problem: bool },
  'sidecar.istio.io/statsEvictionInterval': { kinds: POD },
  'sidecar.istio.io/statsFlushInterval': { kinds: POD },
  'sidecar.istio.io/statsHistogramBuckets': { kinds: POD },
  'sidecar.istio.io/statsInclusionPrefixes': { kinds: POD, instead: 'proxyStatsMatcher of proxy.istio.io/config' },
  'sidecar.istio.io/statsInclusionRegexps': { kinds: POD, instead: 'proxyStatsMatcher of proxy.istio.io/config' },
  'sidecar.istio.io/statsInclusionSuffixes': { kinds: POD, instead: 'proxyStatsMatcher of proxy.istio.io/config' },
  'sidecar.istio.io/status': { kinds: POD },
  'sidecar.istio.io/userVolume': { kinds: POD },
  'sidecar.istio.io/userVolumeMount': { kinds: POD },
  'status.sidecar.istio.io/port': { kinds: POD, problem: port },
  'topology.istio.io/controlPlaneClusters': { kinds: ['Namespace'] },
  'traffic.istio.io/nodeSelector': { kinds: ['Service'] },
  'traffic.sidecar.istio.io/excludeInboundPorts': { kinds: POD, problem: each(port, false) },
  'traffic.sidecar.istio.io/excludeInterfaces': { kinds: POD },
  'traffic.sidecar.istio.io/excludeOutboundIPRanges': { kinds: POD, problem: each(range, false) },
  'traffic.sidecar.istio.io/excludeOutboundPorts': { kinds: POD, problem: each(port, false) },
  'traffic.sidecar.istio.io/includeInboundPorts': { kinds: POD, problem: each(port, true) },
  'traffic.sidecar.istio.io/includeOutboundIPRanges': { kinds: POD, problem: each(range, true) },
  'traffic.sidecar.istio.io/includeOutboundPorts': { kinds: POD },
  'traffic.sidecar.istio.io/kubevirtInterfaces': { kinds: POD, instead: 'istio.io/reroute-virtual-interfaces' },
};
