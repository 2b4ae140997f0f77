// What each L7 proxy is configured with: itself, the services that it must know, the certificates that it shows. Routes
// come from routes.ts.
//
//   Gateways ──> configs ───────────┬─> needs ──> services of each proxy ──> certificates of each proxy
//   routes, bound services ─────────┘

import type { ProxyCertificate, ProxyConfig } from '../model/proxy/proxy-config.ts';
import type { BoundService, ServiceConfig, TrafficPolicy } from '../model/proxy/service-config.ts';
import { DEFAULT_TELEMETRY, type TelemetryConfig } from '../model/proxy/telemetry-config.ts';
import type { Workload } from '../model/workload.ts';
import { type BackendTlsPolicies, deriveBackendTls } from './backend-tls.ts';
import { backendCertificateFault, type CertificateWorld } from './gateway/certificates.ts';
import { roleOf } from './gateway/role.ts';
import { deriveAttached } from './gateway-config/attached.ts';
import { identityOf, type ProxyIdentity } from './gateway-config/identity.ts';
import { keyOf, proxyListeners, rootsBeside, type SecretWorld } from './gateway-config/listeners.ts';
import { toServiceConfig } from './gateway-config/service-config.ts';
import { deriveTraffic } from './gateway-config/traffic.ts';
import type { PlannedGateways } from './gateways.ts';
import type { Collection, Graph, Index, Reader } from './graph/graph.ts';
import type { Inputs } from './inputs.ts';
import type { GatewayTarget } from './l7-security/attachment.ts';
import type { KeySource } from './l7-security/tokens.ts';
import { ANNOTATION } from './names.ts';
import type { MeshL7 } from './objects/mesh-l7.ts';
import { metaKey } from './objects/meta.ts';
import { indexGrants } from './objects/reference-grant.ts';
import { type Labels, looseBoolean } from './read.ts';
import { findByHost } from './routes/backends.ts';
import type { Need, Routes } from './routes.ts';
import type { Scope, Settings } from './scope.ts';
import type { ServiceInfo } from './service.ts';
import type { Offer } from './services.ts';

export interface ProxyService {
  readonly proxy: string;
  readonly config: ServiceConfig;
}

export interface NamedCertificate {
  readonly proxy: string;
  /** `<namespace>/<secret>` */
  readonly name: string;
  readonly certificate: ProxyCertificate;
}

export interface Proxies {
  /** By `<namespace>/<name>` of the Gateway. */
  readonly configs: Collection<ProxyConfig>;
  /** To whom a Gateway's configuration may be given, by the same key. */
  readonly identities: Collection<ProxyIdentity>;
  /** By `<proxy> <key of the service>`. */
  readonly services: Collection<ProxyService>;
  /** By `<proxy> <namespace>/<secret>`. */
  readonly certificates: Collection<NamedCertificate>;
  /** By name. */
  readonly keySources: Collection<KeySource>;
  readonly backendTls: BackendTlsPolicies;
}

interface Target extends ProxyIdentity {
  readonly target: GatewayTarget;
  /** The certificate that it shows to backends, `<namespace>/<secret>`. One that cannot be had is not shown. */
  readonly shown: string | undefined;
  readonly writesClientIdentity: boolean;
}

