// The state of one tunnel: one HTTP/2 stream (RFC 9113 §5.1) that carries a CONNECT. Plain fields, all set at birth, no
// Node stream: the session works on them directly. Runs per chunk.

import type { Buffer } from 'node:buffer';
import type { HboneError, ResetCode } from './errors.ts';
import { PieceQueue, SMALL_PIECE_BYTES } from './pieces.ts';
import type { HeaderList, InboundTunnel, TunnelSink } from './types.ts';

/** Shared by all tunnels that have nothing pending; never written to. */
export const NOTHING: Uint8Array[] = [];

/** Small pieces that a sink may hold before more of them are copied together. */
const MANY_PIECES = 256;

/** What a tunnel asks of its session's sending half. */
export interface TunnelOutgoing {
  data(tunnel: Tunnel, chunk: Uint8Array): boolean;
  end(tunnel: Tunnel): void;
}

/** What a tunnel asks of its session. */
export interface TunnelOwner {
  readonly outgoing: TunnelOutgoing;
  respond(tunnel: Tunnel, status: number, headers: HeaderList, endStream: boolean): void;
  /** RST_STREAM by our own wish. */
  cancel(tunnel: Tunnel, code: ResetCode): void;
  giveBack(tunnel: Tunnel, bytes: number): void;
}

/**
 * open    may send
 * ending  `end()` was called, bytes still wait for window
 * ended   END_STREAM is in the outbox or sent
 */
export type LocalSide = 'open' | 'ending' | 'ended';

export class Tunnel implements InboundTunnel {
  private readonly owner: TunnelOwner;
  private readonly outgoing: TunnelOutgoing;
  readonly id: number;
  sink: TunnelSink | undefined;
  local: LocalSide = 'open';
  remoteEnded = false;
  /** Reset, or the session is over: nothing is sent or delivered any more. */
  gone = false;
  /** Client: the final response came. Server: we have answered. */
  answered = false;
  /** DATA is welcome: at a server from the start, at a client once a response came. */
  mayReceive = false;
  /** Our HEADERS are out, so DATA may follow. */
  headSent = false;
  /** What we may still send. Negative after the peer shrank its windows (RFC 9113 §6.9.2). */
  sendWindow: number;
  /** What the peer may still send. */
  receiveWindow: number;
  /** Of messages: carries raw bytes after all (CONNECT), each direction with an end of its own. */
  raw = false;
  /** HEADERS, whole frames, that end our direction; undefined: it ends with DATA. */
  trailers: Uint8Array | undefined = undefined;
  /** Received and not yet consumed. */
  held = 0;
  /** Consumed and not yet announced to the peer. */
  returnable = 0;
  /** Bytes that wait for window or transport. */
  pending: Uint8Array[] = NOTHING;
  pendingBytes = 0;
  /** What arrived before there was a sink, or while it holds too many small pieces. Order is kept: all or nothing. */
  private waiting: PieceQueue | undefined;
  private waitingEnd = false;
  private earlyReset: HboneError | undefined;
  /** Pieces delivered since the sink last consumed anything. */
  private pieces = 0;

  constructor(owner: TunnelOwner, id: number, sendWindow: number, receiveWindow: number, sink: TunnelSink | undefined) {
    this.owner = owner;
    this.outgoing = owner.outgoing;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.sink = sink;
  }

  write(chunk: Uint8Array): boolean {
    return this.gone || this.local !== 'open' || this.outgoing.data(this, chunk);
  }

  end(): void {
    if (!this.gone && this.local === 'open') this.outgoing.end(this);
  }

  reset(code: ResetCode = 'CANCEL'): void {
    if (!this.gone) this.owner.cancel(this, code);
  }

  consumed(bytes: number): void {
    this.owner.giveBack(this, bytes);
    this.pieces = 0;
    if (this.waiting !== undefined && this.sink !== undefined) this.release(this.sink);
  }

  respond(status: number, headers: HeaderList, endStream = false): void {
    if (!this.gone && !this.answered) this.owner.respond(this, status, headers, endStream);
  }

  attach(sink: TunnelSink): void {
    this.sink = sink;
    this.release(sink);
    if (this.earlyReset === undefined) return;
    sink.reset(this.earlyReset);
    this.earlyReset = undefined;
  }

  deliver(chunk: Buffer): void {
    if (this.sink === undefined || this.waiting !== undefined || this.tooManySmall(chunk)) {
      this.waiting ??= new PieceQueue();
      this.waiting.push(chunk);
      return;
    }
    this.pieces++;
    this.sink.data(chunk);
  }

  /** A window bounds bytes, not pieces: a slow sink would hold an object for every byte of a peer that sends single ones. */
  private tooManySmall(chunk: Buffer): boolean {
    return this.pieces >= MANY_PIECES && chunk.length <= SMALL_PIECE_BYTES;
  }

  deliverEnd(): void {
    if (this.sink === undefined || this.waiting !== undefined) this.waitingEnd = true;
    else this.sink.end();
  }

  deliverReset(error: HboneError): void {
    if (this.sink === undefined) {
      this.earlyReset = error;
      this.waiting = undefined;
      return;
    }
    this.release(this.sink);
    this.sink.reset(error);
  }

  private release(sink: TunnelSink): void {
    const waiting = this.waiting;
    this.waiting = undefined;
    if (waiting !== undefined) for (const chunk of waiting.take()) sink.data(chunk);
    if (!this.waitingEnd || this.waiting !== undefined) return;
    this.waitingEnd = false;
    sink.end();
  }
}
