// The sending half of a session: which bytes may leave and when. Windows of the connection and of each tunnel, the
// transport's own fullness, the frames of one turn, and the tunnels that wait. Runs per chunk.
// INVARIANT (bounded): a tunnel holds at most limits.sendBufferBytes and one chunk; the outbox at most `fullAtBytes` of
// DATA and one chunk for each producer that was not yet told to stop.

import { Buffer } from 'node:buffer';
import { DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES } from './frames.ts';
import type { HboneLimits } from './limits.ts';
import { Outbox } from './outbox.ts';
import type { PeerSettings } from './settings.ts';
import { NOTHING, type Tunnel } from './tunnel.ts';
import type { SessionEnvironment, Transport } from './types.ts';

/** Bytes held by the transport at which tunnels are told to stop. More than this adds delay, not throughput. */
const TRANSPORT_FULL_BYTES = 256 << 10;
/** Answers (PING, SETTINGS, resets) that may pile up for a peer that does not read. */
const MAX_UNREAD_ANSWER_BYTES = 64 << 10;

export interface OutgoingEvents {
  /** END_STREAM of this tunnel is on its way. */
  localEnded(tunnel: Tunnel): void;
  /** A producer went on although it was told to stop. */
  overflowed(tunnel: Tunnel): void;
}

export class Outgoing {
  private readonly transport: Transport;
  private readonly environment: SessionEnvironment;
  private readonly limits: HboneLimits;
  private readonly peer: PeerSettings;
  private readonly events: OutgoingEvents;
  private readonly outbox: Outbox;
  private readonly blocked = new Set<Tunnel>();
  private readonly flushCallback: () => void;
  private readonly fullAtBytes: number;
  private flushScheduled = false;
  /** Turns have brought single frames lately. */
  private calm = true;
  private transportFull = false;
  private unreadAnswerBytes = 0;
  private window = DEFAULT_WINDOW_BYTES;
  private stopped = false;
  /** DATA frames sent so far; WINDOW_UPDATEs are judged against it. */
  dataFrames = 0;

  constructor(
    transport: Transport,
    environment: SessionEnvironment,
    limits: HboneLimits,
    peer: PeerSettings,
    events: OutgoingEvents,
  ) {
    this.transport = transport;
    this.outbox = new Outbox(transport);
    this.environment = environment;
    this.limits = limits;
    this.peer = peer;
    this.events = events;
    this.fullAtBytes = Math.min(limits.sendBufferBytes, TRANSPORT_FULL_BYTES);
    this.flushCallback = () => this.flush();
  }

  /** Sends a finished frame with this turn's others. */
  control(frame: Buffer): void {
    this.outbox.control(frame);
    this.schedule();
  }

  /** A frame that the peer made us send. False: it asks but does not read, and too much has piled up. */
  answer(frame: Buffer): boolean {
    this.control(frame);
    if (!this.transportFull) return true;
    this.unreadAnswerBytes += frame.length;
    return this.unreadAnswerBytes <= MAX_UNREAD_ANSWER_BYTES;
  }

  /** False: stop producing until the sink hears `writable`. */
  data(tunnel: Tunnel, chunk: Uint8Array): boolean {
    const length = chunk.length;
    this.environment.passed?.(length);
    if (
      tunnel.pendingBytes > 0 ||
      length > tunnel.sendWindow ||
      length > this.window ||
      length > this.peer.maxFrameBytes ||
      !tunnel.headSent ||
      this.congested
    )
      return this.dataLater(tunnel, chunk);
    if (length > 0) this.put(tunnel, chunk);
    if (!this.congested) return true;
    this.blocked.add(tunnel);
    return false;
  }

  /** Half-closes after what is pending. */
  end(tunnel: Tunnel): void {
    tunnel.local = 'ending';
    this.pump(tunnel);
    if (tunnel.pendingBytes > 0) this.blocked.add(tunnel);
  }

  /** Tries what a tunnel has pending, and tells its sink when it may write again. */
  unblock(tunnel: Tunnel): void {
    this.pump(tunnel);
    if (tunnel.pendingBytes > 0 || this.congested || !tunnel.headSent || !this.blocked.delete(tunnel)) return;
    if (tunnel.local === 'open') tunnel.sink?.writable();
  }

