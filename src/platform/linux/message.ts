// One packet with at most one descriptor through sendmsg / recvmsg: struct msghdr, iovec and cmsghdr by hand.
// Everything is synchronous and non-blocking, so one set of structures serves the whole process.

import { closeSync } from 'node:fs';
import { SystemError } from './errors.ts';
import { addressOf, lastErrno, libc } from './libc.ts';

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const EAGAIN = 11;
const ECONNRESET = 104;

const IOVEC = 64;
const CONTROL = 96;
/** Room for one descriptor, which by alignment is room for two: what is too many is seen, and closed. */
const CONTROL_BYTES = 24;
const DATA = 128;

/** What either side of ZDS reads at once; a longer packet is an error. */
export const MAX_PACKET_BYTES = 1024;

export type Received =
  | { readonly kind: 'packet'; readonly data: Buffer; readonly fd: number | undefined }
  | { readonly kind: 'notYet' }
  | { readonly kind: 'end' }
  /** Descriptors that came with it are closed already. */
  | { readonly kind: 'refused'; readonly why: string };

const block = Buffer.alloc(DATA + MAX_PACKET_BYTES);
const base = addressOf(block);

function prepare(dataBytes: number, controlBytes: number): void {
  block.fill(0, 0, DATA);
  block.writeBigUInt64LE(base + BigInt(IOVEC), 16);
  block.writeBigUInt64LE(1n, 24);
  block.writeBigUInt64LE(controlBytes === 0 ? 0n : base + BigInt(CONTROL), 32);
  block.writeBigUInt64LE(BigInt(controlBytes), 40);
  block.writeBigUInt64LE(base + BigInt(DATA), IOVEC);
  block.writeBigUInt64LE(BigInt(dataBytes), IOVEC + 8);
}

/**
 * @returns false when the socket's buffer is full
 * @throws SystemError EPIPE when the peer has gone; RangeError when the packet is longer than a receiver takes
 */
export function sendPacket(socket: number, data: Uint8Array, fd: number | undefined): boolean {
  if (data.length > MAX_PACKET_BYTES)
    throw new RangeError(`packet of ${data.length} bytes not sent: a receiver takes ${MAX_PACKET_BYTES}`);
  prepare(data.length, fd === undefined ? 0 : CONTROL_BYTES);
  block.set(data, DATA);
  if (fd !== undefined) {
    block.writeBigUInt64LE(20n, CONTROL);
    block.writeInt32LE(SOL_SOCKET, CONTROL + 8);
    block.writeInt32LE(SCM_RIGHTS, CONTROL + 12);
    block.writeInt32LE(fd, CONTROL + 16);
  }
  if (Number(libc.sendmsg(socket, block, MSG_DONTWAIT | MSG_NOSIGNAL)) >= 0) return true;
  const errno = lastErrno();
  if (errno === EAGAIN) return false;
  throw new SystemError('packet not sent', 'sendmsg', errno);
}

/** The data is copied out. @throws SystemError for anything but "not yet" and the end of the connection */
export function receivePacket(socket: number): Received {
  prepare(MAX_PACKET_BYTES, CONTROL_BYTES);
  const size = Number(libc.recvmsg(socket, block, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
  if (size < 0) {
    const errno = lastErrno();
    if (errno === EAGAIN) return { kind: 'notYet' };
    if (errno === ECONNRESET) return { kind: 'end' };
    throw new SystemError('packet not received', 'recvmsg', errno);
  }
  const flags = block.readInt32LE(48);
  const descriptors = receivedDescriptors(Number(block.readBigUInt64LE(40)));
  const why =
    (flags & MSG_TRUNC) !== 0
      ? `a packet was longer than ${MAX_PACKET_BYTES} bytes`
      : (flags & MSG_CTRUNC) !== 0 || descriptors.length > 1
        ? 'a packet carried more than one descriptor'
        : undefined;
  if (why === undefined && size > 0)
    return { kind: 'packet', data: Buffer.from(block.subarray(DATA, DATA + size)), fd: descriptors[0] };
  for (const fd of descriptors) closeSync(fd);
  return why === undefined ? { kind: 'end' } : { kind: 'refused', why };
}

function receivedDescriptors(controlBytes: number): number[] {
  if (controlBytes < 20) return [];
  const length = Math.min(Number(block.readBigUInt64LE(CONTROL)), controlBytes);
  if (block.readInt32LE(CONTROL + 8) !== SOL_SOCKET || block.readInt32LE(CONTROL + 12) !== SCM_RIGHTS) return [];
  const found: number[] = [];
  for (let at = 16; at + 4 <= length; at += 4) found.push(block.readInt32LE(CONTROL + at));
  return found;
}
