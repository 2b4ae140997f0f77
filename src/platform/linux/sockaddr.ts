// struct sockaddr_in, sockaddr_in6 and sockaddr_un as bytes. Pure.

import { type HostPort, type Ip, ipBytes, ipFromBytes, isV4 } from '../../model/ip.ts';

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;

/** sun_path holds 108 bytes, one of them the terminating zero. */
const MAX_UNIX_PATH_BYTES = 107;

/** `family` AF_INET6 writes an IPv4 address v4-mapped, for sockets that serve both. */
export function encodeInet(at: HostPort, family: number = isV4(at.ip) ? AF_INET : AF_INET6): Buffer {
  const address = ipBytes(at.ip);
  if (family === AF_INET) {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(AF_INET, 0);
    bytes.writeUInt16BE(at.port, 2);
    bytes.set(address, 4);
    return bytes;
  }
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(AF_INET6, 0);
  bytes.writeUInt16BE(at.port, 2);
  if (address.length === 4) bytes.writeUInt16BE(0xffff, 18);
  bytes.set(address, 24 - address.length);
  return bytes;
}

/** Undefined for other families. v4-mapped addresses come out as IPv4. Runs several times a connection. */
export function decodeInet(bytes: Buffer): HostPort | undefined {
  const family = bytes.readUInt16LE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF_INET) return { ip: dotted(bytes, 4), port };
  if (family !== AF_INET6) return undefined;
  if (bytes.readUInt32LE(8) === 0 && bytes.readUInt32LE(12) === 0 && bytes.readUInt32BE(16) === 0xffff)
    return { ip: dotted(bytes, 20), port };
  const ip = ipFromBytes(bytes.subarray(8, 24));
  return ip === undefined ? undefined : { ip, port };
}

const dotted = (bytes: Buffer, at: number): Ip =>
  `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}` as Ip;

/** Undefined when the path is too long for a socket address. */
export function encodeUnix(path: string): Buffer | undefined {
  const name = Buffer.from(path);
  if (name.length > MAX_UNIX_PATH_BYTES) return undefined;
  const bytes = Buffer.alloc(2 + name.length + 1);
  bytes.writeUInt16LE(AF_UNIX, 0);
  bytes.set(name, 2);
  return bytes;
}
