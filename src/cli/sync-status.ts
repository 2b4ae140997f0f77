// What control planes tell of the proxies that are connected to them (`/debug/syncz`): our own answer, and istiod's two
// forms: an entry for each type below `resources`, and the older one with a pair of fields for each.

import type { IPod } from 'kubernetes-models/v1/Pod';
import { PODS } from '../kube/client/resources.ts';
import { Failure } from './failure.ts';
import { type Mesh, podText } from './mesh.ts';

/** istioctl's words. */
export type SyncWord = 'SYNCED' | 'NOT SENT' | 'STALE' | 'ERROR';

export interface TypeSync {
  /** `WDS`, `WADS`, `CDS`, … */
  readonly type: string;
  readonly state: SyncWord;
  /** RFC 3339 time of the last acknowledgement; undefined where it is not told. */
  readonly ackedAt: string | undefined;
  /** Why the proxy refused what it was sent. */
  readonly rejection: string | undefined;
}

export interface ProxySync {
  /** `pod.namespace` */
  readonly name: string;
  readonly cluster: string;
  readonly istiod: string;
  readonly version: string;
  /** By name of the type. */
  readonly types: readonly TypeSync[];
}

const DEBUG_PORT = 8080;

/** Istio's short names. */
const SHORT_TYPES: Readonly<Record<string, string>> = {
  'istio.workload.Address': 'WDS',
  'istio.workload.Workload': 'WDS',
  'istio.security.Authorization': 'WADS',
  'ambit.proxy.v1.Proxy': 'PROXY',
  'ambit.proxy.v1.Route': 'ROUTE',
  'ambit.proxy.v1.Service': 'SERVICE',
  'ambit.proxy.v1.Certificate': 'CERT',
  'envoy.config.cluster.v3.Cluster': 'CDS',
  'envoy.config.listener.v3.Listener': 'LDS',
  'envoy.config.endpoint.v3.ClusterLoadAssignment': 'EDS',
  'envoy.config.route.v3.RouteConfiguration': 'RDS',
  'envoy.extensions.transport_sockets.tls.v3.Secret': 'SDS',
  'envoy.config.core.v3.TypedExtensionConfig': 'ECDS',
};
const STATES: Readonly<Record<string, SyncWord>> = {
  synced: 'SYNCED',
  stale: 'STALE',
  rejected: 'ERROR',
  never: 'NOT SENT',
};
const ISTIOD_TYPES: Readonly<Record<string, string>> = {
  cluster: 'CDS',
  listener: 'LDS',
  endpoint: 'EDS',
  route: 'RDS',
  extensionconfig: 'ECDS',
};

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const textOf = (fields: Fields, name: string): string => (typeof fields[name] === 'string' ? fields[name] : '');

export async function controlPlanePods(mesh: Mesh): Promise<IPod[]> {
  const { items } = await mesh.client.list(PODS, { namespace: mesh.istioNamespace, labelSelector: 'app=istiod' });
  return items
    .filter((pod) => pod.status?.phase === 'Running' && pod.metadata?.deletionTimestamp === undefined)
    .sort((a, b) => (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? ''));
}

/** Asks every control plane; each proxy is connected to one of them. */
export async function fetchSyncStatus(mesh: Mesh, pods: readonly IPod[]): Promise<readonly ProxySync[]> {
  const answers = await Promise.all(
    pods.map(async (pod) => {
      const name = pod.metadata?.name ?? '';
      return parseSyncStatus(await podText(mesh, pod, DEBUG_PORT, '/debug/syncz'), name);
    }),
  );
  return answers.flat().sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** @param istiod pod whose answer it is */
export function parseSyncStatus(text: string, istiod: string): readonly ProxySync[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (Array.isArray(value)) return value.filter(isFields).map((entry) => fromIstiod(entry, istiod));
  if (isFields(value) && Array.isArray(value.proxies))
    return value.proxies.filter(isFields).map((entry) => fromOurs(entry, istiod));
  throw new Failure({
    what: `the answer of \`${istiod}\` is not understood`,
    why: 'it is no list of proxies',
    fix: 'check that the pods with label app=istiod are control planes',
  });
}

function fromOurs(entry: Fields, istiod: string): ProxySync {
  const types = isFields(entry.types) ? entry.types : {};
  return {
    name: textOf(entry, 'proxy'),
    cluster: textOf(entry, 'clusterId'),
    istiod,
    version: textOf(entry, 'version'),
    types: Object.entries(types)
      .map(([url, status]): TypeSync => {
        const fields = isFields(status) ? status : {};
        return {
          type: shortType(url),
          state: STATES[textOf(fields, 'state')] ?? 'STALE',
          ackedAt: textOf(fields, 'ackedAt') || undefined,
          rejection: textOf(fields, 'rejection') || undefined,
        };
      })
      .sort(byType),
  };
}

function fromIstiod(entry: Fields, istiod: string): ProxySync {
  const pairs = isFields(entry.resources)
    ? Object.entries(entry.resources).map(([url, resource]) => {
        const fields = isFields(resource) ? resource : {};
        return { type: shortType(url), sent: textOf(fields, 'sent'), acked: textOf(fields, 'acked') };
      })
    : Object.entries(ISTIOD_TYPES)
        .map(([field, type]) => ({
          type,
          sent: textOf(entry, `${field}_sent`),
          acked: textOf(entry, `${field}_acked`),
        }))
        .filter(({ sent, acked }) => sent !== '' || acked !== '');
  const types = pairs.map(({ type, sent, acked }): TypeSync => {
    const state = sent === '' ? 'NOT SENT' : sent === acked ? 'SYNCED' : 'STALE';
    return { type, state, ackedAt: undefined, rejection: undefined };
  });
  return {
    name: textOf(entry, 'proxy'),
    cluster: textOf(entry, 'cluster_id'),
    istiod,
    version: textOf(entry, 'istio_version') || textOf(entry, 'proxy_version'),
    types: types.sort(byType),
  };
}

const byType = (a: TypeSync, b: TypeSync): number => (a.type < b.type ? -1 : 1);

function shortType(url: string): string {
  const name = url.slice(url.lastIndexOf('/') + 1);
  return SHORT_TYPES[name] ?? name;
}
