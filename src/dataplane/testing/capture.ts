// Every packet that crosses a namespace's interfaces, as tcpdump would show them: for assertions about bytes on the wire.

import { closeSync } from 'node:fs';
import { libc } from '../../platform/linux/libc.ts';
import type { Netns } from '../../platform/linux/netns.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_ALL = 0x0300; // network byte order
const ETH_IPV4 = 0x0800;
const TCP = 6;

export interface Segment {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly payload: Buffer;
}

/** TCP over IPv4, in the order in which it was seen; each packet as often as it crosses an interface. */
export class Capture {
  readonly segments: Segment[] = [];
  readonly #fd: number;
  readonly #timer: NodeJS.Timeout;
  readonly #block = Buffer.alloc(65536 + 64);

  constructor(netns: Netns) {
    this.#fd = netns.run(() => libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, ETH_P_ALL));
    if (this.#fd < 0) throw new Error('no packet socket');
    this.#timer = setInterval(() => this.#read(), 1);
  }

  stop(): readonly Segment[] {
    this.#read();
    clearInterval(this.#timer);
    closeSync(this.#fd);
    return this.segments;
  }

  #read(): void {
    for (;;) {
      const size = Number(libc.recv(this.#fd, this.#block, this.#block.length, 0));
      if (size < 0) return;
      const segment = parse(this.#block.subarray(0, size));
      if (segment !== undefined) this.segments.push(segment);
    }
  }
}

function parse(frame: Buffer): Segment | undefined {
  if (frame.length < 54 || frame.readUInt16BE(12) !== ETH_IPV4 || frame[23] !== TCP) return undefined;
  const ip = frame.subarray(14, 14 + frame.readUInt16BE(16));
  const tcp = ip.subarray(((ip[0] as number) & 15) * 4);
  const address = (at: number): string => [...ip.subarray(at, at + 4)].join('.');
  return {
    source: address(12),
    sourcePort: tcp.readUInt16BE(0),
    destination: address(16),
    destinationPort: tcp.readUInt16BE(2),
    payload: Buffer.from(tcp.subarray(((tcp[12] as number) >> 4) * 4)),
  };
}
