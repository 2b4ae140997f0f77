// The state of one tunnel: one HTTP/2 stream (RFC 9113 §5.1) that carries a CONNECT. Plain fields, all set at birth, no
// Node stream: the session works on them directly. Runs per chunk.

import type { Buffer } from 'node:buffer';
import type { HboneError, ResetCode } from './errors.ts';
import { PieceQueue } from './pieces.ts';
import type { HeaderList, InboundTunnel, TunnelSink } from './types.ts';

/** Shared by all tunnels that have nothing waiting; never written to. */
export const NOTHING: Uint8Array[] = [];

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
  /** Received and not yet consumed. */
  held = 0;
  /** Consumed and not yet announced to the peer. */
  returnable = 0;
  /** Bytes that wait for window or transport. */
  pending: Uint8Array[] = NOTHING;
  pendingBytes = 0;
  /** Before a sink is attached: what has arrived. */
  private early: PieceQueue | undefined;
  private earlyReset: HboneError | undefined;

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
  }

  respond(status: number, headers: HeaderList, endStream = false): void {
    if (!this.gone && !this.answered) this.owner.respond(this, status, headers, endStream);
  }

  attach(sink: TunnelSink): void {
    this.sink = sink;
    const early = this.early;
    this.early = undefined;
    if (early !== undefined) for (const chunk of early.take()) if (!this.gone) sink.data(chunk);
    if (this.earlyReset !== undefined) {
      sink.reset(this.earlyReset);
      this.earlyReset = undefined;
    } else if (this.remoteEnded && !this.gone) sink.end();
  }

  deliver(chunk: Buffer): void {
    if (this.sink !== undefined) this.sink.data(chunk);
    else {
      this.early ??= new PieceQueue();
      this.early.push(chunk);
    }
  }

  deliverEnd(): void {
    this.sink?.end();
  }

  deliverReset(error: HboneError): void {
    if (this.sink !== undefined) this.sink.reset(error);
    else this.earlyReset = error;
    this.early = undefined;
  }
}
