// One `ambit proxy router` as an L7 hop. It is configured as in a mesh, over delta ADS with a certificate from the
// certificate service; only the control plane's process is played here, with resources of its own encoding.

import { writeFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { TestAuthority } from '../../src/dataplane/testing/authority.ts';
import { type Channel, type DiscoveryStream, discoveryRoutes } from '../../src/dataplane/testing/grpc-server.ts';
import type { HttpRouteRule } from '../../src/model/http/route.ts';
import type { Ip } from '../../src/model/ip.ts';
import { NO_FILTERS } from '../../src/model/proxy/filters.ts';
import type { ProxyConfig } from '../../src/model/proxy/proxy-config.ts';
import type { HttpRouteResource } from '../../src/model/proxy/route-resource.ts';
import { DEFAULT_TRAFFIC_POLICY, type ServiceConfig } from '../../src/model/proxy/service-config.ts';
import type { Service, Workload } from '../../src/model/workload.ts';
import { Netns } from '../../src/platform/linux/netns.ts';
import { listenTcp } from '../../src/platform/linux/sockets.ts';
import {
  IstioCertificateResponseSchema,
  IstioCertificateService,
} from '../../src/wire/gen/istio/v1/auth/citadel_pb.ts';
import { PROXY_TYPE, ROUTE_TYPE, SERVICE_TYPE } from '../../src/wire/l7/names.ts';
import { encodeProxy, encodeRoute, encodeServiceConfig } from '../../src/wire/l7/resources.ts';
import { ADDRESS_TYPE } from '../../src/wire/xds/names.ts';
import { encodeService, encodeWorkload } from '../../src/wire/xds/resources.ts';
import { HTTP_PORT } from '../load/protocol.ts';
import { inside, type Pair } from '../network.ts';
import { startLogging } from '../processes.ts';
import { ISSUER, type L7Setting, LISTEN_PORT } from './l7-world.ts';
import type { Path } from './path.ts';

const CONTROL_PORT = 15_012;
const NAMESPACE = 'bench';
const HOSTNAME = 'app.bench.svc.cluster.local';
const SERVICE_KEY = `${NAMESPACE}/${HOSTNAME}`;
const NAME = 'edge';

interface Resource {
  readonly type: string;
  readonly name: string;
  readonly value: Uint8Array;
}

function proxyConfig({ token }: L7Setting): ProxyConfig {
  return {
    role: 'gateway',
    namespace: NAMESPACE,
    name: NAME,
    listeners: [
      { name: 'http', port: LISTEN_PORT, protocol: 'HTTP', hostname: '*', tls: undefined, redirectsToHttps: false },
    ],
    security: {
      policies: [
        {
          key: 'bench/allow',
          action: { kind: 'allow' },
          dryRun: false,
          anyRule: [
            {
              from: [],
              to: [
                [
                  {
                    list: 'methods',
                    negated: false,
                    anyOf: [{ field: 'request.method', predicate: { kind: 'exact', value: 'GET' } }],
                  },
                  {
                    list: 'paths',
                    negated: false,
                    anyOf: [{ field: 'request.path', predicate: { kind: 'prefix', value: '/' } }],
                  },
                ],
              ],
              when: [],
            },
          ],
        },
      ],
      tokens:
        token === undefined
          ? []
          : [
              {
                issuer: ISSUER,
                audiences: [],
                keys: { kind: 'set', json: token.jwks },
                from: [{ kind: 'header', name: 'authorization', prefix: 'Bearer ' }],
                forward: true,
                payloadToHeader: undefined,
                claimsToHeaders: [],
                spaceDelimitedClaims: [],
              },
            ],
    },
    filters: NO_FILTERS,
    telemetry: {
      accessLogs: [
        {
          provider: 'mesh',
          filter: undefined,
          sink: { kind: 'stdout' },
          format: { kind: 'defaultText' },
          omitsEmpty: false,
        },
      ],
      tracing: undefined,
      metrics: { enabled: true, overrides: [] },
    },
    authorizationProviders: [],
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    pathNormalization: 'BASE',
    trustedProxies: 0,
    writesClientIdentity: false,
    hboneIdleMs: 3_600_000,
    connectTimeoutMs: 10_000,
  };
}

const serviceConfig: ServiceConfig = {
  key: SERVICE_KEY,
  hostname: HOSTNAME,
  ports: [{ port: 80, name: 'http', protocol: 'http' }],
  resolution: 'endpoints',
  traffic: { policy: DEFAULT_TRAFFIC_POLICY, ports: {}, subsets: [] },
  bound: undefined,
  subjectAltNames: [],
};

const service: Service = {
  name: 'app',
  namespace: NAMESPACE,
  hostname: HOSTNAME,
  vips: [{ network: '', ip: '10.96.0.10' as Ip }],
  cidrVips: [],
  ports: [{ servicePort: 80, targetPort: HTTP_PORT, appProtocol: 'http11' }],
  subjectAltNames: [],
  waypoint: undefined,
  weightedWaypoints: [],
  ingressUseWaypoint: false,
  loadBalancing: { mode: 'unspecified', preferences: [], healthPolicy: 'onlyHealthy' },
  ipFamilies: 'automatic',
  canonical: true,
  visibility: 'public',
};

const workload = (ip: Ip): Workload => ({
  uid: 'Kubernetes//Pod/bench/app',
  name: 'app',
  namespace: NAMESPACE,
  addresses: [ip],
  hostname: '',
  network: '',
  tunnelProtocol: 'none',
  trustDomain: 'cluster.local',
  serviceAccount: 'app',
  waypoint: undefined,
  networkGateway: undefined,
  node: 'node',
  canonicalName: 'app',
  canonicalRevision: 'latest',
  workloadType: 'deployment',
  workloadName: 'app',
  nativeTunnel: false,
  applicationTunnel: undefined,
  services: new Map([[SERVICE_KEY, [{ servicePort: 80, targetPort: HTTP_PORT, appProtocol: 'http11' }]]]),
  authorizationPolicies: [],
  status: 'healthy',
  clusterId: 'Kubernetes',
  locality: { region: '', zone: '', subzone: '' },
  capacity: 1,
  hostNetwork: false,
});

const forward = {
  kind: 'forward',
  backends: [
    { target: { kind: 'service', service: SERVICE_KEY, port: 80, subset: undefined }, weight: 1, filters: [] },
  ],
} as const;

const rule = (path: string, marker: string | undefined): HttpRouteRule => ({
  name: '',
  anyMatch: [[{ field: 'request.path', predicate: { kind: 'pathPrefix', value: path }, negated: false }]],
  filters:
    marker === undefined
      ? []
      : [{ kind: 'responseHeaders', set: [{ name: 'x-routes', value: marker }], add: [], remove: [] }],
  action: forward,
  timeouts: { requestMs: undefined, perTryMs: undefined },
  retry: undefined,
});

/** @param marker  in a header of every response that this version routed */
function route(index: number, paths: readonly string[], marker?: string): Resource {
  const name = `route-${index}`;
  const value: HttpRouteResource = {
    kind: 'http',
    origin: { kind: 'HTTPRoute', namespace: NAMESPACE, name, createdAtMs: index },
    attachments: [{ kind: 'listener', listener: 'http', hosts: ['*'] }],
    order: 0,
    rules: paths.map((path) => rule(path, marker)),
  };
  return { type: ROUTE_TYPE, name: `HTTPRoute/${NAMESPACE}/${name}`, value: encodeRoute(value) };
}

/** Answers subscriptions with the resources of their types, and pushes changes of them. */
class Discovery {
  readonly #resources = new Map<string, Map<string, Resource>>();
  readonly #streams = new Set<DiscoveryStream>();
  #nonce = 0;

  constructor(resources: readonly Resource[]) {
    for (const one of resources) this.#put(one);
  }

  async serve(streams: Channel<DiscoveryStream>): Promise<void> {
    for await (const stream of streams) void this.#follow(stream);
  }

  push(type: string, resources: readonly Resource[]): void {
    for (const one of resources) this.#put(one);
    for (const stream of this.#streams) this.#send(stream, type, resources);
  }

  async #follow(stream: DiscoveryStream): Promise<void> {
    this.#streams.add(stream);
    try {
      for await (const { typeUrl, responseNonce, resourceNamesSubscribe } of stream.requests) {
        if (responseNonce !== '' && resourceNamesSubscribe.length === 0) continue;
        this.#send(stream, typeUrl, [...(this.#resources.get(typeUrl)?.values() ?? [])]);
      }
    } catch {
      // the proxy went away
    }
    this.#streams.delete(stream);
  }

  #put(one: Resource): void {
    const ofType = this.#resources.get(one.type) ?? new Map<string, Resource>();
    this.#resources.set(one.type, ofType.set(one.name, one));
  }

  #send(stream: DiscoveryStream, type: string, resources: readonly Resource[]): void {
    const version = String(++this.#nonce);
    stream.send({
      typeUrl: type,
      nonce: version,
      systemVersionInfo: version,
      resources: resources.map(({ name, value }) => ({ name, version, resource: { typeUrl: type, value } })),
    });
  }
}

