// What every part of a pod's proxy works with. `Services` are shared by all pods of a process; a `PodContext` is one
// pod's. Nothing is reached by a global, so that proxies can run in several threads.

import type { Deadlines } from '../dataplane/deadlines.ts';
import type { Certificates, WorkloadCertificate } from '../dataplane/identity/workload-certificate.ts';
import type { Random } from '../model/balance.ts';
import type { Authorizer } from '../model/compiled-policies.ts';
import type { Ip } from '../model/ip.ts';
import type { Clock } from '../platform/clock.ts';
import type { Netns } from '../platform/linux/netns.ts';
import type { Keepalive } from '../platform/linux/sockets.ts';
import { createMeshClientContext, type MeshClientContext, type MeshTlsOptions } from '../platform/tls/index.ts';
import type { Logger } from '../telemetry/log.ts';
import type { SessionEnvironment } from '../wire/hbone/index.ts';
import type { ConnectionTable } from './connections.ts';
import type { DataPathSettings, MeshState, PodInfo, Telemetry } from './contracts.ts';

/** Bounds on what a pod's neighbours can make the proxy hold. */
export interface Bounds {
  /** Connections and tunnels of one pod at once; more are refused. */
  readonly maxConnectionsPerPod: number;
  /** TLS connections to one pod's tunnel port at once. */
  readonly maxTunnelConnectionsPerPod: number;
  /** Unfinished handshakes of one pod at once; the oldest gives way. */
  readonly maxHandshakesPerPod: number;
  /** Tunnels of one pod whose application has not answered yet; more are refused with 503. */
  readonly maxPendingTunnelsPerPod: number;
}

export const DEFAULT_BOUNDS: Bounds = {
  maxConnectionsPerPod: 32_768,
  maxTunnelConnectionsPerPod: 16_384,
  maxHandshakesPerPod: 1_024,
  maxPendingTunnelsPerPod: 4_096,
};

/** How long the XDS workload of a pod is waited for. */
export const WORKLOAD_WAIT_MS = 5_000;
/** TCP connections, to applications and to tunnel ports alike. */
export const CONNECT_TIMEOUT_MS = 10_000;
/** From accept to the end of the TLS handshake, the wait for certificate and workload included. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** From CONNECT to its answer: the peer may wait for its workload and then for the application. */
export const ANSWER_TIMEOUT_MS = 20_000;

export interface Services {
  readonly settings: DataPathSettings;
  readonly bounds: Bounds;
  readonly state: MeshState;
  readonly authorizer: Authorizer;
  readonly certificates: Certificates;
  readonly telemetry: Telemetry;
  readonly tls: MeshTlsOptions;
  /** The certificate made ready for dialling, once per certificate. */
  readonly clientContext: (certificate: WorkloadCertificate) => MeshClientContext;
  readonly clock: Clock;
  readonly random: Random;
  readonly environment: SessionEnvironment;
  readonly log: Logger;
  /** Addresses of a workload's hostname; rejects when there are none. */
  readonly resolve: (hostname: string) => Promise<readonly Ip[]>;
}

export interface PodContext extends Services {
  readonly pod: PodInfo;
  readonly netns: Netns;
  readonly table: ConnectionTable;
  readonly connecting: Deadlines;
  readonly handshakes: Deadlines;
  readonly answers: Deadlines;
}

/** For dialled sockets and for listeners whose accepted sockets inherit it. */
export const keepaliveOf = ({ keepalive }: DataPathSettings): Keepalive | undefined =>
  keepalive.enabled ? keepalive : undefined;

/** `Services.clientContext`: making one costs about a millisecond, so it lives as long as its certificate. */
export function clientContexts(options: MeshTlsOptions): Services['clientContext'] {
  const made = new WeakMap<WorkloadCertificate, MeshClientContext>();
  return (certificate) => {
    let context = made.get(certificate);
    if (context === undefined) {
      context = createMeshClientContext(certificate, options);
      made.set(certificate, context);
    }
    return context;
  };
}
