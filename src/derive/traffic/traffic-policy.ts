// One `trafficPolicy` block of a DestinationRule, with Istio's defaults written out.

import {
  type ConnectionPool,
  DEFAULT_TRAFFIC_POLICY,
  type HashKey,
  type Http2Keepalive,
  type LoadBalancer,
  type LocalityPolicy,
  type OutlierDetection,
  type PriorityLabel,
  type SlowStart,
  type TrafficPolicy,
  type UpstreamTls,
} from '../../model/proxy/service-config.ts';
import type { WorkloadUid } from '../../model/workload.ts';
import {
  flag,
  integer,
  type Json,
  type Labels,
  list,
  optionalRecord,
  optionalText,
  record,
  text,
  texts,
} from '../read.ts';
import { durationMs } from './duration.ts';

/** Certificates and endpoints that a policy can refer to, and what the mesh says where it says nothing. */
export interface PolicyContext {
  /** Of `credentialName`, in the proxy's namespace. `roots` undefined: the Secret has none. */
  credential(name: string): { readonly certificate: string; readonly roots: string | undefined } | undefined;
  membersWith(labels: Labels): readonly WorkloadUid[];
  /** `meshConfig.defaultTrafficPolicy`: each block counts where the rule leaves it out. */
  readonly meshDefaults: Json;
  /** `meshConfig.localityLbSetting`. */
  readonly meshLocality: Json;
  readonly connectTimeoutMs: number;
}

const DEFAULTS = DEFAULT_TRAFFIC_POLICY;
const DEFAULT_RING_SIZE = 1024;
const DEFAULT_TABLE_SIZE = 65_537;
const TOPOLOGY: ReadonlySet<string> = new Set([
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'topology.istio.io/subzone',
  'topology.istio.io/network',
]);

export function readTrafficPolicy(
  written: Json,
  context: PolicyContext,
  place: string,
  problems: string[],
): TrafficPolicy {
  const problem = (field: string, why: string): void => void problems.push(`${place}.${field}: ${why}`);
  const balancer = record(written.loadBalancer);
  const outlier = readOutlier(optionalRecord(written.outlierDetection ?? context.meshDefaults.outlierDetection));
  const proxyProtocol = optionalRecord(written.proxyProtocol);
  const budget = optionalRecord(written.retryBudget);
  return {
    loadBalancer: readBalancer(balancer, problem),
    locality: readLocality(optionalRecord(balancer.localityLbSetting) ?? context.meshLocality, outlier, context),
    slowStart: readSlowStart(balancer),
    pool: readPool(record(written.connectionPool ?? context.meshDefaults.connectionPool), context),
    outlier,
    tls: readTls(record(written.tls), context),
    proxyProtocol: proxyProtocol && (proxyProtocol.version === 'V2' ? 'v2' : 'v1'),
    retryBudget: budget && {
      percent: percentOf(budget.percent) ?? 20,
      minRetries: integer(budget.minRetryConcurrency) ?? 3,
    },
  };
}

function percentOf(written: unknown): number | undefined {
  const value = Number(optionalRecord(written)?.value ?? written);
  return Number.isFinite(value) && value >= 0 ? Math.min(100, value) : undefined;
}

type Problem = (field: string, why: string) => void;

function readBalancer(balancer: Json, problem: Problem): LoadBalancer {
  const hash = optionalRecord(balancer.consistentHash);
  if (hash !== undefined) {
    const by = readHashKey(hash);
    if (by === undefined) problem('loadBalancer.consistentHash', 'it names nothing to hash by');
    else {
      const maglev = optionalRecord(hash.maglev);
      if (maglev !== undefined)
        return { kind: 'maglev', by, tableSize: integer(maglev.tableSize) || DEFAULT_TABLE_SIZE };
      const ring = record(hash.ringHash);
      const minimumRingSize = integer(ring.minimumRingSize) || integer(hash.minimumRingSize) || DEFAULT_RING_SIZE;
      return { kind: 'ringHash', by, minimumRingSize };
    }
  }
  const simple = text(balancer.simple);
  switch (simple) {
    case 'RANDOM':
      return { kind: 'random' };
    case 'ROUND_ROBIN':
      return { kind: 'roundRobin' };
    case 'PASSTHROUGH':
      return { kind: 'passthrough' };
    case '':
    case 'UNSPECIFIED':
    case 'LEAST_CONN':
    case 'LEAST_REQUEST':
      return { kind: 'leastRequest' };
    default:
      problem('loadBalancer.simple', `\`${simple}\` is not known; LEAST_REQUEST is used`);
      return { kind: 'leastRequest' };
  }
}

