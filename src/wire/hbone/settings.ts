// SETTINGS (RFC 9113 §6.5): what the peer says of itself, checked value by value, and what we say of ourselves.

import type { Buffer } from 'node:buffer';
import { type Fault, fault } from './errors.ts';
import * as frames from './frames.ts';
import type { HboneLimits } from './limits.ts';

/** The peer's settings that matter for sending. Starts with the protocol's defaults. */
export interface PeerSettings {
  initialWindowBytes: number;
  maxFrameBytes: number;
  maxConcurrentStreams: number;
  /** A server takes extended CONNECT (RFC 8441 §3). */
  extendedConnect: boolean;
}

export const defaultPeerSettings = (): PeerSettings => ({
  initialWindowBytes: frames.DEFAULT_WINDOW_BYTES,
  maxFrameBytes: frames.DEFAULT_FRAME_BYTES,
  maxConcurrentStreams: frames.MAX_STREAM_ID,
  extendedConnect: false,
});

/**
 * Takes over one SETTINGS payload, a multiple of six bytes. Unknown settings are ignored. Our encoder keeps no table, so
 * SETTINGS_HEADER_TABLE_SIZE binds nothing; SETTINGS_MAX_HEADER_LIST_SIZE is advisory and our lists are small.
 */
export function readSettings(payload: Buffer, peer: PeerSettings, peerIsServer: boolean): Fault | undefined {
  for (let at = 0; at < payload.length; at += 6) {
    const value = payload.readUInt32BE(at + 2);
    switch (payload.readUInt16BE(at)) {
      case frames.ENABLE_PUSH:
        // RFC 9113 §6.5.2: a server must not send 1
        if (value > 1 || (peerIsServer && value === 1))
          return fault('PROTOCOL_ERROR', `SETTINGS_ENABLE_PUSH is ${value}`);
        break;
      case frames.MAX_CONCURRENT_STREAMS:
        peer.maxConcurrentStreams = value;
        break;
      case frames.INITIAL_WINDOW_SIZE:
        if (value > frames.MAX_WINDOW_BYTES)
          return fault('FLOW_CONTROL_ERROR', `SETTINGS_INITIAL_WINDOW_SIZE is ${value}`);
        peer.initialWindowBytes = value;
        break;
      case frames.MAX_FRAME_SIZE:
        if (value < frames.DEFAULT_FRAME_BYTES || value > 0xff_ffff)
          return fault('PROTOCOL_ERROR', `SETTINGS_MAX_FRAME_SIZE is ${value}`);
        peer.maxFrameBytes = value;
        break;
      case frames.ENABLE_CONNECT_PROTOCOL:
        // RFC 8441 §3: neither anything but 0 and 1, nor back from 1
        if (value > 1 || (peer.extendedConnect && value === 0))
          return fault('PROTOCOL_ERROR', `SETTINGS_ENABLE_CONNECT_PROTOCOL is ${value}`);
        peer.extendedConnect = value === 1;
        break;
      default:
        break;
    }
  }
  return undefined;
}

/** Our first frames: SETTINGS, and the connection window raised from the protocol's 65,535. */
export function openingFrames(limits: HboneLimits, role: 'client' | 'server'): Buffer[] {
  const own: readonly (readonly [number, number])[] =
    role === 'client' ? [[frames.ENABLE_PUSH, 0]] : [[frames.MAX_CONCURRENT_STREAMS, limits.maxConcurrentStreams]];
  const settings = frames.settingsFrame([
    ...own,
    [frames.INITIAL_WINDOW_SIZE, limits.streamWindowBytes],
    [frames.MAX_FRAME_SIZE, limits.maxFrameBytes],
    [frames.MAX_HEADER_LIST_SIZE, limits.maxHeaderListBytes],
    ...(limits.extendedConnect === true ? ([[frames.ENABLE_CONNECT_PROTOCOL, 1]] as const) : []),
  ]);
  const raise = limits.connectionWindowBytes - frames.DEFAULT_WINDOW_BYTES;
  const opening = role === 'client' ? [frames.PREFACE, settings] : [settings];
  return raise > 0 ? [...opening, frames.windowUpdateFrame(0, raise)] : opening;
}
