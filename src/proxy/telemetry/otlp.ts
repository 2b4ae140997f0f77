// OpenTelemetry's export requests in bytes: spans and log records (opentelemetry.proto.collector.{trace,logs}.v1). Only
// the fields that are filled here. Runs once per batch.

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Attributes, LogRecord, Span } from './records.ts';

const SCOPE = 'ambit';

/** ExportTraceServiceRequest. */
export function encodeSpans(resource: Attributes, spans: readonly Span[]): Uint8Array {
  return request(resource, (writer) => {
    for (const span of spans) writeSpan(part(writer, 2), span).join();
  });
}

/** ExportLogsServiceRequest. */
export function encodeLogs(resource: Attributes, records: readonly LogRecord[]): Uint8Array {
  return request(resource, (writer) => {
    for (const record of records) writeLog(part(writer, 2), record).join();
  });
}

/** Both have the same frame: resource, then one scope with its list. */
function request(resource: Attributes, list: (writer: BinaryWriter) => void): Uint8Array {
  const writer = new BinaryWriter();
  part(writer, 1);
  attributes(part(writer, 1), 1, resource).join();
  part(writer, 2);
  part(writer, 1).tag(1, WireType.LengthDelimited).string(SCOPE).join();
  list(writer);
  return writer.join().join().finish();
}

const part = (writer: BinaryWriter, field: number): BinaryWriter => writer.tag(field, WireType.LengthDelimited).fork();
const hex = (writer: BinaryWriter, field: number, digits: string): BinaryWriter =>
  writer.tag(field, WireType.LengthDelimited).bytes(Buffer.from(digits, 'hex'));
const time = (writer: BinaryWriter, field: number, ms: number): BinaryWriter =>
  writer.tag(field, WireType.Bit64).fixed64(BigInt(Math.floor(ms * 1000)) * 1000n);
const text = (writer: BinaryWriter, field: number, value: string): BinaryWriter =>
  writer.tag(field, WireType.LengthDelimited).string(value);

function attributes(writer: BinaryWriter, field: number, values: Attributes): BinaryWriter {
  for (const [key, value] of values) {
    text(part(writer, field), 1, key);
    text(part(writer, 2), 1, value).join();
    writer.join();
  }
  return writer;
}

const KINDS = { server: 2, client: 3 } as const;
const STATUS_ERROR = 2;
const FLAG_SAMPLED = 1;

function writeSpan(writer: BinaryWriter, span: Span): BinaryWriter {
  hex(writer, 1, span.traceId);
  hex(writer, 2, span.spanId);
  if (span.traceState !== '') text(writer, 3, span.traceState);
  if (span.parentId !== undefined) hex(writer, 4, span.parentId);
  text(writer, 5, span.name);
  writer.tag(6, WireType.Varint).int32(KINDS[span.kind]);
  time(writer, 7, span.startMs);
  time(writer, 8, span.endMs);
  attributes(writer, 9, span.tags);
  if (span.failed) part(writer, 15).tag(3, WireType.Varint).int32(STATUS_ERROR).join();
  return writer.tag(16, WireType.Bit32).fixed32(FLAG_SAMPLED);
}

function writeLog(writer: BinaryWriter, record: LogRecord): BinaryWriter {
  time(writer, 1, record.timeMs);
  if (record.body !== '') text(part(writer, 5), 1, record.body).join();
  attributes(writer, 6, record.attributes);
  if (record.traceId !== undefined) hex(writer, 9, record.traceId);
  if (record.spanId !== undefined) hex(writer, 10, record.spanId);
  return time(writer, 11, record.timeMs);
}
