// DNS message -> bytes, with name compression. What does not fit the bound is left out from the end, record by record,
// and the truncation bit says so (RFC 1035 §4.1.1, RFC 2181 §9): the client asks again over TCP.

import { ipBytes } from '../../model/ip.ts';
import { unreachable } from '../../model/result.ts';
import { type DnsRecord, type Message, TYPE } from './message.ts';
import { labelsOf } from './name.ts';

export const MAX_MESSAGE_BYTES = 65535;
/** RFC 1035 §4.2.1: what every client takes over UDP. */
export const MIN_UDP_BYTES = 512;

class Full extends Error {}

/** Grows as it is written; `mark`/`rewind` take back a record that did not fit. */
class Writer {
  bytes = new Uint8Array(512);
  at = 0;
  /** Suffix of a name (escaped text) -> where it stands, for compression pointers. */
  readonly names = new Map<string, number>();
  readonly limit: number;
  constructor(limit: number) {
    this.limit = limit;
  }
  reserve(count: number): number {
    const at = this.at;
    if (at + count > this.limit) throw new Full();
    if (at + count > this.bytes.length) {
      const larger = new Uint8Array(Math.min(MAX_MESSAGE_BYTES, Math.max(2 * this.bytes.length, at + count)));
      larger.set(this.bytes.subarray(0, at));
      this.bytes = larger;
    }
    this.at = at + count;
    return at;
  }
  u8(value: number): void {
    const at = this.reserve(1); // may replace `this.bytes`
    this.bytes[at] = value;
  }
  u16(value: number): void {
    const at = this.reserve(2);
    this.bytes[at] = value >> 8;
    this.bytes[at + 1] = value;
  }
  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }
  raw(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }
  patch16(at: number, value: number): void {
    this.bytes[at] = value >> 8;
    this.bytes[at + 1] = value;
  }
  /** @throws Error if it is no name: names given to the encoder come from our own state or from the decoder */
  name(name: string, compress = true): void {
    const labels = labelsOf(name);
    if (!labels.ok) throw new Error(labels.error);
    for (let i = 0; i < labels.value.length; i++) {
      const suffix = labels.value
        .slice(i)
        .map((l) => String.fromCharCode(...l))
        .join('\u{100}');
      const known = this.names.get(suffix);
      if (known !== undefined && compress) {
        this.u16(0xc000 | known);
        return;
      }
      if (known === undefined && this.at < 0x4000) this.names.set(suffix, this.at);
      const label = labels.value[i] as Uint8Array;
      this.u8(label.length);
      this.raw(label);
    }
    this.u8(0);
  }
  rewind(at: number): void {
    this.at = at;
    for (const [suffix, place] of this.names) if (place >= at) this.names.delete(suffix);
  }
}

function writeData(out: Writer, record: DnsRecord): void {
  switch (record.type) {
    case 'A':
    case 'AAAA': {
      const bytes = ipBytes(record.address);
      if (record.type === 'AAAA' && bytes.length === 4) {
        // A v4-mapped address was folded when it was read.
        out.raw(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes));
        return;
      }
      if (record.type === 'A' && bytes.length !== 4) throw new Error(`\`${record.address}\` in an A record`);
      out.raw(bytes);
      return;
    }
    case 'CNAME':
    case 'NS':
    case 'PTR':
      out.name(record.target);
      return;
    case 'SRV':
      out.u16(record.priority);
      out.u16(record.weight);
      out.u16(record.port);
      out.name(record.target, false); // RFC 2782: not compressed
      return;
    case 'TXT':
      for (const text of record.texts) {
        if (text.length > 255) throw new Error('a text of more than 255 bytes in a TXT record');
        out.u8(text.length);
        out.raw(text);
      }
      return;
    case 'SOA':
      out.name(record.primary);
      out.name(record.mailbox);
      for (const n of [record.serial, record.refresh, record.retry, record.expire, record.minimum]) out.u32(n);
      return;
    case 'opaque':
      throw new Error(`a record of type ${record.code} cannot be written: its bytes may hold pointers`);
    default:
      unreachable(record);
  }
}

function writeRecord(out: Writer, record: DnsRecord): void {
  out.name(record.name);
  out.u16(record.type === 'opaque' ? record.code : TYPE[record.type]);
  out.u16(record.class);
  out.u32(record.ttl);
  const lengthAt = out.reserve(2);
  writeData(out, record);
  out.patch16(lengthAt, out.at - lengthAt - 2);
}

const OPT_BYTES = 11;

/**
 * Writes a message of at most `maxBytes`. Answers that do not fit are left out and the truncation bit is set; so are
 * further records, without the bit for additional ones. Questions and EDNS always fit: `maxBytes` is 512 at least.
 * @throws Error on a record that has no bytes: a malformed name, an opaque record
 */
export function encodeMessage(message: Message, maxBytes: number = MAX_MESSAGE_BYTES): Uint8Array {
  const limit = Math.max(MIN_UDP_BYTES, Math.min(MAX_MESSAGE_BYTES, maxBytes));
  const out = new Writer(limit - (message.edns === undefined ? 0 : OPT_BYTES));
  out.reserve(12);
  for (const q of message.questions) {
    out.name(q.name);
    out.u16(q.type);
    out.u16(q.class);
  }
  let truncated = message.truncated;
  let room = true;
  const section = (records: readonly DnsRecord[], needed: boolean): number => {
    let written = 0;
    for (const record of records) {
      if (!room) break;
      const before = out.at;
      try {
        writeRecord(out, record);
        written++;
      } catch (error) {
        if (!(error instanceof Full)) throw error;
        out.rewind(before);
        room = false;
      }
    }
    if (written < records.length && needed) truncated = true;
    return written;
  };
  const answers = section(message.answers, true);
  const authorities = section(message.authorities, true);
  const additionals = section(message.additionals, false);
  let bytes = out.bytes.subarray(0, out.at);
  if (message.edns !== undefined) {
    const { payloadBytes, version, dnssecOk } = message.edns;
    const opt = new Uint8Array(out.at + OPT_BYTES);
    opt.set(bytes);
    opt.set(
      [0, 0, TYPE.OPT, payloadBytes >> 8, payloadBytes, message.rcode >> 4, version, dnssecOk ? 0x80 : 0],
      out.at,
    );
    bytes = opt;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(0, message.id);
  view.setUint16(
    2,
    (message.response ? 0x8000 : 0) |
      ((message.opcode & 15) << 11) |
      (message.authoritative ? 0x0400 : 0) |
      (truncated ? 0x0200 : 0) |
      (message.recursionDesired ? 0x0100 : 0) |
      (message.recursionAvailable ? 0x0080 : 0) |
      (message.authenticData ? 0x0020 : 0) |
      (message.checkingDisabled ? 0x0010 : 0) |
      (message.rcode & 15),
  );
  view.setUint16(4, message.questions.length);
  view.setUint16(6, answers);
  view.setUint16(8, authorities);
  view.setUint16(10, additionals + (message.edns === undefined ? 0 : 1));
  return bytes;
}
