// A whole control plane on loopback over an in-memory API, and proxies made with an independent gRPC library: what it
// says is read by code that shares nothing with it but the schemas.

import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { CONFIG_MAPS, NAMESPACES, PODS, SECRETS, TOKEN_REVIEWS } from '../../kube/client/resources.ts';
import type { KubeObject } from '../../kube/client/types.ts';
import { MemoryKubeClient } from '../../kube/testing/memory-client.ts';
import { type Clock, systemClock } from '../../platform/clock.ts';
import { configureLogging } from '../../telemetry/log.ts';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from '../../wire/gen/envoy/service/discovery/v3/discovery_pb.ts';
import { IstioCertificateService } from '../../wire/gen/istio/v1/auth/citadel_pb.ts';
import { type ControlConfig, readConfig } from '../config.ts';
import { type ControlPlane, startControl } from '../control.ts';

export { Code, ConnectError };

configureLogging({ filter: process.env.TEST_LOG ?? 'off', fd: 2 });

/** What a token stands for; the API of the test knows no other. */
export interface TestToken {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly audience?: string;
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly node?: string;
}

function answerReviews(kube: MemoryKubeClient, tokens: ReadonlyMap<string, TestToken>): void {
  kube.answer(TOKEN_REVIEWS, (review) => {
    const { spec } = review as KubeObject & { spec: { token: string; audiences: string[] } };
    const known = tokens.get(spec.token);
    const audience = known?.audience ?? 'istio-ca';
    if (known === undefined || !spec.audiences.includes(audience))
      return { ...review, status: { authenticated: false, error: 'invalid bearer token' } } as KubeObject;
    const prefix = 'authentication.kubernetes.io';
    const extra = {
      ...(known.pod && { [`${prefix}/pod-name`]: [known.pod.name], [`${prefix}/pod-uid`]: [known.pod.uid] }),
      ...(known.node && { [`${prefix}/node-name`]: [known.node] }),
    };
    const username = `system:serviceaccount:${known.namespace}:${known.serviceAccount}`;
    const status = { authenticated: true, audiences: [audience], user: { username, extra } };
    return { ...review, status } as KubeObject;
  });
}

export interface TestControl extends AsyncDisposable {
  readonly kube: MemoryKubeClient;
  readonly control: ControlPlane;
  readonly tokens: Map<string, TestToken>;
  readonly config: ControlConfig;
  /** PEM that proxies trust, from the ConfigMap that they mount. */
  roots(): Promise<string>;
  get(path: string, port?: 'http' | 'metrics'): Promise<{ status: number; body: string }>;
}

export const SYSTEM = 'istio-system';

