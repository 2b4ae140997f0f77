// Large pieces that arrive one by one within a turn of the event loop (TLS records: 16 KB each) leave in one system call.
// They are copied together into blocks that are used again and again; a stream holds one only within a turn.

const BLOCK_BYTES = 256 << 10;
const MAX_FREE = 8;

const free: Buffer[] = [];

export const takeBlock = (): Buffer => free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
export function giveBlock(block: Buffer): void {
  if (free.length < MAX_FREE) free.push(block);
}

export interface Gathering {
  flushGathered(): void;
}

let waiting: Gathering[] = [];
let spare: Gathering[] = [];

function flushAll(): void {
  const now = waiting;
  waiting = spare;
  for (const one of now) one.flushGathered();
  now.length = 0;
  spare = now;
}

/** Calls `flushGathered` once after the I/O events at hand. */
export function flushSoon(one: Gathering): void {
  if (waiting.push(one) === 1) setImmediate(flushAll);
}
