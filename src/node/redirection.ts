// Sets and removes the redirection of one pod inside its network namespace: the rules, and the route that brings replies
// of the application back to the proxy. Everything here can be repeated.

import type { IpFamily, MarkRule, Route } from '../platform/linux/links.ts';
import { Links } from '../platform/linux/links.ts';
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
} from './rules.ts';

const returnRule = (family: IpFamily): MarkRule => ({
  family,
  mark: RETURN_MARK,
  mask: MARK_MASK,
  table: RETURN_TABLE,
  priority: RETURN_PRIORITY,
});
const returnRoute = (family: IpFamily): Route => ({ family, type: 'local', device: 'lo', table: RETURN_TABLE });

/**
 * Captures the pod, or renews its capture. The routes come first: without rules nothing carries their mark.
 * @throws NftError or SystemError; rules that were there before are then still there
 */
export async function redirectPod(netns: Netns, rules: PodRules): Promise<void> {
  {
    using links = new Links(netns);
    // Istio: for IPv6 only where `lo` has it; the rules themselves do not depend on that, so nothing gets past them.
    for (const family of rules.ipv6 && hasIpv6Loopback(netns) ? (['ipv4', 'ipv6'] as const) : (['ipv4'] as const)) {
      links.setRoute(returnRoute(family));
      links.addRule(returnRule(family));
    }
  }
  await applyNft(netns, podScript(rules));
}

/** @throws NftError or SystemError; what is not there is not missed */
export async function releasePod(netns: Netns): Promise<void> {
  await applyNft(netns, podRemovalScript());
  using links = new Links(netns);
  for (const family of hasIpv6Loopback(netns) ? (['ipv4', 'ipv6'] as const) : (['ipv4'] as const)) {
    links.deleteRule(returnRule(family));
    links.deleteRoute(returnRoute(family));
  }
}
