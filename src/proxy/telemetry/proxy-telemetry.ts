// Telemetry of one proxy process: metrics, access logs and spans of exchanges, by the configuration of the proxy or of the
// service that a request is for, and of connections that are passed on. Made once; `of` hands out what one configuration
// comes to.

import type { TelemetryConfig } from '../../model/proxy/telemetry-config.ts';
import type { Clock } from '../../platform/clock.ts';
import type { ConnectionTelemetry } from '../../telemetry/connection.ts';
import type { LogSink } from '../../telemetry/log.ts';
import { logger } from '../../telemetry/log.ts';
import type { Registry } from '../../telemetry/registry.ts';
import type { Exchange, ExchangeTelemetry } from '../contracts.ts';
import type { HttpCaller } from '../security/http-caller.ts';
import { type AccessLog, accessLog } from './access-logs.ts';
import { Collectors } from './collectors.ts';
import { ConnectionReports } from './connection-reports.ts';
import type { ReportingProxy } from './ends.ts';
import { type MetricGroup, metricGroups } from './metric-groups.ts';
import { MetricsPlan } from './metrics-plan.ts';
import { PolicyFindings } from './policy-findings.ts';
import { takeRequestId } from './request-id.ts';
import { RequestMetrics } from './request-metrics.ts';
import { TCP_METRICS, type TcpMetric, TcpMetrics } from './tcp-metrics.ts';
import { Tracing } from './tracing.ts';

const log = logger('telemetry');

export interface ProxyTelemetryOptions {
  readonly proxy: ReportingProxy;
  readonly registry: Registry;
  /** Of access-log lines. Standard output should have one sink for all of the process, or lines may mix. */
  readonly sink: LogSink;
  /** How collectors are reached. */
  readonly caller: HttpCaller;
  readonly clock: Clock;
  /** Is told of what in a configuration cannot be honoured. */
  readonly warn?: (problem: string) => void;
  /** 0 to below 1, for tests. */
  readonly random?: () => number;
}

/** A collector that does not answer must not hold up the end of the process. */
const FLUSH_MS = 3000;
/** Warnings that are kept apart; a configuration that comes again warns no second time. */
const MOST_WARNINGS = 1000;

export class ProxyTelemetry {
  readonly #options: ProxyTelemetryOptions;
  readonly #metrics = new RequestMetrics();
  readonly #collectors: Collectors;
  readonly #tcpMetrics = new TcpMetrics();
  readonly #findings: PolicyFindings;
  readonly #made = new WeakMap<TelemetryConfig, ConfiguredTelemetry>();
  readonly #warned = new Set<string>();

  constructor(options: ProxyTelemetryOptions) {
    this.#options = options;
    const { registry, caller, clock, proxy } = options;
    registry.collector(this.#metrics);
    registry.collector(this.#tcpMetrics);
    this.#findings = new PolicyFindings(registry);
    this.#collectors = new Collectors({
      caller,
      clock,
      registry,
      warn: (problem) => log.warn(problem),
      resource: [
        ['service.name', `${proxy.peer.canonicalName || proxy.peer.workload || 'unknown'}.${proxy.peer.namespace}`],
        ['service.version', proxy.peer.canonicalRevision || 'latest'],
        ['node_name', proxy.nodeId],
        ['cluster_name', proxy.peer.cluster],
        ['zone_name', proxy.peer.zone],
      ],
    });
  }

  /** What a configuration comes to; made once for each configuration object. */
  of(config: TelemetryConfig): ExchangeTelemetry {
    return this.#configured(config);
  }

  /** @param config  of the proxy, as it is now: a connection keeps what held at its beginning */
  connections(config: () => TelemetryConfig): ConnectionTelemetry {
    const { proxy, clock } = this.#options;
    const metrics = this.#tcpMetrics;
    return new ConnectionReports({ proxy, clock, metrics, current: () => this.#configured(config()) });
  }

  /**
   * Before the end of the process, while connections can still be made: resolves when spans and records have left, or
   * could not, or after `withinMs`.
   */
  flush(withinMs = FLUSH_MS): Promise<void> {
    return this.#collectors.flush(withinMs);
  }

  #configured(config: TelemetryConfig): ConfiguredTelemetry {
    let telemetry = this.#made.get(config);
    if (telemetry === undefined) {
      telemetry = this.#make(config);
      this.#made.set(config, telemetry);
    }
    return telemetry;
  }

  #make(config: TelemetryConfig): ConfiguredTelemetry {
    const { proxy, sink, random } = this.#options;
    const warn = (problem: string): void => this.#warn(problem);
    const tracing =
      config.tracing && new Tracing(proxy, config.tracing, this.#collectors.spans(config.tracing), warn, random);
    const plan = new MetricsPlan(proxy, config.metrics, this.#metrics, warn);
    const collector = (to: Parameters<Collectors['logs']>[0]) => this.#collectors.logs(to);
    const logs = config.accessLogs.map((one) => accessLog(one, { proxy, sink, collector, tracing, warn }));
    const groups = metricGroups(proxy, TCP_METRICS, config.metrics, warn);
    return new ConfiguredTelemetry({ proxy, plan, groups, logs, tracing, findings: this.#findings });
  }

  #warn(problem: string): void {
    if (this.#warned.has(problem) || this.#warned.size >= MOST_WARNINGS) return;
    this.#warned.add(problem);
    (this.#options.warn ?? ((text: string) => log.warn(text)))(problem);
  }
}

/** Trusted proxies stand before this one: what they pass on was theirs to check. */
const isVouchedFor = ({ request, client }: Exchange): boolean =>
  request.remoteIp !== undefined && request.remoteIp !== client.source.ip;

interface ConfiguredParts {
  readonly proxy: ReportingProxy;
  readonly plan: MetricsPlan;
  readonly groups: readonly MetricGroup<TcpMetric>[];
  readonly logs: readonly AccessLog[];
  readonly tracing: Tracing | undefined;
  readonly findings: PolicyFindings;
}

class ConfiguredTelemetry implements ExchangeTelemetry {
  /** Of connections that are passed on. */
  readonly groups: readonly MetricGroup<TcpMetric>[];
  readonly logs: readonly AccessLog[];
  readonly #proxy: ReportingProxy;
  readonly #plan: MetricsPlan;
  readonly #tracing: Tracing | undefined;
  readonly #findings: PolicyFindings;

  constructor({ proxy, plan, groups, logs, tracing, findings }: ConfiguredParts) {
    this.groups = groups;
    this.logs = logs;
    this.#proxy = proxy;
    this.#plan = plan;
    this.#tracing = tracing;
    this.#findings = findings;
  }

  begin(exchange: Exchange): void {
    takeRequestId(exchange.requestFields, !this.#proxy.edge || isVouchedFor(exchange));
    this.#tracing?.begin(exchange);
  }

  finish(exchange: Exchange): void {
    this.#plan.count(exchange);
    for (const one of this.logs) one.write(exchange);
    this.#tracing?.finish(exchange);
    if (exchange.verdict !== undefined) this.#findings.note(exchange, exchange.verdict);
  }
}
