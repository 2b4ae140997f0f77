// Objects that pods refer to, kept by watching: ConfigMaps, Secrets and Services. One set for all nodes of a room.

import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { ISecret } from 'kubernetes-models/v1/Secret';
import type { IService } from 'kubernetes-models/v1/Service';
import { startInformer } from '../../kube/client/informer.ts';
import { CONFIG_MAPS, SECRETS, SERVICES } from '../../kube/client/resources.ts';
import type { Informer, KubeClient } from '../../kube/client/types.ts';
import type { NamespaceObjects } from './environment.ts';

export class ObjectCache {
  readonly #configMaps: Informer<IConfigMap>;
  readonly #secrets: Informer<ISecret>;
  readonly #services: Informer<IService>;
  readonly #listeners = new Set<(namespace: string) => void>();
  readonly synced: Promise<unknown>;

  constructor(client: KubeClient) {
    this.#configMaps = startInformer(client, CONFIG_MAPS);
    this.#secrets = startInformer(client, SECRETS);
    this.#services = startInformer(client, SERVICES);
    this.synced = Promise.all([this.#configMaps.synced, this.#secrets.synced, this.#services.synced]);
    for (const informer of [this.#configMaps, this.#secrets])
      informer.onChange((key) => {
        const namespace = key.slice(0, key.indexOf('/'));
        for (const listener of this.#listeners) listener(namespace);
      });
  }

  /** Told of the namespace in which a ConfigMap or Secret changed. */
  onChange(listener: (namespace: string) => void): void {
    this.#listeners.add(listener);
  }

  inNamespace(namespace: string): NamespaceObjects {
    return {
      configMap: (name) => this.#configMaps.items.get(`${namespace}/${name}`),
      secret: (name) => this.#secrets.items.get(`${namespace}/${name}`),
    };
  }

  services(): Iterable<IService> {
    return this.#services.items.values();
  }

  stop(): void {
    for (const informer of [this.#configMaps, this.#secrets, this.#services]) informer.stop();
  }
}
