// Sets and removes the redirection of one pod inside its network namespace: the rules, the route that brings replies of
// the application back to the proxy, and the sparing of connections that exist. Everything here can be repeated.
//
// Existing connections: a pod's namespace has no connection tracking until the rules need it. The next packet of a
// connection from before would then be taken for the first one of a new connection, redirected in midstream and answered
// with a reset. `nf_conntrack_tcp_loose=0` makes tracking begin with a SYN only, so such connections pass untouched for as
// long as they live, while nobody can pass off a new connection as an old one.

import { hasCode } from '../platform/linux/errors.ts';
import type { IpFamily, MarkRule, Route } from '../platform/linux/links.ts';
import { Links, setSysctl } from '../platform/linux/links.ts';
import type { Netns } from '../platform/linux/netns.ts';
import { applyNft } from '../platform/linux/nft.ts';
import { hasIpv6Loopback } from '../platform/linux/sockets.ts';
import {
  MARK_MASK,
  type PodRules,
  podRemovalScript,
  podScript,
  RETURN_MARK,
  RETURN_PRIORITY,
  RETURN_TABLE,
  trackingScript,
} from './rules.ts';

const LOOSE_TRACKING = 'net.netfilter.nf_conntrack_tcp_loose';

const returnRule = (family: IpFamily): MarkRule => ({
  family,
  mark: RETURN_MARK,
  mask: MARK_MASK,
  table: RETURN_TABLE,
  priority: RETURN_PRIORITY,
});
const returnRoute = (family: IpFamily): Route => ({ family, type: 'local', device: 'lo', table: RETURN_TABLE });

export interface Redirector {
  /**
   * Captures the pod, or renews its capture.
   * @returns why connections that exist are cut by it; undefined when they are spared
   * @throws NftError or SystemError; rules that were there before are then still there
   */
  capture(netns: Netns, rules: PodRules): Promise<string | undefined>;
  /** @throws NftError or SystemError; what is not there is not missed */
  release(netns: Netns): Promise<void>;
}

/** @param procs where a procfs may be mounted for writing, in the order in which they are tried */
export function redirector(procs: readonly string[]): Redirector {
  return {
    async capture(netns, rules) {
      setReturnRoutes(netns, rules);
      let problem = setLooseTracking(netns, 0, procs);
      if (problem?.missing) {
        // The switch comes with the kernel's module, and the module with the first rule that needs it.
        await applyNft(netns, trackingScript());
        problem = setLooseTracking(netns, 0, procs);
      }
      await applyNft(netns, podScript(rules));
      return problem?.why;
    },
    async release(netns) {
      await applyNft(netns, podRemovalScript());
      setLooseTracking(netns, 1, procs);
      removeReturnRoutes(netns);
    },
  };
}

/** Harmless without rules: nothing carries their mark then. */
function setReturnRoutes(netns: Netns, rules: PodRules): void {
  using links = new Links(netns);
  // Istio: for IPv6 only where `lo` has it; the rules themselves do not depend on that, so nothing gets past them.
  for (const family of rules.ipv6 && hasIpv6Loopback(netns) ? (['ipv4', 'ipv6'] as const) : (['ipv4'] as const)) {
    links.setRoute(returnRoute(family));
    links.addRule(returnRule(family));
  }
}

function removeReturnRoutes(netns: Netns): void {
  using links = new Links(netns);
  for (const family of hasIpv6Loopback(netns) ? (['ipv4', 'ipv6'] as const) : (['ipv4'] as const)) {
    links.deleteRule(returnRule(family));
    links.deleteRoute(returnRoute(family));
  }
}

/** @returns undefined when it is done; `missing`: the kernel does not know the switch (yet) */
function setLooseTracking(
  netns: Netns,
  value: 0 | 1,
  procs: readonly string[],
): { readonly missing: boolean; readonly why: string } | undefined {
  let missing = true;
  for (const proc of procs)
    try {
      setSysctl(netns, LOOSE_TRACKING, value, proc);
      return undefined;
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) missing = false;
      if (!['ENOENT', 'EROFS', 'EACCES', 'EPERM'].some((code) => hasCode(error, code))) throw error;
    }
  return { missing, why: `the sysctl ${LOOSE_TRACKING} cannot be written below ${procs.join(' or ')}` };
}
