// The objects of a live mesh that analyzers look at. A kind that the API does not serve is no object of it; a kind that
// may not be read is told.

import { parse } from 'yaml';
import { Resource } from '../../analyze/resource.ts';
import type { MeshSettings } from '../../analyze/world.ts';
import { parseMeshConfig } from '../../derive/objects/mesh.ts';
import { type Json, record, text, texts } from '../../derive/read.ts';
import type { HttpKubeClient } from '../../kube/client/client.ts';
import * as kinds from '../../kube/client/resources.ts';
import { apiVersionOf, CONFIG_MAPS, clusterResource, namespacedResource } from '../../kube/client/resources.ts';
import { KubeError, type Resource as KubeResource } from '../../kube/client/types.ts';

const { SECRETS } = kinds;

const READ: readonly KubeResource[] = [
  kinds.NAMESPACES,
  kinds.SERVICES,
  kinds.PODS,
  kinds.DEPLOYMENTS,
  kinds.DAEMON_SETS,
  namespacedResource('apps/v1', 'statefulsets', 'StatefulSet'),
  namespacedResource('batch/v1', 'jobs', 'Job'),
  namespacedResource('batch/v1', 'cronjobs', 'CronJob'),
  namespacedResource('networking.k8s.io/v1', 'networkpolicies', 'NetworkPolicy'),
  clusterResource('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', 'MutatingWebhookConfiguration'),
  clusterResource(
    'admissionregistration.k8s.io/v1',
    'validatingwebhookconfigurations',
    'ValidatingWebhookConfiguration',
  ),
  kinds.CUSTOM_RESOURCE_DEFINITIONS,
  kinds.GATEWAY_CLASSES,
  kinds.GATEWAYS,
  kinds.HTTP_ROUTES,
  kinds.GRPC_ROUTES,
  kinds.TLS_ROUTES,
  kinds.TCP_ROUTES,
  kinds.BACKEND_TLS_POLICIES,
  kinds.VIRTUAL_SERVICES,
  kinds.DESTINATION_RULES,
  kinds.ISTIO_GATEWAYS,
  kinds.SERVICE_ENTRIES,
  kinds.WORKLOAD_ENTRIES,
  kinds.WORKLOAD_GROUPS,
  kinds.SIDECARS,
  kinds.ENVOY_FILTERS,
  kinds.PROXY_CONFIGS,
  kinds.AUTHORIZATION_POLICIES,
  kinds.PEER_AUTHENTICATIONS,
  kinds.REQUEST_AUTHENTICATIONS,
  kinds.TELEMETRIES,
  kinds.WASM_PLUGINS,
];

/** Definitions are large, and only their names and annotations matter. */
const trimmed = (kind: string, object: Json): Json =>
  kind === 'CustomResourceDefinition' ? { metadata: object.metadata } : object;

export interface LiveMesh {
  readonly resources: readonly Resource[];
  readonly settings: MeshSettings;
  /** Kinds that may not be read, each with the reason. */
  readonly unread: readonly string[];
}

/** @throws KubeError, and what a connection throws, when the API does not answer at all */
export async function readMesh(client: HttpKubeClient, istioNamespace: string): Promise<LiveMesh> {
  const unread: string[] = [];
  const objectsOf = async (kind: KubeResource): Promise<Resource[]> => {
    try {
      const { items } = await client.list(kind);
      return items.map(
        (item) =>
          new Resource({ ...trimmed(kind.kind, item as Json), apiVersion: apiVersionOf(kind), kind: kind.kind }, ''),
      );
    } catch (error) {
      if (!(error instanceof KubeError) || (error.code !== 404 && error.code !== 403)) throw error;
      if (error.code === 403) unread.push(`${kind.plural}: ${error.message}`);
      return [];
    }
  };
  const resources = (await Promise.all(READ.map(objectsOf))).flat();
  // Secrets are read only where a gateway names some.
  if (resources.some(({ kind, group }) => kind === 'Gateway' && group === 'networking.istio.io'))
    resources.push(...(await objectsOf(SECRETS)));
  return { resources, settings: await settingsOf(client, istioNamespace), unread };
}

async function settingsOf(client: HttpKubeClient, istioNamespace: string): Promise<MeshSettings> {
  const map = await client.get(CONFIG_MAPS, 'istio', istioNamespace).catch((error: unknown) => {
    if (error instanceof KubeError && error.code === 403) return undefined;
    throw error;
  });
  return settingsIn(text(record(map?.data).mesh), istioNamespace);
}

/** @param yaml  a MeshConfig; empty: the defaults */
export function settingsIn(yaml: string, istioNamespace: string): MeshSettings {
  const value: unknown = yaml === '' ? {} : parse(yaml, { maxAliasCount: 100 });
  const { mesh } = parseMeshConfig(value);
  const rootNamespace = text(record(value).rootNamespace) === '' ? istioNamespace : mesh.rootNamespace;
  return {
    rootNamespace,
    clusterDomain: 'cluster.local',
    trustDomain: mesh.trustDomain,
    trustDomainAliases: texts(record(value).trustDomainAliases),
  };
}
