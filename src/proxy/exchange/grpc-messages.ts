// Counts the messages of a gRPC stream by their five-byte prefixes, without looking at them.

export class GrpcMessages {
  count = 0;
  /** Bytes of the present message that are still to come. */
  private left = 0;
  /** Of a prefix that is cut. */
  private prefixBytes = 0;
  private length = 0;

  feed(piece: Uint8Array): void {
    let at = 0;
    while (at < piece.length) {
      if (this.left > 0) {
        const skipped = Math.min(this.left, piece.length - at);
        this.left -= skipped;
        at += skipped;
        continue;
      }
      const byte = piece[at++] as number;
      if (this.prefixBytes > 0) this.length = this.length * 256 + byte;
      if (++this.prefixBytes < 5) continue;
      this.count++;
      this.left = this.length;
      this.prefixBytes = 0;
      this.length = 0;
    }
  }
}
