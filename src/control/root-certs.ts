// The ConfigMap `istio-ca-root-cert` in every namespace: what proxies trust when they call the control plane.
// Only the leader runs it.

import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { Collection } from '../derive/graph/graph.ts';
import type { Namespace } from '../derive/objects/cluster.ts';
import { startInformer } from '../kube/client/informer.ts';
import { CONFIG_MAPS } from '../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../kube/client/types.ts';
import type { Clock } from '../platform/clock.ts';
import { logger } from '../telemetry/log.ts';
import { WorkQueue } from './work-queue.ts';

const log = logger('roots');

export const ROOT_CONFIG_MAP = 'istio-ca-root-cert';
const DATA_KEY = 'root-cert.pem';
/** Kubernetes' own, where no proxy runs. */
const LEFT_OUT: ReadonlySet<string> = new Set(['kube-system', 'kube-public', 'kube-node-lease']);

export interface RootCertificatesOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly namespaces: Collection<Namespace>;
  /** Namespaces that get one though they are Kubernetes' own, since node proxies run there. */
  readonly always: ReadonlySet<string>;
  /** PEM of all roots that are trusted now. */
  readonly roots: () => string;
}

export class RootCertificates {
  readonly #options: RootCertificatesOptions;
  #queue: WorkQueue | undefined;
  #found: ReadonlyMap<string, IConfigMap> = new Map();

  constructor(options: RootCertificatesOptions) {
    this.#options = options;
    options.namespaces.subscribe((changes) => {
      for (const { key, now } of changes) if (now !== undefined) this.#add(key);
    });
  }

  start(signal: AbortSignal): void {
    const { kube, clock, namespaces } = this.#options;
    const queue = new WorkQueue((namespace) => this.#write(namespace), {
      clock,
      concurrency: 8,
      signal,
      onError: (namespace, error, attempt) =>
        log.warn('root certificate not distributed; trying again', { namespace, attempt, error: error as Error }),
    });
    const informer = startInformer(kube, CONFIG_MAPS, {
      fieldSelector: `metadata.name=${ROOT_CONFIG_MAP}`,
      signal,
      onError: (error) => log.warn('root certificates not watched; trying again', { error: error as Error }),
    });
    this.#found = informer.items;
    informer.onChange((key) => this.#add(key.split('/', 1)[0] as string));
    void informer.synced.then(() => {
      this.#queue = queue;
      for (const namespace of namespaces.keys()) this.#add(namespace);
    });
  }

  /** The roots changed. */
  refresh(): void {
    for (const namespace of this.#options.namespaces.keys()) this.#add(namespace);
  }

  #add(namespace: string): void {
    if (LEFT_OUT.has(namespace) && !this.#options.always.has(namespace)) return;
    this.#queue?.add(namespace);
  }

  async #write(namespace: string): Promise<void> {
    const { kube, namespaces, roots } = this.#options;
    if (!namespaces.has(namespace)) return;
    const wanted = roots();
    const found = this.#found.get(`${namespace}/${ROOT_CONFIG_MAP}`);
    if (found?.data?.[DATA_KEY] === wanted) return;
    try {
      if (found === undefined)
        await kube.create(CONFIG_MAPS, {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name: ROOT_CONFIG_MAP, namespace, labels: { 'istio.io/config': 'true' } },
          data: { [DATA_KEY]: wanted },
        });
      else await kube.patch(CONFIG_MAPS, ROOT_CONFIG_MAP, namespace, 'merge', { data: { [DATA_KEY]: wanted } });
    } catch (error) {
      // A namespace that is being deleted takes nothing in, and needs nothing.
      const gone =
        error instanceof KubeError && (error.code === 404 || /terminating|being terminated/i.test(error.message));
      if (!gone) throw error;
    }
  }
}
