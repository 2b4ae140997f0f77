// Istio's metrics of connections that are passed on, at proxies of Envoy's kind: without locality, with the reporter of
// the proxy. Bytes of open connections are taken over at each scrape.

import type { ByteMeter } from '../../telemetry/connection.ts';
import { familyHeader, labelPairs, sample } from '../../telemetry/openmetrics.ts';
import { type Collector, MAX_LABEL_SETS } from '../../telemetry/registry.ts';
import type { Label } from './metric-groups.ts';

export const TCP_METRICS = [
  'istio_tcp_connections_opened_total',
  'istio_tcp_connections_closed_total',
  'istio_tcp_received_bytes_total',
  'istio_tcp_sent_bytes_total',
] as const;
export type TcpMetric = (typeof TCP_METRICS)[number];

const HELP: Readonly<Record<TcpMetric, string>> = {
  istio_tcp_connections_opened_total: 'TCP connections opened',
  istio_tcp_connections_closed_total: 'TCP connections closed',
  istio_tcp_received_bytes_total: 'Bytes received by the server side of TCP connections',
  istio_tcp_sent_bytes_total: 'Bytes sent by the server side of TCP connections',
};

/** A label set and its numbers, by metric; what was never counted is not shown. */
interface TcpSet {
  readonly labels: string;
  readonly counts: Map<TcpMetric, number>;
}

/** Where one connection counts, by metric: a metric that is off has none. */
export type TcpCounters = ReadonlyMap<TcpMetric, TcpSet>;

export interface LiveConnection {
  /** @param closed  where its end is counted: its flags are known by then */
  finish(closed: TcpCounters): void;
}

const add = (counters: TcpCounters, metric: TcpMetric, by: number): void => {
  const counts = counters.get(metric)?.counts;
  counts?.set(metric, (counts.get(metric) ?? 0) + by);
};

class Live implements LiveConnection {
  readonly #all: Set<Live>;
  readonly #counters: TcpCounters;
  readonly #meter: ByteMeter;
  #toServer = 0;
  #toClient = 0;

  constructor(all: Set<Live>, counters: TcpCounters, meter: ByteMeter) {
    this.#all = all;
    this.#counters = counters;
    this.#meter = meter;
    all.add(this);
    add(counters, 'istio_tcp_connections_opened_total', 1);
    this.collect();
  }

  collect(): void {
    const { toServer, toClient } = this.#meter;
    add(this.#counters, 'istio_tcp_received_bytes_total', toServer - this.#toServer);
    add(this.#counters, 'istio_tcp_sent_bytes_total', toClient - this.#toClient);
    this.#toServer = toServer;
    this.#toClient = toClient;
  }

  finish(closed: TcpCounters): void {
    if (!this.#all.delete(this)) return;
    this.collect();
    add(closed, 'istio_tcp_connections_closed_total', 1);
  }
}

export class TcpMetrics implements Collector {
  readonly #maxSets: number;
  readonly #sets = new Map<string, TcpSet>();
  readonly #live = new Set<Live>();

  /** @param maxSets  bound on label sets; what is too much is counted as `overflow` */
  constructor(maxSets = MAX_LABEL_SETS) {
    this.#maxSets = maxSets;
  }

  set(labels: readonly Label[]): TcpSet {
    const text = labelPairs(labels);
    const known = this.#sets.get(text);
    if (known !== undefined) return known;
    if (this.#sets.size < this.#maxSets) return this.#add(text);
    const together = labelPairs(
      labels.map(([name, value]) => [name, name === 'reporter' ? value : 'overflow'] as const),
    );
    return this.#sets.get(together) ?? this.#add(together);
  }

  open(counters: TcpCounters, meter: ByteMeter): LiveConnection {
    return new Live(this.#live, counters, meter);
  }

  render(): string {
    for (const live of this.#live) live.collect();
    let text = '';
    for (const metric of TCP_METRICS) {
      let samples = '';
      for (const { labels, counts } of this.#sets.values()) {
        const count = counts.get(metric);
        if (count !== undefined) samples += sample(metric, labels, count);
      }
      if (samples !== '')
        text += familyHeader({ name: metric.replace(/_total$/, ''), help: HELP[metric], type: 'counter' }) + samples;
    }
    return text;
  }

  #add(labels: string): TcpSet {
    const set: TcpSet = { labels, counts: new Map() };
    this.#sets.set(labels, set);
    return set;
  }
}
