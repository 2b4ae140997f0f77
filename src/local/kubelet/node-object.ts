// The Node object: registered when the kubelet starts, its lease renewed while it runs.

import { arch, cpus, release, totalmem } from 'node:os';
import type { ILease } from 'kubernetes-models/coordination.k8s.io/v1/Lease';
import type { INode } from 'kubernetes-models/v1/Node';
import { LEASES, NODES, PODS } from '../../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../../kube/client/types.ts';
import { formatRange } from '../network/addresses.ts';
import type { NodeNetwork } from '../network/node-network.ts';
import { timestamp } from './types.ts';

export const MAX_PODS = 250;
const REGION = 'local';
const LEASE_NAMESPACE = 'kube-node-lease';
const LEASE_SECONDS = 40;
const RENEW_MS = 10_000;

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** Cores and bytes that pods of a node are told of; all nodes are the one machine. */
export const allocatableOf = (): Readonly<Record<string, number>> => ({
  cpu: cpus().length || 1,
  memory: totalmem(),
  'ephemeral-storage': 0,
});

function labelsOf(node: NodeNetwork): Record<string, string> {
  const architecture = ARCHITECTURES[arch()] ?? arch();
  return {
    'kubernetes.io/hostname': node.name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': architecture,
    'topology.kubernetes.io/region': REGION,
    'topology.kubernetes.io/zone': node.zone,
  };
}

function statusOf(node: NodeNetwork, now: Date, before: INode | undefined): NonNullable<INode['status']> {
  const at = timestamp(now);
  const condition = (type: string, status: string, reason: string, message: string) => {
    const known = before?.status?.conditions?.find((each) => each.type === type);
    const since = known?.status === status && known.lastTransitionTime ? known.lastTransitionTime : at;
    return { type, status, reason, message, lastHeartbeatTime: at, lastTransitionTime: since };
  };
  const { cpu = 1, memory = 0 } = allocatableOf();
  const capacity = { cpu: String(cpu), memory: `${Math.floor(memory / 1024)}Ki`, pods: String(MAX_PODS) };
  return {
    capacity,
    allocatable: capacity,
    addresses: [
      { type: 'InternalIP', address: node.ip },
      { type: 'Hostname', address: node.name },
    ],
    conditions: [
      condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
      condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
      condition('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
      condition('Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'),
    ],
    nodeInfo: {
      architecture: ARCHITECTURES[arch()] ?? arch(),
      bootID: before?.status?.nodeInfo?.bootID ?? crypto.randomUUID(),
      containerRuntimeVersion: 'ambit://0.1.0',
      kernelVersion: release(),
      kubeProxyVersion: '',
      kubeletVersion: 'v1.35.0+ambit',
      machineID: node.name,
      operatingSystem: 'linux',
      osImage: 'Ambit room',
      systemUUID: node.name,
    },
  };
}

/** Creates the Node, or brings the one of an earlier room up to date. @throws KubeError */
export async function registerNode(client: KubeClient, node: NodeNetwork): Promise<void> {
  const podCIDR = formatRange(node.podCidr);
  const before = await client.get(NODES, node.name);
  const labels = labelsOf(node);
  if (before === undefined)
    await client.create(NODES, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: node.name, labels },
      spec: { podCIDR, podCIDRs: [podCIDR] },
    });
  else
    await client.patch(NODES, node.name, undefined, 'merge', {
      metadata: { labels },
      spec: { podCIDR, podCIDRs: [podCIDR] },
    });
  await client.patch(
    NODES,
    node.name,
    undefined,
    'merge',
    { status: statusOf(node, new Date(), before) },
    { subresource: 'status' },
  );
}

/** Renews the node's lease until it is told to stop; failures are tried again at the next turn. */
export function renewLease(client: KubeClient, node: NodeNetwork): () => void {
  const renew = async (): Promise<void> => {
    const spec = {
      holderIdentity: node.name,
      leaseDurationSeconds: LEASE_SECONDS,
      renewTime: `${new Date().toISOString().slice(0, -1)}000Z`,
    };
    try {
      await client.patch(LEASES, node.name, LEASE_NAMESPACE, 'merge', { spec });
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 404) return;
      const lease: ILease = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: node.name, namespace: LEASE_NAMESPACE },
        spec,
      };
      await client.create(LEASES, lease).catch(() => {});
    }
  };
  void renew();
  const timer = setInterval(() => void renew(), RENEW_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** A mesh that came back with fewer nodes: the others are gone, and so is what was bound to them (Kubernetes: pod garbage collection). */
export async function forgetOtherNodes(client: KubeClient, names: readonly string[]): Promise<void> {
  const { items } = await client.list(NODES);
  const others = items.map(({ metadata }) => metadata?.name ?? '').filter((name) => !names.includes(name));
  // The nodes first: nothing is bound to what does not exist.
  for (const name of others) {
    await client.delete(NODES, name);
    await client.delete(LEASES, name, LEASE_NAMESPACE);
  }
  for (const name of others) {
    const { items: pods } = await client.list(PODS, { fieldSelector: `spec.nodeName=${name}` });
    for (const { metadata } of pods)
      await client.delete(PODS, metadata?.name ?? '', metadata?.namespace, { gracePeriodSeconds: 0 });
  }
}
