// The proxy's end of ZDS against an agent written here, over a fake connection; namespaces are real.

import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { beforeEach, test } from 'node:test';
import { ManualClock } from '../platform/clock.ts';
import { Netns } from '../platform/linux/netns.ts';
import { type Packet, SeqpacketError } from '../platform/linux/seqpacket.ts';
import { configureLogging, logger } from '../telemetry/log.ts';
import { decodeAck, decodeHello, encodeRequest, type ZdsRequest } from '../wire/zds/messages.ts';
import type { PodInfo, Telemetry } from './contracts.ts';
import { Pods, type RunningPod } from './pods.ts';
import { WorkloadManager, type ZdsConnection, ZdsProtocolError } from './workload-manager.ts';

configureLogging({ sink: { write() {}, flush: () => Promise.resolve(), dropped: 0 } });

/** An unbounded queue whose reader waits. */
class Queue<T> {
  readonly #items: T[] = [];
  #waiting: PromiseWithResolvers<T> | undefined;
  push(item: T): void {
    if (this.#waiting === undefined) this.#items.push(item);
    else this.#waiting.resolve(item);
    this.#waiting = undefined;
  }
  take(): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    this.#waiting = Promise.withResolvers<T>();
    return this.#waiting.promise;
  }
}

/** The agent's side of one connection. */
class FakeAgent {
  readonly #toProxy = new Queue<Packet | 'end' | 'closed' | 'refused'>();
  readonly #toAgent = new Queue<Uint8Array>();
  closed = false;
  readonly end: ZdsConnection = {
    receive: async () => {
      const next = await this.#toProxy.take();
      if (next === 'end') return undefined;
      if (next === 'closed') throw new SeqpacketError('closed', 'closed');
      if (next === 'refused') throw new SeqpacketError('refused', 'a packet was longer than 1024 bytes');
      return next;
    },
    send: async (data) => this.#toAgent.push(data),
    close: () => {
      this.closed = true;
      this.#toProxy.push('closed');
    },
  };
  async hello(): Promise<void> {
    assert.deepEqual(decodeHello(await this.#toAgent.take()), { ok: true, value: { version: 'v1' } });
  }
  async raw(data: Uint8Array, fd?: number): Promise<string | undefined> {
    this.#toProxy.push({ data: Buffer.from(data), fd });
    return this.ack();
  }
  async ack(): Promise<string | undefined> {
    const ack = decodeAck(await this.#toAgent.take());
    assert.ok(ack.ok);
    return ack.value.error;
  }
  send(request: ZdsRequest, fd?: number): Promise<string | undefined> {
    return this.raw(encodeRequest(request), fd);
  }
  refuse(): void {
    this.#toProxy.push('refused');
  }
  hangUp(): void {
    this.#toProxy.push('end');
  }
}

const pod = (name: string): PodInfo => ({ name, namespace: 'shop', serviceAccount: name });
const add = (uid: string): ZdsRequest => ({ kind: 'add', uid, pod: pod(uid) });
/** Any namespace does: nothing is bound here. */
const netnsFd = (): number => openSync('/proc/self/ns/net', 'r');

function world() {
  const clock = new ManualClock();
  const agents: FakeAgent[] = [];
  const started: string[] = [];
  const stopped: string[] = [];
  const failing = new Set<string>();
  const gauges = { active: 0, pending: 0 };
  let agentThere = true;
  const arrived = new Queue<FakeAgent>();
  let dials = 0;
  const telemetry = {
    proxyStarted() {},
    proxyStopped() {},
    activeProxies(count: number) {
      gauges.active = count;
    },
    pendingProxies(count: number) {
      gauges.pending = count;
    },
  } as unknown as Telemetry;
  const pods = new Pods({
    make: (uid, info, netns): RunningPod => ({
      uid,
      pod: info,
      netns,
      async start() {
        if (failing.has(uid)) throw new Error(`port busy for ${uid}`);
        started.push(uid);
      },
      recheck() {},
      rotated() {},
      drain: async () => 0,
      stop() {
        stopped.push(uid);
        netns.close();
      },
      state: () => ({ uid, state: 'Up', info, inbound: [], outbound: [] }),
    }),
    state: { onPolicyChange: () => () => {}, onWorkloadChange: () => () => {} } as never,
    certificates: { onRotate: () => () => {} } as never,
    telemetry,
  });
  const readiness = {
    now: 'pending',
    ready() {
      this.now = 'ready';
    },
    pending() {
      this.now = 'pending';
    },
  };
  const manager = new WorkloadManager({
    connect: () => {
      dials += 1;
      if (!agentThere) throw new Error('nobody there');
      const agent = new FakeAgent();
      agents.push(agent);
      arrived.push(agent);
      return agent.end;
    },
    pods,
    readiness,
    telemetry,
    clock,
    random: () => 0.5,
    log: logger('test'),
  });
  const stop = new AbortController();
  const running = manager.run(stop.signal);
  running.catch(() => {});
  return {
    clock,
    started,
    stopped,
    failing,
    gauges,
    readiness,
    manager,
    running,
    pods,
    stop: () => stop.abort(),
    dials: () => dials,
    agentThere(there: boolean) {
      agentThere = there;
    },
    async agent(): Promise<FakeAgent> {
      const agent = await arrived.take();
      await agent.hello();
      return agent;
    },
  };
}

/** Lets everything that is ready run. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
};

let w: ReturnType<typeof world>;
beforeEach(() => {
  w = world();
});

test('a snapshot: pods start before they are acknowledged, readiness comes with its end', async () => {
  const agent = await w.agent();
  assert.equal(await agent.send(add('a'), netnsFd()), undefined);
  assert.deepEqual(w.started, ['a']);
  assert.equal(w.readiness.now, 'pending');
  assert.equal(await agent.send({ kind: 'snapshotSent' }), undefined);
  assert.equal(w.readiness.now, 'ready');
  assert.equal(await agent.send(add('b'), netnsFd()), undefined);
  assert.equal(w.gauges.active, 2);
  assert.equal(await agent.send({ kind: 'del', uid: 'a' }), undefined);
  assert.equal(await agent.send({ kind: 'del', uid: 'unknown' }), undefined);
  assert.deepEqual(w.stopped, ['a']);
  w.stop();
  await w.running;
});

test('the same pod in the same namespace is left alone, in another one it is started anew', async () => {
  const agent = await w.agent();
  await agent.send(add('a'), netnsFd());
  assert.equal(await agent.send(add('a'), netnsFd()), undefined);
  assert.deepEqual([w.started, w.stopped], [['a'], []]);
  using other = Netns.create();
  assert.equal(await agent.send(add('a'), openSync(`/proc/self/fd/${other.fd}`, 'r')), undefined);
  assert.deepEqual([w.started, w.stopped], [['a', 'a'], ['a']]);
  w.stop();
});

test('a descriptor that is no namespace is refused, and the session goes on', async () => {
  const agent = await w.agent();
  assert.match((await agent.send(add('a'), openSync('/dev/null', 'r'))) ?? '', /not a network namespace/);
  assert.equal(await agent.send(add('b'), netnsFd()), undefined);
  w.stop();
});

test('what fails to start is told to the agent, kept, retried every five seconds, and holds readiness back', async () => {
  const agent = await w.agent();
  w.failing.add('a');
  assert.match((await agent.send(add('a'), netnsFd())) ?? '', /port busy/);
  await agent.send({ kind: 'snapshotSent' });
  assert.equal(w.readiness.now, 'pending');
  assert.equal(w.gauges.pending, 1);
  assert.deepEqual(
    w.manager.pods().map((p) => [p.uid, p.state]),
    [['a', 'Pending']],
  );
  w.clock.advance(5_000);
  await settle();
  assert.equal(w.gauges.pending, 1);
  w.failing.clear();
  w.clock.advance(5_000);
  await settle();
  assert.deepEqual(w.started, ['a']);
  assert.equal(w.readiness.now, 'ready');
  assert.equal(w.gauges.pending, 0);
  assert.equal(w.clock.waiting, 0);
  w.stop();
});

test('a deleted pod is not retried', async () => {
  const agent = await w.agent();
  w.failing.add('a');
  await agent.send(add('a'), netnsFd());
  await agent.send({ kind: 'snapshotSent' });
  await agent.send({ kind: 'del', uid: 'a' });
  assert.equal(w.readiness.now, 'ready');
  w.failing.clear();
  w.clock.advance(20_000);
  await settle();
  assert.deepEqual(w.started, []);
  w.stop();
});

test('pods go on while the agent is away; the next snapshot says who has left', async () => {
  const first = await w.agent();
  await first.send(add('stays'), netnsFd());
  await first.send(add('kept'), netnsFd());
  await first.send(add('leaves'), netnsFd());
  await first.send({ kind: 'snapshotSent' });
  first.hangUp();
  const second = await w.agent();
  assert.equal(w.readiness.now, 'pending');
  assert.deepEqual(w.stopped, []);
  await second.send(add('stays'), netnsFd());
  await second.send({ kind: 'keep', uid: 'kept' });
  assert.deepEqual(w.stopped, []);
  await second.send({ kind: 'snapshotSent' });
  assert.deepEqual(w.stopped, ['leaves']);
  assert.equal(w.readiness.now, 'ready');
  assert.deepEqual(w.started, ['stays', 'kept', 'leaves'], 'no one was started twice');
  w.stop();
});

test('a deletion before the end of the snapshot stops the pod only then', async () => {
  const first = await w.agent();
  await first.send(add('a'), netnsFd());
  await first.send({ kind: 'snapshotSent' });
  first.hangUp();
  const second = await w.agent();
  await second.send(add('a'), netnsFd());
  await second.send({ kind: 'del', uid: 'a' });
  assert.deepEqual(w.stopped, []);
  await second.send({ kind: 'snapshotSent' });
  assert.deepEqual(w.stopped, ['a']);
  w.stop();
});

for (const [name, requests] of [
  ['keep after the snapshot', [{ kind: 'snapshotSent' }, { kind: 'keep', uid: 'a' }]],
  ['a second snapshot', [{ kind: 'snapshotSent' }, { kind: 'snapshotSent' }]],
  ['add without the name', [{ kind: 'add', uid: 'a', pod: undefined }]],
] as const satisfies readonly (readonly [string, readonly ZdsRequest[]])[])
  test(`${name} ends the process, after an error to the agent`, async () => {
    const agent = await w.agent();
    const requested: readonly ZdsRequest[] = requests;
    let last: string | undefined;
    for (const request of requested) last = await agent.send(request, request.kind === 'add' ? netnsFd() : undefined);
    assert.notEqual(last, undefined);
    await assert.rejects(w.running, ZdsProtocolError);
  });

for (const [name, data, fd] of [
  ['bytes that are no message', Buffer.from('ffff', 'hex'), false],
  ['an empty request', Buffer.alloc(0), false],
  ['add without a descriptor', Buffer.from(encodeRequest(add('a'))), false],
  ['a descriptor with del', Buffer.from(encodeRequest({ kind: 'del', uid: 'a' })), true],
] as const)
  test(`${name}: error to the agent, then a new connection`, async () => {
    const agent = await w.agent();
    assert.notEqual(await agent.raw(data, fd ? netnsFd() : undefined), undefined);
    await w.agent();
    assert.equal(agent.closed, true);
    w.stop();
    await w.running;
  });

test('a packet that the kernel cut is an error to the agent, then a new connection', async () => {
  const agent = await w.agent();
  agent.refuse();
  assert.match((await agent.ack()) ?? '', /longer than 1024/);
  await w.agent();
  w.stop();
});

test('an agent that hangs up without a word is not called on in a tight loop', async () => {
  (await w.agent()).hangUp();
  await settle();
  assert.equal(w.dials(), 1);
  w.clock.advance(5);
  (await w.agent()).hangUp();
  await settle();
  w.clock.advance(9);
  await settle();
  assert.equal(w.dials(), 2);
  w.clock.advance(1);
  await w.agent();
  w.stop();
});

test('an absent agent is called on with doubling pauses, up to fifteen seconds', async () => {
  const agent = await w.agent();
  w.agentThere(false);
  await agent.send({ kind: 'snapshotSent' });
  agent.hangUp();
  await settle();
  const pauses: number[] = [];
  for (let i = 0; i < 12; i++) {
    const before = w.dials();
    let waited = 0;
    while (w.dials() === before) {
      w.clock.advance(10);
      waited += 10;
      await new Promise(setImmediate);
    }
    pauses.push(waited);
  }
  assert.deepEqual(pauses, [20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000, 15000]);
  w.stop();
  await w.running;
});
