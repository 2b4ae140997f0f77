// The control plane at 1,000 services and 10,000 pods: its size, and the time from one changed pod to the push that says
// so. The real processes: the embedded API, `ambit control` against it, and a gRPC client of another make as the proxy.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { connectKube, type HttpKubeClient } from '../../src/kube/client/client.ts';
import {
  CONFIG_MAPS,
  NAMESPACES,
  NODES,
  PODS,
  SERVICE_ACCOUNT_TOKENS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../src/kube/client/resources.ts';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
} from '../../src/wire/gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { Part, PartOptions } from '../part.ts';
import { rssMB, start } from '../processes.ts';
import type { Row } from '../report.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const API = '127.0.0.1:16443';
const ADS_PORT = 16012;
const NAMESPACE_COUNT = 20;
const SERVICE_COUNT = 1_000;
const POD_COUNT = 10_000;
const ADDRESS_TYPE = 'type.googleapis.com/istio.workload.Address';
const SYSTEM = 'istio-system';

export const control: Part = {
  name: 'control',
  title: `Control plane, ${SERVICE_COUNT.toLocaleString('en-US')} services, ${POD_COUNT.toLocaleString('en-US')} pods`,
  async run(options: PartOptions): Promise<readonly Row[]> {
    const home = mkdtempSync(join(tmpdir(), 'ambit-bench-control-'));
    const kubeconfig = join(home, 'room.kubeconfig');
    const stops: (() => Promise<void>)[] = [];
    try {
      const api = await start([process.execPath, join(ROOT, 'dist/api.mjs')], {
        ready: /serving/,
        env: { AMBIT_STATE_DIR: home, AMBIT_API_FD: 'none', AMBIT_API_LISTEN: API, AMBIT_ROOM_KUBECONFIG: kubeconfig },
      });
      stops.push(api.stop);
      const client = await connectKube({ kubeconfig });
      await fill(client, options);
      const began = performance.now();
      const plane = await start(
        [
          process.execPath,
          join(ROOT, 'dist/control.mjs'),
          '--kubeconfig',
          kubeconfig,
          '--secureGRPCAddr',
          `127.0.0.1:${ADS_PORT}`,
          '--httpAddr',
          '127.0.0.1:18080',
          '--monitoringAddr',
          '127.0.0.1:18014',
        ],
        {
          ready: /\bready\b.*workloads=/,
          timeoutMs: 120_000,
          env: { POD_NAME: 'istiod-bench', POD_NAMESPACE: SYSTEM },
        },
      );
      stops.push(plane.stop);
      const readyMs = performance.now() - began;
      options.progress('control: the first push');
      const proxy = await connectProxy(client);
      stops.push(async () => proxy.close());
      const firstMs = await proxy.first;
      const rss = rssMB(plane.pid);
      const pushes: number[] = [];
      for (let round = 0; round < 20; round++) {
        options.progress(`control: one pod changed, ${round + 1} of 20`);
        pushes.push(await changeOnePod(client, proxy, round));
      }
      client.close();
      const row = (what: string, value: number, unit: string, atMost?: number): Row => ({
        what,
        unit,
        values: { ambit: value },
        ...(atMost !== undefined && { budget: { kind: 'absolute' as const, atMost } }),
      });
      const sorted = [...pushes].sort((a, b) => a - b);
      return [
        row('RSS with everything pushed', rss, 'MB', 400),
        row('start → ready', readyMs / 1000, 's'),
        row('first push to a proxy', firstMs, 'ms'),
        { ...row('one pod changed → pushed, median', sorted[10] ?? Number.NaN, 'ms', 50), rounds: { ambit: pushes } },
      ];
    } finally {
      for (const stop of stops.reverse()) await stop();
      rmSync(home, { recursive: true, force: true });
    }
  },
};

