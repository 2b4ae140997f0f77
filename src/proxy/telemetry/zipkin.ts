// Zipkin's JSON (api v2): a list of spans. Times are whole microseconds; a duration is at least one.

import type { Span } from './records.ts';

const KINDS = { server: 'SERVER', client: 'CLIENT' } as const;

/** @param serviceName  of this proxy */
export function encodeZipkin(serviceName: string, spans: readonly Span[]): Uint8Array {
  const list = spans.map((span) => ({
    traceId: span.traceId,
    id: span.spanId,
    parentId: span.parentId,
    kind: KINDS[span.kind],
    name: span.name,
    timestamp: Math.floor(span.startMs * 1000),
    duration: Math.max(1, Math.round((span.endMs - span.startMs) * 1000)),
    localEndpoint: { serviceName },
    tags: Object.fromEntries(span.failed ? [...span.tags, ['error', 'true']] : span.tags),
  }));
  return Buffer.from(JSON.stringify(list));
}