function readHashKey(hash: Json): HashKey | undefined {
  const header = optionalText(hash.httpHeaderName);
  if (header !== undefined) return { kind: 'header', name: header.toLowerCase() };
  const cookie = optionalRecord(hash.httpCookie);
  if (cookie !== undefined)
    return {
      kind: 'cookie',
      name: text(cookie.name),
      path: text(cookie.path),
      ttlMs: cookie.ttl === undefined ? undefined : durationMs(cookie.ttl),
      attributes: list(cookie.attributes).map((item) => ({
        name: text(record(item).name),
        value: text(record(item).value),
      })),
    };
  if (flag(hash.useSourceIp)) return { kind: 'sourceIp' };
  const query = optionalText(hash.httpQueryParameterName);
  return query === undefined ? undefined : { kind: 'query', name: query };
}

/** Failover, and preferring what is near, need to know who is ill: without outlier detection all are alike (Istio). */
function readLocality(
  setting: Json,
  outlier: OutlierDetection | undefined,
  context: PolicyContext,
): LocalityPolicy | undefined {
  if (setting.enabled === false) return undefined;
  const distribute = list(setting.distribute).map(record);
  if (distribute.length > 0)
    return {
      kind: 'distribute',
      rules: distribute.map((rule) => ({
        from: text(rule.from),
        to: Object.fromEntries(
          Object.entries(record(rule.to)).map(([to, weight]) => [to, integer(weight) ?? 0] as const),
        ),
      })),
    };
  if (outlier === undefined) return undefined;
  const failover = list(setting.failover).map(record);
  if (failover.length > 0)
    return { kind: 'failover', rules: failover.map((rule) => ({ from: text(rule.from), to: text(rule.to) })) };
  const priority = texts(setting.failoverPriority);
  if (priority.length > 0)
    return { kind: 'priority', labels: priority.map((label) => readPriorityLabel(label, context)) };
  return { kind: 'prefer' };
}

function readPriorityLabel(label: string, context: PolicyContext): PriorityLabel {
  const equals = label.indexOf('=');
  const name = equals < 0 ? label : label.slice(0, equals);
  const value = equals < 0 ? undefined : label.slice(equals + 1);
  const members = TOPOLOGY.has(name) || value === undefined ? [] : context.membersWith({ [name]: value });
  return { name, value, members };
}

function readSlowStart(balancer: Json): SlowStart | undefined {
  const warmup = optionalRecord(balancer.warmup);
  const durationOf = warmup?.duration ?? balancer.warmupDurationSecs;
  const ms = durationMs(durationOf);
  if (ms === undefined || ms === 0) return undefined;
  return {
    durationMs: ms,
    minimumPercent: percentOf(warmup?.minimumPercent) ?? 10,
    aggression: Math.max(1, Number(optionalRecord(warmup?.aggression)?.value ?? warmup?.aggression ?? 1) || 1),
  };
}

