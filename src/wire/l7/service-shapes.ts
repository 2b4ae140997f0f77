// The shape of a service's resource: how to send to it, and what its waypoint does for those who come.

import type {
  BoundService,
  ConnectionPool,
  HashKey,
  Http2Keepalive,
  LoadBalancer,
  LocalityPolicy,
  OutlierDetection,
  PortProtocol,
  PriorityLabel,
  RetryBudget,
  ServiceConfig,
  ServicePortConfig,
  SlowStart,
  Subset,
  TrafficConfig,
  TrafficPolicy,
  UpstreamTls,
} from '../../model/proxy/service-config.ts';
import {
  headerValues,
  host,
  key,
  MAX_ITEMS,
  MAX_MEMBERS,
  MAX_PEM,
  milliseconds,
  name,
  port,
  textPredicate,
  value,
} from './common-shapes.ts';
import { filters, security, telemetry } from './security-shapes.ts';
import {
  dictionary,
  flag,
  integer,
  list,
  number,
  object,
  optional,
  type Shape,
  text,
  union,
  word,
  words,
} from './shape.ts';

const count = integer(0, 2 ** 32 - 1);
const percent = number(0, 100);
const members = list(key, MAX_MEMBERS);

const hashKey: Shape<HashKey> = union<HashKey, 'kind'>('kind', {
  header: object({ kind: word('header'), name: key }),
  cookie: object({
    kind: word('cookie'),
    name: key,
    path: value,
    ttlMs: optional(milliseconds),
    attributes: headerValues,
  }),
  sourceIp: object({ kind: word('sourceIp') }),
  query: object({ kind: word('query'), name: key }),
});

const loadBalancer: Shape<LoadBalancer> = union<LoadBalancer, 'kind'>('kind', {
  roundRobin: object({ kind: word('roundRobin') }),
  leastRequest: object({ kind: word('leastRequest') }),
  random: object({ kind: word('random') }),
  passthrough: object({ kind: word('passthrough') }),
  ringHash: object({ kind: word('ringHash'), by: hashKey, minimumRingSize: integer(0, 8_388_608) }),
  maglev: object({ kind: word('maglev'), by: hashKey, tableSize: integer(0, 5_000_011) }),
});

type Distribute = Extract<LocalityPolicy, { kind: 'distribute' }>['rules'][number];
type Failover = Extract<LocalityPolicy, { kind: 'failover' }>['rules'][number];
const locality: Shape<LocalityPolicy> = union<LocalityPolicy, 'kind'>('kind', {
  prefer: object({ kind: word('prefer') }),
  distribute: object({
    kind: word('distribute'),
    rules: list(object<Distribute>({ from: key, to: dictionary(count, 1024, MAX_ITEMS) }), MAX_ITEMS),
  }),
  failover: object({ kind: word('failover'), rules: list(object<Failover>({ from: key, to: key }), MAX_ITEMS) }),
  priority: object({
    kind: word('priority'),
    labels: list(object<PriorityLabel>({ name: key, value: optional(key), members }), MAX_ITEMS),
  }),
});

const pool = object<ConnectionPool>({
  maxConnections: count,
  connectTimeoutMs: milliseconds,
  tcpKeepalive: optional(
    object<NonNullable<ConnectionPool['tcpKeepalive']>>({ probes: count, idleSeconds: count, intervalSeconds: count }),
  ),
  maxConnectionMs: optional(milliseconds),
  tcpIdleMs: milliseconds,
  maxPendingRequests: count,
  maxRequests: count,
  maxRetries: count,
  maxRequestsPerConnection: count,
  idleMs: milliseconds,
  http2: words<ConnectionPool['http2']>({ byPort: true, always: true, never: true }),
  usesClientProtocol: flag,
  maxConcurrentStreams: count,
  http2Keepalive: optional(object<Http2Keepalive>({ intervalMs: milliseconds, timeoutMs: milliseconds })),
});

const outlier = object<OutlierDetection>({
  consecutive5xx: count,
  consecutiveGatewayErrors: count,
  consecutiveLocalOriginFailures: count,
  splitsLocalOrigin: flag,
  intervalMs: milliseconds,
  baseEjectionMs: milliseconds,
  maxEjectionPercent: percent,
  minHealthPercent: percent,
});

const upstreamTls = object<UpstreamTls>({
  mode: words<UpstreamTls['mode']>({ simple: true, mutual: true }),
  serverName: host,
  subjectAltNames: list(textPredicate, MAX_ITEMS),
  roots: union<UpstreamTls['roots'], 'kind'>('kind', {
    pem: object({ kind: word('pem'), pem: text(MAX_PEM) }),
    system: object({ kind: word('system') }),
    unverified: object({ kind: word('unverified') }),
    unusable: object({ kind: word('unusable'), why: value }),
  }),
  certificate: optional(key),
});

const policy = object<TrafficPolicy>({
  loadBalancer,
  locality: optional(locality),
  slowStart: optional(
    object<SlowStart>({ durationMs: milliseconds, minimumPercent: percent, aggression: number(0, 1e9) }),
  ),
  pool,
  outlier: optional(outlier),
  tls: optional(upstreamTls),
  proxyProtocol: optional(words<'v1' | 'v2'>({ v1: true, v2: true })),
  retryBudget: optional(object<RetryBudget>({ percent, minRetries: count })),
});
const ports = dictionary(policy, 5, 65_536);

const traffic = object<TrafficConfig>({
  policy,
  ports,
  subsets: list(object<Subset>({ name, members, policy, ports }), MAX_ITEMS),
});

export const serviceShape: Shape<ServiceConfig> = object<ServiceConfig>({
  key,
  hostname: host,
  ports: list(
    object<ServicePortConfig>({
      port,
      name,
      protocol: words<PortProtocol>({
        http: true,
        http2: true,
        grpc: true,
        grpcWeb: true,
        tls: true,
        tcp: true,
        unknown: true,
      }),
    }),
    MAX_ITEMS,
  ),
  resolution: words<ServiceConfig['resolution']>({
    endpoints: true,
    dns: true,
    dnsRoundRobin: true,
    dynamicDns: true,
    none: true,
  }),
  traffic,
  bound: optional(object<BoundService>({ security, filters, telemetry: optional(telemetry) })),
  subjectAltNames: list(value, MAX_ITEMS),
});
