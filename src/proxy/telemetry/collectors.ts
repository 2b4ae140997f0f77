// Where spans and log records go: OTLP over gRPC or HTTP, and Zipkin. One sender for each address and kind, shared by all
// configurations that name it, so that a changed configuration loses nothing that is under way.

import type { AccessLogConfig, CollectorAddress, TracingConfig } from '../../model/proxy/telemetry-config.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Counter, Registry } from '../../telemetry/registry.ts';
import { callGrpc, type HttpCaller } from '../security/http-caller.ts';
import { BatchSender } from './batch-sender.ts';
import { encodeLogs, encodeSpans } from './otlp.ts';
import type { Attributes, LogRecord, Span } from './records.ts';
import { encodeZipkin } from './zipkin.ts';

const TRACE_EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const LOGS_EXPORT = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
const LOGS_TIMEOUT_MS = 5000;
/** Answers say nothing that matters. */
const MOST_ANSWER_BYTES = 64 * 1024;

export interface CollectorsOptions {
  readonly caller: HttpCaller;
  readonly clock: Clock;
  readonly registry: Registry;
  warn(problem: string): void;
  /** What is said of this proxy with every batch: `service.name` first. */
  readonly resource: Attributes;
}

export class Collectors {
  readonly #options: CollectorsOptions;
  readonly #spans = new Map<string, BatchSender<Span>>();
  readonly #logs = new Map<string, BatchSender<LogRecord>>();
  readonly #spansDropped: Counter;
  readonly #logsDropped: Counter;

  constructor(options: CollectorsOptions) {
    this.#options = options;
    this.#spansDropped = options.registry.counter('ambit_spans_dropped', 'Spans that did not reach their collector');
    this.#logsDropped = options.registry.counter(
      'ambit_log_records_dropped',
      'Log records that did not reach their collector',
    );
  }

  spans(config: TracingConfig): BatchSender<Span> {
    const { protocol, host, port, path, headers, timeoutMs } = config;
    const key = JSON.stringify([protocol, host, port, path, headers, timeoutMs]);
    return this.#sender(this.#spans, key, `spans to ${addressText(config)}`, this.#spansDropped, (spans) =>
      this.#sendSpans(config, spans),
    );
  }

  logs(sink: AccessLogConfig['sink'] & { kind: 'otlp' }): BatchSender<LogRecord> {
    const resource =
      sink.logName === '' ? this.#options.resource : [...this.#options.resource, ['log_name', sink.logName] as const];
    const key = JSON.stringify([sink.host, sink.port, sink.logName]);
    return this.#sender(this.#logs, key, `log records to ${addressText(sink)}`, this.#logsDropped, async (records) => {
      await this.#grpc(sink, LOGS_EXPORT, [], encodeLogs(resource, records), LOGS_TIMEOUT_MS);
    });
  }

  /** Before the end of the process: resolves when all has left, or could not, or the time is over. */
  async flush(withinMs: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = this.#options.clock.after(withinMs, () => late.resolve());
    const senders = [...this.#spans.values(), ...this.#logs.values()];
    await Promise.race([Promise.all(senders.map((sender) => sender.flush())), late.promise]);
    timer.cancel();
  }

  #sender<T>(
    senders: Map<string, BatchSender<T>>,
    key: string,
    what: string,
    dropped: Counter,
    send: (items: readonly T[]) => Promise<void>,
  ): BatchSender<T> {
    let sender = senders.get(key);
    if (sender === undefined) {
      const { clock, warn } = this.#options;
      sender = new BatchSender({ clock, send, dropped, warn: (problem) => warn(`${what} are lost: ${problem}`) });
      senders.set(key, sender);
    }
    return sender;
  }

  async #sendSpans(config: TracingConfig, spans: readonly Span[]): Promise<void> {
    const { resource } = this.#options;
    switch (config.protocol) {
      case 'otlpGrpc':
        await this.#grpc(
          config,
          TRACE_EXPORT,
          lowerCase(config.headers),
          encodeSpans(resource, spans),
          config.timeoutMs,
        );
        return;
      case 'otlpHttp':
        await this.#post(config, 'application/x-protobuf', encodeSpans(resource, spans));
        return;
      case 'zipkin':
        await this.#post(config, 'application/json', encodeZipkin(resource[0]?.[1] ?? 'unknown', spans));
    }
  }

  async #grpc(
    to: CollectorAddress,
    method: string,
    headers: Headers,
    message: Uint8Array,
    timeoutMs: number,
  ): Promise<void> {
    const { host, port } = to;
    await callGrpc(this.#options.caller, {
      host,
      port,
      method,
      headers,
      message,
      timeoutMs,
      maxAnswerBytes: MOST_ANSWER_BYTES,
    });
  }

  async #post(config: TracingConfig, contentType: string, body: Uint8Array): Promise<void> {
    const { host, port, path, timeoutMs } = config;
    const answer = await this.#options.caller.call({
      host,
      port,
      protocol: 'http1',
      method: 'POST',
      path,
      headers: [{ name: 'content-type', value: contentType }, ...lowerCase(config.headers)],
      body,
      timeoutMs,
      maxAnswerBytes: MOST_ANSWER_BYTES,
    });
    if (answer.status < 200 || answer.status > 299) throw new Error(`the collector answered ${answer.status}`);
  }
}

type Headers = readonly { readonly name: string; readonly value: string }[];
const lowerCase = (headers: Headers): Headers =>
  headers.map(({ name, value }) => ({ name: name.toLowerCase(), value }));
const addressText = ({ host, port }: CollectorAddress): string => `${host}:${port}`;
