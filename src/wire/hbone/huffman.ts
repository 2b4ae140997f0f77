// The Huffman code of HPACK (RFC 7541 §5.2 and Appendix B). It is canonical, so the code lengths are all there is to say:
// codes follow from them, shorter first, equal lengths in symbol order. Decoding goes four bits at a time through a table
// of tree nodes; no code is shorter than five bits, so a step yields one byte at most.

import type { Buffer } from 'node:buffer';

const EOS = 256;

/** Bits per symbol 0..255, and the end-of-string symbol. */
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];

const EMITS = 1 << 16;
const FAILS = 1 << 17;

/** `steps[node * 16 + nibble]`: next node | symbol << 8 | EMITS or FAILS. Node 0 is the root. */
const steps = new Uint32Array(256 * 16);
/** Nodes at which a string may end: fewer than eight bits into the tree, all of them ones (RFC 7541 §5.2). */
const mayEnd = new Uint8Array(256);

buildTables();

function buildTables(): void {
  const left = new Int32Array(256); // child >= 0: inner node; child < 0: leaf, -1 - symbol
  const right = new Int32Array(256);
  let nodes = 1;
  let code = 0;
  for (let length = 5; length <= 30; length++, code *= 2) {
    for (let symbol = 0; symbol <= EOS; symbol++) {
      if (LENGTHS[symbol] !== length) continue;
      let node = 0;
      for (let bit = length - 1; bit > 0; bit--) {
        const side = (code >>> bit) & 1 ? right : left;
        if (side[node] === 0) side[node] = nodes++;
        node = side[node] as number;
      }
      (code & 1 ? right : left)[node] = -1 - symbol;
      code++;
    }
  }
  for (let node = 0, depth = 0; depth < 8; node = right[node] as number, depth++) mayEnd[node] = 1;
  for (let start = 0; start < 256; start++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = start;
      let out = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const child = ((nibble >>> bit) & 1 ? right : left)[node] as number;
        if (child >= 0) node = child;
        else if (-1 - child === EOS) out = FAILS;
        else {
          out |= EMITS | ((-1 - child) << 8);
          node = 0;
        }
      }
      steps[start * 16 + nibble] = out | node;
    }
  }
}

/**
 * Decodes `input[start, end)` into `output` from 0.
 * @param output at least `huffmanBound(end - start)` bytes
 * @returns bytes written, or -1 when the string holds EOS or ends in anything but a short run of ones
 */
export function decodeHuffman(input: Buffer, start: number, end: number, output: Buffer): number {
  let node = 0;
  let length = 0;
  for (let i = start; i < end; i++) {
    const byte = input[i] as number;
    let step = steps[node * 16 + (byte >>> 4)] as number;
    if ((step & (EMITS | FAILS)) !== 0) {
      if ((step & FAILS) !== 0) return -1;
      output[length++] = (step >>> 8) & 0xff;
    }
    step = steps[(step & 0xff) * 16 + (byte & 15)] as number;
    if ((step & (EMITS | FAILS)) !== 0) {
      if ((step & FAILS) !== 0) return -1;
      output[length++] = (step >>> 8) & 0xff;
    }
    node = step & 0xff;
  }
  return mayEnd[node] === 1 ? length : -1;
}

/** Most bytes that `bytes` of Huffman code can stand for: no code is shorter than five bits. */
export const huffmanBound = (bytes: number): number => Math.floor((bytes * 8) / 5);
