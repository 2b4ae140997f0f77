// A TCP connection as a proxy wants it: bytes that are read are lent, bytes that are written are sent or copied at once,
// each direction ends by itself, and nothing is allocated per chunk. Two makes of it: handle-stream.ts on Node's handles,
// socket-stream.ts on net.Socket for a Node without them. `listenStreams` and `dialStream` choose.

import type { HostPort } from '../../model/ip.ts';

/** Who owns a stream. One object per connection, so that chunks need no closures. */
export interface StreamUser {
  /** `chunk` is lent: its bytes are others' as soon as this returns. */
  received(chunk: Buffer): void;
  /** The peer's FIN. */
  ended(): void;
  /** Everything that was waiting has left, after a `write` that returned false. */
  drained(): void;
  /**
   * Last call, once, and never from inside a call to the stream.
   * @param clean  both directions had ended before
   * @param error  what broke it, if anything did
   */
  closed(clean: boolean, error: Error | undefined): void;
}

export interface TcpStream {
  /** Undefined once it is closed. */
  readonly fd: number | undefined;
  /** The peer's address; undefined when it is gone already. */
  remote(): HostPort | undefined;
  local(): HostPort | undefined;
  /**
   * Begins to read; before, nothing is.
   * @param answersOnce  the peer is a server: many send one answer and end
   */
  start(user: StreamUser, answersOnce?: boolean): void;
  pause(): void;
  resume(): void;
  /** Takes `bytes`, which may change afterwards. False: they wait, go on at `drained`. */
  write(bytes: Uint8Array): boolean;
  /** FIN after what waits. */
  end(): void;
  /** As `end`, and closed as soon as everything has left, whatever the peer may still send. */
  endAndClose(): void;
  /** Closed at once; what waits is lost. Twice is harmless. */
  destroy(): void;
  /** As `destroy`, with a TCP reset. */
  reset(): void;
}
