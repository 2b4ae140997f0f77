// The contract between HBONE sessions (sans-I/O HTTP/2 that carries CONNECT tunnels and nothing else) and what drives
// them: a transport underneath, an environment for time, and one sink per tunnel above. No I/O happens in this folder.

import type { Buffer } from 'node:buffer';
import type { HboneError, ResetCode } from './errors.ts';
import type { HboneLimits } from './limits.ts';

/** What a session writes to. A `tls.TLSSocket` or `net.Socket` is one. */
export interface Transport {
  /**
   * Takes ownership of `chunk` until `done`, or for good without it: its bytes do not change meanwhile.
   * False: full, wait for `transportDrained()`.
   * @param done called once when the bytes are needed no more, also when they could not be sent
   */
  write(chunk: Uint8Array, done?: () => void): boolean;
  /** Flushes what was written, then closes the writing side. */
  end(): void;
  destroy(error?: Error): void;
  /** Bytes taken by `write` and not yet handed to the kernel. */
  readonly writableLength: number;
}

/** Time and the end of the current turn, injected so that tests need no real clock. */
export interface SessionEnvironment {
  /** Milliseconds on a monotonic clock. */
  now(): number;
  /** Runs `callback` once after the I/O events at hand: `setImmediate` in production. */
  defer(callback: () => void): void;
  /**
   * Runs `callback` as soon as the event at hand is dealt with, before others: for a session with so little to do that
   * waiting for more costs a turn and gathers nothing. Without it, `defer` is used.
   */
  soon?(callback: () => void): void;
  setTimer(callback: () => void, delayMs: number): unknown;
  clearTimer(timer: unknown): void;
  /** Told of the bytes of each buffer that passes, received or sent: it is garbage soon, and V8 does not see it. */
  passed?(bytes: number): void;
}

/** Name and value pairs in order, names in lower case, without pseudo-header fields; values are latin1 text. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** One CONNECT request. `authority` is `ip:port`, `[v6]:port` or `hostname:port`, as it stood on the wire. */
export interface ConnectRequest {
  readonly authority: string;
  readonly headers: HeaderList;
}

/**
 * Receives one tunnel's events, in order: `response` (client only, once), then any number of `data`, then at most one of
 * `end` or `reset`. After `reset` nothing follows; after `end` a `reset` still may, as the other direction lives on.
 */
export interface TunnelSink {
  /** Client: the peer's answer. A status other than 2xx means that no tunnel exists and `data` will not follow. */
  response?(status: number, headers: HeaderList): void;
  /**
   * Bytes of the tunnel, in the pieces in which the transport delivered them: keep or pass on, do not change.
   * They hold window until given back with `TunnelStream.consumed`.
   */
  data(chunk: Buffer): void;
  /** The peer ended its direction (half-close). */
  end(): void;
  /** The tunnel is gone in both directions. `error.reads` says how an application should see it. */
  reset(error: HboneError): void;
  /** A `write` that had returned false may be followed by more now. */
  writable(): void;
}

/** The sending half and the life of one tunnel. All methods are harmless once the tunnel is gone. */
export interface TunnelStream {
  readonly id: number;
  /**
   * Sends bytes; `chunk` is lent, and copied. False: window, send buffer or transport is full. The chunk was taken all the
   * same; stop until `TunnelSink.writable`. What is held for a producer that does not stop is bounded: the tunnel is
   * reset when the send buffer overflows.
   */
  write(chunk: Uint8Array): boolean;
  /** Half-closes our direction after what was written. */
  end(): void;
  /** Ends both directions at once; the sink hears nothing more. Default code: CANCEL. */
  reset(code?: ResetCode): void;
  /** Gives back window for `bytes` of `data` that have left towards the application. */
  consumed(bytes: number): void;
}

/** Server side of one tunnel: answer it, and attach a sink. */
export interface InboundTunnel extends TunnelStream {
  /**
   * Sends the response head, once. With `endStream` (refusals) the tunnel ends at the headers.
   * @param status 200 makes a tunnel of the stream; any other status should come with `endStream`
   */
  respond(status: number, headers: HeaderList, endStream?: boolean): void;
  /** From now on events go to `sink`. What came before is held (at most one stream window) and delivered now. */
  attach(sink: TunnelSink): void;
}

/**
 * opening   preface sent, the peer's SETTINGS not yet seen (a client may open streams already)
 * open      both ways
 * draining  GOAWAY sent or received: no new stream, live ones finish, then the transport is ended
 * closed    over, `onClosed` was called
 */
export type SessionState = 'opening' | 'open' | 'draining' | 'closed';

/** What both roles have. One session drives one transport. */
export interface HboneSession {
  readonly state: SessionState;
  /** Streams that are not closed in both directions. */
  readonly activeStreams: number;
  /** Bytes arrived from the peer. Never throws, whatever they are. */
  receive(chunk: Buffer): void;
  /** The transport takes bytes again after `write` returned false (`'drain'`). */
  transportDrained(): void;
  /** The transport is gone (`'close'`, or the peer's FIN with no hope of more); every live tunnel is reset. */
  transportClosed(error?: Error): void;
  /** Graceful end: GOAWAY, no new streams, live ones finish, then the transport is ended. Safe to repeat. */
  drain(): void;
  /** Abrupt end: GOAWAY with the code of `error` (NO_ERROR without one), live tunnels reset, transport destroyed. */
  abort(error?: HboneError): void;
}

export interface ClientSession extends HboneSession {
  /** How many tunnels may be opened right now; 0 when draining or closed. Assumes the pool's limit until SETTINGS came. */
  readonly capacity: number;
  /** Most streams at once: the smaller of the pool's limit and the peer's SETTINGS_MAX_CONCURRENT_STREAMS. */
  readonly streamLimit: number;
  /**
   * Opens a tunnel: the request leaves with this turn's frames; writing may start at once but a polite caller waits for
   * `response`.
   * @throws HboneError when `capacity` is 0
   */
  open(request: ConnectRequest, sink: TunnelSink): TunnelStream;
}

/** Servers only accept: their tunnels come through `ServerSessionEvents.onConnect`. */
export type ServerSession = HboneSession;

/** Events of a whole session. */
export interface SessionEvents {
  /** `opening → open → draining`; not called for `closed`. */
  onState?(state: SessionState): void;
  /** Once, at the very end. `error` is absent for an orderly end. Every sink has had its `reset` before. */
  onClosed(error: HboneError | undefined): void;
}

export interface ServerSessionEvents extends SessionEvents {
  /**
   * A well-formed CONNECT. Answer with `stream.respond`, now or later; attach a sink, now or later.
   * Anything malformed, and any other method (400), was already answered.
   */
  onConnect(request: ConnectRequest, stream: InboundTunnel): void;
}

export interface SessionOptions<Events extends SessionEvents> {
  readonly transport: Transport;
  readonly environment: SessionEnvironment;
  readonly events: Events;
  /** Differences from CLIENT_LIMITS or SERVER_LIMITS. */
  readonly limits?: Partial<HboneLimits>;
}
