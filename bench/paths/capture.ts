// Redirection of a namespace's traffic to a proxy inside it, by the node agent's own rules.

import type { Ip } from '../../src/model/ip.ts';
import { redirector } from '../../src/node/redirection.ts';
import { Netns } from '../../src/platform/linux/netns.ts';
import type { Place } from '../network.ts';

/** @returns the namespace, open */
export async function capture(place: Place): Promise<Netns> {
  const netns = Netns.open(`/run/netns/${place.netns}`);
  const probeSource = { v4: '169.254.7.127' as Ip, v6: 'e9ac:1e77:90ca:399f:4d6d:ece2:2f9b:3164' as Ip };
  await redirector(['/proc']).capture(netns, {
    captureInbound: true,
    captureDns: false,
    virtualInterfaces: [],
    ipv6: false,
    probeSource,
  });
  return netns;
}
