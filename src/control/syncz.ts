// Which proxies are connected and how far they are: what `ambit proxy-status` shows. Served as JSON at /debug/syncz.

import type { ProxyStream, TypeState } from './ads/stream.ts';

/** `never`: nothing was sent yet. `stale`: sent, and no answer so far. */
export type SyncState = 'synced' | 'stale' | 'rejected' | 'never';

export interface TypeStatus {
  readonly state: SyncState;
  readonly mode: 'wildcard' | 'onDemand';
  /** Labels of pushes: `<time>/<number>`. */
  readonly sentVersion: string;
  readonly ackedVersion: string;
  /** RFC 3339; empty when it never happened. */
  readonly sentAt: string;
  readonly ackedAt: string;
  /** What the proxy said when it rejected the last response. */
  readonly rejection: string;
}

export interface ProxyStatus {
  /** `pod.namespace` */
  readonly proxy: string;
  readonly id: string;
  readonly kind: string;
  readonly node: string;
  readonly clusterId: string;
  readonly version: string;
  readonly peer: string;
  readonly connectedAt: string;
  /** By type URL. */
  readonly types: Readonly<Record<string, TypeStatus>>;
}

export interface SyncReport {
  /** Which control plane answers. */
  readonly controlPlane: string;
  readonly pushVersion: string;
  readonly proxies: readonly ProxyStatus[];
}

const time = (ms: number): string => (ms === 0 ? '' : new Date(ms).toISOString());

function stateOf({ sentVersion, ackedVersion, rejection }: TypeState): SyncState {
  if (sentVersion === '') return 'never';
  if (rejection !== '') return 'rejected';
  return ackedVersion === sentVersion ? 'synced' : 'stale';
}

export function syncReport(controlPlane: string, pushVersion: string, streams: Iterable<ProxyStream>): SyncReport {
  const proxies: ProxyStatus[] = [];
  for (const { node, peer, connectedAtMs, types } of streams) {
    if (node === undefined) continue;
    const statuses = [...types].map(([type, state]): [string, TypeStatus] => [
      type,
      {
        state: stateOf(state),
        mode: state.mode,
        sentVersion: state.sentVersion,
        ackedVersion: state.ackedVersion,
        sentAt: time(state.sentAtMs),
        ackedAt: time(state.ackedAtMs),
        rejection: state.rejection,
      },
    ]);
    proxies.push({
      proxy: node.name,
      id: node.id,
      kind: node.kind,
      node: node.nodeName,
      clusterId: node.clusterId,
      version: node.version,
      peer,
      connectedAt: time(connectedAtMs),
      types: Object.fromEntries(statuses),
    });
  }
  return { controlPlane, pushVersion, proxies: proxies.sort((a, b) => (a.proxy < b.proxy ? -1 : 1)) };
}
