// Leader election by a Lease: of several control planes one writes. All serve proxies; only the leader touches objects.
//
//   follower ──lease is free or has expired──> leader ──cannot renew in time, or another holds it──> follower
//
// Whether a lease has expired is judged by how long ago *we* saw it change, so that clocks need not agree.

import { LEASES } from '../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../kube/client/types.ts';
import { type Clock, sleep } from '../platform/clock.ts';
import { logger } from '../telemetry/log.ts';

const log = logger('leader');

const LEASE_SECONDS = 15;
const RENEW_EVERY_MS = 5_000;
const RETRY_EVERY_MS = 2_000;
/** A leader that could not renew for so long stops writing, before anybody else may start. */
const GIVE_UP_MS = 10_000;

export interface LeaderOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly namespace: string;
  readonly leaseName: string;
  /** Unique among control planes: the pod's name. */
  readonly identity: string;
  readonly signal: AbortSignal;
  /** Starts what only the leader does; the signal is aborted when leadership is lost. */
  readonly lead: (signal: AbortSignal) => void;
}

type Lease = NonNullable<Awaited<ReturnType<typeof read>>>;

const read = ({ kube, leaseName, namespace }: LeaderOptions) => kube.get(LEASES, leaseName, namespace);

/** Runs until the signal is aborted; then gives the lease back. */
export async function electLeader(options: LeaderOptions): Promise<void> {
  const { clock, signal } = options;
  let seen = { version: '', atMs: 0 };
  while (!signal.aborted) {
    try {
      const lease = await read(options);
      const version = lease?.metadata?.resourceVersion ?? '';
      if (version !== seen.version) seen = { version, atMs: clock.nowMs() };
      if (mayTake(options, lease, seen.atMs)) await hold(options, await take(options, lease));
    } catch (error) {
      if (!isConflict(error) && !signal.aborted) log.warn('lease not taken; trying again', { error: error as Error });
    }
    await sleep(clock, RETRY_EVERY_MS, signal).catch(() => {});
  }
}

const isConflict = (error: unknown): boolean => error instanceof KubeError && error.code === 409;

function mayTake({ clock, identity }: LeaderOptions, lease: Lease | undefined, seenAtMs: number): boolean {
  const holder = lease?.spec?.holderIdentity ?? '';
  const lifeMs = (lease?.spec?.leaseDurationSeconds ?? LEASE_SECONDS) * 1000;
  return holder === '' || holder === identity || clock.nowMs() - seenAtMs > lifeMs;
}

/** Kubernetes' MicroTime. */
const microTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z');

async function take(options: LeaderOptions, lease: Lease | undefined): Promise<Lease> {
  const { kube, clock, namespace, leaseName, identity } = options;
  const now = microTime(clock.nowMs());
  const before = lease?.spec;
  const changes = before?.holderIdentity === identity ? 0 : 1;
  const spec = {
    holderIdentity: identity,
    leaseDurationSeconds: LEASE_SECONDS,
    renewTime: now,
    acquireTime: changes === 0 ? (before?.acquireTime ?? now) : now,
    leaseTransitions: (before?.leaseTransitions ?? 0) + (lease === undefined ? 0 : changes),
  };
  if (lease !== undefined) return kube.update(LEASES, { ...lease, spec });
  return kube.create(LEASES, {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: leaseName, namespace },
    spec,
  });
}

/** Leads as long as the lease can be renewed. */
async function hold(options: LeaderOptions, taken: Lease): Promise<void> {
  const { clock, identity, signal } = options;
  const term = new AbortController();
  const stop = (): void => term.abort();
  signal.addEventListener('abort', stop, { once: true });
  log.info('leading', { identity });
  options.lead(term.signal);
  let lease = taken;
  let renewedAtMs = clock.nowMs();
  let last: unknown;
  while (!signal.aborted && clock.nowMs() - renewedAtMs < GIVE_UP_MS) {
    await sleep(clock, last === undefined ? RENEW_EVERY_MS : RETRY_EVERY_MS, signal).catch(() => {});
    if (signal.aborted) break;
    try {
      lease = await take(options, lease);
      renewedAtMs = clock.nowMs();
      last = undefined;
    } catch (error) {
      last = error;
      if (!isConflict(error)) continue;
      const other = await read(options).catch(() => undefined);
      if (other !== undefined && other.spec?.holderIdentity !== identity) break;
      if (other !== undefined) lease = other;
    }
  }
  term.abort();
  signal.removeEventListener('abort', stop);
  if (signal.aborted) await giveBack(options, lease);
  else log.warn('no longer leading', { identity, ...(last === undefined ? {} : { reason: last as Error }) });
}

/** So that the next leader need not wait for the lease to expire. */
async function giveBack({ kube, identity }: LeaderOptions, lease: Lease): Promise<void> {
  try {
    await kube.update(LEASES, { ...lease, spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 } });
    log.info('lease given back', { identity });
  } catch (error) {
    log.debug('lease not given back', { error: error as Error });
  }
}
