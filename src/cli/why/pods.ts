// Which pods a reference means, by the Kubernetes API.

import type { IPod } from 'kubernetes-models/v1/Pod';
import { DAEMON_SETS, DEPLOYMENTS, PODS, SERVICE_ACCOUNTS, SERVICES } from '../../kube/client/resources.ts';
import type { KubeClient } from '../../kube/client/types.ts';
import type { Ip } from '../../model/ip.ts';
import { Failure } from '../failure.ts';
import { type Reference, type ReferenceKind, splitName } from './names.ts';

export interface Pods {
  /** `deployment shop/order`, for people. */
  readonly label: string;
  /** Those that have an address; ready ones first. */
  readonly pods: readonly IPod[];
}

type NamedKind = Exclude<ReferenceKind, 'any'>;
/** What a bare name is tried as, in this order. */
const ANY: readonly NamedKind[] = ['pod', 'deployment', 'daemonset', 'serviceaccount', 'service'];

/** The pods of one address: several only where they share their node's. */
export async function podsAt(client: KubeClient, ip: Ip): Promise<readonly IPod[]> {
  const { items } = await client.list(PODS, { fieldSelector: `status.podIP=${ip}` });
  return usable(items.filter((pod) => addressOf(pod) === ip));
}

/**
 * The pods that a name means.
 * @param kinds for a bare name: what it may be
 * @returns undefined when the API has nothing of that name
 */
export async function podsNamed(
  client: KubeClient,
  reference: Exclude<Reference, { kind: 'ip' }>,
  namespace: string,
  kinds: readonly NamedKind[] = ANY,
): Promise<Pods | undefined> {
  const at =
    reference.namespace === undefined && reference.kind === 'any'
      ? splitName(reference.name, namespace)
      : { name: reference.name, namespace: reference.namespace ?? namespace };
  for (const kind of reference.kind === 'any' ? kinds : [reference.kind]) {
    const pods = await podsOf(client, kind, at.name, at.namespace);
    if (pods !== undefined) return { label: `${kind} ${at.namespace}/${at.name}`, pods: usable(pods) };
  }
  return undefined;
}

async function podsOf(
  client: KubeClient,
  kind: NamedKind,
  name: string,
  namespace: string,
): Promise<IPod[] | undefined> {
  const inNamespace = async (labels: Readonly<Record<string, string>> | undefined): Promise<IPod[]> => {
    const labelSelector = Object.entries(labels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    // A selector that selects nothing must not select everything.
    return labelSelector === '' ? [] : (await client.list(PODS, { namespace, labelSelector })).items;
  };
  switch (kind) {
    case 'pod': {
      const pod = await client.get(PODS, name, namespace);
      return pod && [pod];
    }
    case 'deployment': {
      const owner = await client.get(DEPLOYMENTS, name, namespace);
      return owner && inNamespace(owner.spec?.selector?.matchLabels);
    }
    case 'daemonset': {
      const owner = await client.get(DAEMON_SETS, name, namespace);
      return owner && inNamespace(owner.spec?.selector?.matchLabels);
    }
    case 'service': {
      const owner = await client.get(SERVICES, name, namespace);
      return owner && inNamespace(owner.spec?.selector);
    }
    case 'serviceaccount': {
      if ((await client.get(SERVICE_ACCOUNTS, name, namespace)) === undefined) return undefined;
      const { items } = await client.list(PODS, { namespace });
      return items.filter((pod) => (pod.spec?.serviceAccountName ?? 'default') === name);
    }
  }
}

export const isReady = (pod: IPod): boolean =>
  pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;

export const addressOf = (pod: IPod): string | undefined => pod.status?.podIP;

export const podKey = (pod: IPod): string => `${pod.metadata?.namespace}/${pod.metadata?.name}`;

function usable(pods: readonly IPod[]): IPod[] {
  const rank = (pod: IPod): number => (pod.metadata?.deletionTimestamp === undefined ? (isReady(pod) ? 0 : 1) : 2);
  return pods
    .filter((pod) => addressOf(pod) && pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed')
    .sort((a, b) => rank(a) - rank(b) || podKey(a).localeCompare(podKey(b)));
}

export const nobodyCalled = (text: string, namespace: string): Failure =>
  new Failure({
    what: `\`${text}\` is nobody in namespace \`${namespace}\``,
    why: 'no pod, deployment, daemon set, service account or service of that name is there',
    fix: 'name another namespace with -n, or write NAMESPACE/NAME; `kubectl get pods -A` lists them',
  });

export const nobodyRuns = (label: string): Failure =>
  new Failure({
    what: `${label} has no running pod`,
    why: 'none has an address',
    fix: 'see `ambit status`, or `kubectl describe` it',
  });