  forget(tunnel: Tunnel): void {
    tunnel.pending = NOTHING;
    tunnel.pendingBytes = 0;
    this.blocked.delete(tunnel);
  }

  /** The peer grants more for the whole connection. False: beyond what a window may be. */
  grow(bytes: number): boolean {
    this.window += bytes;
    if (this.window > MAX_WINDOW_BYTES) return false;
    this.wake();
    return true;
  }

  /** Goes through the tunnels that wait, oldest first, until the transport is full again. */
  wake(): void {
    for (const tunnel of this.blocked) {
      if (this.congested || this.stopped) return;
      this.unblock(tunnel);
    }
  }

  transportDrained(): void {
    this.transportFull = false;
    this.unreadAnswerBytes = 0;
    this.wake();
  }

  /** Writes what is left; nothing is sent afterwards. */
  close(): void {
    this.write();
    this.stopped = true;
    this.blocked.clear();
  }

  private get congested(): boolean {
    return this.transportFull || this.outbox.bytes >= this.fullAtBytes;
  }

  private put(tunnel: Tunnel, body: Uint8Array): void {
    tunnel.sendWindow -= body.length;
    this.window -= body.length;
    this.dataFrames++;
    this.outbox.data(tunnel.id, body);
    this.schedule();
  }

  private dataLater(tunnel: Tunnel, chunk: Uint8Array): boolean {
    const rest = tunnel.pendingBytes === 0 && tunnel.headSent ? this.putSome(tunnel, chunk) : chunk;
    if (rest.length > 0) {
      if (tunnel.pending === NOTHING) tunnel.pending = [];
      tunnel.pending.push(Buffer.from(rest)); // it is lent
      tunnel.pendingBytes += rest.length;
    }
    if (tunnel.pendingBytes > this.limits.sendBufferBytes) {
      this.events.overflowed(tunnel);
      return false;
    }
    if (tunnel.pendingBytes === 0 && !this.congested) return true;
    this.blocked.add(tunnel);
    return false;
  }

  /** A chunk larger than the peer's frames leaves in several, as far as windows and transport allow. @returns the rest */
  private putSome(tunnel: Tunnel, chunk: Uint8Array): Uint8Array {
    let at = 0;
    while (at < chunk.length && !this.congested) {
      const window = Math.min(tunnel.sendWindow, this.window, this.peer.maxFrameBytes);
      if (window <= 0) break;
      const part = chunk.subarray(at, at + window);
      this.put(tunnel, part);
      at += part.length;
    }
    return at === 0 ? chunk : chunk.subarray(at);
  }

  /** Sends as much of what a tunnel has pending as windows and transport allow, then its end. */
  private pump(tunnel: Tunnel): void {
    if (!tunnel.headSent) return;
    const pending = tunnel.pending;
    while (tunnel.pendingBytes > 0) {
      const window = Math.min(tunnel.sendWindow, this.window, this.peer.maxFrameBytes);
      if (window <= 0 || this.congested) return;
      const head = pending[0] as Uint8Array;
      const part = head.length <= window ? head : head.subarray(0, window);
      if (part === head) pending.shift();
      else pending[0] = head.subarray(window);
      tunnel.pendingBytes -= part.length;
      this.put(tunnel, part);
    }
    if (tunnel.local !== 'ending') return;
    if (tunnel.trailers === undefined) this.outbox.endStream(tunnel.id);
    else this.outbox.control(tunnel.trailers);
    this.schedule();
    tunnel.local = 'ended';
    this.events.localEnded(tunnel);
  }

  private schedule(): void {
    if (this.flushScheduled || this.stopped) return;
    this.flushScheduled = true;
    const { environment } = this;
    // A second write in a turn: from now on frames are gathered to the turn's end.
    if (this.outbox.isSending) this.calm = false;
    if (this.calm && environment.soon !== undefined) environment.soon(this.flushCallback);
    else environment.defer(this.flushCallback);
  }

  private flush(): void {
    this.flushScheduled = false;
    if (this.stopped) return;
    this.calm = this.outbox.frames <= 1;
    this.write();
    if (this.blocked.size > 0) this.wake();
  }

  private write(): void {
    if (!this.outbox.flush()) this.transportFull = this.transport.writableLength >= this.fullAtBytes;
  }
}
