// Enrolment of real namespaces, with an API in memory and a proxy that notes what it is told.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { IEvent } from 'kubernetes-models/v1/Event';
import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { startInformer } from '../kube/client/informer.ts';
import { EVENTS, NAMESPACES, objectKey, PODS } from '../kube/client/resources.ts';
import { KubeError, type KubeObject, type Resource } from '../kube/client/types.ts';
import { MemoryKubeClient } from '../kube/testing/memory-client.ts';
import type { Ip } from '../model/ip.ts';
import { systemClock } from '../platform/clock.ts';
import { Netns } from '../platform/linux/netns.ts';
import { listNft } from '../platform/linux/nft.ts';
import { countDescriptors, namespacedTests } from '../platform/linux/testing.ts';
import { configureLogging, logger } from '../telemetry/log.ts';
import { NodeAgent } from './agent.ts';
import { PodReporter } from './pod-reporter.ts';
import { redirector } from './redirection.ts';
import { DEFAULT_ENROLMENT, DEFAULT_PROBE_SOURCE } from './settings.ts';

configureLogging({ filter: 'off' });
const log = logger('test');
const REDIRECTION = 'ambient.istio.io/redirection';

/** Shows what is stored without a request. */
class Api extends MemoryKubeClient {
  readonly #pods = new Map<string, IPod>();

  override put<T extends KubeObject>(resource: Resource<T>, object: Omit<T, 'apiVersion' | 'kind'> & KubeObject): T {
    return this.#see(super.put(resource, object));
  }

  override async patch<T extends KubeObject>(...args: Parameters<MemoryKubeClient['patch']>): Promise<T> {
    return this.#see((await super.patch(...args)) as T);
  }

  #see<T extends KubeObject>(object: T): T {
    if (object.kind === 'Pod') this.#pods.set(objectKey(object), object as IPod);
    return object;
  }

  peek(key: string): IPod | undefined {
    return this.#pods.get(key);
  }
}

/** A cluster of one node; `told` is the order in which proxies and probe sets heard of pods. */
class Cluster {
  readonly client = new Api();
  readonly told: string[] = [];
  readonly netns = new Map<string, Netns>();
  /** What the proxy answers to `add`. */
  refusal: Error | undefined;
  failCapture: Error | undefined;
  readonly #stop = new AbortController();
  readonly #agents: NodeAgent[] = [];

  async startAgent(options: { renewAtStart?: boolean } = {}): Promise<NodeAgent> {
    const { signal } = this.#stop;
    const real = redirector(['/proc']);
    const agent = new NodeAgent({
      client: this.client,
      nodeName: 'node-1',
      pods: startInformer(this.client, PODS, { fieldSelector: 'spec.nodeName=node-1', signal }),
      namespaces: startInformer(this.client, NAMESPACES, { signal }),
      enrolment: DEFAULT_ENROLMENT,
      capture: {
        dns: true,
        ipv6: true,
        probeSource: DEFAULT_PROBE_SOURCE,
        renewAtStart: options.renewAtStart ?? false,
      },
      proxies: {
        add: async ({ uid, netns, info }) => {
          assert.ok(!netns.closed);
          this.told.push(`add ${uid} ${info.namespace}/${info.name}/${info.serviceAccount}`);
          if (this.refusal !== undefined) throw this.refusal;
        },
        del: async (uid) => void this.told.push(`del ${uid}`),
      },
      probes: {
        add: async (uid, ips) => {
          const line = `probe ${uid} ${ips.join()}`;
          if (!this.told.includes(line)) this.told.push(line);
        },
        remove: async (uid) => void this.told.push(`unprobe ${uid}`),
      },
      redirector: {
        capture: async (netns, rules) => {
          this.told.push(`capture dns=${rules.captureDns} inbound=${rules.captureInbound}`);
          if (this.failCapture !== undefined) throw this.failCapture;
          return real.capture(netns, rules);
        },
        release: async (netns) => {
          this.told.push('release');
          await real.release(netns);
        },
      },
      findNetns: (uid) => this.netns.get(uid)?.run(() => Netns.current()),
      reporter: new PodReporter(this.client, 'node-1', systemClock, log),
      log,
    });
    this.#agents.push(agent);
    await agent.start();
    return agent;
  }

