// Bytes -> DNS message. Total: whatever comes from the network gives a message or a reason. Work and memory are bounded
// by the message's length (65,535 at most), since every record takes at least 11 bytes and names only point backwards.

import { type Ip, ipFromBytes } from '../../model/ip.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import {
  type DnsRecord,
  type Edns,
  type Header,
  type Message,
  type Question,
  type RecordData,
  TYPE,
} from './message.ts';
import { Malformed, readName } from './name.ts';

const HEADER_BYTES = 12;

const u16 = (bytes: Uint8Array, at: number): number => {
  const high = bytes[at];
  const low = bytes[at + 1];
  if (high === undefined || low === undefined) throw new Malformed('message ends early');
  return (high << 8) | low;
};
const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x10000 + u16(bytes, at + 2);

/** The header alone, so that a message whose rest is broken can still be answered. */
export function decodeHeader(bytes: Uint8Array): Result<Header, string> {
  if (bytes.length < HEADER_BYTES) return fail('message is shorter than its header');
  const flags = u16(bytes, 2);
  return ok({
    id: u16(bytes, 0),
    response: (flags & 0x8000) !== 0,
    opcode: (flags >> 11) & 15,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    recursionDesired: (flags & 0x0100) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    authenticData: (flags & 0x0020) !== 0,
    checkingDisabled: (flags & 0x0010) !== 0,
    rcode: flags & 15,
  });
}

/** Reads a whole message; bytes after the last record are an error. */
export function decodeMessage(bytes: Uint8Array): Result<Message, string> {
  const header = decodeHeader(bytes);
  if (!header.ok) return header;
  try {
    return ok(readBody(bytes, header.value));
  } catch (error) {
    if (error instanceof Malformed) return fail(error.message);
    throw error;
  }
}

function readBody(bytes: Uint8Array, header: Header): Message {
  let at = HEADER_BYTES;
  const questions: Question[] = [];
  for (let left = u16(bytes, 4); left > 0; left--) {
    const { name, next } = readName(bytes, at);
    questions.push({ name, type: u16(bytes, next), class: u16(bytes, next + 2) });
    at = next + 4;
  }
  let edns: Edns | undefined;
  let rcode = header.rcode;
  const section = (count: number, ofAdditionals: boolean): DnsRecord[] => {
    const records: DnsRecord[] = [];
    for (let left = count; left > 0; left--) {
      const { name, next } = readName(bytes, at);
      const type = u16(bytes, next);
      const recordClass = u16(bytes, next + 2);
      const ttl = u32(bytes, next + 4);
      const start = next + 10;
      const end = start + u16(bytes, next + 8);
      if (end > bytes.length) throw new Malformed('record runs past the end');
      at = end;
      if (type !== TYPE.OPT) {
        records.push({ name, ttl, class: recordClass, ...readData(bytes, type, start, end) });
        continue;
      }
      if (!ofAdditionals || edns !== undefined || name !== '') throw new Malformed('misplaced EDNS record');
      edns = { payloadBytes: recordClass, version: (ttl >> 16) & 255, dnssecOk: (ttl & 0x8000) !== 0 };
      rcode |= (ttl >>> 24) << 4;
    }
    return records;
  };
  const answers = section(u16(bytes, 6), false);
  const authorities = section(u16(bytes, 8), false);
  const additionals = section(u16(bytes, 10), true);
  if (at !== bytes.length) throw new Malformed('bytes after the last record');
  return { ...header, rcode, questions, answers, authorities, additionals, edns };
}

function readData(bytes: Uint8Array, type: number, start: number, end: number): RecordData {
  const target = (at: number): string => {
    const { name, next } = readName(bytes, at);
    if (next !== end) throw new Malformed('name does not fill its record');
    return name;
  };
  switch (type) {
    case TYPE.A:
    case TYPE.AAAA: {
      if (end - start !== (type === TYPE.A ? 4 : 16)) throw new Malformed('address of a wrong length');
      return { type: type === TYPE.A ? 'A' : 'AAAA', address: ipFromBytes(bytes.subarray(start, end)) as Ip };
    }
    case TYPE.CNAME:
      return { type: 'CNAME', target: target(start) };
    case TYPE.NS:
      return { type: 'NS', target: target(start) };
    case TYPE.PTR:
      return { type: 'PTR', target: target(start) };
    case TYPE.SRV:
      return {
        type: 'SRV',
        priority: u16(bytes, start),
        weight: u16(bytes, start + 2),
        port: u16(bytes, start + 4),
        target: target(start + 6),
      };
    case TYPE.TXT: {
      const texts: Uint8Array[] = [];
      for (let at = start; at < end; at += 1 + (bytes[at] as number)) {
        if (at + 1 + (bytes[at] as number) > end) throw new Malformed('text runs past its record');
        texts.push(bytes.slice(at + 1, at + 1 + (bytes[at] as number)));
      }
      return { type: 'TXT', texts };
    }
    case TYPE.SOA: {
      const primary = readName(bytes, start);
      const mailbox = readName(bytes, primary.next);
      if (mailbox.next + 20 !== end) throw new Malformed('SOA record of a wrong length');
      const number = (i: number): number => u32(bytes, mailbox.next + 4 * i);
      return {
        type: 'SOA',
        primary: primary.name,
        mailbox: mailbox.name,
        serial: number(0),
        refresh: number(1),
        retry: number(2),
        expire: number(3),
        minimum: number(4),
      };
    }
    default:
      return { type: 'opaque', code: type, data: bytes.slice(start, end) };
  }
}
