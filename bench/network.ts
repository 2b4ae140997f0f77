// The benchmark's own network: two namespaces joined by a veth pair, inside the namespaces that bench/main.ts was started
// in, so that nothing of it is left when the run ends, however it ends.

import { execFileSync } from 'node:child_process';

export const CLIENT_NETNS = 'bench-client';
export const SERVER_NETNS = 'bench-server';
export const CLIENT_IP = '10.99.0.1';
export const SERVER_IP = '10.99.0.2';

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });

export function makeNetwork(): void {
  ip('link', 'set', 'lo', 'up');
  for (const name of [CLIENT_NETNS, SERVER_NETNS]) ip('netns', 'add', name);
  ip('link', 'add', 'bench0', 'netns', CLIENT_NETNS, 'type', 'veth', 'peer', 'name', 'bench0', 'netns', SERVER_NETNS);
  const addresses = [
    [CLIENT_NETNS, CLIENT_IP],
    [SERVER_NETNS, SERVER_IP],
  ] as const;
  for (const [name, address] of addresses) {
    ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'bench0');
    ip('-n', name, 'link', 'set', 'bench0', 'up');
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
}

/** A command to be run inside one of the namespaces. */
export const inside = (netns: string, command: readonly string[]): string[] => [
  'ip',
  'netns',
  'exec',
  netns,
  ...command,
];
