// The hash under consistent balancing: 32 bits, equal on every replica and after every restart. MurmurHash3 (x86, 32
// bits) over the characters of a text: quick without BigInt. It spreads keys; it is no defence against chosen ones, which
// could only pile up their own sender's requests on one endpoint.

const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

/** @returns an unsigned 32-bit number; characters above 0xff count by their lower 16 bits */
export function hashText(text: string, seed = 0): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) {
    let block = Math.imul(text.charCodeAt(i), C1);
    block = (block << 15) | (block >>> 17);
    hash ^= Math.imul(block, C2);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  return mixed(hash ^ text.length);
}

/** The `index`th of many hashes of one text. */
export const furtherHash = (hash: number, index: number): number => mixed(hash ^ Math.imul(index + 1, 0x9e3779b1));

/** Every bit of the input on every bit of the result. */
function mixed(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