/** Waits for a condition that other code will make true; the test runner's own time limit ends a wait in vain. */
export async function until<T>(look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export async function startTestControl(
  options: {
    readonly kube?: MemoryKubeClient;
    readonly env?: Record<string, string>;
    readonly clock?: Clock;
    readonly prepare?: (kube: MemoryKubeClient) => void | Promise<void>;
  } = {},
): Promise<TestControl> {
  const kube = options.kube ?? new MemoryKubeClient();
  const tokens = new Map<string, TestToken>();
  answerReviews(kube, tokens);
  kube.put(NAMESPACES, { metadata: { name: SYSTEM } });
  await options.prepare?.(kube);
  const address = '127.0.0.1:0';
  const read = readConfig(
    { secureGRPCAddr: address, httpAddr: address, monitoringAddr: address },
    { POD_NAME: 'istiod-test', ISTIOD_CUSTOM_HOST: 'localhost', PILOT_MAX_REQUESTS_PER_SECOND: '1000', ...options.env },
    2,
    'host',
  );
  if (!read.ok) throw new Error(read.error.join('; '));
  const control = await startControl({
    config: read.value,
    kube,
    clock: options.clock ?? systemClock,
    version: 'test',
  });
  return {
    kube,
    control,
    tokens,
    config: read.value,
    roots: () =>
      until(async () => (await kube.get(CONFIG_MAPS, 'istio-ca-root-cert', SYSTEM))?.data?.['root-cert.pem']),
    async get(path, port = 'http') {
      const response = await fetch(`http://127.0.0.1:${control.ports[port]}${path}`);
      return { status: response.status, body: await response.text() };
    },
    [Symbol.asyncDispose]: () => control.stop(),
  };
}

/** A node's proxy: its pod on the node, and a token bound to it. @returns the token */
export function addZtunnel(test: TestControl, node: string, uid = `uid-${node}`): string {
  const name = `ztunnel-${node}`;
  test.kube.put(PODS, {
    metadata: { name, namespace: SYSTEM, uid, labels: { app: 'ztunnel' } },
    spec: { nodeName: node, serviceAccountName: 'ztunnel', containers: [] },
    status: { phase: 'Running', podIP: '10.244.0.9' },
  });
  const token = `token-${node}-${uid}`;
  test.tokens.set(token, { namespace: SYSTEM, serviceAccount: 'ztunnel', pod: { name, uid }, node });
  return token;
}

export function addPod(
  test: TestControl,
  pod: {
    name: string;
    namespace?: string;
    node?: string;
    account?: string;
    ip?: string;
    labels?: Record<string, string>;
    phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
  },
): void {
  test.kube.put(PODS, {
    metadata: {
      name: pod.name,
      namespace: pod.namespace ?? 'shop',
      labels: pod.labels ?? {},
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    },
    spec: { nodeName: pod.node ?? 'n1', serviceAccountName: pod.account ?? 'web', containers: [] },
    status: {
      phase: pod.phase ?? 'Running',
      ...(pod.ip === undefined ? {} : { podIP: pod.ip }),
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  });
}

const withToken =
  (token: string | undefined): Interceptor =>
  (next) =>
  (request) => {
    if (token !== undefined) request.header.set('authorization', `Bearer ${token}`);
    request.header.set('clusterid', 'Kubernetes');
    return next(request);
  };

async function transport(test: TestControl, token: string | undefined, roots?: string) {
  return createGrpcTransport({
    baseUrl: `https://localhost:${test.control.ports.grpc}`,
    nodeOptions: { ca: roots ?? (await test.roots()) },
    interceptors: [withToken(token)],
  });
}

export const certificates = async (test: TestControl, token: string | undefined, roots?: string) =>
  createClient(IstioCertificateService, await transport(test, token, roots));

/** One discovery stream, driven by hand. */
export interface TestStream {
  send(request: Partial<Omit<DeltaDiscoveryRequest, '$typeName' | '$unknown' | 'node'>> & { node?: TestNode }): void;
  /** The next response; rejects with the status when the stream ends. */
  next(): Promise<DeltaDiscoveryResponse>;
  /** Responses that have come and were not taken. */
  readonly waiting: number;
  close(): void;
}

export interface TestNode {
  readonly id: string;
  readonly metadata: Record<string, string>;
}

export const ztunnelNode = (node: string, namespace = SYSTEM): TestNode => ({
  id: `ztunnel~10.244.0.9~ztunnel-${node}.${namespace}~${namespace}.svc.cluster.local`,
  metadata: { NAME: `ztunnel-${node}`, NAMESPACE: namespace, NODE_NAME: node, ISTIO_VERSION: '1.30' },
});

export async function openStream(test: TestControl, token: string | undefined): Promise<TestStream> {
  const client = createClient(AggregatedDiscoveryService, await transport(test, token));
  const outgoing: DeltaDiscoveryRequest[] = [];
  let wake = (): void => {};
  const abort = new AbortController();
  async function* requests(): AsyncGenerator<DeltaDiscoveryRequest> {
    while (!abort.signal.aborted) {
      const next = outgoing.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  }
  const arrived: DeltaDiscoveryResponse[] = [];
  let failure: unknown;
  let over = false;
  void (async () => {
    try {
      for await (const response of client.deltaAggregatedResources(requests(), { signal: abort.signal }))
        arrived.push(response);
    } catch (error) {
      failure = error;
    }
    over = true;
  })();
  return {
    send(request) {
      outgoing.push(create(DeltaDiscoveryRequestSchema, request as DeltaDiscoveryRequest));
      wake();
    },
    next: () =>
      until(() => {
        const response = arrived.shift();
        if (response === undefined && over) throw failure ?? new Error('the stream ended');
        return response;
      }),
    get waiting() {
      return arrived.length;
    },
    close() {
      abort.abort();
      wake();
    },
  };
}

export const secretData = async (test: { kube: MemoryKubeClient }, name: string): Promise<Record<string, string>> => {
  const secret = await until(() => test.kube.get(SECRETS, name, SYSTEM));
  return Object.fromEntries(
    Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
  );
};
