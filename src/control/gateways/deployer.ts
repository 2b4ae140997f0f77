// Makes what Gateways consist of: applies the derived parts, repairs them when somebody changes them, removes what is not
// wanted any more. What is found under the same name without the controllers' label is somebody else's and stays.
// Only the leader runs it.

import type { RenderedObject } from '../../derive/gateway/render.ts';
import { CONTROLLER_VERSION, type Gateways } from '../../derive/gateways.ts';
import type { Collection } from '../../derive/graph/graph.ts';
import type { Gateway } from '../../derive/objects/gateway.ts';
import { GATEWAYS } from '../../kube/client/resources.ts';
import { type KubeClient, KubeError, type KubeObject, type Resource } from '../../kube/client/types.ts';
import type { Clock } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import { WorkQueue } from '../work-queue.ts';
import { MANAGED_LABEL, ManagedObjects, PART_RESOURCES } from './managed-objects.ts';

const log = logger('gateways');

const VERSION_ANNOTATION = 'gateway.istio.io/controller-version';

export interface GatewayDeployerOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly gateways: Gateways;
  /** The Gateways as the API has them. */
  readonly objects: Collection<Gateway>;
}

export class GatewayDeployer {
  readonly #options: GatewayDeployerOptions;
  #queue: WorkQueue | undefined;

  constructor(options: GatewayDeployerOptions) {
    this.#options = options;
    options.gateways.parts.subscribe((changes) => {
      for (const { key } of changes) this.#queue?.add(key);
    });
  }

  start(signal: AbortSignal): void {
    const { kube, clock, gateways } = this.#options;
    const managed = new ManagedObjects(kube, signal, (gateway) => this.#queue?.add(gateway));
    const queue = new WorkQueue((key) => this.#reconcile(key, managed), {
      clock,
      concurrency: 4,
      signal,
      onError: (key, error, attempt) =>
        log.warn('gateway not deployed; trying again', { gateway: key, attempt, error: error as Error }),
    });
    void managed.synced.then(() => {
      if (signal.aborted) return;
      this.#queue = queue;
      for (const key of gateways.parts.keys()) queue.add(key);
    });
  }

  async #reconcile(key: string, managed: ManagedObjects): Promise<void> {
    const { gateways } = this.#options;
    const parts = gateways.parts.get(key);
    if (parts === undefined) return void gateways.refusals.delete(key); // gone, and its parts with it
    if (parts.kind === 'kept' || parts.kind === 'remote') return;
    const wanted = parts.kind === 'managed' ? parts.rendered.objects : [];
    const { controller } = parts.role;
    if (parts.kind === 'managed') await this.#mark(key, controller);
    for (const object of wanted) await this.#apply(key, object, controller, managed);
    gateways.refusals.delete(key);
    await this.#removeOthers(key, wanted, managed);
  }

  /** So that a control plane of older rules lets the Gateway alone. */
  async #mark(key: string, controller: string): Promise<void> {
    const gateway = this.#options.objects.get(key);
    const version = String(CONTROLLER_VERSION);
    if (gateway === undefined || gateway.annotations[VERSION_ANNOTATION] === version) return;
    await this.#options.kube.patch(
      GATEWAYS,
      gateway.name,
      gateway.namespace,
      'merge',
      { metadata: { annotations: { [VERSION_ANNOTATION]: version } } },
      { fieldManager: controller },
    );
  }

  async #apply(key: string, object: RenderedObject, controller: string, managed: ManagedObjects): Promise<void> {
    const { kube, gateways } = this.#options;
    const { kind } = object;
    const { name, namespace } = object.metadata;
    const resource = PART_RESOURCES[kind] as Resource;
    if (!managed.has(kind, namespace, name)) {
      const found = await kube.get(resource, name, namespace);
      if (found !== undefined && found.metadata?.labels?.[MANAGED_LABEL] === undefined) {
        log.info('left as it is: it does not belong to the gateway', { gateway: key, kind, name });
        return;
      }
    }
    try {
      await kube.patch(resource, name, namespace, 'apply', object, { fieldManager: controller, force: true });
    } catch (error) {
      if (error instanceof KubeError && error.code < 500 && error.code !== 404)
        gateways.refusals.set(key, `${kind} ${name} was refused: ${error.message}`);
      throw error;
    }
  }

  async #removeOthers(key: string, wanted: readonly RenderedObject[], managed: ManagedObjects): Promise<void> {
    const gateway = this.#options.objects.get(key);
    if (gateway === undefined) return;
    for (const { kind, object } of managed.of(key)) {
      const { name = '', namespace } = object.metadata ?? {};
      const isWanted = wanted.some((each) => each.kind === kind && each.metadata.name === name);
      if (isWanted || !belongsTo(object, gateway)) continue;
      await this.#options.kube.delete(PART_RESOURCES[kind] as Resource, name, namespace);
      log.info('removed: not a part of the gateway any more', { gateway: key, kind, name });
    }
  }
}

const belongsTo = ({ metadata }: KubeObject, gateway: Gateway): boolean =>
  metadata?.ownerReferences?.some(({ kind, uid }) => kind === 'Gateway' && uid === gateway.uid) === true;