export interface ProxyHop extends Path {
  /**
   * Makes that many routes, each with two paths; the last one answers to `/`, with `marker` in `x-routes`.
   * @returns replaces those that there are: one push
   */
  routes(count: number, marker: string): () => void;
}

export async function proxyHop(folder: string, pair: Pair, setting: L7Setting): Promise<ProxyHop> {
  const authority = await TestAuthority.create();
  const issued = await authority.server('localhost');
  const discovery = new Discovery([
    { type: PROXY_TYPE, name: `${NAMESPACE}/${NAME}`, value: encodeProxy(proxyConfig(setting)) },
    { type: SERVICE_TYPE, name: SERVICE_KEY, value: encodeServiceConfig(serviceConfig) },
    { type: ADDRESS_TYPE, name: SERVICE_KEY, value: encodeService(service) },
    { type: ADDRESS_TYPE, name: 'Kubernetes//Pod/bench/app', value: encodeWorkload(workload(setting.server)) },
    route(0, ['']),
  ]);
  const { routes, streams } = discoveryRoutes();
  void discovery.serve(streams);
  const adapter = connectNodeAdapter({
    grpcWeb: false,
    connect: false,
    routes: (router) => {
      routes(router);
      router.service(IstioCertificateService, {
        createCertificate: async ({ csr }) => {
          const leaf = await authority.sign(csr, `spiffe://cluster.local/ns/${NAMESPACE}/sa/${NAME}-istio`);
          return create(IstioCertificateResponseSchema, { certChain: [leaf, authority.rootPem] });
        },
      });
    },
  });
  const netns = Netns.open(`/run/netns/${pair.client.netns}`);
  const server: Http2SecureServer = createSecureServer(
    { cert: issued.certificatePem, key: issued.privateKeyPem },
    adapter,
  );
  server.listen({ fd: listenTcp(netns, { ip: '127.0.0.1' as Ip, port: CONTROL_PORT }) });
  writeFileSync(join(folder, 'token'), 'token');
  const log = join(folder, `proxy-${pair.client.netns}.log`);
  const address = `https://localhost:${CONTROL_PORT}`;
  const env = {
    POD_NAME: 'edge-1',
    POD_NAMESPACE: NAMESPACE,
    INSTANCE_IP: pair.client.ip,
    SERVICE_ACCOUNT: `${NAME}-istio`,
    NODE_NAME: 'node',
    GATEWAY_NAME: NAME,
    XDS_ADDRESS: address,
    CA_ADDRESS: address,
    XDS_ROOT_CA: authority.rootPem,
    CA_ROOT_CA: authority.rootPem,
    AUTH_TOKEN: join(folder, 'token'),
    IPV6_ENABLED: 'false',
  };
  // As the room starts it (src/local/images/builtin.ts).
  const program = [
    process.execPath,
    '--max-semi-space-size=4',
    join(import.meta.dirname, '../../dist/proxy.mjs'),
    'router',
  ];
  const proxy = startLogging(inside(pair.client.netns, program), log, env);
  return {
    subject: 'ambit',
    pair,
    address: () => ({ host: '127.0.0.1', port: LISTEN_PORT }),
    pids: [proxy.pid],
    routes(count, marker) {
      const others = Array.from({ length: count - 1 }, (_, i) =>
        route(i + 1, [`/some/path-${i}`, `/other/path-${i}`], marker),
      );
      const all = [...others, route(0, [''], marker)];
      return () => discovery.push(ROUTE_TYPE, all);
    },
    async stop() {
      await proxy.stop();
      server.close();
      netns.close();
    },
  };
}
