// Makes the built-in GatewayClasses when they are missing, and never changes them. Only the leader runs it.

import type { Collection } from '../derive/graph/graph.ts';
import { BUILT_IN_CLASSES } from '../derive/names.ts';
import type { GatewayClass } from '../derive/objects/gateway.ts';
import { GATEWAY_CLASSES } from '../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../kube/client/types.ts';
import type { Clock } from '../platform/clock.ts';
import { logger } from '../telemetry/log.ts';
import { WorkQueue } from './work-queue.ts';

const log = logger('gatewayclasses');

export interface GatewayClassesOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly classes: Collection<GatewayClass>;
}

export class GatewayClasses {
  readonly #options: GatewayClassesOptions;
  #queue: WorkQueue | undefined;

  constructor(options: GatewayClassesOptions) {
    this.#options = options;
    options.classes.subscribe((changes) => {
      for (const { key, now } of changes)
        if (now === undefined && Object.hasOwn(BUILT_IN_CLASSES, key)) this.#queue?.add(key);
    });
  }

  start(signal: AbortSignal): void {
    this.#queue = new WorkQueue((name) => this.#make(name), {
      clock: this.#options.clock,
      concurrency: 3,
      signal,
      // A 404 says that the Gateway API is not installed: looked at again with growing patience.
      onError: (name, error, attempt) => {
        if (!(error instanceof KubeError && error.code === 404))
          log.warn('gateway class not made; trying again', { name, attempt, error: error as Error });
      },
    });
    for (const name of Object.keys(BUILT_IN_CLASSES)) this.#queue.add(name);
  }

  async #make(name: string): Promise<void> {
    const { kube, classes } = this.#options;
    const controllerName = BUILT_IN_CLASSES[name];
    if (controllerName === undefined || classes.has(name)) return;
    try {
      await kube.create(GATEWAY_CLASSES, {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'GatewayClass',
        metadata: { name },
        spec: { controllerName, description: 'The default Istio GatewayClass of its controller' },
      });
    } catch (error) {
      if (!(error instanceof KubeError && error.code === 409)) throw error;
    }
  }
}
