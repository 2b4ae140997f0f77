// The tunnel pair without a mesh (pair-proxy.ts), one process a side, bundled as users run it.

import { join } from 'node:path';
import { build } from 'esbuild';
import type { SpiffeId } from '../../src/model/identity.ts';
import type { WorkloadCredential } from '../../src/platform/tls/types.ts';
import { BULK_PORT, HTTP_PORT } from '../load/protocol.ts';
import { CLIENT_IP, CLIENT_NETNS, inside, SERVER_IP, SERVER_NETNS } from '../network.ts';
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

export async function pairPath(folder: string, client: WorkloadCredential, server: WorkloadCredential): Promise<Path> {
  const bundle = join(folder, 'pair-proxy.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'pair-proxy.ts')],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    logLevel: 'warning',
  });
  const begin = (netns: string, options: PairOptions) =>
    start(inside(netns, [process.execPath, bundle, JSON.stringify(options)]), { ready: /^ready/ });
  const entries = [HTTP_PORT, BULK_PORT].map((port) => [ENTRY[port] ?? 0, `${SERVER_IP}:${port}`] as const);
  const peer = { host: SERVER_IP, port: TUNNEL_PORT, identity: server.identity };
  const inbound = await begin(SERVER_NETNS, { role: 'server', host: SERVER_IP, credential: server, peer, entries: [] });
  const outbound = await begin(CLIENT_NETNS, { role: 'client', host: CLIENT_IP, credential: client, peer, entries });
  return {
    subject: 'ambit',
    address: (port) => ({ host: CLIENT_IP, port: ENTRY[port] ?? port }),
    pids: [outbound.pid, inbound.pid],
    async stop() {
      await outbound.stop();
      await inbound.stop();
    },
  };
}
