// The source of a connection: the pod that dials, as the node proxy beside it knows it.

import type { IPod } from 'kubernetes-models/v1/Pod';
import type { KubeClient } from '../../kube/client/types.ts';
import { type Ip, parseIp } from '../../model/ip.ts';
import type { Workload } from '../../model/workload.ts';
import type { World } from '../../model/world.ts';
import { Failure } from '../failure.ts';
import { parseReference } from './names.ts';
import { addressOf, nobodyCalled, nobodyRuns, podKey, podsAt, podsNamed } from './pods.ts';
import type { Proxies, ProxyView } from './proxies.ts';

export interface Source {
  readonly label: string;
  readonly view: ProxyView;
  readonly workload: Workload;
  /** All that the reference means: any of them may have made past connections. */
  readonly pods: readonly IPod[];
  readonly namespace: string;
}

/** Istio: written on a pod once its traffic is captured. */
const REDIRECTION = 'ambient.istio.io/redirection';

/**
 * Who dials.
 * @param notes takes what the answer must say of it
 * @throws Failure where it is nobody, or no node proxy can be asked
 */
export async function findSource(
  text: string,
  namespace: string,
  client: KubeClient,
  proxies: Proxies,
  notes: string[],
): Promise<Source> {
  const reference = parseReference(text);
  if (reference.kind === 'ip') {
    const pods = await podsAt(client, reference.ip);
    const view = pods[0] ? await viewOf(pods[0], proxies, notes) : await anyView(proxies);
    const known = view.world.workloadAt(view.world.network, reference.ip);
    if (pods[0] === undefined && known === undefined) notes.push(`nobody in the mesh has the address ${reference.ip}`);
    const workload = known ?? (pods[0] ? uncaptured(pods[0], view.world) : stranger(reference.ip, view.world));
    return { label: pods[0] ? `pod ${podKey(pods[0])}` : text, view, workload, pods, namespace };
  }
  const found = await podsNamed(client, reference, namespace);
  if (found === undefined) throw nobodyCalled(text, namespace);
  const [pod] = found.pods;
  if (pod === undefined) throw nobodyRuns(found.label);
  if (found.pods.length > 1) notes.push(`${found.label} has ${found.pods.length} pods: \`${podKey(pod)}\` is asked`);
  const view = await viewOf(pod, proxies, notes);
  const workload = workloadOf(pod, view.world);
  if (workload === undefined) notes.push(`\`${view.pod}\` does not know the pod \`${podKey(pod)}\``);
  const captured = pod.metadata?.annotations?.[REDIRECTION] === 'enabled';
  if (captured !== (workload?.tunnelProtocol === 'hbone'))
    notes.push(
      captured
        ? `\`${podKey(pod)}\` is captured, which \`${view.pod}\` has not heard of yet: this can change in a moment`
        : `\`${podKey(pod)}\` is not captured any more, or not yet, which \`${view.pod}\` has not heard of: this can change in a moment`,
    );
  return {
    label: found.label,
    view,
    workload: workload ?? uncaptured(pod, view.world),
    pods: found.pods,
    namespace: pod.metadata?.namespace ?? namespace,
  };
}

/** What the node proxy beside a pod holds; another one's where that does not answer, and a note that says so. */
async function viewOf(pod: IPod, proxies: Proxies, notes: string[]): Promise<ProxyView> {
  const own = await proxies.onNode(pod.spec?.nodeName ?? '');
  if (own.ok) return own.value;
  const other = await anyView(proxies, own.error);
  notes.push(`${own.error}: the path is what \`${other.pod}\` on \`${other.node}\` would choose`);
  return other;
}

async function anyView(proxies: Proxies, before?: string): Promise<ProxyView> {
  const view = await proxies.any();
  if (view.ok) return view.value;
  throw new Failure({
    what: 'no node proxy can be asked',
    why: before ?? view.error,
    fix: 'see `ambit status` and `ambit logs ztunnel`',
  });
}

function workloadOf(pod: IPod, world: World & { workloads(): Iterable<Workload> }): Workload | undefined {
  const { name, namespace } = pod.metadata ?? {};
  for (const workload of world.workloads())
    if (workload.name === name && workload.namespace === namespace && workload.uid.includes('//Pod/')) return workload;
  return undefined;
}

/** A pod that the mesh does not know. */
const uncaptured = (pod: IPod, world: World): Workload => ({
  ...stranger((parseIpOf(pod) ?? '0.0.0.0') as Ip, world),
  name: pod.metadata?.name ?? '',
  namespace: pod.metadata?.namespace ?? '',
  serviceAccount: pod.spec?.serviceAccountName ?? 'default',
  node: pod.spec?.nodeName ?? '',
});

function parseIpOf(pod: IPod): Ip | undefined {
  const ip = parseIp(addressOf(pod) ?? '');
  return ip.ok ? ip.value : undefined;
}

/** Somebody outside, of whom only the address is known. */
const stranger = (ip: Ip, world: World): Workload => ({
  uid: `outside/${ip}`,
  name: ip,
  namespace: '',
  addresses: [ip],
  hostname: '',
  network: world.network,
  tunnelProtocol: 'none',
  trustDomain: '',
  serviceAccount: '',
  waypoint: undefined,
  networkGateway: undefined,
  node: '',
  canonicalName: '',
  canonicalRevision: '',
  workloadType: 'pod',
  workloadName: '',
  nativeTunnel: false,
  applicationTunnel: undefined,
  services: new Map(),
  authorizationPolicies: [],
  status: 'healthy',
  clusterId: '',
  locality: { region: '', zone: '', subzone: '' },
  hostNetwork: false,
  capacity: 1,
});
