// The control plane put together: watch -> derivation -> discovery; the authority; and, on the leader, the writers.
// Nothing below this reads the environment or makes its own client.

import type { Server } from 'node:http';
import { DEFAULT_AMBIENT_OPTIONS, deriveAmbient } from '../derive/ambient.ts';
import type { KubeClient } from '../kube/client/types.ts';
import { type Clock, sleep } from '../platform/clock.ts';
import { logger } from '../telemetry/log.ts';
import { acceptsOpenMetrics, CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_TEXT } from '../telemetry/openmetrics.ts';
import { DELTA_METHOD, DiscoveryServer } from './ads/server.ts';
import { authenticator } from './auth/authenticate.ts';
import { TokenAuthenticator } from './auth/token.ts';
import { NodePermissions } from './ca/impersonation.ts';
import { CREATE_CERTIFICATE_METHOD, certificateService } from './ca/service.ts';
import { issueServing, ServingCertificate, servingNames } from './ca/serving.ts';
import { CaStore } from './ca/store.ts';
import { rootBundle, type Trust } from './ca/trust.ts';
import type { ControlConfig, Listen } from './config.ts';
import { BuiltInClasses } from './gateways/classes.ts';
import { GatewayDeployer } from './gateways/deployer.ts';
import { GrpcServer } from './grpc/server.ts';
import { json, localOnly, portOf, serveHttp, text } from './http.ts';
import { followTokenKeys } from './jwks/follow.ts';
import { electLeader } from './leader.ts';
import { type ControlMetrics, createMetrics } from './metrics.ts';
import { RootCertificates } from './root-certs.ts';
import { StatusWriter } from './status-writer.ts';
import { syncReport } from './syncz.ts';
import { VirtualAddresses } from './virtual-addresses.ts';
import { watchCluster } from './watch.ts';
import { WorkQueue } from './work-queue.ts';

const log = logger('control');

/** Streams and requests that are under way at the end may finish within this. */
const GRACE_MS = 5_000;

export interface ControlPlane {
  /** Ports in use, for those who asked for any free one. */
  readonly ports: { readonly grpc: number; readonly http: number; readonly metrics: number };
  /** Ends it in order. */
  stop(): Promise<void>;
}

export interface ControlOptions {
  readonly config: ControlConfig;
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly version: string;
}

/**
 * Starts the control plane. Resolves when it serves: everything there is has been seen, and the authority is loaded.
 * @throws CaConfigurationError; KubeError; the listeners' errors
 */
export async function startControl({ config, kube, clock, version }: ControlOptions): Promise<ControlPlane> {
  const { identity, discovery: limits, ca, listen } = config;
  const { namespace, revision } = identity;
  const stopping = new AbortController();
  const { signal } = stopping;
  const metrics = createMetrics(version);
  const ambient = deriveAmbient({
    ...DEFAULT_AMBIENT_OPTIONS,
    clusterId: identity.clusterId,
    clusterDomain: identity.clusterDomain,
    systemNamespace: namespace,
    revisions: new Set([revision]),
    revision,
    proxyImage: config.proxyImage,
    autoAllowWaypoints: limits.autoAllowWaypoints,
    dryRunPolicies: limits.dryRunPolicies,
  });
  const trustDomain = (): string => ambient.inputs.mesh.get('')?.trustDomain ?? '';
  const tokens = new TokenAuthenticator(kube, ca.audiences, clock);
  const authenticate = authenticator(tokens, trustDomain);
  const discovery = new DiscoveryServer(ambient, {
    authenticate,
    metrics,
    clock,
    maxNewStreams: limits.maxNewStreams,
    checkIdentity: limits.checkIdentity,
  });
  ambient.graph.onWork = () => discovery.inputChanged();
  ambient.graph.onError = (collection, key, error) =>
    log.error('not derived; its last state stays in force', { collection, key, error: error as Error });
  const permissions = new NodePermissions(ambient.inputs.sources.pods, kube, ca.trustedNodeAccounts, trustDomain);

  let isReady = false;
  const http = await serveReadiness(listen.http, () => isReady, identity.podName, discovery);
  const monitoring = await serveMetrics(listen.metrics, metrics, version);
  let grpc: GrpcServer | undefined;
  let serving: ServingCertificate | undefined;
  const election: { done: Promise<void> } = { done: Promise.resolve() };
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= shutDown();
    return stopped;
  };
  const shutDown = async (): Promise<void> => {
    isReady = false;
    discovery.stop();
    serving?.stop();
    stopping.abort();
    await Promise.all([grpc?.stop(GRACE_MS), election.done]);
    for (const server of [http, monitoring]) server.close().closeAllConnections();
  };

  try {
    const meshConfigMap = revision === 'default' ? 'istio' : `istio-${revision}`;
    const [store] = await Promise.all([
      onceReachable(clock, signal, () =>
        CaStore.open({
          kube,
          namespace,
          clock,
          organization: 'cluster.local',
          rsaBits: ca.rsaBits,
          overlapMs: ca.defaultTtlSeconds * 1000,
          signal,
        }),
      ),
      watchCluster({ kube, ambient, metrics, systemNamespace: namespace, meshConfigMap, signal }),
    ]);
    discovery.start();
    const tokenKeys = followTokenKeys(
      ambient,
      clock,
      config.discovery.keyRefreshSeconds * 1000,
      config.discovery.blockedKeyAddresses,
    );
    signal.addEventListener('abort', () => tokenKeys.stop(), { once: true });
    const hosts = servingNames(namespace, revision, ca.extraHosts);
    const server = await GrpcServer.listen({
      ...listen.grpc,
      credentials: await issueServing(store.trust, hosts, clock.nowMs()),
      methods: new Map([
        [DELTA_METHOD, discovery.method],
        [
          CREATE_CERTIFICATE_METHOD,
          certificateService({
            authenticate,
            permissions,
            trust: () => store.trust,
            trustDomain,
            clock,
            metrics,
            defaultTtlSeconds: ca.defaultTtlSeconds,
            maxTtlSeconds: ca.maxTtlSeconds,
          }),
        ],
      ]),
      clock,
    });
    grpc = server;
    const certificate = new ServingCertificate(
      hosts,
      () => store.trust,
      clock,
      (fresh) => server.setCredentials(fresh),
    );
    serving = certificate;
    const lead = leaderWork({ config, kube, clock, ambient, store, metrics });
    showExpiry(metrics, store.trust);
    store.onChange((trust) => {
      showExpiry(metrics, trust);
      void certificate.renew();
      lead.trustChanged();
    });
    election.done = electLeader({
      kube,
      clock,
      namespace,
      leaseName: revision === 'default' ? 'istio-leader' : `istio-leader-${revision}`,
      identity: identity.podName,
      signal,
      lead: lead.start,
    });
    isReady = true;
    const { workloads, services, policies } = ambient;
    log.info('ready', { workloads: workloads.size, services: services.size, policies: policies.size });
    return { ports: { grpc: server.port, http: portOf(http), metrics: portOf(monitoring) }, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const REACH_AGAIN_MS = 500;

/** An API server that is not there yet is waited for; what it answers, or a bad authority, is final. */
async function onceReachable<T>(clock: Clock, signal: AbortSignal, run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      const isLost = error instanceof Error && 'code' in error && typeof error.code === 'string';
      if (!isLost || signal.aborted) throw error;
      if (attempt % 10 === 1) log.warn('the Kubernetes API cannot be reached; trying again', { error });
      await sleep(clock, REACH_AGAIN_MS, signal).catch(() => {});
    }
  }
}

