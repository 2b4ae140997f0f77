// A short name for bytes, by which a proxy that comes back says what it still holds. Two 32-bit FNV-1a sums with different
// starts: 64-bit arithmetic costs ten times as much, which 3,000 changed routes feel. Not for keeping anybody from forging
// anything: whoever makes two of its own routes agree only keeps its own proxies from an update until the next change.

const PRIME = 0x01000193;
const FIRST = 0x811c9dc5;
const SECOND = 0x9e3779b9;

/** @returns hexadecimal, with the length */
export function contentVersion(bytes: Uint8Array): string {
  let a = FIRST;
  let b = SECOND;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    a = Math.imul(a ^ byte, PRIME);
    b = Math.imul(b ^ byte, PRIME) + (b >>> 15);
  }
  return `${(a >>> 0).toString(16)}${(b >>> 0).toString(16)}.${bytes.length.toString(16)}`;
}
