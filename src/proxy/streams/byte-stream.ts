// A connection's bytes, whatever carries them: a TCP or TLS socket, or a tunnel. What codecs, detection and TCP proxying
// stand on. Runs per chunk: no promise, no Node stream in the interface.

import type { HostPort } from '../../model/ip.ts';

/**
 * Receives a stream's events: any number of `data`, then at most one `end`; `drained` after a `write` that returned
 * false; at the very end `closed`, once, after which nothing follows.
 */
export interface ByteSink {
  /** To keep or pass on, not to change. */
  data(chunk: Buffer): void;
  /** The peer ended its direction (half-close). */
  end(): void;
  /** More may be written. */
  drained(): void;
  /** Gone in both directions. @param error undefined: both sides had ended in order, or we ended it */
  closed(error: StreamError | undefined): void;
}

/** Why a stream is gone before its time. */
export interface StreamError {
  /** `reset`: the peer's doing, everyday life; `failure`: something is wrong with network, TLS or tunnel. */
  readonly kind: 'reset' | 'failure';
  /** For logs. */
  readonly text: string;
}

/** All methods are harmless once the stream is gone. */
export interface ByteStream {
  readonly local: HostPort;
  readonly remote: HostPort;
  /** `closed` was or is about to be told. */
  readonly gone: boolean;
  /**
   * Events go to `sink` from now on, beginning, perhaps within this call, with what waited. A second call hands the
   * stream to another owner (detection, upgrade); the first hears nothing more. Before the first nothing is read.
   */
  attach(sink: ByteSink): void;
  /** Puts back what was read, in front of all that follows; before handing the stream on. */
  unread(chunk: Buffer): void;
  /** Takes ownership of `chunk`. False: full; it was taken all the same, wait for `drained`. */
  write(chunk: Uint8Array): boolean;
  /** As `write`, but the bytes are only lent: `done` is called once when they are needed no more, sent or not. */
  writeLent(chunk: Uint8Array, done: () => void): boolean;
  /** As `write`, of latin1 text. */
  writeText(text: string): boolean;
  /** Writes between the two leave together. They nest not. */
  cork(): void;
  /** False: full, of what was held back; each `write` between has said so of its own. */
  uncork(): boolean;
  /** Half-closes our direction after what was written. */
  end(): void;
  /** Both directions end at once, as a reset to the peer; `closed` follows. */
  reset(): void;
  /** No `data` and no `end` until `resume`; what the peer still sends is bounded by windows. */
  pause(): void;
  resume(): void;
}
