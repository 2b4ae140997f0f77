// gRPC's message framing: one flag byte, a length of 4 bytes (big endian), the message. Pure; runs once per chunk that
// HTTP/2 delivers. Messages are uncompressed: this client offers no compression, so a compressed one is an error.

import { fail, ok, type Result } from '../../model/result.ts';

const PREFIX_BYTES = 5;

/** A message as it goes on the wire. */
export function encodeMessage(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(PREFIX_BYTES + message.length);
  new DataView(framed.buffer).setUint32(1, message.length);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

/**
 * Cuts a byte stream into messages. Chunks are kept as they came and joined once a message is whole: memory grows with
 * what was received, never with the length that a peer claims.
 */
export class MessageReader {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #held = 0;
  /** Length of the message under way; -1 while its prefix is incomplete. */
  #wanted = -1;

  /** @param maxBytes  largest message accepted */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of a message that has not ended; at the end of a stream anything but 0 means that it was cut off. */
  get pendingBytes(): number {
    return this.#held + (this.#wanted >= 0 ? PREFIX_BYTES : 0);
  }

  /**
   * Takes one chunk, which must not be changed afterwards.
   * @returns the messages it completed, often none; after an error the stream is of no use any more
   */
  push(chunk: Uint8Array): Result<readonly Uint8Array[], string> {
    if (chunk.length > 0) {
      this.#chunks.push(chunk);
      this.#held += chunk.length;
    }
    const messages: Uint8Array[] = [];
    for (;;) {
      if (this.#wanted < 0) {
        if (this.#held < PREFIX_BYTES) return ok(messages);
        const prefix = this.#take(PREFIX_BYTES);
        const [flag] = prefix;
        if (flag !== 0)
          return fail(flag === 1 ? 'a compressed message, which was not offered' : `message flag ${flag} is unknown`);
        const length = new DataView(prefix.buffer, prefix.byteOffset).getUint32(1);
        if (length > this.#maxBytes)
          return fail(`a message of ${length} bytes; at most ${this.#maxBytes} are accepted`);
        this.#wanted = length;
      }
      if (this.#held < this.#wanted) return ok(messages);
      messages.push(this.#take(this.#wanted));
      this.#wanted = -1;
    }
  }

  /** Removes `length` bytes, of which at least so many are held. Copies only when they span chunks. */
  #take(length: number): Uint8Array {
    this.#held -= length;
    const first = this.#chunks[0];
    if (first === undefined || length === 0) return new Uint8Array(0);
    if (first.length > length) {
      this.#chunks[0] = first.subarray(length);
      return first.subarray(0, length);
    }
    if (first.length === length) {
      this.#chunks.shift();
      return first;
    }
    const joined = new Uint8Array(length);
    let filled = 0;
    let used = 0;
    while (filled < length) {
      const chunk = this.#chunks[used] as Uint8Array;
      const part = chunk.length > length - filled ? chunk.subarray(0, length - filled) : chunk;
      joined.set(part, filled);
      filled += part.length;
      if (part === chunk) used++;
      else this.#chunks[used] = chunk.subarray(part.length);
    }
    this.#chunks.splice(0, used);
    return joined;
  }
}
