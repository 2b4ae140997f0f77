// Header fields of a message: an ordered list that keeps duplicates and the casing of names; found by lower-case name.
// Whatever is in a list can be written to the wire: names and values are checked on the way in, so a field that ends
// its line early (header injection) cannot exist.

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/**
 * RFC 9110 §5.5: no control characters but tab, no white space at the ends; bytes 0x80-0xff are opaque (latin1).
 * Characters above 0xff are refused: cut to a byte they could become a line feed.
 */
const VALUE = /^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?$/;

export const isToken = (text: string): boolean => TOKEN.test(text);
export const isFieldValue = (text: string): boolean => VALUE.test(text);

/** Places of one field in the flat list. */
const STRIDE = 3;

export class Fields {
  /** key (lower case), name (as sent), value; and so on. */
  private readonly flat: string[] = [];

  get count(): number {
    return this.flat.length / STRIDE;
  }

  /** Lower-case name of the field at `index`, which must be below `count`; so for the two below. */
  keyAt(index: number): string {
    return this.flat[index * STRIDE]!;
  }
  /** Name as it was sent. */
  nameAt(index: number): string {
    return this.flat[index * STRIDE + 1]!;
  }
  valueAt(index: number): string {
    return this.flat[index * STRIDE + 2]!;
  }

  has(key: string): boolean {
    return this.find(key, 0) >= 0;
  }

  /** First value. `key` in lower case, as everywhere here. */
  get(key: string): string | undefined {
    const at = this.find(key, 0);
    return at < 0 ? undefined : this.flat[at + 2];
  }

  /** Every value, in order. */
  all(key: string): string[] {
    const values: string[] = [];
    for (let at = this.find(key, 0); at >= 0; at = this.find(key, at + STRIDE)) values.push(this.flat[at + 2]!);
    return values;
  }

  /** All values as one list (RFC 9110 §5.3; Istio judges repeated fields so). */
  joined(key: string): string | undefined {
    const at = this.find(key, 0);
    if (at < 0) return undefined;
    return this.find(key, at + STRIDE) < 0 ? this.flat[at + 2] : this.all(key).join(',');
  }

  /** Adds a field at the end. Throws for what cannot be sent: ask `isToken` and `isFieldValue` where input decides. */
  append(name: string, value: string): void {
    if (!TOKEN.test(name)) throw new TypeError('field name is not a token');
    if (!VALUE.test(value)) throw new TypeError(`value of ${name} cannot be sent in a field`);
    this.flat.push(name.toLowerCase(), name, value);
  }

  /** Puts one field in the place of every one of that name. Throws as `append`. */
  set(name: string, value: string): void {
    const key = name.toLowerCase();
    const at = this.find(key, 0);
    if (at < 0) {
      this.append(name, value);
      return;
    }
    if (!VALUE.test(value)) throw new TypeError(`value of ${name} cannot be sent in a field`);
    this.flat[at + 1] = name;
    this.flat[at + 2] = value;
    this.removeFrom(key, at + STRIDE);
  }

  /** @returns whether there was one */
  delete(key: string): boolean {
    return this.removeFrom(key, 0);
  }

  clone(): Fields {
    const copy = new Fields();
    for (const text of this.flat) copy.flat.push(text);
    return copy;
  }

  /** For the parser only, which has checked all three. */
  appendChecked(key: string, name: string, value: string): void {
    this.flat.push(key, name, value);
  }

  private find(key: string, from: number): number {
    const flat = this.flat;
    for (let at = from; at < flat.length; at += STRIDE) if (flat[at] === key) return at;
    return -1;
  }

  private removeFrom(key: string, from: number): boolean {
    const flat = this.flat;
    let kept = this.find(key, from);
    if (kept < 0) return false;
    for (let at = kept + STRIDE; at < flat.length; at += STRIDE) {
      if (flat[at] === key) continue;
      flat[kept] = flat[at]!;
      flat[kept + 1] = flat[at + 1]!;
      flat[kept + 2] = flat[at + 2]!;
      kept += STRIDE;
    }
    flat.length = kept;
    return true;
  }
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** Without spaces and tabs at the ends: not `trim`, which takes more than RFC 9110 §5.6.3 calls white space. */
export function trimBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

/** Members of a comma-separated list (RFC 9110 §5.6.1), trimmed, in lower case; empty ones are left out. */
export function listMembers(list: string): string[] {
  const members: string[] = [];
  for (const member of list.split(',')) {
    const trimmed = trimBlanks(member);
    if (trimmed !== '') members.push(trimmed.toLowerCase());
  }
  return members;
}
