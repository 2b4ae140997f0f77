// The host's half of the way out of a room: it asks the host's resolvers and dials what pods dial. The room has no route
// of its own to anywhere, so this is the one place that decides what pods may reach outside.

import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { cidrContains, type Ip, parseCidr, parseIp } from '../model/ip.ts';
import { FABRIC_RANGE, formatRange, POD_RANGE, SERVICE_RANGE } from './network/addresses.ts';

const DIAL_MS = 10_000;
const ANSWER_MS = 2_000;

/** The host itself and its links are not the outside: loopback, link-local (cloud metadata), multicast, the room's own. */
const FORBIDDEN = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/128',
  '::1/128',
  'fe80::/10',
  'ff00::/8',
  formatRange(FABRIC_RANGE),
  formatRange(POD_RANGE),
  formatRange(SERVICE_RANGE),
].flatMap((text) => {
  const range = parseCidr(text);
  return range.ok ? [range.value] : [];
});

export const mayDial = (ip: Ip): boolean => !FORBIDDEN.some((range) => cidrContains(range, ip));

/** Connects on the host; the socket is paused, for handing on. Rejects with the error's code. */
export function dialOutside(ipText: string, port: number): Promise<Socket> {
  const ip = parseIp(ipText);
  if (!ip.ok || !mayDial(ip.value))
    return Promise.reject(Object.assign(new Error(`\`${ipText}\` is not outside`), { code: 'EACCES' }));
  return new Promise((resolve, reject) => {
    const socket = connect({ host: ip.value, port, allowHalfOpen: true });
    socket.pause();
    socket.setTimeout(DIAL_MS, () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/** The resolvers of the host; loopback ones too, since it is the host that asks. */
export function hostResolvers(path = '/etc/resolv.conf'): string[] {
  try {
    return [...readFileSync(path, 'utf8').matchAll(/^\s*nameserver\s+(\S+)/gm)].map((m) => m[1] as string).slice(0, 3);
  } catch {
    return [];
  }
}

/** Asks one resolver after another; over TCP when an answer did not fit. Rejects when none answers. */
export async function resolveOutside(query: Buffer, resolvers = hostResolvers(), port = 53): Promise<Buffer> {
  for (const resolver of resolvers) {
    const answer = (await askUdp(query, resolver, port)) ?? undefined;
    if (answer === undefined) continue;
    const truncated = ((answer[2] ?? 0) & 0x02) !== 0;
    return truncated ? ((await askTcp(query, resolver, port)) ?? answer) : answer;
  }
  throw new Error('no resolver of the host answers');
}

function askUdp(query: Buffer, resolver: string, port: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(resolver.includes(':') ? 'udp6' : 'udp4');
    const end = (answer: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => end(undefined), ANSWER_MS);
    socket.once('error', () => end(undefined));
    // Connected, so that only the resolver can answer; and only to this question.
    socket.connect(port, resolver, () => socket.send(query));
    socket.on('message', (answer) => {
      if (answer.length >= 12 && answer.readUInt16BE(0) === query.readUInt16BE(0)) end(answer);
    });
  });
}

function askTcp(query: Buffer, resolver: string, port: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const head = Buffer.alloc(2);
    head.writeUInt16BE(query.length);
    const socket = connect({ host: resolver, port, timeout: ANSWER_MS }, () =>
      socket.write(Buffer.concat([head, query])),
    );
    let held = Buffer.alloc(0);
    const end = (answer: Buffer | undefined): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('data', (chunk) => {
      held = Buffer.concat([held, chunk]);
      if (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) end(held.subarray(2, 2 + held.readUInt16BE(0)));
    });
    for (const event of ['error', 'timeout', 'close']) socket.on(event, () => end(undefined));
  });
}
