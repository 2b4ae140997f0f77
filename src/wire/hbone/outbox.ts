// Frames of one turn of the event loop, which leave in one write (measured: this is what made the prototype fast).
// Runs per outgoing frame and per turn. Small turns are copied into one buffer, since one TLS record and one call beat
// many; large ones go out corked, with headers and small bodies gathered and big bodies passed on as they are.

import { Buffer } from 'node:buffer';
import { DATA, END_STREAM, FRAME_HEADER_BYTES, putFrameHeader } from './frames.ts';
import type { Transport } from './types.ts';

/** Turns up to this size become one buffer. */
const SMALL_TURN_BYTES = 8 << 10;
/** In larger turns, bodies up to this size are gathered with their headers. */
const SMALL_BODY_BYTES = 2 << 10;
const SLAB_BYTES = 64 << 10;

/** Where small turns are put together; shared by all sessions, each piece of it used once. */
let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabUsed = 0;

function reserve(bytes: number): void {
  if (slabUsed + bytes <= SLAB_BYTES) return;
  slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  slabUsed = 0;
}

const NONE = new Uint8Array(0);

export class Outbox {
  /** Per frame: 0 for a finished control frame, a stream id for DATA, the negative id for DATA with END_STREAM. */
  private readonly heads: number[] = [];
  private readonly bodies: Uint8Array[] = [];
  private count = 0;
  /** Bytes waiting, headers included. */
  bytes = 0;

  /** A frame, or several, already encoded. */
  control(frames: Uint8Array): void {
    this.heads[this.count] = 0;
    this.bodies[this.count++] = frames;
    this.bytes += frames.length;
  }

  /** One DATA frame; `body` is at most the peer's frame size. */
  data(streamId: number, body: Uint8Array): void {
    this.heads[this.count] = streamId;
    this.bodies[this.count++] = body;
    this.bytes += FRAME_HEADER_BYTES + body.length;
  }

  /** Ends a stream: on its last DATA frame when that is also the last frame waiting, else with an empty one. */
  endStream(streamId: number): void {
    if (this.count > 0 && this.heads[this.count - 1] === streamId) {
      this.heads[this.count - 1] = -streamId;
      return;
    }
    this.heads[this.count] = -streamId;
    this.bodies[this.count++] = NONE;
    this.bytes += FRAME_HEADER_BYTES;
  }

  /** Writes everything. False: the transport is full. */
  flush(transport: Transport): boolean {
    if (this.count === 0) return true;
    const result = this.bytes <= SMALL_TURN_BYTES ? this.flushSmall(transport) : this.flushLarge(transport);
    if (this.count > 256) {
      this.heads.length = 0;
      this.bodies.length = 0;
    } else this.bodies.fill(NONE, 0, this.count);
    this.count = 0;
    this.bytes = 0;
    return result;
  }

  private flushSmall(transport: Transport): boolean {
    if (this.count === 1 && this.heads[0] === 0) return transport.write(this.bodies[0] as Uint8Array);
    reserve(this.bytes);
    const start = slabUsed;
    for (let i = 0; i < this.count; i++) this.put(i);
    return transport.write(slab.subarray(start, slabUsed));
  }

  private flushLarge(transport: Transport): boolean {
    let room = true;
    let start = slabUsed;
    transport.cork();
    for (let i = 0; i < this.count; i++) {
      const body = this.bodies[i] as Uint8Array;
      const needed = FRAME_HEADER_BYTES + (body.length <= SMALL_BODY_BYTES ? body.length : 0);
      if (slabUsed + needed > SLAB_BYTES) {
        if (slabUsed > start) room = transport.write(slab.subarray(start, slabUsed));
        reserve(needed);
        start = slabUsed;
      }
      if (body.length <= SMALL_BODY_BYTES) {
        this.put(i);
        continue;
      }
      if (this.heads[i] !== 0) this.putHeader(i, body.length);
      if (slabUsed > start) room = transport.write(slab.subarray(start, slabUsed));
      start = slabUsed;
      room = transport.write(body);
    }
    if (slabUsed > start) room = transport.write(slab.subarray(start, slabUsed));
    transport.uncork();
    return room;
  }

  private put(i: number): void {
    const body = this.bodies[i] as Uint8Array;
    if (this.heads[i] !== 0) this.putHeader(i, body.length);
    if (body.length > 0) slab.set(body, slabUsed);
    slabUsed += body.length;
  }

  private putHeader(i: number, length: number): void {
    const head = this.heads[i] as number;
    putFrameHeader(slab, slabUsed, length, DATA, head < 0 ? END_STREAM : 0, Math.abs(head));
    slabUsed += FRAME_HEADER_BYTES;
  }
}
