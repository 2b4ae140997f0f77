// Metrics and access log of connections, behind the one interface that data paths call.

import { logDenied, logFinished, logOpened } from './access-log.ts';
import type {
  ByteMeter,
  ConnectionInfo,
  ConnectionTelemetry,
  OpenConnection,
  Outcome,
  Peer,
  Reporter,
} from './connection.ts';
import { type Logger, logger } from './log.ts';
import type { Gauge, Registry } from './registry.ts';
import { type CountedConnection, sourceLabels, TrafficMetrics } from './traffic-metrics.ts';

const NOBODY: Peer = {
  name: '',
  workload: '',
  canonicalName: '',
  canonicalRevision: '',
  namespace: '',
  cluster: '',
  region: '',
  zone: '',
  app: '',
  identity: undefined,
};

class Reported implements OpenConnection {
  readonly #counted: CountedConnection;
  readonly #info: ConnectionInfo;
  readonly #meter: ByteMeter;
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #startMs: number;
  #done = false;

  constructor(counted: CountedConnection, info: ConnectionInfo, meter: ByteMeter, log: Logger, nowMs: () => number) {
    this.#counted = counted;
    this.#info = info;
    this.#meter = meter;
    this.#log = log;
    this.#nowMs = nowMs;
    this.#startMs = nowMs();
  }

  finish(outcome: Outcome): void {
    if (this.#done) return;
    this.#done = true;
    this.#counted.finish(outcome.flag);
    logFinished(this.#log, this.#info, this.#meter, this.#nowMs() - this.#startMs, outcome);
  }
}

/**
 * Registers the connection families and returns what reports to them.
 * @param nowMs  a steady clock in milliseconds, only for durations
 */
export function connectionTelemetry(
  registry: Registry,
  log: Logger = logger('access'),
  nowMs: () => number = () => performance.now(),
): ConnectionTelemetry {
  const traffic = new TrafficMetrics();
  registry.collector(traffic);
  const sockets = registry.gauges('istio_tcp_sockets_open', 'TCP sockets that are open', ['reporter']);
  const onDemand = registry.counters('istio_on_demand_dns', 'Workload hostnames resolved for a connection', [
    ...sourceLabels(NOBODY).map(([name]) => name),
    'hostname',
  ]);
  const open: Partial<Record<Reporter, Gauge>> = {};
  return {
    open(info, meter) {
      logOpened(log, info);
      return new Reported(traffic.open(info, meter), info, meter, log, nowMs);
    },
    denied: (denial) => logDenied(log, denial),
    sockets(reporter, change) {
      open[reporter] ??= sockets.labels(reporter);
      open[reporter].add(change);
    },
    onDemandDns: (source, hostname) =>
      onDemand.labels(...sourceLabels(source).map(([, value]) => value), hostname).inc(),
  };
}
