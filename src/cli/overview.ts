// The whole of a mesh at a glance: nodes, the mesh's own parts, and the services with who of their pods is in the mesh.

import type { IPeerAuthentication } from '@kubernetes-models/istio/security.istio.io/v1/PeerAuthentication';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { IService } from 'kubernetes-models/v1/Service';
import {
  AUTHORIZATION_POLICIES,
  GATEWAYS,
  NAMESPACES,
  NODES,
  PEER_AUTHENTICATIONS,
  PODS,
  SERVICES,
} from '../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../kube/client/types.ts';
import { type GatewayLine, gatewayLine } from './gateways.ts';
import { age, colours, table } from './output.ts';

export interface Overview {
  readonly nodes: readonly {
    readonly name: string;
    readonly ready: boolean;
    readonly pods: number;
    readonly ztunnel: string;
  }[];
  readonly parts: readonly {
    readonly name: string;
    readonly node: string;
    readonly ready: boolean;
    readonly restarts: number;
    readonly age: string;
  }[];
  readonly namespaces: readonly {
    readonly name: string;
    readonly mode: string;
    readonly mtls: string;
    readonly policies: number;
  }[];
  readonly services: readonly ServiceLine[];
  readonly gateways: readonly GatewayLine[];
  /** Pods that should be in the mesh and are not yet, and pods that are not ready, with what is known. */
  readonly troubles: readonly { readonly pod: string; readonly why: string }[];
}

export interface ServiceLine {
  readonly namespace: string;
  readonly name: string;
  readonly address: string;
  readonly ports: string;
  readonly ready: number;
  readonly pods: number;
  /** Every pod behind it is captured. */
  readonly inMesh: boolean;
}

const REDIRECTION = 'ambient.istio.io/redirection';
const isReady = (pod: IPod): boolean =>
  pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
const restartsOf = (pod: IPod): number =>
  (pod.status?.containerStatuses ?? []).reduce((sum, c) => sum + c.restartCount, 0);

export async function overviewOf(client: KubeClient, istioNamespace = 'istio-system'): Promise<Overview> {
  const [nodes, namespaces, services, pods, policies, peers, gateways] = await Promise.all([
    client.list(NODES),
    client.list(NAMESPACES),
    client.list(SERVICES),
    client.list(PODS),
    client.list(AUTHORIZATION_POLICIES).catch(noneIfUnknown),
    client.list(PEER_AUTHENTICATIONS).catch(noneIfUnknown),
    client.list(GATEWAYS).catch(noneIfUnknown),
  ]);
  const live = pods.items.filter(
    (pod) =>
      pod.metadata?.deletionTimestamp === undefined &&
      pod.status?.phase !== 'Succeeded' &&
      pod.status?.phase !== 'Failed',
  );
  const parts = live.filter((pod) => pod.metadata?.namespace === istioNamespace);
  const users = new Set(
    namespaces.items
      .map((n) => n.metadata?.name ?? '')
      .filter((name) => name !== istioNamespace && !name.startsWith('kube-')),
  );
  const modeOf = (name: string): string =>
    namespaces.items.find((n) => n.metadata?.name === name)?.metadata?.labels?.['istio.io/dataplane-mode'] ?? '';
  return {
    nodes: nodes.items.map((node) => ({
      name: node.metadata?.name ?? '',
      ready: node.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true,
      pods: live.filter((pod) => pod.spec?.nodeName === node.metadata?.name).length,
      ztunnel:
        parts.find(
          (pod) =>
            pod.spec?.nodeName === node.metadata?.name && pod.metadata?.labels?.app === 'ztunnel' && isReady(pod),
        )?.metadata?.name ?? '',
    })),
    parts: parts.map((pod) => ({
      name: pod.metadata?.name ?? '',
      node: pod.spec?.nodeName ?? '',
      ready: isReady(pod),
      restarts: restartsOf(pod),
      age: age(pod.metadata?.creationTimestamp),
    })),
    namespaces: [...users].sort().map((name) => ({
      name,
      mode: modeOf(name) || 'none',
      mtls: mtlsOf(peers.items, name) ?? mtlsOf(peers.items, istioNamespace) ?? 'PERMISSIVE',
      policies: policies.items.filter((p) => p.metadata?.namespace === name).length,
    })),
    services: services.items
      .filter(
        (service) =>
          users.has(service.metadata?.namespace ?? '') &&
          !(service.metadata?.namespace === 'default' && service.metadata.name === 'kubernetes'),
      )
      .map((service) => lineOf(service, live))
      .sort((a, b) => a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name)),
    gateways: gateways.items
      .map((gateway) => gatewayLine(gateway, services.items))
      .sort((a, b) => a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name)),
    troubles: live.flatMap((pod) => troubleOf(pod, modeOf(pod.metadata?.namespace ?? ''))),
  };
}

