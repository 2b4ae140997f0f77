// Feeds the derivation from the API: one informer a kind, of which only identities stay in memory here, since the
// derivation holds its own reduced form. A kind whose CRD is not installed counts as empty and is picked up later.

import { parse as parseYaml } from 'yaml';
import type { Ambient } from '../derive/ambient.ts';
import type { InputKind } from '../derive/inputs.ts';
import type { Json } from '../derive/read.ts';
import { startInformer } from '../kube/client/informer.ts';
import {
  AUTHORIZATION_POLICIES,
  BACKEND_TLS_POLICIES,
  CONFIG_MAPS,
  DESTINATION_RULES,
  ENDPOINT_SLICES,
  ENVOY_FILTERS,
  GATEWAY_CLASSES,
  GATEWAYS,
  GRPC_ROUTES,
  HTTP_ROUTES,
  NAMESPACES,
  NODES,
  PEER_AUTHENTICATIONS,
  PODS,
  REFERENCE_GRANTS,
  REQUEST_AUTHENTICATIONS,
  SECRETS,
  SERVICE_ENTRIES,
  SERVICES,
  TCP_ROUTES,
  TELEMETRIES,
  TLS_ROUTES,
  TRAFFIC_FILTERS,
  VIRTUAL_SERVICES,
  WORKLOAD_ENTRIES,
} from '../kube/client/resources.ts';
import { type KubeClient, KubeError, type KubeObject, type Resource } from '../kube/client/types.ts';
import { logger } from '../telemetry/log.ts';
import type { ControlMetrics } from './metrics.ts';

const log = logger('watch');

const RESOURCES: Readonly<Record<InputKind, Resource<KubeObject>>> = {
  namespaces: NAMESPACES,
  nodes: NODES,
  pods: PODS,
  services: SERVICES,
  endpointslices: ENDPOINT_SLICES,
  serviceentries: SERVICE_ENTRIES,
  workloadentries: WORKLOAD_ENTRIES,
  gateways: GATEWAYS,
  gatewayclasses: GATEWAY_CLASSES,
  referencegrants: REFERENCE_GRANTS,
  configmaps: CONFIG_MAPS,
  secrets: SECRETS,
  peerauthentications: PEER_AUTHENTICATIONS,
  authorizationpolicies: AUTHORIZATION_POLICIES,
  httproutes: HTTP_ROUTES,
  grpcroutes: GRPC_ROUTES,
  tlsroutes: TLS_ROUTES,
  tcproutes: TCP_ROUTES,
  backendtlspolicies: BACKEND_TLS_POLICIES,
  virtualservices: VIRTUAL_SERVICES,
  destinationrules: DESTINATION_RULES,
  requestauthentications: REQUEST_AUTHENTICATIONS,
  telemetries: TELEMETRIES,
  envoyfilters: ENVOY_FILTERS,
  trafficfilters: TRAFFIC_FILTERS,
} as Readonly<Record<InputKind, Resource<KubeObject>>>;

export interface WatchOptions {
  readonly kube: KubeClient;
  readonly ambient: Ambient;
  readonly metrics: ControlMetrics;
  readonly systemNamespace: string;
  /** Name of the ConfigMap with the mesh configuration. */
  readonly meshConfigMap: string;
  readonly signal: AbortSignal;
}

/** @returns a promise that resolves when everything that there is has been fed in */
export async function watchCluster(options: WatchOptions): Promise<void> {
  const kinds = Object.keys(RESOURCES) as InputKind[];
  await Promise.all([...kinds.map((kind) => follow(options, kind)), followMeshConfig(options)]);
}

const identity = ({ metadata }: KubeObject): KubeObject => {
  const { name, namespace, uid, resourceVersion } = metadata ?? {};
  return {
    metadata: {
      ...(name === undefined ? {} : { name }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
  };
};

/** Without these the mesh still works at layer 4: a role that may not read them holds nothing up. */
const OPTIONAL: ReadonlySet<InputKind> = new Set<InputKind>(['secrets', 'configmaps', 'referencegrants']);

/** Whether the API does not serve the kind at all, or not to us, where that can be borne. */
const isAbsent = (error: unknown, kind: InputKind): boolean =>
  error instanceof KubeError && (error.code === 404 || (error.code === 403 && OPTIONAL.has(kind)));

function follow({ kube, ambient, metrics, signal }: WatchOptions, kind: InputKind): Promise<void> {
  const absent = Promise.withResolvers<void>();
  let wasAbsent = false;
  const informer = startInformer<KubeObject>(kube, RESOURCES[kind], {
    keep: identity,
    signal,
    onError: (error) => {
      if (isAbsent(error, kind)) {
        const denied = error instanceof KubeError && error.code === 403;
        if (!wasAbsent && denied) log.warn('kind may not be read; it counts as empty', { kind, error });
        else if (!wasAbsent) log.info('kind is not installed; looking again from time to time', { kind });
        wasAbsent = true;
        absent.resolve();
      } else log.warn('watch interrupted; trying again', { kind, error: error as Error });
    },
  });
  informer.onChange((key, now, before) => {
    const event = now === undefined ? 'delete' : before === undefined ? 'add' : 'update';
    metrics.kubernetesEvents.labels(RESOURCES[kind].kind, event).inc();
    ambient.inputs.set(kind, key, now as Json | undefined);
  });
  return Promise.race([informer.synced, absent.promise]);
}

function followMeshConfig({ kube, ambient, systemNamespace, meshConfigMap, signal }: WatchOptions): Promise<void> {
  const informer = startInformer(kube, CONFIG_MAPS, {
    namespace: systemNamespace,
    fieldSelector: `metadata.name=${meshConfigMap}`,
    signal,
    onError: (error) => log.warn('mesh configuration not read; trying again', { error: error as Error }),
  });
  informer.onChange((_key, now) => {
    let value: unknown;
    try {
      value = parseYaml(now?.data?.mesh ?? '');
    } catch (error) {
      log.error('mesh configuration not changed: it is not YAML', { configMap: meshConfigMap, error: error as Error });
      return;
    }
    for (const problem of ambient.inputs.setMesh(value)) log.warn('mesh configuration', { problem });
  });
  return informer.synced;
}
