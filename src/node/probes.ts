// The node's half of the probe exemption: a set of enrolled pods' addresses, and a rule that gives the kubelet's
// connections to them a source address that pods do not capture. Istio flushes the sets when the agent starts.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ip } from '../model/ip.ts';
import type { Netns } from '../platform/linux/netns.ts';
import { applyNft } from '../platform/linux/nft.ts';
import { addProbeTarget, hostScript, type ProbeSource, removeProbeTarget } from './rules.ts';

const KUBELETS = /^(kubelet|kubelite|k3s.*)$/;

export class ProbeTargets {
  readonly #host: Netns;
  /** address -> uid of the pod that has it */
  readonly #owners = new Map<Ip, string>();

  private constructor(host: Netns) {
    this.#host = host;
  }

  /**
   * Sets the node's rules, with empty sets.
   * @param host the node's own namespace; stays the caller's
   * @throws NftError, SystemError
   */
  static async install(host: Netns, kubeletUid: number, source: ProbeSource): Promise<ProbeTargets> {
    await applyNft(host, hostScript(kubeletUid, source));
    return new ProbeTargets(host);
  }

  /** An address that another pod had is this pod's from now on. */
  async add(uid: string, ips: readonly Ip[]): Promise<void> {
    const changed = ips.filter((ip) => this.#owners.get(ip) !== uid);
    if (changed.length === 0) return;
    await applyNft(this.#host, changed.map((ip) => addProbeTarget(ip, uid, this.#owners.has(ip))).join(''));
    for (const ip of changed) this.#owners.set(ip, uid);
  }

  /** Removes the pod's addresses, except those that belong to another pod by now. */
  async remove(uid: string): Promise<void> {
    const ips = [...this.#owners].filter(([, owner]) => owner === uid).map(([ip]) => ip);
    if (ips.length === 0) return;
    await applyNft(this.#host, ips.map(removeProbeTarget).join(''));
    for (const ip of ips) if (this.#owners.get(ip) === uid) this.#owners.delete(ip);
  }
}

/**
 * Whose sockets are probes: the owner of the kubelet's process.
 * @param proc the node's /proc
 * @returns undefined where no kubelet runs as a process of its own
 */
export function findKubeletUid(proc: string): number | undefined {
  for (const pid of readdirSync(proc)) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (!KUBELETS.test(readFileSync(join(proc, pid, 'comm'), 'utf8').trim())) continue;
      const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(join(proc, pid, 'status'), 'utf8'))?.[1];
      if (uid !== undefined) return Number(uid);
    } catch {
      // it ended meanwhile
    }
  }
  return undefined;
}
