// What the cluster holds of Gateways' parts: one informer a kind, of the objects that carry the controllers' label.

import { startInformer } from '../../kube/client/informer.ts';
import {
  AUTOSCALERS,
  DEPLOYMENTS,
  DISRUPTION_BUDGETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../kube/client/resources.ts';
import { type Informer, type KubeClient, KubeError, type KubeObject, type Resource } from '../../kube/client/types.ts';
import { logger } from '../../telemetry/log.ts';

const log = logger('gateways');

export const MANAGED_LABEL = 'gateway.istio.io/managed';
const NAME_LABEL = 'gateway.networking.k8s.io/gateway-name';

/** The kinds of parts, by kind. */
export const PART_RESOURCES: Readonly<Record<string, Resource>> = {
  ServiceAccount: SERVICE_ACCOUNTS as Resource,
  Service: SERVICES as Resource,
  Deployment: DEPLOYMENTS as Resource,
  HorizontalPodAutoscaler: AUTOSCALERS as Resource,
  PodDisruptionBudget: DISRUPTION_BUDGETS as Resource,
};

/** `<namespace>/<name>` of the Gateway that a part says it belongs to. */
const gatewayOf = ({ metadata }: KubeObject): string =>
  `${metadata?.namespace ?? ''}/${metadata?.labels?.[NAME_LABEL] ?? ''}`;

/** All of an object that an applier decides: not its status, and not what the API keeps account of. */
const decided = (object: KubeObject): string => {
  const { labels, annotations, ownerReferences, deletionTimestamp } = object.metadata ?? {};
  const spec = 'spec' in object ? object.spec : undefined;
  return JSON.stringify([labels, annotations, ownerReferences, deletionTimestamp, spec]);
};

export class ManagedObjects {
  readonly #informers: ReadonlyMap<string, Informer<KubeObject>>;
  readonly synced: Promise<void>;

  /** @param onChange  told the Gateway's key when somebody changed or removed one of its parts */
  constructor(kube: KubeClient, signal: AbortSignal, onChange: (gateway: string) => void) {
    const informers = new Map<string, Informer<KubeObject>>();
    const known: Promise<void>[] = [];
    for (const [kind, resource] of Object.entries(PART_RESOURCES)) {
      const unreadable = Promise.withResolvers<void>();
      const informer = startInformer(kube, resource, {
        labelSelector: MANAGED_LABEL,
        signal,
        onError: (error) => {
          log.warn('parts of gateways not watched; trying again', { kind, error: error as Error });
          // A kind that is not served, or not to us, is not waited for: Gateways that need it will say so.
          if (error instanceof KubeError && (error.code === 404 || error.code === 403)) unreadable.resolve();
        },
      });
      informers.set(kind, informer);
      known.push(Promise.race([informer.synced, unreadable.promise]));
    }
    this.#informers = informers;
    for (const informer of this.#informers.values())
      informer.onChange((_key, now, before) => {
        if (before === undefined) return;
        if (now === undefined || decided(now) !== decided(before)) onChange(gatewayOf(before));
      });
    this.synced = Promise.all(known).then(() => {});
  }

  has(kind: string, namespace: string, name: string): boolean {
    return this.#informers.get(kind)?.items.has(`${namespace}/${name}`) === true;
  }

  /** Every part that says it belongs to this Gateway. */
  *of(gateway: string): Generator<{ readonly kind: string; readonly object: KubeObject }> {
    for (const [kind, { items }] of this.#informers)
      for (const object of items.values()) if (gatewayOf(object) === gateway) yield { kind, object };
  }
}
