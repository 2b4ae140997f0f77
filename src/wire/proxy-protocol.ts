// PROXY protocol version 2 (HAProxy specification §2.2), the header that tells an application behind a tunnel who the
// client is. Writing only.

import { Buffer } from 'node:buffer';
import { formatSpiffeId, type SpiffeId } from '../model/identity.ts';
import { type HostPort, type Ip, ipBytes, isV4 } from '../model/ip.ts';

const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
/** Version 2, command PROXY. */
const VERSION_COMMAND = 0x21;
const TCP4 = 0x11;
const TCP6 = 0x21;
/** The peer's SPIFFE id as text (Istio: ztunnel and its waypoints). */
const TLV_IDENTITY = 0xd0;

export interface ProxyHeader {
  readonly source: HostPort;
  readonly destination: HostPort;
  readonly identity: SpiffeId | undefined;
}

/** Addresses of two families are both written as IPv6, IPv4 in its mapped form. */
export function encodeProxyHeader({ source, destination, identity }: ProxyHeader): Buffer {
  const v4 = isV4(source.ip) && isV4(destination.ip);
  const identityText = identity === undefined ? undefined : Buffer.from(formatSpiffeId(identity));
  const tlvBytes = identityText === undefined ? 0 : 3 + identityText.length;
  const addressBytes = v4 ? 12 : 36;
  const header = Buffer.alloc(16 + addressBytes + tlvBytes);
  SIGNATURE.copy(header);
  header[12] = VERSION_COMMAND;
  header[13] = v4 ? TCP4 : TCP6;
  header.writeUInt16BE(addressBytes + tlvBytes, 14);
  const width = v4 ? 4 : 16;
  header.set(widen(source.ip, width), 16);
  header.set(widen(destination.ip, width), 16 + width);
  header.writeUInt16BE(source.port, 16 + 2 * width);
  header.writeUInt16BE(destination.port, 18 + 2 * width);
  if (identityText !== undefined) {
    const at = 16 + addressBytes;
    header[at] = TLV_IDENTITY;
    header.writeUInt16BE(identityText.length, at + 1);
    identityText.copy(header, at + 3);
  }
  return header;
}

function widen(ip: Ip, width: number): Uint8Array {
  const bytes = ipBytes(ip);
  if (bytes.length === width) return bytes;
  const wide = new Uint8Array(16);
  wide[10] = 0xff;
  wide[11] = 0xff;
  wide.set(bytes, 12);
  return wide;
}
