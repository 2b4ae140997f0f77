// Errors of HBONE sessions and tunnels, with HTTP/2's codes (RFC 9113 §7), who caused them, and how a tunnel's end reads
// to the application behind it.

export const ERROR_CODES = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Codes that make sense for giving up one tunnel. */
export type ResetCode = ErrorCode;

const NAMES = Object.keys(ERROR_CODES) as ErrorCode[];

/** Name of a code on the wire; unknown codes count as INTERNAL_ERROR (RFC 9113 §7). */
export const errorCodeName = (code: number): ErrorCode => NAMES[code] ?? 'INTERNAL_ERROR';

/** us: our own doing or decision; peer: it broke a rule, or reset; transport: the connection below went away. */
export type ErrorSource = 'us' | 'peer' | 'transport';

/**
 * How the end of a tunnel reads to a copy loop (Istio: ztunnel maps RST_STREAM codes so):
 * end         end of data, no failure (NO_ERROR, CANCEL)
 * brokenPipe  a disconnect, not reported as a failure (STREAM_CLOSED, transport gone)
 * failure     an error to report
 */
export type ResetReading = 'end' | 'brokenPipe' | 'failure';

export class HboneError extends Error {
  override readonly name = 'HboneError';
  readonly code: ErrorCode;
  readonly source: ErrorSource;
  /** The peer cannot have processed the stream (REFUSED_STREAM, or above GOAWAY's last id): safe to try elsewhere. */
  readonly retriable: boolean;
  /** The peer sent RST_STREAM; no rule was broken. */
  readonly wasReset: boolean;

  constructor(
    code: ErrorCode,
    source: ErrorSource,
    message: string,
    options?: ErrorOptions & { retriable?: boolean; wasReset?: boolean },
  ) {
    super(message, options);
    this.code = code;
    this.source = source;
    this.retriable = options?.retriable ?? false;
    this.wasReset = options?.wasReset ?? false;
  }

  get reads(): ResetReading {
    if (this.code === 'NO_ERROR' || this.code === 'CANCEL') return this.source === 'transport' ? 'brokenPipe' : 'end';
    return this.code === 'STREAM_CLOSED' || this.source === 'transport' ? 'brokenPipe' : 'failure';
  }
}

/** A rule that the peer broke; what it costs (the stream or the connection) is decided where it is found. */
export interface Fault {
  readonly code: ErrorCode;
  readonly why: string;
}

export const fault = (code: ErrorCode, why: string): Fault => ({ code, why });
