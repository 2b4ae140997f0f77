// Sizes and times of HTTP/2 connections that carry messages. Every one bounds something that a peer controls.

import type { HboneLimits } from '../hbone/limits.ts';

const COMMON = {
  /** A receiver that is paused holds at most this of a stream. */
  streamWindowBytes: 256 << 10,
  connectionWindowBytes: 16 << 20,
  /** Envoy's 60 KiB, as for HTTP/1. */
  maxHeaderListBytes: 60 << 10,
  maxConcurrentStreams: 100,
  /** A piece that is passed on may be large; what comes after it waits. */
  sendBufferBytes: 4 << 20,
  pingIntervalMs: 0,
  pingTimeoutMs: 20_000,
};

/** Frames of the protocol's first size, as clients that read no SETTINGS send them. */
export const SERVER_LIMITS: HboneLimits = { ...COMMON, maxFrameBytes: 16 << 10, extendedConnect: true };
export const CLIENT_LIMITS: HboneLimits = {
  ...COMMON,
  maxFrameBytes: 64 << 10,
  maxConcurrentStreams: 2 ** 31 - 1,
};
