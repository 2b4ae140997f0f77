// DNS messages as values (RFC 1035 §4, RFC 6891 for EDNS): what a resolver in front of pods reads and answers.
// The types; bytes are in decode.ts and encode.ts. A strict small codec of our own: the packages for this are untyped or
// read hostile input without bounds, and only these few record types are ever written.

import type { Ip } from '../../model/ip.ts';

export const RCODE = {
  noError: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
  badVersion: 16,
} as const;
export const CLASS_IN = 1;
export const OPCODE_QUERY = 0;

/** Record type numbers with their names (IANA "DNS parameters"), for logs and labels. */
export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  OPT: 41,
  DS: 43,
  SVCB: 64,
  HTTPS: 65,
  ANY: 255,
  CAA: 257,
} as const;
export type TypeName = keyof typeof TYPE;

const NAMES: ReadonlyMap<number, TypeName> = new Map(
  (Object.entries(TYPE) as [TypeName, number][]).map(([name, number]) => [number, name]),
);
/** `A`, `AAAA`, …; every type without a name of its own is `UNKNOWN`, so that labels made of it stay few. */
export const typeName = (type: number): TypeName | 'UNKNOWN' => NAMES.get(type) ?? 'UNKNOWN';

export interface Question {
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** The EDNS pseudo-record. */
export interface Edns {
  /** Largest UDP answer that the sender takes, bytes. */
  readonly payloadBytes: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

export type RecordData =
  | { readonly type: 'A' | 'AAAA'; readonly address: Ip }
  | { readonly type: 'CNAME' | 'NS' | 'PTR'; readonly target: string }
  | {
      readonly type: 'SRV';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
  | { readonly type: 'TXT'; readonly texts: readonly Uint8Array[] }
  | {
      readonly type: 'SOA';
      readonly primary: string;
      readonly mailbox: string;
      readonly serial: number;
      readonly refresh: number;
      readonly retry: number;
      readonly expire: number;
      readonly minimum: number;
    }
  /** Any other type, bytes as they were; they may hold compressed names, so such a record is never written again. */
  | { readonly type: 'opaque'; readonly code: number; readonly data: Uint8Array };

export type DnsRecord = { readonly name: string; readonly ttl: number; readonly class: number } & RecordData;

export interface Header {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** With the upper bits of EDNS, when present. */
  readonly rcode: number;
}

export interface Message extends Header {
  readonly questions: readonly Question[];
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  readonly edns: Edns | undefined;
}
