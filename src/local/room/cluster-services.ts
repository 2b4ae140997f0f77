// Keeps the service rules of every node and the cluster's DNS in step with Services and EndpointSlices.

import { setTimeout as delay } from 'node:timers/promises';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IService } from 'kubernetes-models/v1/Service';
import { startInformer } from '../../kube/client/informer.ts';
import { ENDPOINT_SLICES, NAMESPACES, SERVICES } from '../../kube/client/resources.ts';
import type { Informer, KubeClient } from '../../kube/client/types.ts';
import { applyNft } from '../../platform/linux/nft.ts';
import type { DnsView } from '../dns/records.ts';
import { DnsServer } from '../dns/server.ts';
import { CLUSTER_DOMAIN, FABRIC_GATEWAY, formatRange, POD_RANGE, SERVICE_RANGE } from '../network/addresses.ts';
import type { NodeNetwork } from '../network/node-network.ts';
import { serviceRules } from '../network/service-rules.ts';

const DNS_PORT = 53;
/** Short against the time that an endpoint takes to become ready, long against a burst of events. */
const SETTLE_MS = 10;
const RETRY_MS = 1_000;

/** What the room knows of the cluster's services. */
export interface ClusterServices {
  readonly services: Informer<IService>;
  /** By `<namespace>/<name>` of the service. */
  readonly slicesOf: (key: string) => readonly IEndpointSlice[];
}

/**
 * Starts DNS and the rules; resolves when both stand for what the API holds now.
 * @param outside asks the resolvers of the host
 */
export async function startClusterServices(
  client: KubeClient,
  nodes: readonly NodeNetwork[],
  outside: (query: Buffer) => Promise<Buffer>,
  log: (message: string) => void,
): Promise<ClusterServices> {
  const services = startInformer(client, SERVICES);
  const slices = startInformer(client, ENDPOINT_SLICES);
  const namespaces = startInformer(client, NAMESPACES);
  const byService = new Map<string, Set<string>>(); // service key -> slice keys
  const keyOf = (slice: IEndpointSlice): string =>
    `${slice.metadata?.namespace}/${slice.metadata?.labels?.['kubernetes.io/service-name']}`;
  const slicesOf = (key: string): IEndpointSlice[] =>
    [...(byService.get(key) ?? [])].flatMap((slice) => slices.items.get(slice) ?? []);

  const applied = new Map<NodeNetwork, string>();
  let dirty = true;
  let running: Promise<void> | undefined;
  const sync = (): Promise<void> => {
    dirty = true;
    running ??= (async () => {
      while (dirty) {
        await delay(SETTLE_MS); // a burst of changes is one transaction
        dirty = false;
        for (const node of nodes) {
          const rules = serviceRules(node, services.items.values(), slicesOf);
          if (applied.get(node) === rules) continue; // most changes are of endpoints that are not ready yet
          try {
            await applyNft(node.netns, rules);
            applied.set(node, rules);
          } catch (error) {
            log(`service rules of \`${node.name}\` not applied: ${error instanceof Error ? error.message : error}`);
            setTimeout(() => void sync(), RETRY_MS).unref();
          }
        }
      }
      running = undefined;
    })();
    return running;
  };
  services.onChange(() => void sync());
  slices.onChange((key, now, before) => {
    if (before !== undefined) byService.get(keyOf(before))?.delete(key);
    if (now !== undefined) {
      const of = keyOf(now);
      byService.set(of, (byService.get(of) ?? new Set()).add(key));
    }
    void sync();
  });
  const view: DnsView = {
    service: (namespace, name) => services.items.get(`${namespace}/${name}`),
    slices: (namespace, name) => slicesOf(`${namespace}/${name}`),
    services: () => services.items.values(),
    allSlices: () => slices.items.values(),
    hasNamespace: (name) => namespaces.items.has(name),
  };
  const ranges = [SERVICE_RANGE, POD_RANGE].map(formatRange);
  await Promise.all([
    DnsServer.start({ address: FABRIC_GATEWAY, port: DNS_PORT, view, domain: CLUSTER_DOMAIN, ranges, outside }),
    services.synced,
    slices.synced,
    namespaces.synced,
  ]);
  await sync();
  return { services, slicesOf };
}
