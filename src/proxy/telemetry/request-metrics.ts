// Istio's standard metrics of requests. They share label sets, so one record per set holds all numbers and the label
// text. An exchange finds its record by a short key of what distinguishes it, and makes no label text but for a new one.

import { familyHeader, histogramSamples, labelPairs, sample } from '../../telemetry/openmetrics.ts';
import { type Collector, MAX_LABEL_SETS } from '../../telemetry/registry.ts';
import type { Label } from './metric-groups.ts';

/** Envoy's, in milliseconds and in bytes alike. */
const BOUNDS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];

export const REQUEST_METRICS = [
  'istio_requests_total',
  'istio_request_duration_milliseconds',
  'istio_request_bytes',
  'istio_response_bytes',
  'istio_request_messages_total',
  'istio_response_messages_total',
] as const;
export type RequestMetric = (typeof REQUEST_METRICS)[number];

class Buckets {
  readonly counts = new Array<number>(BOUNDS.length + 1).fill(0);
  sum = 0;

  observe(value: number): void {
    let i = 0;
    while (i < BOUNDS.length && value > (BOUNDS[i] as number)) i++;
    (this.counts[i] as number)++;
    this.sum += value;
  }
}

/** The numbers of one label set; undefined and -1: never counted, so nothing is shown. */
export class RequestSet {
  readonly labels: string;
  requests = -1;
  requestMessages = -1;
  responseMessages = -1;
  duration: Buckets | undefined;
  requestBytes: Buckets | undefined;
  responseBytes: Buckets | undefined;

  constructor(labels: string) {
    this.labels = labels;
  }

  countRequest(): void {
    this.requests = Math.max(0, this.requests) + 1;
  }
  countRequestMessages(messages: number): void {
    this.requestMessages = Math.max(0, this.requestMessages) + messages;
  }
  countResponseMessages(messages: number): void {
    this.responseMessages = Math.max(0, this.responseMessages) + messages;
  }
  observeDuration(ms: number): void {
    this.duration ??= new Buckets();
    this.duration.observe(ms);
  }
  observeRequestBytes(bytes: number): void {
    this.requestBytes ??= new Buckets();
    this.requestBytes.observe(bytes);
  }
  observeResponseBytes(bytes: number): void {
    this.responseBytes ??= new Buckets();
    this.responseBytes.observe(bytes);
  }
}

export class RequestMetrics implements Collector {
  readonly #maxSets: number;
  /** label text -> numbers, in order of first use */
  readonly #sets = new Map<string, RequestSet>();

  /** @param maxSets  bound on label sets: peers choose some labels. What is too much is counted as `overflow` */
  constructor(maxSets = MAX_LABEL_SETS) {
    this.#maxSets = maxSets;
  }

  /** The record of these labels, made at need. */
  set(labels: readonly Label[]): RequestSet {
    const text = labelPairs(labels);
    const known = this.#sets.get(text);
    if (known !== undefined) return known;
    if (this.#sets.size < this.#maxSets) return this.#add(text);
    const together = labelPairs(
      labels.map(([name, value]) => [name, name === 'reporter' ? value : 'overflow'] as const),
    );
    return this.#sets.get(together) ?? this.#add(together);
  }

  #add(text: string): RequestSet {
    const set = new RequestSet(text);
    this.#sets.set(text, set);
    return set;
  }

  render(): string {
    return (
      this.#counters('istio_requests', 'Requests that were answered or ended', (s) => s.requests) +
      this.#histograms(
        'istio_request_duration_milliseconds',
        'Time from first to last byte of requests',
        (s) => s.duration,
      ) +
      this.#histograms('istio_request_bytes', 'Bytes of request bodies', (s) => s.requestBytes) +
      this.#histograms('istio_response_bytes', 'Bytes of response bodies', (s) => s.responseBytes) +
      this.#counters('istio_request_messages', 'gRPC messages from clients', (s) => s.requestMessages) +
      this.#counters('istio_response_messages', 'gRPC messages from servers', (s) => s.responseMessages)
    );
  }

  #counters(name: string, help: string, value: (set: RequestSet) => number): string {
    let text = '';
    for (const set of this.#sets.values()) if (value(set) >= 0) text += sample(`${name}_total`, set.labels, value(set));
    return text === '' ? '' : familyHeader({ name, help, type: 'counter' }) + text;
  }

  #histograms(name: string, help: string, value: (set: RequestSet) => Buckets | undefined): string {
    let text = '';
    for (const set of this.#sets.values()) {
      const buckets = value(set);
      if (buckets !== undefined) text += histogramSamples(name, set.labels, BOUNDS, buckets.counts, buckets.sum);
    }
    return text === '' ? '' : familyHeader({ name, help, type: 'histogram' }) + text;
  }
}
