// What the data path (pod proxies, workload manager) needs of the control-side half of ztunnel: certificates, mesh
// state, telemetry, DNS, readiness. Only interfaces and plain data, so that each half is tested with fakes of the other.
// Nothing here is process-wide by nature: all of it is handed to a pod proxy when it is made.

import type { Unsubscribe } from '../dataplane/identity/workload-certificate.ts';
import type { Ip } from '../model/ip.ts';
import type { Workload } from '../model/workload.ts';
import type { World } from '../model/world.ts';
import type { Netns } from '../platform/linux/netns.ts';
import type { ConnectionInfo, ConnectionTelemetry } from '../telemetry/connection.ts';
import type { PodInfo } from '../wire/zds/messages.ts';

export type { PodInfo } from '../wire/zds/messages.ts';

// ---- mesh state --------------------------------------------------------------------------------------------------

export interface MeshState {
  /** Live view: what it returns changes between turns of the event loop, never within one. */
  readonly world: World;
  /** The workload on this node with this name, namespace and service account; a map lookup, it is on the hot path. */
  localWorkload(pod: PodInfo): Workload | undefined;
  /** As `localWorkload`, but waits until XDS brings it; undefined after `timeoutMs`. */
  waitForWorkload(pod: PodInfo, timeoutMs: number): Promise<Workload | undefined>;
  /** After a batch of Authorization resources of which at least one was accepted (or one removed). */
  onPolicyChange(listener: () => void): Unsubscribe;
  /** After a workload was inserted, replaced (`now`) or removed (`now` undefined); once per uid and batch. */
  onWorkloadChange(listener: (now: Workload | undefined, before: Workload | undefined) => void): Unsubscribe;
  /**
   * On-demand XDS: asks for a name (`<network>/<ip>`, `<namespace>/<hostname>` or a workload uid) and waits for the
   * answer. Undefined when nothing has to be waited for (always so in wildcard mode).
   */
  demand(name: string): Promise<void> | undefined;
}

// ---- telemetry ---------------------------------------------------------------------------------------------------

/** Everything the data path reports; the connection part is shared with other proxies. */
export interface Telemetry extends ConnectionTelemetry {
  /** Gauges and counters `workload_manager_*`. */
  proxyStarted(): void;
  proxyStopped(): void;
  activeProxies(count: number): void;
  pendingProxies(count: number): void;
}

// ---- pod DNS, readiness ------------------------------------------------------------------------------------------

/**
 * Starts the DNS listeners of one pod in its namespace; resolves once they are bound; `close` is immediate. The
 * namespace is the caller's and stays open until after `close`.
 */
export type StartPodDns = (pod: PodInfo, netns: Netns) => Promise<{ close(): void }>;

/** One task of `/healthz/ready`; the endpoint answers 200 when every task is ready. */
export interface ReadinessTask {
  ready(): void;
  pending(): void;
}

// ---- settings (a part of what config.ts yields) ------------------------------------------------------------------

export interface DataPathSettings {
  /** Own network; also `world.network`. */
  readonly network: string;
  readonly nodeName: string;
  readonly listen: {
    readonly ipv6: boolean;
    /** INPOD_PORT_REUSE. */
    readonly reusePort: boolean;
    /** ENABLE_ORIG_SRC: unset, true, false. */
    readonly originalSource: 'try' | 'require' | 'never';
    /** PACKET_MARK; undefined marks nothing. */
    readonly packetMark: number | undefined;
    /** UNSTABLE_ENABLE_SOCKS5. */
    readonly socks5: boolean;
  };
  readonly hbone: {
    readonly streamWindowBytes: number;
    readonly connectionWindowBytes: number;
    readonly maxFrameBytes: number;
    /** ENABLE_RESPONSE_BAGGAGE. */
    readonly responseBaggage: boolean;
    readonly tls12: boolean;
    /** COMPLIANCE_POLICY=pqc. */
    readonly postQuantumOnly: boolean;
  };
  readonly pool: {
    readonly maxStreamsPerConnection: number;
    readonly unusedReleaseMs: number;
  };
  readonly keepalive: {
    readonly enabled: boolean;
    readonly idleSeconds: number;
    readonly intervalSeconds: number;
    readonly retries: number;
    readonly userTimeout: boolean;
  };
  /** LOCALHOST_APP_TUNNEL. */
  readonly localhostApplicationTunnel: boolean;
  /** AUTHZ_POLICY_INFO_LOGGING. */
  readonly policyDecisionsAtInfo: boolean;
  /** How long live connections may finish after SIGTERM. */
  readonly drainDeadlineMs: number;
}

// ---- offered by the data path to the admin endpoint --------------------------------------------------------------

/** For `workloadState` of the config dump. */
export interface PodState {
  readonly uid: string;
  readonly state: 'Pending' | 'Up';
  readonly info: PodInfo;
  readonly inbound: readonly ConnectionInfo[];
  readonly outbound: readonly ConnectionInfo[];
}

export interface PodStates {
  pods(): readonly PodState[];
}

/** Where the proxy's own pod is, from POD_NAME, POD_NAMESPACE, SERVICE_ACCOUNT and TRUST_DOMAIN; enables its own 15008. */
export interface OwnPod {
  readonly pod: PodInfo;
  readonly trustDomain: string;
  readonly ip: Ip | undefined;
}
