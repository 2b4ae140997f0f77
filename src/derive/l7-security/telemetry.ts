// Telemetry resources and the mesh configuration -> what one proxy, or one service behind it, reports.
// Later ones override: mesh, root namespace, own namespace, service's namespace, selector or targetRef.

import type {
  AccessLogConfig,
  MetricOverride,
  MetricsConfig,
  SpanTag,
  TelemetryConfig,
  TracingConfig,
} from '../../model/proxy/telemetry-config.ts';
import { type MeshL7, providerHost } from '../objects/mesh-l7.ts';
import { byAge } from '../objects/meta.ts';
import type { TelemetryResource } from '../objects/telemetry.ts';
import { integer, type Json, list, optionalRecord, optionalText, record, text, textRecord } from '../read.ts';
import { durationMs } from '../traffic/duration.ts';
import { attachesToGateway, attachesToService, type GatewayTarget, type ServiceTarget } from './attachment.ts';

const METRICS: Readonly<Record<string, string>> = {
  REQUEST_COUNT: 'istio_requests_total',
  REQUEST_DURATION: 'istio_request_duration_milliseconds',
  REQUEST_SIZE: 'istio_request_bytes',
  RESPONSE_SIZE: 'istio_response_bytes',
  TCP_OPENED_CONNECTIONS: 'istio_tcp_connections_opened_total',
  TCP_CLOSED_CONNECTIONS: 'istio_tcp_connections_closed_total',
  TCP_SENT_BYTES: 'istio_tcp_sent_bytes_total',
  TCP_RECEIVED_BYTES: 'istio_tcp_received_bytes_total',
  GRPC_REQUEST_MESSAGES: 'istio_request_messages_total',
  GRPC_RESPONSE_MESSAGES: 'istio_response_messages_total',
};
/** Built in, without an entry in the mesh configuration. */
const STDOUT_PROVIDER = 'envoy';
const DEFAULT_OTLP_TIMEOUT_MS = 10_000;

/**
 * The resources that count, from the widest to the closest. In a namespace the oldest without selector or target counts;
 * of those that name the proxy or the service every one.
 * @param service  set where it is asked for one service at its waypoint
 */
export function telemetriesFor(
  all: readonly TelemetryResource[],
  gateway: GatewayTarget,
  service: ServiceTarget | undefined,
  rootNamespace: string,
): readonly TelemetryResource[] {
  const wide = (namespace: string): readonly TelemetryResource[] =>
    all
      .filter(
        (one) =>
          one.namespace === namespace && one.targetRefs.length === 0 && Object.keys(one.selector ?? {}).length === 0,
      )
      .sort(byAge)
      .slice(0, 1);
  const namespaces = new Set([rootNamespace, gateway.namespace, ...(service === undefined ? [] : [service.namespace])]);
  const close = all
    .filter((one) => one.targetRefs.length > 0 || Object.keys(one.selector ?? {}).length > 0)
    .filter(
      (one) =>
        attachesToGateway(one, gateway, rootNamespace) || (service !== undefined && attachesToService(one, service)),
    )
    .sort(byAge);
  return [...[...namespaces].flatMap(wide), ...close];
}

/** @param resources  from the widest to the closest: `telemetriesFor` */
export function deriveTelemetry(resources: readonly TelemetryResource[], mesh: MeshL7, role: Role): TelemetryConfig {
  return {
    accessLogs: accessLogs(resources, mesh, role),
    tracing: tracing(resources, mesh, role),
    metrics: metrics(resources, mesh),
  };
}

/** Waypoints count as servers, gateways as clients (Istio). */
export type Role = 'server' | 'client';

const ROLE_MODES: Readonly<Record<Role, ReadonlySet<string>>> = {
  server: new Set(['', 'UNDEFINED', 'CLIENT_AND_SERVER', 'SERVER']),
  client: new Set(['', 'UNDEFINED', 'CLIENT_AND_SERVER', 'CLIENT']),
};
const forRole = (role: Role, block: Json): boolean => ROLE_MODES[role].has(text(record(block.match).mode));
const providersOf = (block: Json): readonly string[] => list(block.providers).map((item) => text(record(item).name));

