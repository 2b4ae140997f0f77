// Gives ServiceEntries addresses of their own, in their status. Only the leader runs it.

import { allocate } from '../derive/allocate.ts';
import type { Collection } from '../derive/graph/graph.ts';
import type { ServiceEntry } from '../derive/objects/entry.ts';
import { apiVersionOf, SERVICE_ENTRIES } from '../kube/client/resources.ts';
import { type KubeClient, KubeError, type KubeObject, type Resource } from '../kube/client/types.ts';
import type { Clock } from '../platform/clock.ts';
import { logger } from '../telemetry/log.ts';
import { WorkQueue } from './work-queue.ts';

const log = logger('addresses');

/** As Istio's own allocator, so that either can take over from the other. */
const FIELD_MANAGER = 'ip-autoallocate-controller';

export interface VirtualAddressesOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly entries: Collection<ServiceEntry>;
}

export class VirtualAddresses {
  readonly #options: VirtualAddressesOptions;
  #queue: WorkQueue | undefined;

  constructor(options: VirtualAddressesOptions) {
    this.#options = options;
    options.entries.subscribe(() => this.#queue?.add(''));
  }

  start(signal: AbortSignal): void {
    this.#queue = new WorkQueue(() => this.#allocate(), {
      clock: this.#options.clock,
      concurrency: 1,
      signal,
      onError: (_key, error, attempt) =>
        log.warn('virtual addresses not written; trying again', { attempt, error: error as Error }),
    });
    this.#queue.add('');
  }

  /** All at once: which address is free depends on every entry. What is written comes back by the watch. */
  async #allocate(): Promise<void> {
    const { kube, entries } = this.#options;
    for (const { namespace, name, addresses } of allocate(entries.values())) {
      const body: KubeObject & { status: unknown } = {
        apiVersion: apiVersionOf(SERVICE_ENTRIES),
        kind: 'ServiceEntry',
        metadata: { name, namespace },
        status: addresses.length === 0 ? {} : { addresses },
      };
      try {
        await kube.patch(SERVICE_ENTRIES as Resource, name, namespace, 'apply', body, {
          subresource: 'status',
          fieldManager: FIELD_MANAGER,
          force: true,
        });
      } catch (error) {
        if (!(error instanceof KubeError && error.code === 404)) throw error;
      }
    }
  }
}
