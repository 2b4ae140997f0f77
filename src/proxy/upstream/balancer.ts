// Chooses among the hosts of one service port: first a level by how healthy the levels are, then a share of it, then a
// host (Envoy: priority levels with overprovisioning, locality weights, panic). A pick looks at a few numbers; the rest
// is made again only when hosts or their health change.

import type { LoadBalancer } from '../../model/proxy/service-config.ts';
import { type Chooser, type ChooserNeeds, chooserFor } from './choosers.ts';
import type { Host } from './host.ts';
import type { Level } from './levels.ts';

/** A level takes all requests while this part of it, inverted, is healthy: 1 / 1.4 = 71 % (Envoy). */
const OVERPROVISIONING = 140;

interface ReadyShare {
  /** Share of its level, by weight and health. */
  readonly weight: number;
  readonly hosts: readonly Host[];
  chooser: Chooser | undefined;
}

interface ReadyLevel {
  /** Percent of requests up to and with this level. */
  readonly upTo: number;
  readonly shares: readonly ReadyShare[];
  readonly totalWeight: number;
}

export class Balancer {
  readonly #balancer: LoadBalancer;
  readonly #needs: ChooserNeeds;
  readonly #levels: readonly ReadyLevel[];

  /**
   * @param panicPercent  below so much health a level's ejected hosts are used like the others; 0: never
   */
  constructor(balancer: LoadBalancer, levels: readonly Level[], panicPercent: number, needs: ChooserNeeds) {
    this.#balancer = balancer;
    this.#needs = needs;
    this.#levels = readyLevels(levels, panicPercent);
  }

  /** @returns undefined: nobody is healthy */
  choose(hash: number | undefined): Host | undefined {
    const level = this.#level(hash);
    if (level === undefined) return undefined;
    return this.#chooseOf(this.#share(level, hash), hash);
  }

  /**
   * As `choose` without a hash, and where it names somebody `unwanted`, any other of the same level and share. Envoy asks
   * again up to 5 times (host_selection_retry_max_attempts) and ends at the unwanted one: least request prefers it, since
   * who fails at once is always idle.
   */
  chooseOther(unwanted: (host: Host) => boolean): Host | undefined {
    const level = this.#level(undefined);
    if (level === undefined) return undefined;
    const share = this.#share(level, undefined);
    const host = this.#chooseOf(share, undefined);
    if (!unwanted(host)) return host;
    const { hosts } = share;
    const start = Math.floor(this.#needs.random() * hosts.length);
    for (let i = 0; i < hosts.length; i++) {
      const other = hosts[(start + i) % hosts.length] as Host;
      if (!unwanted(other)) return other;
    }
    return host;
  }

  #chooseOf(share: ReadyShare, hash: number | undefined): Host {
    share.chooser ??= chooserFor(this.#balancer, share.hosts, this.#needs);
    return share.chooser(hash);
  }

  #level(hash: number | undefined): ReadyLevel | undefined {
    const levels = this.#levels;
    if (levels.length < 2) return levels[0];
    const drawn = hash === undefined ? this.#needs.random() * 100 : hash % 100;
    for (const level of levels) if (drawn < level.upTo) return level;
    return levels[levels.length - 1];
  }

  #share(level: ReadyLevel, hash: number | undefined): ReadyShare {
    const { shares, totalWeight } = level;
    const last = shares[shares.length - 1] as ReadyShare;
    if (shares.length === 1) return last;
    // Another part of the hash than the one that finds the host: multiplied by 2^32 / golden ratio.
    const part = hash === undefined ? this.#needs.random() : (Math.imul(hash, 0x9e3779b1) >>> 0) / 2 ** 32;
    let rest = part * totalWeight;
    for (const share of shares) {
      rest -= share.weight;
      if (rest < 0) return share;
    }
    return last;
  }
}

/** Those that get requests, with what part of them. */
function readyLevels(levels: readonly Level[], panicPercent: number): ReadyLevel[] {
  const health = levels.map((level) => {
    let healthy = 0;
    let total = 0;
    for (const { hosts } of level) {
      total += hosts.length;
      for (const { record } of hosts) if (!record.ejected) healthy++;
    }
    return { healthy, percent: (100 * healthy) / total };
  });
  const available = health.map(({ percent }) => Math.min(100, Math.floor((percent * OVERPROVISIONING) / 100)));
  const sum = Math.min(
    100,
    available.reduce((a, b) => a + b, 0),
  );
  const panics = (i: number): boolean => sum < 100 && (health[i]?.percent ?? 0) < panicPercent;

  const ready: ReadyLevel[] = [];
  let given = 0;
  levels.forEach((level, i) => {
    // With nobody healthy at all, the first level panics for all, if it may.
    const part = sum === 0 ? (i === 0 ? 100 : 0) : Math.min(100 - given, (100 * (available[i] ?? 0)) / sum);
    if (part <= 0) return;
    const shares = level.flatMap((share): ReadyShare[] => {
      const hosts = panics(i) ? share.hosts : share.hosts.filter(({ record }) => !record.ejected);
      if (hosts.length === 0) return [];
      const percent = Math.min(100, (OVERPROVISIONING * hosts.length) / share.hosts.length);
      return [{ weight: share.weight * percent, hosts, chooser: undefined }];
    });
    if (shares.length === 0) return;
    given += part;
    ready.push({ upTo: given, shares, totalWeight: shares.reduce((total, { weight }) => total + weight, 0) });
  });
  return ready;
}