function leaderWork(deps: {
  readonly config: ControlConfig;
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly ambient: ReturnType<typeof deriveAmbient>;
  readonly store: CaStore;
  readonly metrics: ControlMetrics;
}): { readonly start: (signal: AbortSignal) => void; readonly trustChanged: () => void } {
  const { config, kube, clock, ambient, store, metrics } = deps;
  const roots = new RootCertificates({
    kube,
    clock,
    namespaces: ambient.inputs.sources.namespaces,
    always: new Set([...config.ca.trustedNodeAccounts].map((account) => account.split('/', 1)[0] as string)),
    roots: () => rootBundle(store.trust),
  });
  const writers = [
    roots,
    new StatusWriter({ kube, reports: ambient.reports, clock, metrics }),
    new VirtualAddresses({ kube, clock, entries: ambient.serviceEntries }),
    new BuiltInClasses({ kube, clock, classes: ambient.inputs.sources.gatewayclasses }),
    new GatewayDeployer({ kube, clock, gateways: ambient.gateways, objects: ambient.inputs.sources.gateways }),
  ];
  let upkeep: WorkQueue | undefined;
  return {
    start: (signal) => {
      for (const writer of writers) writer.start(signal);
      upkeep = new WorkQueue(() => store.maintain(), {
        clock,
        concurrency: 1,
        signal,
        onError: (_key, error, attempt) =>
          log.warn('trusted roots not written down; trying again', { attempt, error: error as Error }),
      });
      void regularly(clock, signal, () => upkeep?.add(''));
    },
    trustChanged: () => {
      roots.refresh();
      upkeep?.add('');
    },
  };
}

const UPKEEP_EVERY_MS = 3_600_000;

/** At once, and every hour until the signal is aborted. */
async function regularly(clock: Clock, signal: AbortSignal, run: () => void): Promise<void> {
  while (!signal.aborted) {
    run();
    await sleep(clock, UPKEEP_EVERY_MS, signal).catch(() => {});
  }
}

const secondsOf = (ms: number): number => Math.floor(ms / 1000);

function showExpiry(metrics: ControlMetrics, { bundle }: Trust): void {
  metrics.rootExpiry.set(secondsOf(bundle.rootNotAfterMs));
  metrics.chainExpiry.set(secondsOf(bundle.notAfterMs));
}

const serveReadiness = (
  { host, port }: Listen,
  isReady: () => boolean,
  podName: string,
  discovery: DiscoveryServer,
): Promise<Server> =>
  serveHttp(host, port, {
    '/ready': () => (isReady() ? text(200, 'ok\n') : text(503, 'not ready\n')),
    '/debug/syncz': localOnly(() => json(syncReport(podName, discovery.version, discovery.streams))),
  });

const serveMetrics = ({ host, port }: Listen, { registry }: ControlMetrics, version: string): Promise<Server> =>
  serveHttp(host, port, {
    '/metrics': (request) => ({
      status: 200,
      type: acceptsOpenMetrics(request.headers.accept) ? CONTENT_TYPE_OPENMETRICS : CONTENT_TYPE_TEXT,
      body: registry.render(),
    }),
    '/version': () => text(200, `${version}\n`),
  });
