// Frames of one turn of the event loop, which leave in one write (measured: this is what made the prototype fast).
// Runs per outgoing frame and per turn. A turn is put together in one buffer: one call and whole TLS records, and the
// copy is one that corked writes would make as well, into fresh memory each time.

import { Buffer } from 'node:buffer';
import { DATA, END_STREAM, FRAME_HEADER_BYTES, putFrameHeader } from './frames.ts';
import type { Transport } from './types.ts';

/** Turns up to this size are cut from a slab, each piece of it used once; larger ones use a block, again and again. */
const SMALL_TURN_BYTES = 8 << 10;
const SLAB_BYTES = 64 << 10;
const BLOCK_BYTES = 320 << 10;
/** Blocks in use at once, all sessions together. When they are out, a turn is corked instead. */
const MAX_BLOCKS = 16;

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabUsed = 0;

/** Memory of large turns, owned by the transport until it calls `done`. */
interface Block {
  readonly bytes: Buffer;
  readonly done: () => void;
}
const freeBlocks: Block[] = [];
let blocks = 0;

function takeBlock(): Block | undefined {
  const free = freeBlocks.pop();
  if (free !== undefined || blocks >= MAX_BLOCKS) return free;
  blocks++;
  const block: Block = { bytes: Buffer.allocUnsafeSlow(BLOCK_BYTES), done: () => void freeBlocks.push(block) };
  return block;
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
    const room = this.write(transport);
    if (this.count > 256) {
      this.heads.length = 0;
      this.bodies.length = 0;
    } else for (let i = 0; i < this.count; i++) this.bodies[i] = NONE;
    this.count = 0;
    this.bytes = 0;
    return room;
  }

  private write(transport: Transport): boolean {
    if (this.count === 1 && this.heads[0] === 0) return transport.write(this.bodies[0] as Uint8Array);
    if (this.bytes <= SMALL_TURN_BYTES) {
      if (slabUsed + this.bytes > SLAB_BYTES) {
        slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
        slabUsed = 0;
      }
      const start = slabUsed;
      slabUsed = this.gather(slab, start);
      return transport.write(slab.subarray(start, slabUsed));
    }
    if (transport.keepsChunks === true) {
      const whole = Buffer.allocUnsafeSlow(this.bytes);
      this.gather(whole, 0);
      return transport.write(whole);
    }
    const block = this.bytes <= BLOCK_BYTES ? takeBlock() : undefined;
    if (block === undefined) return this.writeCorked(transport);
    return transport.write(block.bytes.subarray(0, this.gather(block.bytes, 0)), block.done);
  }

  /** Copies all frames to `target` from `at`; returns where they end. */
  private gather(target: Buffer, start: number): number {
    let at = start;
    for (let i = 0; i < this.count; i++) {
      const body = this.bodies[i] as Uint8Array;
      at = this.putHead(target, at, i, body.length);
      if (body.length > 0) target.set(body, at);
      at += body.length;
    }
    return at;
  }

  private putHead(target: Buffer, at: number, i: number, length: number): number {
    const head = this.heads[i] as number;
    if (head === 0) return at;
    putFrameHeader(target, at, length, DATA, head < 0 ? END_STREAM : 0, Math.abs(head));
    return at + FRAME_HEADER_BYTES;
  }

  private writeCorked(transport: Transport): boolean {
    const headers = Buffer.allocUnsafe(this.count * FRAME_HEADER_BYTES);
    let at = 0;
    let room = true;
    transport.cork();
    for (let i = 0; i < this.count; i++) {
      const body = this.bodies[i] as Uint8Array;
      const end = this.putHead(headers, at, i, body.length);
      if (end > at) room = transport.write(headers.subarray(at, end));
      if (body.length > 0) room = transport.write(body);
      at = end;
    }
    transport.uncork();
    return room;
  }
}
