// Spans and log records before they are written in one protocol or another.

export type Attributes = readonly (readonly [name: string, value: string])[];

export interface Span {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16; so for `parentId`. */
  readonly spanId: string;
  readonly parentId: string | undefined;
  readonly traceState: string;
  readonly name: string;
  readonly kind: 'server' | 'client';
  /** Unix time, milliseconds with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly tags: Attributes;
  readonly failed: boolean;
}

export interface LogRecord {
  readonly timeMs: number;
  readonly body: string;
  readonly attributes: Attributes;
  /** Of a traced exchange. */
  readonly traceId: string | undefined;
  readonly spanId: string | undefined;
}
