// Frames of one turn of the event loop, which leave in one write (measured: this is what made the prototype fast).
// Runs per outgoing frame. A frame is copied here at once, so that what it is made of may be lent: one call and whole TLS
// records a turn, and no memory is asked for while the blocks below suffice.

import { Buffer } from 'node:buffer';
import { DATA, END_STREAM, FRAME_HEADER_BYTES, putFrameHeader } from './frames.ts';
import type { Transport } from './types.ts';

/** A block's memory belongs to the transport from the write until it calls `done`. */
interface Block {
  readonly bytes: Buffer;
  owner: Outbox | undefined;
  readonly done: () => void;
}

/** Blocks of one size that are used again and again, all sessions together. */
class Blocks {
  readonly size: number;
  private readonly mostFree: number;
  private readonly free: Block[] = [];

  constructor(size: number, mostFree: number) {
    this.size = size;
    this.mostFree = mostFree;
  }

  take(): Block {
    return this.free.pop() ?? makeBlock(this.size, this);
  }

  give(block: Block): void {
    if (this.free.length < this.mostFree) this.free.push(block);
  }
}

function makeBlock(size: number, home: Blocks | undefined): Block {
  const block: Block = {
    bytes: Buffer.allocUnsafeSlow(size),
    owner: undefined,
    done: () => {
      block.owner?.sent();
      block.owner = undefined;
      home?.give(block);
    },
  };
  return block;
}

/** Most turns are a few small frames; a turn that turns out larger moves to a large block. */
const small = new Blocks(4 << 10, 64);
const large = new Blocks(320 << 10, 8);

export class Outbox {
  private readonly transport: Transport;
  private block: Block | undefined;
  private used = 0;
  /** Where the last frame begins when it is DATA and may still get END_STREAM, and of which stream it is. */
  private lastDataAt = -1;
  private lastDataId = 0;
  /** What the transport said when a block was full before the turn's end. */
  private room = true;
  private inFlight = 0;
  /** Frames of the turn so far. */
  frames = 0;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Bytes waiting, headers included. */
  get bytes(): number {
    return this.used;
  }

  /** The transport has not yet said that it is done with what was written. */
  get isSending(): boolean {
    return this.inFlight > 0;
  }

  sent(): void {
    this.inFlight -= 1;
  }

  /** A frame, or several, already encoded. */
  control(frames: Uint8Array): void {
    const target = this.reserve(frames.length);
    target.set(frames, this.used);
    this.used += frames.length;
    this.frames += 1;
    this.lastDataAt = -1;
  }

  /** One DATA frame; `body` is at most the peer's frame size. */
  data(streamId: number, body: Uint8Array): void {
    const target = this.reserve(FRAME_HEADER_BYTES + body.length);
    putFrameHeader(target, this.used, body.length, DATA, 0, streamId);
    target.set(body, this.used + FRAME_HEADER_BYTES);
    this.lastDataAt = this.used;
    this.lastDataId = streamId;
    this.frames += 1;
    this.used += FRAME_HEADER_BYTES + body.length;
  }

  /** Ends a stream: on its last DATA frame when that is also the last frame waiting, else with an empty one. */
  endStream(streamId: number): void {
    const block = this.block;
    if (block !== undefined && this.lastDataAt >= 0 && this.lastDataId === streamId)
      block.bytes[this.lastDataAt + 4] = END_STREAM;
    else {
      const target = this.reserve(FRAME_HEADER_BYTES);
      putFrameHeader(target, this.used, 0, DATA, END_STREAM, streamId);
      this.used += FRAME_HEADER_BYTES;
    }
    this.lastDataAt = -1;
  }

  /** Writes everything. False: the transport is full. */
  flush(): boolean {
    if (this.used > 0) this.emit();
    this.frames = 0;
    const room = this.room;
    this.room = true;
    return room;
  }

  private emit(): void {
    const block = this.block as Block;
    const whole = block.bytes.subarray(0, this.used);
    this.block = undefined;
    this.used = 0;
    this.lastDataAt = -1;
    block.owner = this;
    this.inFlight += 1;
    if (!this.transport.write(whole, block.done)) this.room = false;
  }

  /** Makes room for `length` more bytes at `used`. */
  private reserve(length: number): Buffer {
    const block = this.block;
    const needed = this.used + length;
    if (block !== undefined && needed <= block.bytes.length) return block.bytes;
    if (block !== undefined && needed > large.size) {
      this.emit();
      return this.reserve(length);
    }
    const next = this.blockOf(needed);
    this.block = next;
    if (block !== undefined) {
      next.bytes.set(block.bytes.subarray(0, this.used));
      block.done();
    }
    return next.bytes;
  }

  private blockOf(size: number): Block {
    if (size <= small.size) return small.take();
    if (size <= large.size) return large.take();
    return makeBlock(size, undefined);
  }
}
