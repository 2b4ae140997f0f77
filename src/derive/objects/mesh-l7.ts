// What MeshConfig says to proxies for requests: external authorizers, tracing and log providers, defaults of routes and
// traffic. Apart from the rest of the configuration, since node proxies need none of it.

import type { TextPredicate } from '../../model/facts.ts';
import type { AuthorizationProviderConfig } from '../../model/proxy/security.ts';
import { flag, integer, type Json, list, optionalRecord, record, text, textRecord, texts } from '../read.ts';
import { durationMs } from '../traffic/duration.ts';

export interface MeshL7 {
  readonly authorizationProviders: readonly AuthorizationProviderConfig[];
  /** Every other provider, as written, by its name and the key of its kind (`opentelemetry`, `envoyFileAccessLog`, …). */
  readonly providers: readonly { readonly name: string; readonly kind: string; readonly settings: Json }[];
  readonly defaultProviders: {
    readonly tracing: readonly string[];
    readonly metrics: readonly string[];
    readonly accessLogging: readonly string[];
  };
  /** Empty: no log unless a Telemetry says so. */
  readonly accessLogFile: string;
  readonly accessLogJson: boolean;
  /** Empty: the default format. */
  readonly accessLogFormat: string;
  readonly enableTracing: boolean;
  /** 0-100. */
  readonly traceSampling: number;
  readonly trustDomainAliases: readonly string[];
  readonly pathNormalization: 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';
  readonly trustedProxies: number;
  readonly connectTimeoutMs: number;
  readonly hboneIdleMs: number;
  /** As written; undefined: Istio's own default. */
  readonly defaultRetry: Json | undefined;
  readonly defaultTrafficPolicy: Json;
  readonly locality: Json;
  readonly exportTo: {
    readonly virtualServices: readonly string[];
    readonly destinationRules: readonly string[];
  };
}

const NORMALIZATIONS = new Set(['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES']);
/** Istio's `pilot.traceSampling`. */
const TRACE_SAMPLING = 1;
const AUTHORIZER_TIMEOUT_MS = 600_000;

/** `abc`, `abc*`, `*abc`: names of headers. */
function namePattern(written: string): TextPredicate {
  const name = written.toLowerCase();
  if (name.startsWith('*')) return { kind: 'suffix', value: name.slice(1) };
  return name.endsWith('*') ? { kind: 'prefix', value: name.slice(0, -1) } : { kind: 'exact', value: name };
}

const namePatterns = (value: unknown): readonly TextPredicate[] => texts(value).map(namePattern);

/** `[<namespace>/]<host>`: the namespace only says where to look, names of hosts are whole in a mesh configuration. */
export const providerHost = (service: string): string => service.slice(service.indexOf('/') + 1);

function readAuthorizer(name: string, protocol: 'http' | 'grpc', written: Json): AuthorizationProviderConfig {
  const body = optionalRecord(written.includeRequestBodyInCheck);
  const http = protocol === 'http';
  return {
    name,
    protocol,
    host: providerHost(text(written.service)),
    port: integer(written.port) ?? 0,
    timeoutMs: durationMs(written.timeout) || AUTHORIZER_TIMEOUT_MS,
    failOpen: flag(written.failOpen),
    statusOnError: integer(written.statusOnError) || 403,
    clearsRouteCache: flag(written.clearRouteCache),
    pathPrefix: http ? text(written.pathPrefix) : '',
    requestHeaders: http ? namePatterns(written.includeRequestHeadersInCheck ?? written.includeHeadersInCheck) : [],
    addedHeaders: http
      ? Object.entries(textRecord(written.includeAdditionalHeadersInCheck)).map(([key, value]) => ({
          name: key,
          value,
        }))
      : [],
    toUpstreamOnAllow: http ? namePatterns(written.headersToUpstreamOnAllow) : [],
    toDownstreamOnAllow: http ? namePatterns(written.headersToDownstreamOnAllow) : [],
    toDownstreamOnDeny: http ? namePatterns(written.headersToDownstreamOnDeny) : [],
    body: body && {
      maxBytes: integer(body.maxRequestBytes) ?? 0,
      allowsPartial: flag(body.allowPartialMessage),
      asBytes: flag(body.packAsBytes),
    },
  };
}

/** @param source  the whole mesh configuration as parsed YAML */
export function parseMeshL7(source: Json): MeshL7 {
  const authorizationProviders: AuthorizationProviderConfig[] = [];
  const providers: { name: string; kind: string; settings: Json }[] = [];
  for (const item of list(source.extensionProviders)) {
    const { name, ...kinds } = record(item);
    const [kind] = Object.keys(kinds);
    if (kind === undefined || text(name) === '') continue;
    const settings = record(kinds[kind]);
    if (kind === 'envoyExtAuthzHttp') authorizationProviders.push(readAuthorizer(text(name), 'http', settings));
    else if (kind === 'envoyExtAuthzGrpc') authorizationProviders.push(readAuthorizer(text(name), 'grpc', settings));
    else providers.push({ name: text(name), kind, settings });
  }
  const defaults = record(source.defaultProviders);
  const proxy = record(source.defaultConfig);
  const sampling = Number(record(proxy.tracing).sampling ?? TRACE_SAMPLING);
  const normalization = text(record(source.pathNormalization).normalization);
  return {
    authorizationProviders,
    providers,
    defaultProviders: {
      tracing: texts(defaults.tracing),
      metrics: texts(defaults.metrics),
      accessLogging: texts(defaults.accessLogging),
    },
    accessLogFile: text(source.accessLogFile),
    accessLogJson: source.accessLogEncoding === 'JSON',
    accessLogFormat: text(source.accessLogFormat),
    enableTracing: source.enableTracing !== false,
    traceSampling: Number.isFinite(sampling) ? Math.min(100, Math.max(0, sampling)) : TRACE_SAMPLING,
    trustDomainAliases: texts(source.trustDomainAliases),
    pathNormalization: NORMALIZATIONS.has(normalization) ? (normalization as MeshL7['pathNormalization']) : 'BASE',
    trustedProxies: integer(record(proxy.gatewayTopology).numTrustedProxies) ?? 0,
    connectTimeoutMs: durationMs(source.connectTimeout) || 10_000,
    hboneIdleMs: durationMs(source.hboneIdleTimeout) || 3_600_000,
    defaultRetry: optionalRecord(source.defaultHttpRetryPolicy),
    defaultTrafficPolicy: record(source.defaultTrafficPolicy),
    locality: record(source.localityLbSetting),
    exportTo: {
      virtualServices: orEverywhere(texts(source.defaultVirtualServiceExportTo)),
      destinationRules: orEverywhere(texts(source.defaultDestinationRuleExportTo)),
    },
  };
}

const orEverywhere = (written: readonly string[]): readonly string[] => (written.length === 0 ? ['*'] : written);
