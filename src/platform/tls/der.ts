// Just enough DER (X.690) to find a certificate's extensions and read subject alternative names from their bytes. The
// library's text form of subjectAltName has quoting rules that have been got wrong before (CVE-2021-44532); bytes have
// none. Every length is checked against its container; anything unexpected is an error, never skipped over.

export class DerError extends Error {}

/** One element: tag, and its content as a view. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
}

const SEQUENCE = 0x30;
const OBJECT_ID = 0x06;
const OCTET_STRING = 0x04;
const BOOLEAN = 0x01;
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;
const URI_NAME = 0x86;

/** 2.5.29.17 */
const SUBJECT_ALT_NAME = Uint8Array.from([0x55, 0x1d, 0x11]);

/** The elements of a constructed value, in order, with nothing left over. */
export function derChildren(bytes: Uint8Array): DerElement[] {
  const children: DerElement[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at] as number;
    if ((tag & 0x1f) === 0x1f) throw new DerError('tag of several bytes');
    let length = bytes[at + 1];
    at += 2;
    if (length === undefined) throw new DerError('element cut off');
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets === 0 || octets > 3) throw new DerError('length in a form that is not allowed');
      length = 0;
      for (let i = 0; i < octets; i++) length = length * 256 + (bytes[at++] ?? Number.NaN);
      if (!(length >= 0x80)) throw new DerError('length cut off, or longer than it need be');
    }
    if (at + length > bytes.length) throw new DerError('element longer than its container');
    children.push({ tag, content: bytes.subarray(at, at + length) });
    at += length;
  }
  return children;
}

function expect(element: DerElement | undefined, tag: number, what: string): Uint8Array {
  if (element === undefined || element.tag !== tag) throw new DerError(`${what} missing`);
  return element.content;
}

/** RFC 5280 §4.1: value of the extension with this OID. @throws DerError also when there are two */
function extension(certificate: Uint8Array, oid: Uint8Array): Uint8Array | undefined {
  const [outer, ...rest] = derChildren(certificate);
  if (rest.length > 0) throw new DerError('bytes after the certificate');
  const [body] = derChildren(expect(outer, SEQUENCE, 'certificate'));
  const fields = derChildren(expect(body, SEQUENCE, 'certificate body'));
  if (fields[0]?.tag !== VERSION) return undefined; // version 1 has no extensions
  const wrapped = fields.find((field) => field.tag === EXTENSIONS);
  if (wrapped === undefined) return undefined;
  const [list] = derChildren(wrapped.content);
  let found: Uint8Array | undefined;
  for (const item of derChildren(expect(list, SEQUENCE, 'extension list'))) {
    const parts = derChildren(expect(item, SEQUENCE, 'extension'));
    const id = expect(parts[0], OBJECT_ID, 'extension id');
    if (id.length !== oid.length || !id.every((byte, i) => byte === oid[i])) continue;
    if (found !== undefined) throw new DerError('extension given twice');
    found = expect(parts[1]?.tag === BOOLEAN ? parts[2] : parts[1], OCTET_STRING, 'extension value');
  }
  return found;
}

/**
 * The URIs among a certificate's subject alternative names, in order.
 * @param certificate DER
 * @throws DerError when it cannot be read, or a URI holds anything but visible ASCII
 */
export function subjectUris(certificate: Uint8Array): string[] {
  const value = extension(certificate, SUBJECT_ALT_NAME);
  if (value === undefined) return [];
  const [names, ...rest] = derChildren(value);
  if (rest.length > 0) throw new DerError('bytes after the names');
  const uris: string[] = [];
  for (const name of derChildren(expect(names, SEQUENCE, 'names'))) {
    if (name.tag !== URI_NAME) continue;
    if (!name.content.every((byte) => byte > 0x20 && byte < 0x7f)) throw new DerError('URI with unusual characters');
    uris.push(String.fromCharCode(...name.content.subarray(0, MAX_URI_BYTES + 1)));
    if (name.content.length > MAX_URI_BYTES) throw new DerError(`URI longer than ${MAX_URI_BYTES} bytes`);
  }
  return uris;
}

/** SPIFFE ID §2.3: at most 2048 bytes. */
const MAX_URI_BYTES = 2048;
