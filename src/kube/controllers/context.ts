// What every workload controller gets. They run in the api process over the in-process client, so a list is never stale;
// nothing here knows that, and the same controllers run over HTTP.

import type { Informer, KubeClient, KubeObject, Resource } from '../client/types.ts';

export interface ControllerContext {
  readonly client: KubeClient;
  /** One shared informer a resource. */
  informer<T extends KubeObject>(resource: Resource<T>): Informer<T>;
  /** Every resource that is served now, custom ones included. */
  resources(): readonly Resource[];
  /** Called when the set of served resources may have changed. */
  onResourcesChange(handler: () => void): void;
  /** PEM bundle that in-cluster clients trust the API by (ConfigMap kube-root-ca.crt). */
  readonly clusterCaPem: string;
  readonly now: () => Date;
  log(level: 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** The parts of an informer's key: `<namespace>/<name>`, or `<name>` when cluster-scoped. */
export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
