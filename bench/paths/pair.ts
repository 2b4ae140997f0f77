// The tunnel pair without a mesh (pair-proxy.ts), one process a side, bundled as users run it.

import { join } from 'node:path';
import { build } from 'esbuild';
import type { SpiffeId } from '../../src/model/identity.ts';
import type { WorkloadCredential } from '../../src/platform/tls/types.ts';
import { BULK_PORT, HTTP_PORT } from '../load/protocol.ts';
import { inside, type Pair } from '../network.ts';
import { start } from '../processes.ts';
import type { Path } from './path.ts';

export interface PairOptions {
  readonly role: 'client' | 'server';
  readonly host: string;
  readonly credential: WorkloadCredential;
  readonly peer: { readonly host: string; readonly port: number; readonly identity: SpiffeId };
  /** Client: port to listen on, and the authority to ask for. */
  readonly entries: readonly (readonly [number, string])[];
}

const TUNNEL_PORT = 15_008;
const ENTRY: Readonly<Record<number, number>> = { [HTTP_PORT]: 15_101, [BULK_PORT]: 15_102 };

export async function pairPath(pair: Pair, client: WorkloadCredential, server: WorkloadCredential): Promise<Path> {
  const bundle = join(import.meta.dirname, '../../dist', 'bench-pair-proxy.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'pair-proxy.ts')],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    external: ['koffi'],
    logLevel: 'warning',
  });
  const begin = (netns: string, options: PairOptions) =>
    start(inside(netns, [process.execPath, bundle, JSON.stringify(options)]), { ready: /^ready/ });
  const entries = [HTTP_PORT, BULK_PORT].map((port) => [ENTRY[port] ?? 0, `${pair.server.ip}:${port}`] as const);
  const peer = { host: pair.server.ip, port: TUNNEL_PORT, identity: server.identity };
  const inbound = await begin(pair.server.netns, {
    role: 'server',
    host: pair.server.ip,
    credential: server,
    peer,
    entries: [],
  });
  const outbound = await begin(pair.client.netns, {
    role: 'client',
    host: pair.client.ip,
    credential: client,
    peer,
    entries,
  });
  return {
    subject: 'tunnel',
    pair,
    address: (port) => ({ host: pair.client.ip, port: ENTRY[port] ?? port }),
    pids: [outbound.pid, inbound.pid],
    async stop() {
      await outbound.stop();
      await inbound.stop();
    },
  };
}
