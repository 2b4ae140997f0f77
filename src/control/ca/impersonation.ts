// May this caller have a certificate for another account? Only a node's own proxy, and only for accounts that have a
// running pod on that node. The proof that the caller is on the node is the pod its token is bound to.

import type { Source } from '../../derive/graph/graph.ts';
import { type Pod, parsePod } from '../../derive/objects/pod.ts';
import type { Json } from '../../derive/read.ts';
import { PODS } from '../../kube/client/resources.ts';
import type { KubeClient } from '../../kube/client/types.ts';
import type { SpiffeId } from '../../model/identity.ts';
import { accountOf, type Caller } from '../auth/caller.ts';

/** A sentence saying why not; undefined: it may. */
export type Refusal = string | undefined;

const hostKey = (node: string, namespace: string, serviceAccount: string): string =>
  `${node}/${namespace}/${serviceAccount}`;

/** Direct questions to the API at a time: they are for pods so new that the watch has not told of them. */
const MAX_QUESTIONS = 8;

export class NodePermissions {
  readonly #pods: Source<Pod>;
  readonly #running: ReturnType<Source<Pod>['index']>;
  readonly #kube: KubeClient;
  readonly #trusted: ReadonlySet<string>;
  readonly #trustDomain: () => string;
  #questions = 0;

  /** @param trusted  `<namespace>/<account>` of node proxies */
  constructor(pods: Source<Pod>, kube: KubeClient, trusted: ReadonlySet<string>, trustDomain: () => string) {
    this.#pods = pods;
    this.#running = pods.index('runningByAccount', ({ node, namespace, serviceAccount, finished }) =>
      finished || node === '' ? [] : [hostKey(node, namespace, serviceAccount || 'default')],
    );
    this.#kube = kube;
    this.#trusted = trusted;
    this.#trustDomain = trustDomain;
  }

  async check(caller: Caller, wanted: SpiffeId): Promise<Refusal> {
    if (!this.#trusted.has(accountOf(caller))) return `${accountOf(caller)} may not act for other accounts`;
    if (caller.via !== 'token' || caller.pod === undefined) return 'the token is not bound to a pod';
    if (wanted.trustDomain !== this.#trustDomain())
      return `trust domain \`${wanted.trustDomain}\` is not that of the mesh, \`${this.#trustDomain()}\``;
    const { name, uid } = caller.pod;
    const own = this.#pods.get(`${caller.namespace}/${name}`) ?? (await this.#askForPod(caller.namespace, name));
    if (own === undefined || own.uid !== uid) return `the caller's pod ${caller.namespace}/${name} does not exist`;
    if ((own.serviceAccount || 'default') !== caller.serviceAccount)
      return `the caller's pod ${caller.namespace}/${name} runs as another account`;
    if (own.node === '' || own.finished) return `the caller's pod ${caller.namespace}/${name} runs on no node`;
    if (caller.node !== undefined && caller.node !== own.node) return "the caller's token is of another node";
    const { namespace, serviceAccount } = wanted;
    if (this.#running.lookup(hostKey(own.node, namespace, serviceAccount)).length > 0) return undefined;
    if (await this.#askForAccount(own.node, namespace, serviceAccount)) return undefined;
    return `no pod of ${namespace}/${serviceAccount} runs on node ${own.node}`;
  }

  async #askForPod(namespace: string, name: string): Promise<Pod | undefined> {
    return this.#ask(async () => {
      const found = await this.#kube.get(PODS, name, namespace);
      return found && parsePod(found as unknown as Json);
    }, undefined);
  }

  async #askForAccount(node: string, namespace: string, serviceAccount: string): Promise<boolean> {
    return this.#ask(async () => {
      const { items } = await this.#kube.list(PODS, { namespace, fieldSelector: `spec.nodeName=${node}` });
      return items
        .map((item) => parsePod(item as unknown as Json))
        .some((pod) => !pod.finished && pod.node === node && (pod.serviceAccount || 'default') === serviceAccount);
    }, false);
  }

  async #ask<T>(question: () => Promise<T>, otherwise: T): Promise<T> {
    if (this.#questions >= MAX_QUESTIONS) return otherwise;
    this.#questions++;
    try {
      return await question();
    } finally {
      this.#questions--;
    }
  }
}
