// Moving bytes between an application's stream and a tunnel, or between two streams. Runs per chunk: no allocation, no
// closure, one state object per connection.
// Half-close is kept in each direction. A slow reader costs at most a stream window (tunnel) or two socket buffers: the
// source is paused when the sink is full, and window is given back only for bytes that the stream has taken.

import { type Failure, ioFailure, isDisconnect } from '../dataplane/failure.ts';
import type { StreamUser, TcpStream } from '../platform/tcp/stream.ts';
import type { ByteMeter } from '../telemetry/connection.ts';
import type { HboneError, ResetCode, TunnelSink, TunnelStream } from '../wire/hbone/index.ts';

/** Which way the tunnel carries the client's bytes: `outbound`, the socket is the client; `inbound`, the server. */
export type TunnelRole = 'outbound' | 'inbound';

/** A running copy. `finished` was or will be called exactly once, unless `cut` came first. */
export interface Relay {
  /** Ends both sides at once, telling a tunnel's peer `code` and resetting sockets; `finished` is not called. */
  cut(code: ResetCode): void;
}

/**
 * Joins an established stream, which nobody reads yet, to a tunnel, as the tunnel's sink. Life: made with the stream;
 * given its tunnel (`bind`); `start` once the tunnel exists in both directions; at the end `finished`, or `cut`.
 */
export class TunnelRelay implements Relay, TunnelSink, StreamUser {
  readonly #application: TcpStream;
  readonly #outbound: boolean;
  readonly #meter: ByteMeter;
  readonly #finished: (failure: Failure | undefined) => void;
  /** INVARIANT (tunnel): set by `bind` before the session or the stream can call anything. */
  #tunnel!: TunnelStream;
  /** Bytes that wait for a slow application; their window is given back when they have left. */
  #owed = 0;
  #over = false;
  #failure: Failure | undefined = undefined;

  constructor(
    application: TcpStream,
    role: TunnelRole,
    meter: ByteMeter,
    finished: (failure: Failure | undefined) => void,
  ) {
    this.#application = application;
    this.#outbound = role === 'outbound';
    this.#meter = meter;
    this.#finished = finished;
  }

  bind(tunnel: TunnelStream): void {
    this.#tunnel = tunnel;
  }

  /** Begins to copy. */
  start(): void {
    this.#application.start(this, !this.#outbound);
  }

  cut(code: ResetCode): void {
    if (this.#over) return;
    this.#over = true;
    this.#tunnel.reset(code);
    this.#application.reset();
  }

  // -- from the tunnel --

  data(chunk: Buffer): void {
    const bytes = chunk.length;
    if (this.#outbound) this.#meter.toClient += bytes;
    else this.#meter.toServer += bytes;
    if (this.#application.write(chunk)) this.#tunnel.consumed(bytes);
    else this.#owed += bytes; // false is always followed by `drained`
  }

  end(): void {
    this.#application.end();
  }

  /**
   * A TCP reset behind the peer arrives as CONNECT_ERROR (RFC 9113 §8.5) and is passed on as one; it is no failure.
   * What reads as the end of data closes the stream in an orderly way.
   */
  reset(error: HboneError): void {
    if (this.#over) return;
    if (error.reads === 'end') {
      this.#application.endAndClose();
      return;
    }
    if (error.reads === 'failure' && error.code !== 'CONNECT_ERROR')
      this.#failure = { flag: 'H2_HANDSHAKE_FAILURE', error: `http2 failed: ${error.message}` };
    this.#application.reset();
  }

  writable(): void {
    this.#application.resume();
  }

  // -- from the application --

  received(chunk: Buffer): void {
    if (this.#outbound) this.#meter.toServer += chunk.length;
    else this.#meter.toClient += chunk.length;
    if (!this.#tunnel.write(chunk)) this.#application.pause();
  }

  ended(): void {
    this.#tunnel.end();
  }

  drained(): void {
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.#tunnel.consumed(owed);
  }

  closed(clean: boolean, error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    if (error !== undefined && !isDisconnect(error)) this.#failure ??= ioFailure(error);
    // Both directions ended, or the stream is gone: in the first case the tunnel is over too and this is harmless.
    if (clean) this.drained();
    else this.#tunnel.reset('CONNECT_ERROR');
    this.#finished(this.#failure);
  }
}

// ---- two streams ---------------------------------------------------------------------------------------------------

/** Joins two established streams that nobody reads yet, and starts at once. */
export class StreamPair implements Relay {
  readonly #client: Side;
  readonly #server: Side;
  readonly #finished: (failure: Failure | undefined) => void;
  #open = 2;
  #over = false;
  #failure: Failure | undefined = undefined;

  constructor(
    client: TcpStream,
    server: TcpStream,
    meter: ByteMeter,
    finished: (failure: Failure | undefined) => void,
  ) {
    this.#finished = finished;
    this.#client = new Side(client, server, this, meter, true);
    this.#server = new Side(server, client, this, meter, false);
    client.start(this.#client);
    server.start(this.#server, true);
  }

  cut(): void {
    if (this.#over) return;
    this.#over = true;
    this.#client.stream.reset();
    this.#server.stream.reset();
  }

  /** A stream that closed without both FINs takes the other with it, as a reset. */
  closed(other: TcpStream, clean: boolean, error: Error | undefined): void {
    if (error !== undefined && !isDisconnect(error)) this.#failure ??= ioFailure(error);
    if (!clean) other.reset();
    this.#open -= 1;
    if (this.#open > 0 || this.#over) return;
    this.#over = true;
    this.#finished(this.#failure);
  }
}

/** One end of a pair: what it reads, the other end writes. */
class Side implements StreamUser {
  readonly stream: TcpStream;
  readonly #sink: TcpStream;
  readonly #pair: StreamPair;
  readonly #meter: ByteMeter;
  readonly #client: boolean;

  constructor(stream: TcpStream, sink: TcpStream, pair: StreamPair, meter: ByteMeter, client: boolean) {
    this.stream = stream;
    this.#sink = sink;
    this.#pair = pair;
    this.#meter = meter;
    this.#client = client;
  }

  received(chunk: Buffer): void {
    if (this.#client) this.#meter.toServer += chunk.length;
    else this.#meter.toClient += chunk.length;
    if (!this.#sink.write(chunk)) this.stream.pause();
  }

  ended(): void {
    this.#sink.end();
  }

  drained(): void {
    this.#sink.resume();
  }

  closed(clean: boolean, error: Error | undefined): void {
    this.#pair.closed(this.#sink, clean, error);
  }
}