function readPool(written: Json, context: PolicyContext): ConnectionPool {
  const { pool } = DEFAULTS;
  const tcp = record(written.tcp);
  const http = record(written.http);
  const keepalive = optionalRecord(tcp.tcpKeepalive);
  const upgrade = text(http.h2UpgradePolicy);
  return {
    maxConnections: integer(tcp.maxConnections) || pool.maxConnections,
    connectTimeoutMs: durationMs(tcp.connectTimeout) || context.connectTimeoutMs,
    tcpKeepalive: keepalive && {
      probes: integer(keepalive.probes) || 9,
      idleSeconds: Math.ceil((durationMs(keepalive.time) || 7_200_000) / 1000),
      intervalSeconds: Math.ceil((durationMs(keepalive.interval) || 75_000) / 1000),
    },
    maxConnectionMs: durationMs(tcp.maxConnectionDuration) || undefined,
    tcpIdleMs: durationMs(tcp.idleTimeout) || pool.tcpIdleMs,
    maxPendingRequests: integer(http.http1MaxPendingRequests) || pool.maxPendingRequests,
    maxRequests: integer(http.http2MaxRequests) || pool.maxRequests,
    maxRetries: integer(http.maxRetries) || pool.maxRetries,
    maxRequestsPerConnection: integer(http.maxRequestsPerConnection) ?? 0,
    idleMs: durationMs(http.idleTimeout) || pool.idleMs,
    http2: upgrade === 'UPGRADE' ? 'always' : upgrade === 'DO_NOT_UPGRADE' ? 'never' : 'byPort',
    usesClientProtocol: flag(http.useClientProtocol),
    maxConcurrentStreams: integer(http.maxConcurrentStreams) || pool.maxConcurrentStreams,
    http2Keepalive: readHttp2Keepalive(optionalRecord(http.http2KeepAlive)),
  };
}

/** Without an interval there is nothing to do; an answer may take as long as Envoy lets it. */
function readHttp2Keepalive(written: Json | undefined): Http2Keepalive | undefined {
  const intervalMs = durationMs(written?.interval);
  return intervalMs ? { intervalMs, timeoutMs: durationMs(written?.timeout) || 20_000 } : undefined;
}

/** Number wrappers come as numbers, or as `{value}` from what was written by hand. */
const count = (written: unknown, otherwise: number): number =>
  integer(optionalRecord(written)?.value ?? written) ?? otherwise;

function readOutlier(written: Json | undefined): OutlierDetection | undefined {
  if (written === undefined) return undefined;
  return {
    consecutive5xx: count(written.consecutive5xxErrors ?? written.consecutiveErrors, 5),
    consecutiveGatewayErrors: count(written.consecutiveGatewayErrors, 0),
    consecutiveLocalOriginFailures: count(written.consecutiveLocalOriginFailures, 5),
    splitsLocalOrigin: flag(written.splitExternalLocalOriginErrors),
    intervalMs: durationMs(written.interval) || 10_000,
    baseEjectionMs: durationMs(written.baseEjectionTime) || 30_000,
    maxEjectionPercent: integer(written.maxEjectionPercent) || 10,
    minHealthPercent: integer(written.minHealthPercent) ?? 0,
  };
}

/** DISABLE and ISTIO_MUTUAL say nothing here: a hop to the mesh is HBONE where it can be, else plain (Istio). */
function readTls(written: Json, context: PolicyContext): UpstreamTls | undefined {
  const mode = text(written.mode);
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL') return undefined;
  const named = text(written.credentialName);
  const credential = named === '' ? undefined : context.credential(named);
  const shared = {
    serverName: text(written.sni),
    subjectAltNames: texts(written.subjectAltNames).map((value) => ({ kind: 'exact', value }) as const),
  };
  const unusable = (why: string): UpstreamTls => ({
    ...shared,
    mode: mode === 'SIMPLE' ? 'simple' : 'mutual',
    roots: { kind: 'unusable', why },
    certificate: undefined,
  });
  if (named !== '' && credential === undefined) return unusable(`there is no Secret or ConfigMap ${named} to be used`);
  if (mode === 'MUTUAL' && credential === undefined)
    return unusable('client certificates are read from a Secret: use credentialName instead of files');
  const file = text(written.caCertificates);
  if (file !== '' && file !== 'system')
    return unusable(`the file ${file} is not read: put the certificates into a Secret and use credentialName`);
  const verified = written.insecureSkipVerify !== true;
  return {
    ...shared,
    mode: mode === 'SIMPLE' ? 'simple' : 'mutual',
    roots: !verified
      ? { kind: 'unverified' }
      : credential?.roots === undefined
        ? { kind: 'system' }
        : { kind: 'pem', pem: credential.roots },
    certificate: mode === 'MUTUAL' ? credential?.certificate : undefined,
  };
}
