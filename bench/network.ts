// The benchmark's own network: pairs of namespaces joined by a veth pair, inside the namespaces that bench/main.ts was
// started in, so that nothing of it is left when the run ends, however it ends.

import { execFileSync } from 'node:child_process';
import type { Ip } from '../src/model/ip.ts';

/** Two machines, or pods, with nothing but a wire between them. */
export interface Pair {
  readonly client: Place;
  readonly server: Place;
}

export interface Place {
  /** As `ip netns` knows it. */
  readonly netns: string;
  readonly ip: Ip;
}

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });

/** @param subnet the third number of its addresses: 10.99.<subnet>.1 and .2 */
export function makePair(name: string, subnet: number): Pair {
  const client: Place = { netns: `${name}-client`, ip: `10.99.${subnet}.1` as Ip };
  const server: Place = { netns: `${name}-server`, ip: `10.99.${subnet}.2` as Ip };
  for (const { netns } of [client, server]) ip('netns', 'add', netns);
  ip('link', 'add', 'eth0', 'netns', client.netns, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', server.netns);
  for (const place of [client, server]) {
    ip('-n', place.netns, 'address', 'add', `${place.ip}/24`, 'dev', 'eth0');
    ip('-n', place.netns, 'link', 'set', 'eth0', 'up');
    ip('-n', place.netns, 'link', 'set', 'lo', 'up');
  }
  return { client, server };
}

/** A namespace with nothing but loopback. */
export function makeAlone(netns: string): void {
  ip('netns', 'add', netns);
  ip('-n', netns, 'link', 'set', 'lo', 'up');
}

/** A command to be run inside one of the namespaces. */
export const inside = (netns: string, command: readonly string[]): string[] => [
  'ip',
  'netns',
  'exec',
  netns,
  ...command,
];
