// The headers that carry a trace: W3C `traceparent` and `tracestate`, and Zipkin's B3 in one or several headers. What is
// not well-formed begins a new trace; it is never passed on as it came.

import { randomFillSync } from 'node:crypto';
import type { Fields } from '../../wire/http1/index.ts';

export interface TraceContext {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** 16 digits: the span that calls. */
  readonly spanId: string;
  /** Undefined: the decision is left to whoever comes next. */
  readonly sampled: boolean | undefined;
}

export type Propagation = 'w3c' | 'b3';

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const TRACE_ID = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/;
const SPAN_ID = /^[0-9a-f]{16}$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
const B3_HEADERS = ['b3', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled', 'x-b3-flags'] as const;

/** The caller's context, of the first of the formats that has one; `decision`: B3 may hold that alone. */
export function readContext(
  fields: Fields,
  first: Propagation,
): { readonly parent: TraceContext | undefined; readonly decision: boolean | undefined } {
  const b3 = readB3(fields);
  const w3c = readTraceparent(fields);
  const parent = first === 'w3c' ? (w3c ?? b3.parent) : (b3.parent ?? w3c);
  return { parent, decision: parent === undefined ? b3.decision : parent.sampled };
}

function readTraceparent(fields: Fields): TraceContext | undefined {
  const lines = fields.all('traceparent');
  const match = lines.length === 1 ? TRACEPARENT.exec(lines[0] ?? '') : null;
  if (match === null) return undefined;
  const [, version = '', traceId = '', spanId = '', flags = '', rest] = match;
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

interface B3 {
  readonly parent: TraceContext | undefined;
  readonly decision: boolean | undefined;
}

function readB3(fields: Fields): B3 {
  const single = fields.get('b3');
  if (single !== undefined) {
    const [traceId = '', spanId, sampled] = single.toLowerCase().split('-');
    if (spanId === undefined) return { parent: undefined, decision: decisionOf(traceId) };
    const decision = decisionOf(sampled);
    return { parent: b3Context(traceId, spanId, decision), decision };
  }
  const decision = fields.get('x-b3-flags') === '1' ? true : decisionOf(fields.get('x-b3-sampled')?.toLowerCase());
  const traceId = fields.get('x-b3-traceid')?.toLowerCase() ?? '';
  return { parent: b3Context(traceId, fields.get('x-b3-spanid')?.toLowerCase() ?? '', decision), decision };
}

function b3Context(traceId: string, spanId: string, sampled: boolean | undefined): TraceContext | undefined {
  if (!TRACE_ID.test(traceId) || !SPAN_ID.test(spanId)) return undefined;
  const whole = traceId.padStart(32, '0');
  return whole === NO_TRACE || spanId === NO_SPAN ? undefined : { traceId: whole, spanId, sampled };
}

function decisionOf(text: string | undefined): boolean | undefined {
  switch (text) {
    case '1':
    case 'd':
    case 'true':
      return true;
    case '0':
    case 'false':
      return false;
    default:
      return undefined;
  }
}

/**
 * Writes the context for whoever is called: in the format of choice, and in each that the caller used.
 * @param continues  whether the caller's trace goes on; `tracestate` of another trace is dropped
 */
export function writeContext(
  fields: Fields,
  context: TraceContext & { readonly sampled: boolean },
  parentId: string | undefined,
  format: Propagation,
  continues: boolean,
): void {
  const { traceId, spanId } = context;
  const sampled = context.sampled ? '1' : '0';
  const came = fields.has('traceparent');
  if (!continues || !came) fields.delete('tracestate');
  if (format === 'w3c' || came) fields.set('traceparent', `00-${traceId}-${spanId}-0${sampled}`);
  const single = fields.has('b3');
  const several = fields.has('x-b3-traceid') || (format === 'b3' && !single);
  for (const name of B3_HEADERS) fields.delete(name);
  if (single) fields.set('b3', `${traceId}-${spanId}-${sampled}${parentId === undefined ? '' : `-${parentId}`}`);
  if (!several) return;
  fields.set('x-b3-traceid', traceId);
  fields.set('x-b3-spanid', spanId);
  if (parentId !== undefined) fields.set('x-b3-parentspanid', parentId);
  fields.set('x-b3-sampled', sampled);
}

const POOL = Buffer.alloc(4096);
let used = POOL.length;

/** Hexadecimal digits of fresh random bytes, not all zero. */
function randomHex(bytes: number): string {
  for (;;) {
    if (used + bytes > POOL.length) {
      randomFillSync(POOL);
      used = 0;
    }
    const text = POOL.toString('hex', used, used + bytes);
    used += bytes;
    if (/[^0]/.test(text)) return text;
  }
}

export const newTraceId = (): string => randomHex(16);
export const newSpanId = (): string => randomHex(8);
