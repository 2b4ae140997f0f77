// Telemetry of one proxy process: metrics, access logs and spans of exchanges, by the configuration of the proxy or of the
// service that a request is for. Made once; `of` hands out what one configuration comes to.

import type { TelemetryConfig } from '../../model/proxy/telemetry-config.ts';
import type { Clock } from '../../platform/clock.ts';
import type { LogSink } from '../../telemetry/log.ts';
import { logger } from '../../telemetry/log.ts';
import type { Registry } from '../../telemetry/registry.ts';
import type { Exchange, ExchangeTelemetry } from '../contracts.ts';
import type { HttpCaller } from '../security/http-caller.ts';
import { type AccessLog, accessLog } from './access-logs.ts';
import { Collectors } from './collectors.ts';
import type { ReportingProxy } from './ends.ts';
import { MetricsPlan } from './metrics-plan.ts';
import { takeRequestId } from './request-id.ts';
import { RequestMetrics } from './request-metrics.ts';
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

/** Warnings that are kept apart; a configuration that comes again warns no second time. */
const MOST_WARNINGS = 1000;

export class ProxyTelemetry {
  readonly #options: ProxyTelemetryOptions;
  readonly #metrics = new RequestMetrics();
  readonly #collectors: Collectors;
  readonly #made = new WeakMap<TelemetryConfig, ExchangeTelemetry>();
  readonly #warned = new Set<string>();

  constructor(options: ProxyTelemetryOptions) {
    this.#options = options;
    const { registry, caller, clock, proxy } = options;
    registry.collector(this.#metrics);
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
    let telemetry = this.#made.get(config);
    if (telemetry === undefined) {
      telemetry = this.#make(config);
      this.#made.set(config, telemetry);
    }
    return telemetry;
  }

  /** Before the end of the process: resolves when spans and records have left, or could not. */
  flush(): Promise<void> {
    return this.#collectors.flush();
  }

  #make(config: TelemetryConfig): ExchangeTelemetry {
    const { proxy, sink, random } = this.#options;
    const warn = (problem: string): void => this.#warn(problem);
    const tracing =
      config.tracing && new Tracing(proxy, config.tracing, this.#collectors.spans(config.tracing), warn, random);
    const plan = new MetricsPlan(proxy, config.metrics, this.#metrics, warn);
    const collector = (to: Parameters<Collectors['logs']>[0]) => this.#collectors.logs(to);
    const logs = config.accessLogs.map((one) => accessLog(one, { proxy, sink, collector, tracing, warn }));
    return new ConfiguredTelemetry(proxy, plan, logs, tracing);
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

class ConfiguredTelemetry implements ExchangeTelemetry {
  readonly #proxy: ReportingProxy;
  readonly #plan: MetricsPlan;
  readonly #logs: readonly AccessLog[];
  readonly #tracing: Tracing | undefined;

  constructor(proxy: ReportingProxy, plan: MetricsPlan, logs: readonly AccessLog[], tracing: Tracing | undefined) {
    this.#proxy = proxy;
    this.#plan = plan;
    this.#logs = logs;
    this.#tracing = tracing;
  }

  begin(exchange: Exchange): void {
    takeRequestId(exchange.requestFields, !this.#proxy.edge || isVouchedFor(exchange));
    this.#tracing?.begin(exchange);
  }

  finish(exchange: Exchange): void {
    this.#plan.count(exchange);
    for (const one of this.#logs) one.write(exchange);
    this.#tracing?.finish(exchange);
  }
}