/** Provider -> its block in force; a block without providers speaks of those that are in force already. */
function accessLogs(resources: readonly TelemetryResource[], mesh: MeshL7, role: Role): readonly AccessLogConfig[] {
  let inForce = new Map<string, Json>(mesh.defaultProviders.accessLogging.map((name) => [name, {}]));
  const logsByMesh = mesh.accessLogFile !== '' && inForce.size === 0;
  if (logsByMesh) inForce.set(MESH_LOG, {});
  for (const { accessLogging } of resources) {
    const blocks = accessLogging.filter((block) => forRole(role, block));
    if (blocks.length === 0) continue;
    const next = new Map<string, Json>();
    for (const block of blocks) {
      const named = providersOf(block);
      const names = named.length > 0 ? named : inForce.size > 0 ? [...inForce.keys()] : [STDOUT_PROVIDER];
      for (const name of names) next.set(name, { ...inForce.get(name), ...block });
    }
    inForce = next;
  }
  return [...inForce].flatMap(([name, block]) => {
    if (block.disabled === true) return [];
    const filter = optionalText(record(block.filter).expression);
    const config = name === MESH_LOG || name === STDOUT_PROVIDER ? meshLog(name, mesh) : providerLog(name, mesh);
    return config === undefined ? [] : [{ ...config, filter }];
  });
}

const MESH_LOG = 'mesh';

function meshLog(name: string, mesh: MeshL7): AccessLogConfig {
  const { accessLogFormat, accessLogJson } = mesh;
  return {
    provider: name,
    filter: undefined,
    sink: { kind: 'stdout' },
    format:
      accessLogFormat === ''
        ? { kind: accessLogJson ? 'defaultJson' : 'defaultText' }
        : accessLogJson
          ? { kind: 'json', labels: jsonFormat(accessLogFormat) }
          : { kind: 'text', template: accessLogFormat },
    omitsEmpty: false,
  };
}

function jsonFormat(written: string): Readonly<Record<string, string>> {
  try {
    return textRecord(JSON.parse(written));
  } catch {
    return {};
  }
}

function providerLog(name: string, mesh: MeshL7): AccessLogConfig | undefined {
  const provider = mesh.providers.find((one) => one.name === name);
  if (provider === undefined) return undefined;
  const { kind, settings } = provider;
  const format = record(settings.logFormat);
  const labels = optionalRecord(format.labels);
  const template = optionalText(format.text);
  const shared = {
    provider: name,
    filter: undefined,
    format:
      labels !== undefined
        ? ({ kind: 'json', labels: textRecord(labels) } as const)
        : template === undefined
          ? ({ kind: 'defaultText' } as const)
          : ({ kind: 'text', template } as const),
    omitsEmpty: settings.omitEmptyValues === true,
  };
  if (kind === 'envoyFileAccessLog') return { ...shared, sink: { kind: 'stdout' } };
  if (kind !== 'envoyOtelAls') return undefined;
  const logName = text(settings.logName) || 'otel_envoy_accesslog';
  return { ...shared, sink: { kind: 'otlp', logName, ...collector(settings) } };
}

const collector = (settings: Json): { readonly host: string; readonly port: number } => ({
  host: providerHost(text(settings.service)),
  port: integer(settings.port) ?? 0,
});