async function fill(client: HttpKubeClient, options: PartOptions): Promise<void> {
  for (let i = 1; i <= 50; i++)
    await client.create(NODES, { apiVersion: 'v1', kind: 'Node', metadata: { name: `node-${i}` } });
  for (const name of [SYSTEM, ...Array.from({ length: NAMESPACE_COUNT }, (_, i) => `ns-${i}`)])
    await client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await client.create(SERVICE_ACCOUNTS, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'ztunnel', namespace: SYSTEM },
  });
  await inParallel(SERVICE_COUNT, async (i) => {
    const metadata = { name: `svc-${i}`, namespace: `ns-${i % NAMESPACE_COUNT}` };
    await client.create(SERVICES, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { selector: { app: `app-${i}` }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
    });
  });
  await inParallel(POD_COUNT, async (i) => {
    if (i % 500 === 0) options.progress(`control: pod ${i} of ${POD_COUNT}`);
    const app = i % SERVICE_COUNT;
    const metadata = {
      name: `pod-${i}`,
      namespace: `ns-${app % NAMESPACE_COUNT}`,
      labels: { app: `app-${app}`, version: 'v1' },
    };
    const spec = { nodeName: `node-${1 + (i % 50)}`, containers: [{ name: 'c', image: 'x' }] };
    await client.create<IPod>(PODS, { apiVersion: 'v1', kind: 'Pod', metadata, spec });
    const ip = `10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
    await client.patch(PODS, metadata.name, metadata.namespace, 'merge', status(ip, true), { subresource: 'status' });
  });
}

const status = (ip: string, ready: boolean) => ({
  metadata: { annotations: { 'ambient.istio.io/redirection': 'enabled' } },
  status: {
    phase: 'Running',
    podIP: ip,
    podIPs: [{ ip }],
    conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: '2026-01-01T00:00:00Z' }],
  },
});

async function inParallel(count: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (next < count) await work(next++);
    }),
  );
}

interface Proxy {
  /** Milliseconds from the subscription to the first complete response. */
  readonly first: Promise<number>;
  /** Resolves when a response names the workload. */
  until(name: string): Promise<void>;
  close(): void;
}

async function connectProxy(client: HttpKubeClient): Promise<Proxy> {
  const pod = await client.create<IPod>(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'ztunnel-bench', namespace: SYSTEM },
    spec: { serviceAccountName: 'ztunnel', nodeName: 'node-1', containers: [{ name: 'c', image: 'x' }] },
  });
  const token = await client.create(
    SERVICE_ACCOUNT_TOKENS,
    {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: 'ztunnel', namespace: SYSTEM },
      spec: {
        audiences: ['istio-ca'],
        boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'ztunnel-bench', uid: pod.metadata?.uid ?? '' },
      },
    },
    { subresource: 'token' },
  );
  const roots = await client.get(CONFIG_MAPS, 'istio-ca-root-cert', SYSTEM);
  const ca = roots?.data?.['root-cert.pem'] ?? '';
  const transport = createGrpcTransport({
    baseUrl: `https://127.0.0.1:${ADS_PORT}`,
    nodeOptions: { ca, checkServerIdentity: () => undefined },
  });
  const requests = new Queue<DeltaDiscoveryRequest>();
  const began = performance.now();
  const node = {
    id: `ztunnel~10.0.0.1~ztunnel-bench.${SYSTEM}~${SYSTEM}.svc.cluster.local`,
    metadata: { NAMESPACE: SYSTEM, NODE_NAME: 'node-1' },
  };
  requests.push(create(DeltaDiscoveryRequestSchema, { node, typeUrl: ADDRESS_TYPE }));
  const stop = new AbortController();
  const headers = { authorization: `Bearer ${token.status?.token}`, clusterid: 'Kubernetes' };
  const responses = createClient(AggregatedDiscoveryService, transport).deltaAggregatedResources(requests, {
    headers,
    signal: stop.signal,
  });
  const waiting = new Map<string, () => void>();
  const first = Promise.withResolvers<number>();
  void (async () => {
    for await (const response of responses) {
      first.resolve(performance.now() - began);
      for (const { name } of response.resources) waiting.get(name)?.();
      requests.push(create(DeltaDiscoveryRequestSchema, { typeUrl: response.typeUrl, responseNonce: response.nonce }));
    }
  })().catch((error: unknown) => first.reject(error instanceof Error ? error : new Error(String(error))));
  return {
    first: first.promise,
    until: (name) => new Promise((resolve) => waiting.set(name, resolve)),
    close: () => stop.abort(),
  };
}

async function changeOnePod(client: HttpKubeClient, proxy: Proxy, round: number): Promise<number> {
  const i = 17 + round * 100;
  const namespace = `ns-${(i % SERVICE_COUNT) % NAMESPACE_COUNT}`;
  const pushed = proxy.until(`Kubernetes//Pod/${namespace}/pod-${i}`);
  const began = performance.now();
  await client.patch(
    PODS,
    `pod-${i}`,
    namespace,
    'merge',
    { status: { conditions: [{ type: 'Ready', status: 'False', lastTransitionTime: '2026-01-01T00:00:01Z' }] } },
    { subresource: 'status' },
  );
  await pushed;
  const took = performance.now() - began;
  await new Promise((resolve) => setTimeout(resolve, 150)); // one change at a time, not a burst
  return took;
}

/** What is pushed comes out as an async iterable, for the request side of a stream. */
class Queue<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #wake: () => void = () => {};

  push(item: T): void {
    this.#items.push(item);
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
