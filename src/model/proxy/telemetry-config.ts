// What a proxy reports, and where to: the outcome of the Telemetry resources and the mesh configuration for one proxy or
// one service behind it.

export interface TelemetryConfig {
  readonly accessLogs: readonly AccessLogConfig[];
  readonly tracing: TracingConfig | undefined;
  readonly metrics: MetricsConfig;
}

/** Metrics on, nothing logged, no spans. */
export const DEFAULT_TELEMETRY: TelemetryConfig = {
  accessLogs: [],
  tracing: undefined,
  metrics: { enabled: true, overrides: [] },
};

export interface AccessLogConfig {
  readonly provider: string;
  /** Common Expression Language; undefined: every request. One that cannot be read logs everything, with a warning. */
  readonly filter: string | undefined;
  readonly sink: { readonly kind: 'stdout' } | ({ readonly kind: 'otlp'; readonly logName: string } & CollectorAddress);
  readonly format:
    | { readonly kind: 'defaultText' }
    | { readonly kind: 'defaultJson' }
    /** Envoy's command operators. */
    | { readonly kind: 'text'; readonly template: string }
    | { readonly kind: 'json'; readonly labels: Readonly<Record<string, string>> };
  readonly omitsEmpty: boolean;
}

export interface CollectorAddress {
  /** Host name of a service, resolved; and its port. */
  readonly host: string;
  readonly port: number;
}

export interface TracingConfig extends CollectorAddress {
  readonly provider: string;
  readonly protocol: 'otlpGrpc' | 'otlpHttp' | 'zipkin';
  /** Of HTTP: `/v1/traces`. */
  readonly path: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly timeoutMs: number;
  /** 0-100 of requests that come without a decision. */
  readonly samplingPercent: number;
  readonly reportsSpans: boolean;
  readonly propagates: boolean;
  /** `istio.*` tags. */
  readonly istioTags: boolean;
  readonly requestIdDecides: boolean;
  readonly tags: readonly SpanTag[];
}

export type SpanTag =
  | { readonly kind: 'literal'; readonly name: string; readonly value: string }
  | { readonly kind: 'header'; readonly name: string; readonly header: string; readonly otherwise: string }
  | { readonly kind: 'environment'; readonly name: string; readonly variable: string; readonly otherwise: string }
  | { readonly kind: 'formatter'; readonly name: string; readonly template: string };

export interface MetricsConfig {
  readonly enabled: boolean;
  /** In order; the last that says something about a metric and tag wins. */
  readonly overrides: readonly MetricOverride[];
}

export interface MetricOverride {
  /** Prometheus name; undefined: all. */
  readonly metric: string | undefined;
  readonly mode: 'client' | 'server' | 'both';
  readonly disabled: boolean | undefined;
  /** `undefined` as value removes the tag, a text is a Common Expression Language expression. */
  readonly tags: readonly { readonly tag: string; readonly value: string | undefined }[];
}
