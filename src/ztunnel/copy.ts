// Moving bytes between an application's socket and a tunnel, or between two sockets. Runs per chunk: no allocation, no
// closure, one listener function for all connections and one state object per connection.
// Half-close is kept in each direction. A slow reader costs at most a stream window (tunnel) or two socket buffers: the
// source is paused when the sink is full, and window is given back only for bytes that the socket has taken.

import type { Socket } from 'node:net';
import { type Failure, ioFailure, isDisconnect } from '../dataplane/failure.ts';
import { resetSocket } from '../platform/linux/sockets.ts';
import type { ByteMeter } from '../telemetry/connection.ts';
import type { HboneError, ResetCode, TunnelSink, TunnelStream } from '../wire/hbone/index.ts';

/** Which way the tunnel carries the client's bytes: `outbound`, the socket is the client; `inbound`, the server. */
export type TunnelRole = 'outbound' | 'inbound';

/** A running copy. `finished` was or will be called exactly once, unless `cut` came first. */
export interface Relay {
  /** Ends both sides at once, telling a tunnel's peer `code` and resetting sockets; `finished` is not called. */
  cut(code: ResetCode): void;
}

const RELAY = Symbol('relay');
interface Relayed extends Socket {
  [RELAY]: TunnelRelay;
}

/** From this size on, pieces of one turn leave in one system call. Below it, the bookkeeping costs more than it saves. */
const CORK_FROM_BYTES = 8 * 1024;

/**
 * Joins an established socket, which nobody reads yet, to a tunnel, as the tunnel's sink. Life: made with the socket;
 * given its stream (`bind`); `start` once the tunnel exists in both directions; at the end `finished`, or `cut`.
 */
export class TunnelRelay implements Relay, TunnelSink {
  readonly #socket: Socket;
  readonly #outbound: boolean;
  readonly #meter: ByteMeter;
  readonly #finished: (failure: Failure | undefined) => void;
  /** INVARIANT (stream): set by `bind` before the session or the socket can call anything. */
  #stream!: TunnelStream;
  /** Bytes that the socket holds for a slow application; their window is given back at 'drain'. */
  #owed = 0;
  #corked = false;
  #over = false;
  #failure: Failure | undefined = undefined;

  constructor(socket: Socket, role: TunnelRole, meter: ByteMeter, finished: (failure: Failure | undefined) => void) {
    this.#socket = socket;
    this.#outbound = role === 'outbound';
    this.#meter = meter;
    this.#finished = finished;
  }

  bind(stream: TunnelStream): void {
    this.#stream = stream;
  }

  /** Begins to copy. */
  start(): void {
    const socket = this.#socket;
    (socket as Relayed)[RELAY] = this;
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('drain', onDrain);
    socket.resume();
  }

  cut(code: ResetCode): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream.reset(code);
    resetSocket(this.#socket);
  }

  // -- from the tunnel --