  namespace(name: string, mode?: string): void {
    const labels = mode === undefined ? {} : { 'istio.io/dataplane-mode': mode };
    this.client.put(NAMESPACES, { metadata: { name, labels } } as INamespace);
  }

  /** A running pod with a namespace of its own, or changes to one. */
  pod(
    uid: string,
    changes: {
      labels?: Record<string, string>;
      annotations?: Record<string, string>;
      ip?: string;
      phase?: string;
      node?: string;
      hostNetwork?: boolean;
    } = {},
  ): void {
    if (!this.netns.has(uid)) this.netns.set(uid, Netns.create());
    const before = this.client.peek(`shop/${uid}`);
    this.client.put(PODS, {
      metadata: {
        name: uid,
        namespace: 'shop',
        uid,
        labels: changes.labels ?? {},
        annotations: { ...before?.metadata?.annotations, ...changes.annotations },
      },
      spec: {
        nodeName: changes.node ?? 'node-1',
        serviceAccountName: 'seller',
        hostNetwork: changes.hostNetwork ?? false,
        containers: [{ name: 'main' }],
      },
      status: {
        phase: changes.phase ?? 'Running',
        podIP: changes.ip ?? '10.0.0.1',
        podIPs: [{ ip: changes.ip ?? '10.0.0.1' }],
      },
    } as IPod);
  }

  redirection(name: string): string | undefined {
    return this.client.peek(`shop/${name}`)?.metadata?.annotations?.[REDIRECTION];
  }

  async events(): Promise<string[]> {
    const { items } = await this.client.list<IEvent>(EVENTS);
    return items.map((event) => `${event.involvedObject.name} ${event.type} ${event.reason}`);
  }

  async isCaptured(uid: string): Promise<boolean> {
    return (await listNft(this.netns.get(uid) as Netns)).includes('redirect to :15001');
  }

