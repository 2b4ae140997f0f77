// XXH64 (xxHash, 64 bits): the version of an address resource is its hash, equal on every replica.
// Runs once per changed resource, so that plain BigInt arithmetic is quick enough (some 10 µs for a pod).

const MASK = 0xffffffffffffffffn;
const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;

const mul = (a: bigint, b: bigint): bigint => (a * b) & MASK;
const add = (a: bigint, b: bigint): bigint => (a + b) & MASK;
const rotl = (x: bigint, bits: bigint): bigint => ((x << bits) | (x >> (64n - bits))) & MASK;
const round = (lane: bigint, input: bigint): bigint => mul(rotl(add(lane, mul(input, P2)), 31n), P1);
const merge = (hash: bigint, lane: bigint): bigint => add(mul(hash ^ round(0n, lane), P1), P4);

/** XXH64 of some bytes; `seed` 0 unless given. Algorithm: the xxHash specification, "XXH64 algorithm description". */
export function xxhash64(bytes: Uint8Array, seed = 0n): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length;
  let at = 0;
  let hash: bigint;
  if (end >= 32) {
    let [a, b, c, d] = [add(seed, add(P1, P2)), add(seed, P2), seed, (seed - P1) & MASK];
    for (; at + 32 <= end; at += 32) {
      a = round(a, view.getBigUint64(at, true));
      b = round(b, view.getBigUint64(at + 8, true));
      c = round(c, view.getBigUint64(at + 16, true));
      d = round(d, view.getBigUint64(at + 24, true));
    }
    hash = add(add(rotl(a, 1n), rotl(b, 7n)), add(rotl(c, 12n), rotl(d, 18n)));
    hash = merge(merge(merge(merge(hash, a), b), c), d);
  } else {
    hash = add(seed, P5);
  }
  hash = add(hash, BigInt(end));
  for (; at + 8 <= end; at += 8) hash = add(mul(rotl(hash ^ round(0n, view.getBigUint64(at, true)), 27n), P1), P4);
  for (; at + 4 <= end; at += 4) hash = add(mul(rotl(hash ^ mul(BigInt(view.getUint32(at, true)), P1), 23n), P2), P3);
  for (; at < end; at++) hash = mul(rotl(hash ^ mul(BigInt(view.getUint8(at)), P5), 11n), P1);
  hash = mul(hash ^ (hash >> 33n), P2);
  hash = mul(hash ^ (hash >> 29n), P3);
  return hash ^ (hash >> 32n);
}