function tracing(resources: readonly TelemetryResource[], mesh: MeshL7, role: Role): TracingConfig | undefined {
  if (!mesh.enableTracing) return undefined;
  let merged: Json = {};
  let named = mesh.defaultProviders.tracing;
  for (const resource of resources)
    for (const block of resource.tracing.filter((one) => forRole(role, one))) {
      const providers = providersOf(block);
      if (providers.length > 0) named = providers;
      merged = { ...merged, ...block };
    }
  const [name] = named;
  const provider = mesh.providers.find((one) => one.name === name);
  if (provider === undefined) return undefined;
  const { kind, settings } = provider;
  const http = optionalRecord(settings.http);
  const protocol =
    kind === 'zipkin'
      ? 'zipkin'
      : kind === 'opentelemetry'
        ? http === undefined
          ? 'otlpGrpc'
          : 'otlpHttp'
        : undefined;
  if (protocol === undefined) return undefined;
  const percentage = Number(
    optionalRecord(merged.randomSamplingPercentage)?.value ?? merged.randomSamplingPercentage ?? mesh.traceSampling,
  );
  return {
    provider: provider.name,
    protocol,
    ...collector(settings),
    path:
      protocol === 'otlpHttp'
        ? text(http?.path) || '/v1/traces'
        : protocol === 'zipkin'
          ? text(settings.path) || '/api/v2/spans'
          : '',
    headers: list((http ?? record(settings.grpc)).headers ?? record(settings.grpc).initialMetadata).flatMap((item) => {
      const header = record(item);
      const [name, value] = [text(header.name || header.key), text(header.value)];
      return name === '' ? [] : [{ name, value }];
    }),
    timeoutMs: durationMs(http?.timeout) ?? durationMs(record(settings.grpc).timeout) ?? DEFAULT_OTLP_TIMEOUT_MS,
    samplingPercent: Number.isFinite(percentage) ? Math.min(100, Math.max(0, percentage)) : mesh.traceSampling,
    reportsSpans: merged.disableSpanReporting !== true,
    propagates: merged.disableContextPropagation !== true,
    istioTags: merged.enableIstioTags !== false,
    requestIdDecides: merged.useRequestIdForTraceSampling !== false,
    tags: Object.entries(record(merged.customTags)).flatMap(([tag, value]) => readTag(tag, record(value))),
  };
}

function readTag(name: string, written: Json): readonly SpanTag[] {
  const literal = optionalRecord(written.literal);
  if (literal !== undefined) return [{ kind: 'literal', name, value: text(literal.value) }];
  const header = optionalRecord(written.header);
  if (header !== undefined)
    return [{ kind: 'header', name, header: text(header.name).toLowerCase(), otherwise: text(header.defaultValue) }];
  const environment = optionalRecord(written.environment);
  if (environment !== undefined)
    return [{ kind: 'environment', name, variable: text(environment.name), otherwise: text(environment.defaultValue) }];
  const formatter = optionalRecord(written.formatter);
  return formatter === undefined ? [] : [{ kind: 'formatter', name, template: text(formatter.value) }];
}

/** On unless the mesh names providers of metrics and none of them is Prometheus. */
function metrics(resources: readonly TelemetryResource[], mesh: MeshL7): MetricsConfig {
  let providers = mesh.defaultProviders.metrics;
  const overrides: MetricOverride[] = [];
  for (const resource of resources)
    for (const block of resource.metrics) {
      const named = providersOf(block);
      if (named.length > 0) providers = named;
      overrides.push(...list(block.overrides).map((item) => readOverride(record(item))));
    }
  const isPrometheus = (name: string): boolean =>
    name === 'prometheus' || mesh.providers.some((one) => one.name === name && one.kind === 'prometheus');
  return { enabled: providers.length === 0 || providers.some(isPrometheus), overrides };
}

function readOverride(written: Json): MetricOverride {
  const match = record(written.match);
  const metric = optionalText(match.metric);
  const custom = optionalText(match.customMetric);
  const mode = text(match.mode);
  return {
    metric: custom ?? (metric === undefined || metric === 'ALL_METRICS' ? undefined : (METRICS[metric] ?? metric)),
    mode: mode === 'CLIENT' ? 'client' : mode === 'SERVER' ? 'server' : 'both',
    disabled: typeof written.disabled === 'boolean' ? written.disabled : undefined,
    tags: Object.entries(record(written.tagOverrides)).map(([tag, change]) => ({
      tag,
      value: record(change).operation === 'REMOVE' ? undefined : text(record(change).value),
    })),
  };
}
