// Bounds of what a peer may send. Every one refuses when passed; see refusal.ts for the answers.

export interface Http1Limits {
  /** Request or status line and fields, with their line ends; bytes. */
  readonly maxHeadBytes: number;
  readonly maxFields: number;
  readonly maxMethodBytes: number;
  readonly maxTargetBytes: number;
  /** One chunk-size line with its extensions; bytes. */
  readonly maxChunkLineBytes: number;
  /** Extensions of all chunks of one message; bytes. They are dropped. */
  readonly maxChunkExtensionBytes: number;
  readonly maxTrailerBytes: number;
  readonly maxTrailerFields: number;
  /** What may wait while the receiver is paused or between two messages; bytes. */
  readonly maxHeldBytes: number;
  /** 1xx responses before the final one. */
  readonly maxInterimResponses: number;
}

/** 60 KiB and 100 fields are Envoy's. */
export const HTTP1_LIMITS: Http1Limits = {
  maxHeadBytes: 60 << 10,
  maxFields: 100,
  maxMethodBytes: 32,
  maxTargetBytes: 32 << 10,
  maxChunkLineBytes: 1 << 10,
  maxChunkExtensionBytes: 16 << 10,
  maxTrailerBytes: 8 << 10,
  maxTrailerFields: 32,
  maxHeldBytes: 256 << 10,
  maxInterimResponses: 16,
};
