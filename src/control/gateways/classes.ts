// The built-in GatewayClasses: made where they are missing, never changed. Only the leader runs it.

import type { Collection } from '../../derive/graph/graph.ts';
import { BUILT_IN_CLASSES } from '../../derive/names.ts';
import type { GatewayClass } from '../../derive/objects/gateway.ts';
import { GATEWAY_CLASSES } from '../../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../../kube/client/types.ts';
import type { Clock } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import { WorkQueue } from '../work-queue.ts';

const log = logger('gateways');

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  istio: 'ingress and egress gateways of the mesh',
  'istio-waypoint': 'waypoints: layer-7 proxies in front of services and workloads of the ambient mesh',
  'istio-remote': 'gateways that run in another cluster',
};

export interface BuiltInClassesOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly classes: Collection<GatewayClass>;
}

export class BuiltInClasses {
  readonly #options: BuiltInClassesOptions;
  #queue: WorkQueue | undefined;

  constructor(options: BuiltInClassesOptions) {
    this.#options = options;
    options.classes.subscribe((changes) => {
      for (const { key, now } of changes) if (now === undefined && key in BUILT_IN_CLASSES) this.#queue?.add(key);
    });
  }

  start(signal: AbortSignal): void {
    this.#queue = new WorkQueue((name) => this.#make(name), {
      clock: this.#options.clock,
      concurrency: 1,
      signal,
      onError: (name, error, attempt) => {
        const absent = error instanceof KubeError && error.code === 404;
        log[absent ? 'debug' : 'warn']('class not made; trying again', { name, attempt, error: error as Error });
      },
    });
    for (const name of Object.keys(BUILT_IN_CLASSES)) this.#queue.add(name);
  }

  async #make(name: string): Promise<void> {
    const { kube, classes } = this.#options;
    if (classes.has(name)) return;
    try {
      await kube.create(GATEWAY_CLASSES, {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'GatewayClass',
        metadata: { name },
        spec: { controllerName: BUILT_IN_CLASSES[name] as string, description: DESCRIPTIONS[name] ?? '' },
      });
      log.info('class made', { name });
    } catch (error) {
      if (!(error instanceof KubeError && error.code === 409)) throw error;
    }
  }
}