export function deriveProxies(
  graph: Graph,
  scope: Scope,
  inputs: Inputs,
  offer: Offer,
  planned: PlannedGateways,
  routes: Routes,
  workloads: { readonly byService: Index<Workload> },
  clusterDomain: string,
): Proxies {
  const { sources } = inputs;
  const secrets: SecretWorld = { secrets: sources.secrets, configMaps: sources.configmaps };
  const certificateWorld: CertificateWorld = { ...secrets, grants: indexGrants(sources.referencegrants) };
  const backendTls = deriveBackendTls(graph, scope, inputs, routes.services);
  const attached = deriveAttached(graph, scope, inputs, routes.mesh, clusterDomain);
  const trafficFor = deriveTraffic(graph, scope, inputs, {
    workloadsByService: workloads.byService,
    labels: deriveLabels(graph, scope),
    backendTls: backendTls.tls,
    mesh: routes.mesh,
    clusterDomain,
  });

  const targets = graph.derive('proxyTargets', planned.owned, (get, gateway): Target | undefined => {
    const cls = get.one(sources.gatewayclasses, gateway.className);
    const role = roleOf(gateway, cls);
    if (role === undefined || role.kind === 'remote') return undefined;
    const parts = get.one(planned.parts, metaKey(gateway));
    const accountsBehind = (hostname: string): readonly string[] =>
      get
        .all(workloads.byService, `${gateway.namespace}/${hostname}`)
        .filter(({ namespace }) => namespace === gateway.namespace)
        .map(({ serviceAccount }) => serviceAccount);
    const identity = identityOf(gateway, role, parts, clusterDomain, accountsBehind);
    const { namespace, name, className } = gateway;
    const kind = role.kind === 'waypoint' ? 'waypoint' : 'gateway';
    const ref = gateway.backendCertificate;
    const said = gateway.annotations[ANNOTATION.clientIdentity] ?? cls?.annotations[ANNOTATION.clientIdentity] ?? '';
    return {
      ...identity,
      target: { kind, namespace, name, className, podLabels: identity.podLabels },
      shown: ref === undefined || backendCertificateFault(get, certificateWorld, gateway) ? undefined : keyOf(ref),
      writesClientIdentity: looseBoolean(said) ?? false,
    };
  });
  const identities = graph.derive(
    'proxyIdentities',
    targets,
    (_get, { namespace, accounts, podLabels }): ProxyIdentity => ({ namespace, accounts, podLabels }),
  );

  const configs = graph.derive('proxyConfigs', targets, (get, { target, writesClientIdentity }): ProxyConfig => {
    const mesh = get.one(routes.mesh, '') as MeshL7;
    const { security, filters, telemetry } = attached.for(get, { of: 'proxy', gateway: target });
    const key = `${target.namespace}/${target.name}`;
    const verdicts = target.kind === 'waypoint' ? [] : (get.one(planned.verdicts, key) ?? []);
    return {
      role: target.kind,
      namespace: target.namespace,
      name: target.name,
      listeners: proxyListeners(get, secrets, verdicts),
      security,
      filters,
      telemetry: telemetry ?? DEFAULT_TELEMETRY,
      authorizationProviders: mesh.authorizationProviders,
      trustDomain: (get.one(scope.settings, '') as Settings).trustDomain,
      trustDomainAliases: mesh.trustDomainAliases,
      pathNormalization: mesh.pathNormalization,
      trustedProxies: mesh.trustedProxies,
      writesClientIdentity,
      hboneIdleMs: mesh.hboneIdleMs,
      connectTimeoutMs: mesh.connectTimeoutMs,
    };
  });

  const knownHost = (get: Reader, host: string, namespace: string): string | undefined =>
    findByHost(get, routes.backends, host, namespace)?.key;
  const ofConfigs = graph.deriveMany('configNeeds', configs, (get, config, proxy) =>
    [...new Set(hostsIn(config))].flatMap((host) => {
      const service = knownHost(get, host, config.namespace);
      return service === undefined ? [] : [[`${proxy} config ${service}`, { proxy, service }] as const];
    }),
  );
  const ofBound = graph.deriveMany('boundNeeds', routes.waypointsOf, (_get, proxies, service) =>
    proxies.map((proxy) => [`${proxy} bound ${service}`, { proxy, service }]),
  );
  const boundServices = graph.derive('boundServices', offer.infos, (get, info): readonly BoundAt[] | undefined =>
    info.waypoints.length === 0
      ? undefined
      : info.waypoints.flatMap((proxy) => {
          const target = get.one(targets, proxy)?.target;
          return target?.kind === 'waypoint' ? [{ proxy, bound: boundAt(get, info, target) }] : [];
        }),
  );
  function boundAt(get: Reader, { namespace, source }: ServiceInfo, gateway: GatewayTarget): BoundService {
    const service = { kind: source.kind, namespace, name: source.name };
    return attached.for(get, { of: 'service', gateway, service });
  }
  const ofFilters = graph.deriveMany('filterNeeds', boundServices, (get, several, key) =>
    several.flatMap(({ proxy, bound }) =>
      [...new Set([...limitsIn(bound), ...reportsIn(bound.telemetry)])].flatMap((host) => {
        const service = knownHost(get, host, key.slice(0, key.indexOf('/')));
        return service === undefined ? [] : [[`${proxy} filters ${key} ${service}`, { proxy, service }] as const];
      }),
    ),
  );
  const byService = graph
    .join<Need>('needs', [routes.needs, ofConfigs, ofBound, ofFilters])
    .index('byService', ({ proxy, service }) => [`${proxy} ${service}`]);
  const services = graph.group('proxyServices', byService, (get, [need], key) => {
    if (need === undefined || get.one(targets, need.proxy) === undefined) return [];
    const info = get.one(offer.infos, need.service);
    const service = get.one(routes.services, need.service);
    if (info === undefined || service === undefined) return [];
    const { proxy } = need;
    const bound = get.one(boundServices, need.service)?.find((each) => each.proxy === proxy)?.bound;
    const { target, shown } = get.one(targets, proxy) as Target;
    const traffic = trafficFor(get, service, target.namespace, shown);
    return [[key, { proxy, config: toServiceConfig(info, traffic, bound) }]];
  });

  const shown = graph.deriveMany('shownCertificates', configs, (_get, config, proxy) =>
    [...new Set(config.listeners.flatMap(({ tls }) => (tls?.mode === 'terminate' ? tls.certificates : [])))].map(
      (name) => [`${proxy} listeners ${name}`, { proxy, name }],
    ),
  );
  const sent = graph.deriveMany('sentCertificates', services, (_get, { proxy, config }, key) =>
    [...new Set(certificatesIn(config))].map((name) => [`${key} ${name}`, { proxy, name }]),
  );
  const byName = graph
    .join<{ readonly proxy: string; readonly name: string }>('certificateNeeds', [shown, sent])
    .index('byName', ({ proxy, name }) => [`${proxy} ${name}`]);
  const certificates = graph.group('proxyCertificates', byName, (get, [need], key) => {
    const secret = need && get.one(sources.secrets, need.name);
    if (need === undefined || secret === undefined || secret.certificate === '' || secret.privateKey === '') return [];
    const certificate: ProxyCertificate = {
      chainPem: secret.certificate,
      keyPem: secret.privateKey,
      rootsPem: rootsBeside(get, secrets, need.name),
    };
    return [[key, { ...need, certificate }]];
  });

  return { configs, identities, services, certificates, keySources: attached.keySources, backendTls };
}

