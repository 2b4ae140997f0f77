// A queue of bytes that could not be passed on yet. Pieces are lent, so all are copied: large ones by themselves, small
// ones together, since a window bounds bytes but not pieces, and a peer may send its four megabytes one byte at a time.

import { Buffer } from 'node:buffer';

/** Pieces up to this size are copied together. */
export const SMALL_PIECE_BYTES = 1 << 10;
const BLOCK_BYTES = 4 << 10;

export class PieceQueue {
  private pieces: Buffer[] = [];
  private block: Buffer | undefined;
  private blockUsed = 0;
  bytes = 0;

  push(piece: Buffer): void {
    this.bytes += piece.length;
    if (piece.length > SMALL_PIECE_BYTES) {
      this.closeBlock();
      this.pieces.push(Buffer.from(piece));
      return;
    }
    if (this.block === undefined || this.blockUsed + piece.length > BLOCK_BYTES) {
      this.closeBlock();
      this.block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    }
    piece.copy(this.block, this.blockUsed);
    this.blockUsed += piece.length;
  }

  /** Everything, in order; the queue is empty afterwards. */
  take(): Buffer[] {
    this.closeBlock();
    const pieces = this.pieces;
    this.pieces = [];
    this.bytes = 0;
    return pieces;
  }

  private closeBlock(): void {
    if (this.block !== undefined && this.blockUsed > 0) this.pieces.push(this.block.subarray(0, this.blockUsed));
    this.block = undefined;
    this.blockUsed = 0;
  }
}
