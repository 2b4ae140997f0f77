// The access logs of one configuration: each with its filter, its format and where it goes. One line per exchange.

import type { AccessLogConfig } from '../../model/proxy/telemetry-config.ts';
import type { LogSink } from '../../telemetry/log.ts';
import { exchangeNames } from './attributes.ts';
import type { BatchSender } from './batch-sender.ts';
import { compileCel } from './cel/compile.ts';
import type { Reported, ReportingProxy } from './ends.ts';
import { lineFormat, templateText } from './log-format.ts';
import type { LogRecord } from './records.ts';
import type { Tracing } from './tracing.ts';

export interface AccessLog {
  write(exchange: Reported): void;
}

export interface AccessLogOptions {
  readonly proxy: ReportingProxy;
  readonly sink: LogSink;
  readonly collector: (sink: AccessLogConfig['sink'] & { kind: 'otlp' }) => BatchSender<LogRecord>;
  /** Whose spans log records name. */
  readonly tracing: Tracing | undefined;
  warn(problem: string): void;
}

export function accessLog(config: AccessLogConfig, options: AccessLogOptions): AccessLog {
  const wanted = filterOf(config, options);
  const write =
    config.sink.kind === 'stdout' ? lineWriter(config, options) : recordWriter(config, config.sink, options);
  return wanted === undefined ? { write } : { write: (exchange) => void (wanted(exchange) && write(exchange)) };
}

function filterOf(
  { filter, provider }: AccessLogConfig,
  options: AccessLogOptions,
): ((exchange: Reported) => boolean) | undefined {
  if (filter === undefined || filter.trim() === '') return undefined;
  const compiled = compileCel(filter, exchangeNames(options.proxy));
  if (compiled.ok) return (exchange) => compiled.value(exchange) === true;
  options.warn(`access log ${provider}: every request is logged, its filter cannot be read: ${compiled.error}`);
  return undefined;
}

function lineWriter(config: AccessLogConfig, { proxy, sink, warn }: AccessLogOptions): AccessLog['write'] {
  const line = lineFormat(config.format, config.omitsEmpty, proxy, warn);
  return (exchange) => sink.write(line(exchange));
}

/** A text is the record's body; labels are its attributes. */
function recordWriter(
  config: AccessLogConfig,
  to: AccessLogConfig['sink'] & { kind: 'otlp' },
  { proxy, collector, tracing, warn }: AccessLogOptions,
): AccessLog['write'] {
  const sender = collector(to);
  const { format } = config;
  const body = format.kind === 'json' ? undefined : lineFormat(format, config.omitsEmpty, proxy, warn);
  const labels = format.kind === 'json' ? Object.entries(format.labels) : [];
  const attributes = labels.map(([name, template]) => ({ name, value: templateText(template, proxy, warn) }));
  return (exchange) => {
    const ids = tracing?.idsOf(exchange);
    sender.add({
      timeMs: exchange.startedAtMs,
      body: body === undefined ? '' : body(exchange).trimEnd(),
      attributes: attributes.map(({ name, value }) => [name, value(exchange)] as const),
      traceId: ids?.traceId,
      spanId: ids?.spanId,
    });
  };
}
