// Finds the network namespace of a running pod: by its name in the file system where the container runtime puts one that
// tells the pod, otherwise by a process of the pod, whose control group carries the pod's uid (Istio does the latter).

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../platform/clock.ts';
import { hasCode } from '../platform/linux/errors.ts';
import { Netns, sameNetns } from '../platform/linux/netns.ts';

/** A burst of enrolments shares one look at all processes. */
const SCAN_VALID_MS = 1000;
/** systemd writes `pod01234567_89ab_…`, cgroupfs `pod01234567-89ab-…`, static pods have no separators. */
const POD_UID = /pod([0-9a-f]{8}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{12})/i;

export interface NetnsResolverOptions {
  /** Tried in order for `pod-<uid>`. */
  readonly folders: readonly string[];
  /** The node's /proc. */
  readonly proc: string;
  /** The node's own namespace: a process in it belongs to a pod without one. */
  readonly host: Netns;
  readonly clock: Clock;
}

export class NetnsResolver {
  readonly #options: NetnsResolverOptions;
  #scan: { readonly atMs: number; readonly pids: ReadonlyMap<string, readonly number[]> } | undefined;

  constructor(options: NetnsResolverOptions) {
    this.#options = options;
  }

  /** @returns an open namespace, the caller's to close; undefined when the pod has none that can be found */
  find(uid: string): Netns | undefined {
    return this.#byName(uid) ?? this.#byProcess(uid);
  }

  #byName(uid: string): Netns | undefined {
    if (!/^[A-Za-z0-9-]{1,64}$/.test(uid)) return undefined;
    for (const folder of this.#options.folders) {
      const netns = tryOpen(join(folder, `pod-${uid}`));
      if (netns !== undefined) return netns;
    }
    return undefined;
  }

  /** The oldest process first: it is the one that holds the pod's namespaces open. */
  #byProcess(uid: string): Netns | undefined {
    const nowMs = this.#options.clock.nowMs();
    if (this.#scan === undefined || nowMs - this.#scan.atMs >= SCAN_VALID_MS)
      this.#scan = { atMs: nowMs, pids: podProcesses(this.#options.proc) };
    for (const pid of this.#scan.pids.get(plain(uid)) ?? []) {
      const netns = tryOpen(join(this.#options.proc, String(pid), 'ns/net'));
      if (netns === undefined) continue;
      if (!sameNetns(netns.identity, this.#options.host.identity)) return netns;
      netns.close();
    }
    return undefined;
  }
}

const plain = (uid: string): string => uid.replaceAll(/[-_]/g, '').toLowerCase();

/** Pod uid (without separators) -> its processes, oldest first. */
export function podProcesses(proc: string): Map<string, number[]> {
  const found = new Map<string, { pid: number; started: number }[]>();
  for (const name of readdirSync(proc)) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const uid = POD_UID.exec(readFileSync(join(proc, name, 'cgroup'), 'utf8'))?.[1];
      if (uid === undefined) continue;
      const stat = readFileSync(join(proc, name, 'stat'), 'utf8');
      // The program's name may hold anything, so fields are counted from the last bracket; this is the 22nd of the line.
      const started = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
      const list = found.get(plain(uid)) ?? [];
      list.push({ pid: Number(name), started });
      found.set(plain(uid), list);
    } catch {
      // it ended meanwhile
    }
  }
  return new Map(
    [...found].map(([uid, list]) => [
      uid,
      list.sort((a, b) => a.started - b.started || a.pid - b.pid).map((p) => p.pid),
    ]),
  );
}

/** Undefined when it is not there, or a file that is no namespace (the runtime has not mounted it yet, or has taken it down). */
function tryOpen(path: string): Netns | undefined {
  try {
    return Netns.open(path);
  } catch (error) {
    if (['ENOENT', 'EINVAL', 'ESRCH', 'ENOTDIR'].some((code) => hasCode(error, code))) return undefined;
    throw error;
  }
}
