// Counts exchanges by one configuration. An exchange finds its records by a short key of what distinguishes it; labels are
// made only for a key that is new.

import type { MetricsConfig } from '../../model/proxy/telemetry-config.ts';
import type { Exchange } from '../contracts.ts';
import {
  destinationOf,
  flagsText,
  grpcStatusOf,
  type ReportingProxy,
  sourceIdentityOf,
  sourceOf,
  spiffeText,
} from './ends.ts';
import {
  endLabels,
  flagsLabel,
  type Label,
  labelsOfGroup,
  type MetricGroup,
  metricGroups,
  securityLabel,
  tagValues,
} from './metric-groups.ts';
import { REQUEST_METRICS, type RequestMetric, type RequestMetrics, type RequestSet } from './request-metrics.ts';

/** Records that were found before; what is too much is found again by its labels. */
const MOST_REMEMBERED = 4096;

export class MetricsPlan {
  readonly #proxy: ReportingProxy;
  readonly #metrics: RequestMetrics;
  readonly #groups: readonly MetricGroup<RequestMetric>[];
  readonly #addsTags: boolean;
  readonly #remembered = new Map<string, readonly RequestSet[]>();
  /** Peers have one object for each version, so a number for the object tells them apart. */
  readonly #numbers = new WeakMap<object, number>();
  #lastNumber = 0;

  /** @param warn  is told once of each expression that cannot be read */
  constructor(proxy: ReportingProxy, config: MetricsConfig, metrics: RequestMetrics, warn: (problem: string) => void) {
    this.#proxy = proxy;
    this.#metrics = metrics;
    this.#groups = metricGroups(proxy, REQUEST_METRICS, config, warn);
    this.#addsTags = this.#groups.some(({ added }) => added.length > 0);
  }

  count(exchange: Exchange): void {
    const groups = this.#groups;
    if (groups.length === 0) return;
    const sets = this.#setsOf(exchange);
    const { endedAfterMs = 0, bytesReceived, bytesSent } = exchange;
    for (let i = 0; i < groups.length; i++) {
      const { metrics } = groups[i] as MetricGroup<RequestMetric>;
      const set = sets[i] as RequestSet;
      if (metrics.has('istio_requests_total')) set.countRequest();
      if (metrics.has('istio_request_duration_milliseconds')) set.observeDuration(endedAfterMs);
      if (metrics.has('istio_request_bytes')) set.observeRequestBytes(bytesReceived);
      if (metrics.has('istio_response_bytes')) set.observeResponseBytes(bytesSent);
      if (!exchange.isGrpc) continue;
      if (metrics.has('istio_request_messages_total')) set.countRequestMessages(exchange.requestMessages);
      if (metrics.has('istio_response_messages_total')) set.countResponseMessages(exchange.responseMessages);
    }
  }

  #setsOf(exchange: Exchange): readonly RequestSet[] {
    const { upstream, responseStatus } = exchange;
    const identity = sourceIdentityOf(this.#proxy, exchange);
    const service = exchange.service ?? upstream?.service;
    let key = `${this.#number(sourceOf(this.#proxy, exchange))} ${this.#number(destinationOf(exchange))} ${upstream?.meshed} ${service?.key} ${identity === undefined ? '' : spiffeText(identity)} ${responseStatus} ${flagsText(exchange)}`;
    if (exchange.isGrpc) key += ` ${grpcStatusOf(exchange)}`;
    const values = this.#addsTags ? this.#groups.map((group) => tagValues(group, exchange)) : undefined;
    if (values !== undefined) key += JSON.stringify(values);
    let sets = this.#remembered.get(key);
    if (sets === undefined) {
      const labels = this.#labels(exchange);
      sets = this.#groups.map((group, i) => this.#metrics.set(labelsOfGroup(labels, group, values?.[i] ?? [])));
      if (this.#remembered.size >= MOST_REMEMBERED) this.#remembered.clear();
      this.#remembered.set(key, sets);
    }
    return sets;
  }

  #number(of: object | undefined): number {
    if (of === undefined) return 0;
    let number = this.#numbers.get(of);
    if (number === undefined) {
      number = ++this.#lastNumber;
      this.#numbers.set(of, number);
    }
    return number;
  }

  /** Names and values as Istio's Envoy writes them. */
  #labels(exchange: Exchange): readonly Label[] {
    return [
      ...endLabels(this.#proxy, exchange),
      ['request_protocol', exchange.isGrpc ? 'grpc' : 'http'],
      ['response_code', String(exchange.responseStatus)],
      flagsLabel(exchange),
      ['grpc_response_status', String(grpcStatusOf(exchange) ?? '')],
      securityLabel(this.#proxy, exchange),
    ];
  }
}
