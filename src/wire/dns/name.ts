// Domain names in DNS messages (RFC 1035 §3.1, §4.1.4): length-prefixed labels and compression pointers.
// As text a name has no final dot, the root is the empty string, case is kept, and bytes that are not printable, dots
// and backslashes inside a label are escaped as in zone files (RFC 1035 §5.1), so that text -> bytes -> text is exact.

import { fail, ok, type Result } from '../../model/result.ts';

const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;

/** Thrown inside the decoder only; the public functions turn it into a result. */
export class Malformed extends Error {}

const ESCAPES = Array.from({ length: 256 }, (_, byte) => {
  if (byte === 0x2e || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
  return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\${String(byte).padStart(3, '0')}`;
});

/**
 * Reads a name at `at`. A pointer must lead to before the name it stands in, so reading always ends.
 * @returns the text and where the next field begins
 * @throws Malformed
 */
export function readName(bytes: Uint8Array, at: number): { name: string; next: number } {
  let name = '';
  let length = 1;
  let position = at;
  let next = -1;
  let limit = at;
  for (;;) {
    const head = bytes[position];
    if (head === undefined) throw new Malformed('name runs past the end');
    if (head === 0) return { name, next: next < 0 ? position + 1 : next };
    if (head >= 0xc0) {
      const low = bytes[position + 1];
      if (low === undefined) throw new Malformed('name runs past the end');
      const target = ((head & 0x3f) << 8) | low;
      if (target >= limit) throw new Malformed('compression pointer does not lead back');
      if (next < 0) next = position + 2;
      limit = target;
      position = target;
      continue;
    }
    if (head > MAX_LABEL_BYTES) throw new Malformed('label type is unknown');
    length += 1 + head;
    if (length > MAX_NAME_BYTES) throw new Malformed('name is longer than 255 bytes');
    const end = position + 1 + head;
    if (end > bytes.length) throw new Malformed('label runs past the end');
    if (name !== '') name += '.';
    for (let i = position + 1; i < end; i++) name += ESCAPES[bytes[i] as number];
    position = end;
  }
}

/** The labels of a name as bytes, escapes resolved; the root has none. @returns why it is no name */
export function labelsOf(name: string): Result<Uint8Array[], string> {
  const text = name.endsWith('.') && !name.endsWith('\\.') ? name.slice(0, -1) : name;
  if (text === '') return ok([]);
  const labels: Uint8Array[] = [];
  let label: number[] = [];
  let length = 1;
  for (let i = 0; ; i++) {
    const c = text.charCodeAt(i);
    if (i >= text.length || c === 0x2e) {
      if (label.length === 0) return fail(`\`${name}\` has an empty label`);
      if (label.length > MAX_LABEL_BYTES) return fail(`\`${name}\` has a label of more than 63 bytes`);
      length += 1 + label.length;
      labels.push(Uint8Array.from(label));
      label = [];
      if (i >= text.length) break;
      continue;
    }
    if (c === 0x5c) {
      const digits = text.slice(i + 1, i + 4);
      if (/^[0-9]{3}$/.test(digits)) {
        if (Number(digits) > 255) return fail(`\`${name}\` has an escape over 255`);
        label.push(Number(digits));
        i += 3;
        continue;
      }
      i++;
      if (i >= text.length) return fail(`\`${name}\` ends in an escape`);
    }
    const byte = text.charCodeAt(i);
    if (byte > 0x7e || byte <= 0x20) return fail(`\`${name}\` has a character that must be escaped`);
    label.push(byte);
  }
  return length > MAX_NAME_BYTES ? fail(`\`${name}\` is longer than 255 bytes`) : ok(labels);
}

/** The form in which names are compared: lower case (ASCII only, as DNS does), no final dot. */
export function canonicalName(name: string): string {
  const bare = name.endsWith('.') && !name.endsWith('\\.') ? name.slice(0, -1) : name;
  return /[A-Z]/.test(bare) ? bare.replace(/[A-Z]/g, (c) => c.toLowerCase()) : bare;
}
