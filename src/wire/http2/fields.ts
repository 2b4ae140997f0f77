// Header lists as messages have them: pseudo-header fields apart, ordinary ones checked (RFC 9113 §8.2, §8.3). Strict: a
// list that is malformed in any way is refused, never repaired. Runs per message.

import type { Field } from '../hbone/hpack.ts';
import { Fields, isFieldValue } from '../http1/index.ts';

/** Fields of a message beyond this are too many (as in HTTP/1). */
const MAX_FIELDS = 100;

export const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

/** Fields that speak of a connection of HTTP/1 (RFC 9113 §8.2.2). */
const OF_CONNECTIONS: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);

/** Not sent: those of connections, and what is said otherwise. */
const NOT_SENT: ReadonlySet<string> = new Set([...OF_CONNECTIONS, 'te', 'host', 'content-length', 'http2-settings']);

export interface SplitList {
  readonly pseudo: ReadonlyMap<string, string>;
  readonly fields: Fields;
  /** `te: trailers`, which is of this connection and not among the fields. */
  readonly takesTrailers: boolean;
}

/** @returns a text: what is malformed; `tooMany` fields */
export function splitList(list: readonly Field[]): SplitList | 'tooMany' | { readonly malformed: string } {
  const pseudo = new Map<string, string>();
  const fields = new Fields();
  let cookie: string | undefined;
  let takesTrailers = false;
  let ordinary = 0;
  for (const [name, value] of list) {
    if (!isFieldValue(value)) return { malformed: 'a field value with characters that are not allowed' };
    if (name.charCodeAt(0) === 0x3a) {
      if (ordinary > 0) return { malformed: `${name} after an ordinary field` };
      if (pseudo.has(name)) return { malformed: `${name} twice` };
      pseudo.set(name, value);
      continue;
    }
    ordinary++;
    if (!NAME.test(name)) return { malformed: 'a field name with characters that are not allowed' };
    if (OF_CONNECTIONS.has(name)) return { malformed: `field ${name} has no place here` };
    if (name === 'te') {
      if (value !== 'trailers') return { malformed: 'te other than trailers' };
      takesTrailers = true;
    } else if (name === 'cookie')
      cookie = cookie === undefined ? value : `${cookie}; ${value}`; // RFC 9113 §8.2.3
    else fields.appendChecked(name, name, value);
  }
  if (cookie !== undefined) fields.appendChecked('cookie', 'cookie', cookie);
  return ordinary > MAX_FIELDS ? 'tooMany' : { pseudo, fields, takesTrailers };
}

/** Fields that a trailer section may not have (RFC 9110 §6.5.1): framing, routing, authentication, how to read content. */
const NOT_IN_TRAILERS =
  /^(?:host|content-(?:length|encoding|type|range)|trailer|authorization|set-cookie|cookie|cache-control|expect|max-forwards|range|if-.*)$/;

/** @returns undefined: malformed. What may not be in trailers is left out. */
export function readTrailers(list: readonly Field[]): Fields | undefined {
  const split = splitList(list);
  if (split === 'tooMany' || 'malformed' in split || split.pseudo.size > 0) return undefined;
  const { fields } = split;
  for (let i = fields.count - 1; i >= 0; i--) {
    const key = fields.keyAt(i);
    if (NOT_IN_TRAILERS.test(key)) fields.delete(key);
  }
  return fields;
}

/** @returns undefined: none was said; `bad`: not one length */
export function statedLength(fields: Fields): number | 'bad' | undefined {
  const first = fields.get('content-length');
  if (first === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(first)) return 'bad';
  return fields.all('content-length').length > 1 ? 'bad' : Number(first);
}

/** Adds what of `fields` goes on the wire. */
export function putFields(list: Field[], fields: Fields): void {
  const { count } = fields;
  for (let i = 0; i < count; i++) {
    const key = fields.keyAt(i);
    if (!NOT_SENT.has(key)) list.push([key, fields.valueAt(i)]);
  }
}
