// Connection ids in W3C trace-context form. Random bytes come in blocks: one call for a hundred connections.

import { randomFillSync } from 'node:crypto';

const ID_BYTES = 24;
const block = Buffer.allocUnsafeSlow(ID_BYTES * 128);
let used = block.length;

/** `00-<32 hex>-<16 hex>-00`: a new trace and span, not sampled. */
export function newTraceparent(): string {
  if (used === block.length) {
    randomFillSync(block);
    used = 0;
  }
  const trace = block.toString('hex', used, used + 16);
  const span = block.toString('hex', used + 16, used + ID_BYTES);
  used += ID_BYTES;
  return `00-${trace}-${span}-00`;
}
