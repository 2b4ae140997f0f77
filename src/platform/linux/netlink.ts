// Netlink route messages: building requests, reading acknowledgements, one synchronous exchange at a time. The kernel
// answers rtnetlink requests within the sending call, so nothing here waits. What the messages mean is in links.ts.

import { closeSync } from 'node:fs';
import { SystemError } from './errors.ts';
import { check, libc } from './libc.ts';
import type { Netns } from './netns.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const MSG_DONTWAIT = 0x40;

const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_ACK_TLVS = 0x200;
const NLMSG_ERROR = 2;
const NLMSGERR_ATTR_MSG = 1;
const HEADER_BYTES = 16;
/** Header, errno, and the request's header again; extended acknowledgement attributes follow. */
const ACK_BYTES = HEADER_BYTES + 4 + HEADER_BYTES;

export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

const align4 = (length: number): number => (length + 3) & ~3;

/** One attribute (struct rtattr), padded. Numbers are 32-bit; text gets its terminating zero. */
export function attribute(type: number, value: number | string | Uint8Array | readonly Uint8Array[]): Buffer {
  let payload: Uint8Array;
  if (typeof value === 'number') {
    payload = Buffer.alloc(4);
    (payload as Buffer).writeUInt32LE(value >>> 0, 0);
  } else if (typeof value === 'string') payload = Buffer.from(`${value}\0`);
  else payload = value instanceof Uint8Array ? value : Buffer.concat(value as readonly Uint8Array[]);
  const bytes = Buffer.alloc(align4(4 + payload.length));
  bytes.writeUInt16LE(4 + payload.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(payload, 4);
  return bytes;
}

/** The attributes of `bytes` from `start`, type to payload; what is cut short is left out. */
export function attributesOf(bytes: Buffer, start: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = start; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += align4(length);
  }
  return found;
}

/** A NETLINK_ROUTE socket inside one namespace. */
export class NetlinkRoute implements Disposable {
  readonly #fd: number;
  readonly #answer = Buffer.alloc(32 * 1024);
  #sequence = 0;
  #open = true;

  constructor(netns: Netns) {
    const what = (): string => 'netlink socket not opened';
    this.#fd = netns.run(() => check(libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE), 'socket', what));
    const on = Buffer.from([1, 0, 0, 0]);
    libc.setsockopt(this.#fd, SOL_NETLINK, NETLINK_CAP_ACK, on, 4);
    libc.setsockopt(this.#fd, SOL_NETLINK, NETLINK_EXT_ACK, on, 4);
  }

  /**
   * Sends one request and reads its acknowledgement.
   * @param body the fixed structure (ifinfomsg and so on), then attributes
   * @returns the answer's body when the request asked for an object, else undefined
   * @throws SystemError with the kernel's errno and words
   */
  request(type: number, flags: number, body: readonly Uint8Array[], what: () => string): Buffer | undefined {
    const sequence = ++this.#sequence;
    const length = HEADER_BYTES + body.reduce((sum, part) => sum + part.length, 0);
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32LE(length, 0);
    header.writeUInt16LE(type, 4);
    header.writeUInt16LE(flags | NLM_F_REQUEST | NLM_F_ACK, 6);
    header.writeUInt32LE(sequence, 8);
    const message = Buffer.concat([header, ...body]);
    check(Number(libc.send(this.#fd, message, message.length, 0)), 'send', what);
    return this.#readAnswer(sequence, what);
  }

  #readAnswer(sequence: number, what: () => string): Buffer | undefined {
    let object: Buffer | undefined;
    for (;;) {
      const size = check(
        Number(libc.recv(this.#fd, this.#answer, this.#answer.length, MSG_DONTWAIT)),
        'recv',
        () => `${what()}: no answer`,
      );
      for (let at = 0; at + HEADER_BYTES <= size; ) {
        const length = this.#answer.readUInt32LE(at);
        if (length < HEADER_BYTES || at + length > size) break;
        const message = this.#answer.subarray(at, at + length);
        at += align4(length);
        if (message.readUInt32LE(8) !== sequence) continue;
        if (message.readUInt16LE(4) !== NLMSG_ERROR) {
          object = Buffer.from(message.subarray(HEADER_BYTES));
          continue;
        }
        const errno = -message.readInt32LE(HEADER_BYTES);
        if (errno === 0) return object;
        const words =
          (message.readUInt16LE(6) & NLM_F_ACK_TLVS) === 0
            ? undefined
            : attributesOf(message, ACK_BYTES).get(NLMSGERR_ATTR_MSG);
        const detail = words?.toString('utf8').replace(/\0+$/, '');
        throw new SystemError(what(), 'rtnetlink', errno, detail === undefined ? {} : { detail });
      }
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
