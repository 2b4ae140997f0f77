// Sizes and times of an HBONE session. Defaults are Istio's (ztunnel), so that either end can be exchanged for it.
// Every one bounds something that a peer controls.

export interface HboneLimits {
  /** Window granted to the peer per stream; bytes. */
  readonly streamWindowBytes: number;
  /** Window granted to the peer for the whole connection; bytes. */
  readonly connectionWindowBytes: number;
  /** Largest frame payload accepted. */
  readonly maxFrameBytes: number;
  /** Largest header list accepted: RFC 9113 §6.5.2 counting, 32 bytes extra per field. */
  readonly maxHeaderListBytes: number;
  /** Server: streams advertised and enforced. Client: most streams at once on this connection. */
  readonly maxConcurrentStreams: number;
  /** Bytes that may wait for the transport before producers are told to stop. */
  readonly sendBufferBytes: number;
  /** First PING after this time, then this long after each answer; 0: none. */
  readonly pingIntervalMs: number;
  /** No answer to a PING for this long ends the connection. */
  readonly pingTimeoutMs: number;
  /** Server: offer extended CONNECT (RFC 8441). */
  readonly extendedConnect?: boolean;
}

const COMMON = {
  streamWindowBytes: 4 << 20,
  connectionWindowBytes: 16 << 20,
  maxFrameBytes: 1 << 20,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 20_000,
};

export const CLIENT_LIMITS: HboneLimits = {
  ...COMMON,
  maxHeaderListBytes: 16 << 10,
  maxConcurrentStreams: 100,
  sendBufferBytes: 4 << 20,
};

export const SERVER_LIMITS: HboneLimits = {
  ...COMMON,
  maxHeaderListBytes: 64 << 10,
  maxConcurrentStreams: 200,
  sendBufferBytes: 400 << 10,
};
