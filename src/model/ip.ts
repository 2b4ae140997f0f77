// IP addresses and ranges as values. An `Ip` is a canonical string: dotted IPv4, or RFC 5952 IPv6;
// v4-mapped IPv6 is always folded to IPv4, so that equal addresses are equal strings.

import { fail, ok, type Result } from './result.ts';

declare const brand: unique symbol;
export type Ip = string & { readonly [brand]: 'Ip' };

export interface HostPort {
  readonly ip: Ip;
  readonly port: number;
}

/** A range; `bits` are the address bytes of `ip`, kept so that matching does not parse again. */
export interface Cidr {
  readonly ip: Ip;
  readonly length: number;
}

const DECIMAL = /^(0|[1-9][0-9]{0,2})$/;

function parseV4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = parts[i] as string;
    if (!DECIMAL.test(part) || Number(part) > 255) return undefined;
    bytes[i] = Number(part);
  }
  return bytes;
}

function parseV6(text: string): Uint8Array | undefined {
  let source = text;
  const tail = source.slice(source.lastIndexOf(':') + 1);
  if (tail.includes('.')) {
    const v4 = parseV4(tail);
    if (v4 === undefined) return undefined;
    const [a, b, c, d] = v4 as unknown as [number, number, number, number];
    source = `${source.slice(0, -tail.length)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const halves = source.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string | undefined): string[] => (half ? half.split(':') : []);
  const head = groups(halves[0]);
  const back = groups(halves[1]);
  const missing = 8 - head.length - back.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...head, ...Array<string>(halves.length === 2 ? missing : 0).fill('0'), ...back];
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 8; i++) {
    const group = all[i] as string;
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    const value = Number.parseInt(group, 16);
    bytes[2 * i] = value >> 8;
    bytes[2 * i + 1] = value & 255;
  }
  return bytes;
}

/** 4 bytes for IPv4 (also when it came v4-mapped), 16 for IPv6. */
export function ipBytes(ip: Ip): Uint8Array {
  const bytes = ip.includes(':') ? parseV6(ip) : parseV4(ip);
  if (bytes === undefined) throw new Error(`\`${ip}\` was branded as an address but is none`);
  return bytes;
}

/** Canonical address of 4 or 16 bytes; any other length is undefined. */
export function ipFromBytes(bytes: Uint8Array): Ip | undefined {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Ip;
  if (bytes.length !== 16) return undefined;
  if (bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 255 && bytes[11] === 255)
    return ipFromBytes(bytes.subarray(12));
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number));
  let best = { start: -1, length: 1 }; // RFC 5952 §4.2.2: a single zero group is not shortened
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > best.length) best = { start: i, length: j - i };
    if (j > i) i = j;
  }
  const hex = (list: number[]): string => list.map((g) => g.toString(16)).join(':');
  if (best.start < 0) return hex(groups) as Ip;
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}` as Ip;
}

export function parseIp(text: string): Result<Ip, string> {
  const bytes = text.includes(':') ? parseV6(text) : parseV4(text);
  const ip = bytes && ipFromBytes(bytes);
  return ip === undefined ? fail(`\`${text}\` is not an IP address`) : ok(ip);
}

/** `10.0.0.0/8`, or a lone address as its full-length range. Host bits are allowed and ignored. */
export function parseCidr(text: string): Result<Cidr, string> {
  const [address, length, ...rest] = text.split('/');
  const ip = parseIp(address ?? '');
  if (!ip.ok || rest.length > 0) return fail(`\`${text}\` is not an address or CIDR range`);
  const full = isV4(ip.value) ? 32 : 128;
  if (length === undefined) return ok({ ip: ip.value, length: full });
  if (!DECIMAL.test(length) || Number(length) > full) return fail(`\`${text}\` has no valid prefix length`);
  return ok({ ip: ip.value, length: Number(length) });
}

export const isV4 = (ip: Ip): boolean => !ip.includes(':');
export const isLoopback = (ip: Ip): boolean => ip === '::1' || ip.startsWith('127.');

export function cidrContains(range: Cidr, ip: Ip): boolean {
  if (isV4(range.ip) !== isV4(ip)) return false;
  const a = ipBytes(range.ip);
  const b = ipBytes(ip);
  const whole = range.length >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = range.length & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((a[whole] as number) & mask) === ((b[whole] as number) & mask);
}

export const formatHostPort = (at: HostPort): string => (isV4(at.ip) ? `${at.ip}:${at.port}` : `[${at.ip}]:${at.port}`);