interface BoundAt {
  readonly proxy: string;
  readonly bound: BoundService;
}

/** Labels of workloads by uid, for the subsets of DestinationRules. */
function deriveLabels(graph: Graph, scope: Scope): Collection<Labels> {
  const cluster = (get: Reader): string => (get.one(scope.settings, '') as Settings).clusterId;
  return graph.join('workloadLabels', [
    graph.deriveMany('podLabels', scope.pods, (get, pod) => [
      [`${cluster(get)}//Pod/${pod.namespace}/${pod.name}`, pod.labels],
    ]),
    graph.deriveMany('workloadEntryLabels', scope.workloadEntries, (get, entry) => [
      [`${cluster(get)}/networking.istio.io/WorkloadEntry/${entry.namespace}/${entry.name}`, entry.labels],
    ]),
    graph.deriveMany('inlineLabels', scope.entries, (get, entry) => {
      const distinct = new Map(entry.endpoints.map((point) => [point.address, point.labels]));
      const prefix = `${cluster(get)}/networking.istio.io/ServiceEntry/${entry.namespace}/${entry.name}`;
      return [...distinct].map(([address, labels]) => [`${prefix}/${address}`, labels]);
    }),
  ]);
}

const limitsIn = ({ filters }: Pick<ProxyConfig, 'filters'>): readonly string[] =>
  filters.globalRateLimit === undefined ? [] : [filters.globalRateLimit.host];

const reportsIn = (telemetry: TelemetryConfig | undefined): readonly string[] =>
  telemetry === undefined
    ? []
    : [
        ...(telemetry.tracing === undefined ? [] : [telemetry.tracing.host]),
        ...telemetry.accessLogs.flatMap(({ sink }) => (sink.kind === 'otlp' ? [sink.host] : [])),
      ];

/** Hosts that a proxy calls by itself. */
const hostsIn = (config: ProxyConfig): readonly string[] => [
  ...config.authorizationProviders.map(({ host }) => host),
  ...limitsIn(config),
  ...reportsIn(config.telemetry),
];

function* policiesIn({ traffic }: ServiceConfig): Generator<TrafficPolicy> {
  yield traffic.policy;
  yield* Object.values(traffic.ports);
  for (const subset of traffic.subsets) {
    yield subset.policy;
    yield* Object.values(subset.ports);
  }
}

function* certificatesIn(config: ServiceConfig): Generator<string> {
  for (const { tls } of policiesIn(config)) if (tls?.certificate !== undefined) yield tls.certificate;
}