/** A cluster without Istio's definitions has none of its objects. */
function noneIfUnknown(error: unknown): { items: never[] } {
  if (error instanceof KubeError && error.code === 404) return { items: [] };
  throw error;
}

/** What a namespace's own PeerAuthentication says, the oldest where there are several; UNSET inherits. */
function mtlsOf(peers: readonly IPeerAuthentication[], namespace: string): string | undefined {
  const [oldest] = peers
    .filter((p) => p.metadata?.namespace === namespace && !Object.keys(p.spec?.selector?.matchLabels ?? {}).length)
    .sort((a, b) => (a.metadata?.creationTimestamp ?? '').localeCompare(b.metadata?.creationTimestamp ?? ''));
  const mode = oldest?.spec?.mtls?.mode;
  return mode === 'UNSET' ? undefined : mode;
}

function lineOf(service: IService, pods: readonly IPod[]): ServiceLine {
  const selector = Object.entries(service.spec?.selector ?? {});
  const behind =
    selector.length === 0
      ? []
      : pods.filter(
          (pod) =>
            pod.metadata?.namespace === service.metadata?.namespace &&
            selector.every(([k, v]) => pod.metadata?.labels?.[k] === v),
        );
  return {
    namespace: service.metadata?.namespace ?? '',
    name: service.metadata?.name ?? '',
    address:
      service.spec?.type === 'ExternalName'
        ? (service.spec.externalName ?? '')
        : service.spec?.clusterIP === 'None'
          ? 'headless'
          : (service.spec?.clusterIP ?? ''),
    ports: (service.spec?.ports ?? []).map((port) => `${port.port}`).join(','),
    ready: behind.filter(isReady).length,
    pods: behind.length,
    inMesh: behind.length > 0 && behind.every((pod) => pod.metadata?.annotations?.[REDIRECTION] === 'enabled'),
  };
}

function troubleOf(pod: IPod, mode: string): { pod: string; why: string }[] {
  const name = `${pod.metadata?.namespace}/${pod.metadata?.name}`;
  const state = pod.metadata?.annotations?.[REDIRECTION];
  const waiting = (pod.status?.containerStatuses ?? []).map((c) => c.state?.waiting).find((w) => w?.reason);
  if (waiting) return [{ pod: name, why: `${waiting.reason}${waiting.message ? `: ${waiting.message}` : ''}` }];
  if (!isReady(pod))
    return [{ pod: name, why: pod.status?.phase === 'Running' ? 'not ready' : (pod.status?.phase ?? 'not started') }];
  if (state === 'pending') return [{ pod: name, why: 'captured, but no ztunnel has taken it yet' }];
  const wanted =
    (pod.metadata?.labels?.['istio.io/dataplane-mode'] ?? mode) === 'ambient' && pod.spec?.hostNetwork !== true;
  return wanted && state === undefined ? [{ pod: name, why: 'should be in the mesh and is not: see its events' }] : [];
}

export const serviceLines = (services: readonly ServiceLine[]): string =>
  table(
    ['NAMESPACE', 'SERVICE', 'ADDRESS', 'PORTS', 'READY', 'IN MESH'],
    services.map((s) => [
      s.namespace,
      s.name,
      s.address,
      s.ports,
      `${s.ready}/${s.pods}`,
      s.inMesh ? colours.green('yes') : s.pods === 0 ? '-' : colours.yellow('no'),
    ]),
    2,
  );