  data(chunk: Buffer): void {
    const bytes = chunk.length;
    if (this.#outbound) this.#meter.toClient += bytes;
    else this.#meter.toServer += bytes;
    const socket = this.#socket;
    if (bytes >= CORK_FROM_BYTES && !this.#corked) {
      this.#corked = true;
      socket.cork();
      setImmediate(uncork, this);
    }
    if (socket.write(chunk)) this.#stream.consumed(bytes);
    else this.#owed += bytes; // false is always followed by 'drain'
  }

  uncork(): void {
    this.#corked = false;
    this.#socket.uncork();
  }

  end(): void {
    this.#socket.end();
  }

  /**
   * A TCP reset behind the peer arrives as CONNECT_ERROR (RFC 9113 §8.5) and is passed on as one; it is no failure.
   * What reads as the end of data closes the socket in an orderly way.
   */
  reset(error: HboneError): void {
    if (this.#over) return;
    if (error.reads === 'end') {
      this.#socket.destroySoon();
      return;
    }
    if (error.reads === 'failure' && error.code !== 'CONNECT_ERROR')
      this.#failure = { flag: 'H2_HANDSHAKE_FAILURE', error: `http2 failed: ${error.message}` };
    resetSocket(this.#socket);
  }

  writable(): void {
    this.#socket.resume();
  }

  // -- from the socket --

  received(chunk: Buffer): void {
    if (this.#outbound) this.#meter.toServer += chunk.length;
    else this.#meter.toClient += chunk.length;
    if (!this.#stream.write(chunk)) this.#socket.pause();
  }

  ended(): void {
    this.#stream.end();
  }

  drained(): void {
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.#stream.consumed(owed);
  }

  failed(error: Error): void {
    if (this.#over) return;
    if (!isDisconnect(error)) this.#failure ??= ioFailure(error);
    this.#stream.reset('CONNECT_ERROR');
  }

  closed(): void {
    if (this.#over) return;
    this.#over = true;
    // Both directions ended, or the socket is gone: in the first case the tunnel is over too and this is harmless.
    if (this.#socket.readableEnded && this.#socket.writableFinished) this.drained();
    else this.#stream.reset('CONNECT_ERROR');
    this.#finished(this.#failure);
  }
}

const uncork = (relay: TunnelRelay): void => relay.uncork();
function onData(this: Socket, chunk: Buffer): void {
  (this as Relayed)[RELAY].received(chunk);
}
function onEnd(this: Socket): void {
  (this as Relayed)[RELAY].ended();
}
function onDrain(this: Socket): void {
  (this as Relayed)[RELAY].drained();
}
function onError(this: Socket, error: Error): void {
  (this as Relayed)[RELAY].failed(error);
}
function onClose(this: Socket): void {
  (this as Relayed)[RELAY].closed();
}

// ---- two sockets ---------------------------------------------------------------------------------------------------

const SIDE = Symbol('side');
interface Sided extends Socket {
  [SIDE]: Side;
}
interface Side {
  readonly other: Socket;
  readonly pair: SocketPair;
  readonly client: boolean;
}

/** Joins two established sockets that nobody reads yet, and starts at once. */
export class SocketPair implements Relay {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #finished: (failure: Failure | undefined) => void;
  readonly meter: ByteMeter;
  #open = 2;
  #over = false;
  #failure: Failure | undefined = undefined;

  constructor(client: Socket, server: Socket, meter: ByteMeter, finished: (failure: Failure | undefined) => void) {
    this.#client = client;
    this.#server = server;
    this.meter = meter;
    this.#finished = finished;
    this.#attach(client, { other: server, pair: this, client: true });
    this.#attach(server, { other: client, pair: this, client: false });
    client.resume();
    server.resume();
  }

  #attach(socket: Socket, side: Side): void {
    (socket as Sided)[SIDE] = side;
    socket.on('data', onSideData);
    socket.on('end', onSideEnd);
    socket.on('drain', onSideDrain);
    socket.on('error', onSideError);
    socket.on('close', onSideClose);
  }

  cut(): void {
    if (this.#over) return;
    this.#over = true;
    resetSocket(this.#client);
    resetSocket(this.#server);
  }

  failed(error: Error): void {
    if (!isDisconnect(error)) this.#failure ??= ioFailure(error);
  }

  /** A socket that closed without both FINs takes the other with it, as a reset. */
  closed(socket: Socket, other: Socket): void {
    if (!(socket.readableEnded && socket.writableFinished)) resetSocket(other);
    this.#open -= 1;
    if (this.#open > 0 || this.#over) return;
    this.#over = true;
    this.#finished(this.#failure);
  }
}

function onSideData(this: Socket, chunk: Buffer): void {
  const { other, pair, client } = (this as Sided)[SIDE];
  if (client) pair.meter.toServer += chunk.length;
  else pair.meter.toClient += chunk.length;
  if (!other.write(chunk)) this.pause();
}
function onSideEnd(this: Socket): void {
  (this as Sided)[SIDE].other.end();
}
function onSideDrain(this: Socket): void {
  (this as Sided)[SIDE].other.resume();
}
function onSideError(this: Socket, error: Error): void {
  (this as Sided)[SIDE].pair.failed(error);
}
function onSideClose(this: Socket): void {
  const { other, pair } = (this as Sided)[SIDE];
  pair.closed(this, other);
}