  stop(): void {
    this.#stop.abort();
    for (const agent of this.#agents) agent.stop();
    for (const netns of this.netns.values()) netns.close();
  }
}

let cluster: Cluster;
function begin(): Cluster {
  cluster = new Cluster();
  return cluster;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 5000;
  while (!(await condition())) {
    assert.ok(performance.now() < end, `in time; told: ${cluster.told.join('; ')}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Everything that is going to happen without a change from outside has happened. */
async function quiet(): Promise<void> {
  for (let length = -1; length !== cluster.told.length; ) {
    length = cluster.told.length;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

namespacedTests(import.meta.url, () => {
  afterEach(() => cluster.stop());

  test('labelling the namespace enrols its running pods, in the right order, and unlabelling lets them go', async () => {
    const cluster = begin();
    cluster.namespace('shop');
    cluster.pod('a');
    const agent = await cluster.startAgent();
    await quiet();
    assert.deepEqual(cluster.told, []);
    cluster.namespace('shop', 'ambient');
    await until(async () => (await cluster.events()).includes('a Normal AmbientEnrolled'));
    assert.equal(cluster.redirection('a'), 'enabled');
    assert.deepEqual(cluster.told, ['capture dns=true inbound=true', 'add a shop/a/seller', 'probe a 10.0.0.1']);
    assert.equal(await cluster.isCaptured('a'), true);
    assert.deepEqual(
      [...agent.snapshot()].map((pod) => pod.uid),
      ['a'],
    );
    assert.deepEqual(agent.counts, { enrolled: 1, pending: 0, failed: 0 });
    await quiet();
    cluster.told.length = 0;
    cluster.namespace('shop');
    await until(async () => (await cluster.events()).includes('a Normal AmbientUnenrolled'));
    assert.equal(cluster.redirection('a'), undefined);
    assert.deepEqual(cluster.told, ['unprobe a', 'release', 'del a']);
    assert.equal(await cluster.isCaptured('a'), false);
    assert.deepEqual([...agent.snapshot()], []);
    await quiet();
    assert.deepEqual(await cluster.events(), ['a Normal AmbientEnrolled', 'a Normal AmbientUnenrolled']);
  });

  test('the label of a pod wins in both directions', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a', { labels: { 'istio.io/dataplane-mode': 'none' } });
    cluster.pod('b');
    await cluster.startAgent();
    await until(() => cluster.redirection('b') === 'enabled');
    assert.equal(cluster.redirection('a'), undefined);
    cluster.pod('a', { labels: { 'istio.io/dataplane-mode': 'ambient' } });
    cluster.pod('b', { labels: { 'istio.io/dataplane-mode': 'none' } });
    await until(() => cluster.redirection('a') === 'enabled' && cluster.redirection('b') === undefined);
    assert.equal(await cluster.isCaptured('a'), true);
    assert.equal(await cluster.isCaptured('b'), false);
  });

  test('pods that are not to be captured are not touched', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('host', { hostNetwork: true });
    cluster.pod('sidecar', { annotations: { 'sidecar.istio.io/status': '{}' } });
    cluster.pod('elsewhere', { node: 'node-2' });
    cluster.pod('done', { phase: 'Succeeded' });
    cluster.pod('no-address', { ip: '' });
    await cluster.startAgent();
    await quiet();
    assert.deepEqual(cluster.told, []);
    cluster.pod('no-address', { ip: '10.0.0.9' });
    await until(() => cluster.redirection('no-address') === 'enabled');
  });

  test('annotations choose what is captured; those that cannot be read leave an event', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a', {
      annotations: { 'ambient.istio.io/bypass-inbound-capture': 'true', 'ambient.istio.io/dns-capture': 'maybe' },
    });
    await cluster.startAgent();
    await until(() => cluster.redirection('a') === 'enabled');
    assert.equal(cluster.told[0], 'capture dns=true inbound=false');
    assert.ok((await cluster.events()).includes('a Warning AmbientAnnotationIgnored'));
  });

  test('as long as no proxy takes it, a pod is `pending`; it becomes `enabled` by itself', async () => {
    const cluster = begin();
    cluster.refusal = new Error('no node proxy is connected');
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    const agent = await cluster.startAgent();
    await until(() => cluster.redirection('a') === 'pending');
    await until(() => cluster.told.filter((line) => line.startsWith('add')).length >= 3);
    assert.equal(await cluster.isCaptured('a'), true);
    assert.deepEqual(agent.counts, { enrolled: 0, pending: 1, failed: 0 });
    assert.deepEqual(
      [...agent.snapshot()].map((pod) => pod.uid),
      ['a'],
    );
    assert.deepEqual(await cluster.events(), ['a Warning AmbientEnrolmentPending'], 'retries do not repeat it');
    assert.equal(cluster.told.filter((line) => line.startsWith('capture')).length, 1);
    cluster.refusal = undefined;
    await until(() => cluster.redirection('a') === 'enabled');
    assert.deepEqual(agent.counts, { enrolled: 1, pending: 0, failed: 0 });
  });

  test('rules that cannot be set are not tried again, and the pod says so until it is taken out and back', async () => {
    const cluster = begin();
    cluster.failCapture = new Error('nft says no');
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    const agent = await cluster.startAgent();
    await until(async () => (await cluster.events()).includes('a Warning AmbientEnrolmentFailed'));
    await quiet();
    assert.deepEqual(cluster.told, ['capture dns=true inbound=true', 'release']);
    assert.equal(cluster.redirection('a'), undefined);
    assert.deepEqual(agent.counts, { enrolled: 0, pending: 0, failed: 1 });
    assert.deepEqual([...agent.snapshot()], []);
    cluster.failCapture = undefined;
    cluster.namespace('shop');
    await until(() => agent.counts.failed === 0);
    cluster.namespace('shop', 'ambient');
    await until(() => cluster.redirection('a') === 'enabled');
  });

  test('a pod whose namespace is not found says so, and is enrolled when it is there', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    const netns = cluster.netns.get('a') as Netns;
    cluster.netns.delete('a');
    await cluster.startAgent();
    await until(async () => (await cluster.events()).includes('a Warning AmbientEnrolmentFailed'));
    cluster.netns.set('a', netns);
    await until(() => cluster.redirection('a') === 'enabled');
  });

  test('a pod that ends is forgotten: its address, its proxy, its namespace', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    cluster.pod('b', { ip: '10.0.0.2' });
    const agent = await cluster.startAgent();
    await until(() => agent.counts.enrolled === 2);
    await quiet();
    cluster.told.length = 0;
    cluster.client.remove(PODS, 'a', 'shop');
    cluster.pod('b', { phase: 'Failed' });
    await until(() => agent.counts.enrolled === 0);
    await quiet();
    assert.deepEqual(cluster.told.toSorted(), ['del a', 'del b', 'unprobe a', 'unprobe b']);
  });

  test('a pod made again under the same name is another pod', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    const agent = await cluster.startAgent();
    await until(() => agent.counts.enrolled === 1);
    await quiet();
    cluster.netns.set('a2', Netns.create());
    const old = cluster.client.peek('shop/a') as IPod;
    cluster.client.put(PODS, { ...old, metadata: { ...old.metadata, uid: 'a2', annotations: {} } });
    await until(() => [...agent.snapshot()].map((pod) => pod.uid).join() === 'a2');
    await until(() => cluster.redirection('a') === 'enabled');
    assert.ok(cluster.told.includes('del a'));
  });

  test('a new agent takes over what runs, without touching rules or proxies', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    cluster.pod('b', { ip: '10.0.0.2' });
    const first = await cluster.startAgent();
    await until(() => first.counts.enrolled === 2);
    await quiet();
    first.stop();
    cluster.told.length = 0;
    cluster.netns.delete('b');
    const second = await cluster.startAgent();
    assert.deepEqual(
      [...second.snapshot()].map((pod) => `${pod.uid} ${pod.netns === undefined ? 'keep' : 'add'}`),
      ['a add', 'b keep'],
    );
    assert.deepEqual(second.counts, { enrolled: 2, pending: 0, failed: 0 });
    await quiet();
    const refilled = ['probe a 10.0.0.1', 'probe b 10.0.0.2'];
    assert.deepEqual(cluster.told.toSorted(), refilled, 'only the emptied sets are filled again');
    assert.equal(cluster.redirection('a'), 'enabled');
  });

  test('a new agent lets go what was opted out meanwhile, goes on with what was pending, and renews rules if told to', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    for (const [uid, ip] of [
      ['out', '10.0.0.1'],
      ['pending', '10.0.0.2'],
      ['in', '10.0.0.3'],
    ] as const)
      cluster.pod(uid, { ip, annotations: { [REDIRECTION]: uid === 'pending' ? 'pending' : 'enabled' } });
    cluster.pod('out', { labels: { 'istio.io/dataplane-mode': 'none' } });
    await cluster.startAgent({ renewAtStart: true });
    await until(() => cluster.redirection('out') === undefined && cluster.redirection('pending') === 'enabled');
    assert.equal(await cluster.isCaptured('in'), true);
    assert.equal(await cluster.isCaptured('pending'), true);
    assert.ok(cluster.told.includes('add pending shop/pending/seller'));
    assert.ok(!cluster.told.some((line) => line.startsWith('add in')));
  });

  test('a pod that is being started is enrolled before the API knows its address', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a', { ip: '' });
    const agent = await cluster.startAgent();
    const netns = (cluster.netns.get('a') as Netns).run(() => Netns.current());
    assert.equal(await agent.podStarting({ namespace: 'shop', name: 'a', netns, ips: ['10.0.0.7' as Ip] }), true);
    assert.equal(cluster.redirection('a'), 'enabled');
    assert.equal(await cluster.isCaptured('a'), true);
    assert.ok(cluster.told.includes('probe a 10.0.0.7'));
    // The runtime asks again after a timeout of its own: nothing is done twice.
    const again = (cluster.netns.get('a') as Netns).run(() => Netns.current());
    assert.equal(
      await agent.podStarting({ namespace: 'shop', name: 'a', netns: again, ips: ['10.0.0.7' as Ip] }),
      true,
    );
    assert.ok(again.closed);
    assert.equal(cluster.told.filter((line) => line.startsWith('add')).length, 1);
    // A sandbox made anew has another namespace, where everything begins again.
    const made = Netns.create();
    cluster.netns.get('a')?.close();
    cluster.netns.set(
      'a',
      made.run(() => Netns.current()),
    );
    assert.equal(await agent.podStarting({ namespace: 'shop', name: 'a', netns: made, ips: ['10.0.0.8' as Ip] }), true);
    assert.equal(await cluster.isCaptured('a'), true);
    assert.equal(cluster.told.filter((line) => line.startsWith('add')).length, 2);
    assert.ok(netns.closed);
  });

  test('a pod that cannot be enrolled must not start; one that is not in the mesh may', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a', { ip: '' });
    cluster.pod('out', { ip: '', labels: { 'istio.io/dataplane-mode': 'none' } });
    cluster.pod('far', { ip: '', node: 'node-2' });
    const agent = await cluster.startAgent();
    const starting = (name: string) => {
      const netns = Netns.create();
      const ips = ['10.0.0.7' as Ip];
      return { netns, result: agent.podStarting({ namespace: 'shop', name, netns, ips }) };
    };
    const out = starting('out');
    assert.equal(await out.result, false);
    assert.ok(out.netns.closed);
    await assert.rejects(starting('far').result, /belongs to node `node-2`/);
    const absent = starting('absent');
    await assert.rejects(absent.result, /does not exist/);
    assert.ok(absent.netns.closed);
    cluster.refusal = new Error('no node proxy is connected');
    await assert.rejects(starting('a').result, /waits for the node proxy: no node proxy/);
    assert.equal(cluster.redirection('a'), 'pending');
    cluster.refusal = undefined;
    await until(() => cluster.redirection('a') === 'enabled');
  });

  test('an API that fails for a while delays the annotation, nothing else', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    let failures = 3;
    cluster.client.onRequest = ({ verb }) => {
      if (verb === 'patch' && failures-- > 0) throw new KubeError(503, 'ServiceUnavailable', 'try again');
      if (verb === 'create') throw new KubeError(403, 'Forbidden', 'no events for you');
    };
    await cluster.startAgent();
    await until(() => cluster.redirection('a') === 'enabled');
    assert.equal(cluster.told.filter((line) => line.startsWith('capture')).length, 1);
    assert.equal(cluster.told.filter((line) => line.startsWith('add')).length, 1);
  });

  test('a refusal of the newest proxy stands on the pod and changes nothing else', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    const agent = await cluster.startAgent();
    await until(() => cluster.redirection('a') === 'enabled');
    await agent.proxyRefused('a', 'port 15008 is busy');
    await agent.proxyRefused('unknown', 'whatever');
    assert.ok((await cluster.events()).includes('a Warning AmbientProxyRefused'));
    assert.equal(cluster.redirection('a'), 'enabled');
  });

  test('enrolment back and forth leaves no descriptor open', async () => {
    const cluster = begin();
    cluster.namespace('shop', 'ambient');
    cluster.pod('a');
    await cluster.startAgent();
    const round = async (): Promise<void> => {
      cluster.namespace('shop');
      await until(() => cluster.redirection('a') === undefined);
      await quiet();
      cluster.namespace('shop', 'ambient');
      await until(() => cluster.redirection('a') === 'enabled');
      await quiet();
    };
    await round();
    const before = countDescriptors();
    for (let i = 0; i < 3; i++) await round();
    assert.equal(countDescriptors(), before);
  });
});
