// ztunnel as processes: environment in, node agent's socket, certificate service, signals, exit status. Each process has
// a network namespace of its own, as the pod that it runs in; pods and traffic are real.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { TestAuthority } from '../dataplane/testing/authority.ts';
import type { HostPort, Ip } from '../model/ip.ts';
import { METRICS_PORT, READINESS_PORT } from '../model/ports.ts';
import { Links } from '../platform/linux/links.ts';
import { Netns } from '../platform/linux/netns.ts';
import { type SeqpacketConnection, SeqpacketListener } from '../platform/linux/seqpacket.ts';
import { connectTcp, listenTcp } from '../platform/linux/sockets.ts';
import { namespacedTests } from '../platform/linux/testing.ts';
import { IstioCertificateResponseSchema, IstioCertificateService } from '../wire/gen/istio/v1/auth/citadel_pb.ts';
import { decodeAck, decodeHello, encodeRequest } from '../wire/zds/messages.ts';
import { enrol, Mesh, type MeshPod } from './testing/mesh.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
const CA_PORT = 15_012;

/** One ztunnel process in its own namespace. */
class Process {
  readonly netns = Netns.create();
  output = '';
  status: number | null | undefined;
  readonly #child: ChildProcess;
  readonly #ca: Http2SecureServer | undefined;
  readonly #changed = new Set<() => void>();

  constructor(env: Record<string, string>, ca?: (netns: Netns) => Http2SecureServer) {
    using links = new Links(this.netns);
    links.up('lo');
    this.#ca = ca?.(this.netns);
    this.#child = this.netns.run(() =>
      spawn(process.execPath, [MAIN], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] }),
    );
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        for (const changed of this.#changed) changed();
      });
    this.#child.once('close', (status) => {
      this.status = status;
      for (const changed of this.#changed) changed();
    });
  }

  async says(pattern: RegExp): Promise<void> {
    await this.#until(() => pattern.test(this.output), `output ${pattern}`);
  }
  async ends(): Promise<number | null> {
    await this.#until(() => this.status !== undefined, 'its end');
    return this.status ?? null;
  }
  #until(condition: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what} in 15 s:\n${this.output}`)), 15_000);
      const changed = (): void => {
        if (!condition()) return;
        clearTimeout(timer);
        this.#changed.delete(changed);
        resolve();
      };
      this.#changed.add(changed);
      changed();
    });
  }

  /** `GET` on one of its endpoints. */
  async get(port: number, path: string): Promise<string> {
    const socket = connectTcp(this.netns, { destination: { ip: '127.0.0.1' as Ip, port } });
    let got = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      got += text;
    });
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    await once(socket, 'close');
    return got;
  }
  async ready(): Promise<void> {
    for (;;) {
      const answer = await this.get(READINESS_PORT, '/healthz/ready');
      if (answer.includes(' 200 ')) return;
    }
  }
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
  async close(): Promise<void> {
    if (this.status === undefined) {
      this.kill('SIGKILL');
      await this.ends();
    }
    this.#ca?.close();
    this.netns.close();
  }
}

/** The node agent's part, as one connection. */
class Agent {
  readonly #connection: SeqpacketConnection;
  constructor(connection: SeqpacketConnection) {
    this.#connection = connection;
  }
  static async accept(listener: SeqpacketListener): Promise<Agent> {
    const connection = await listener.accept();
    const hello = await connection.receive(10_000);
    assert.ok(hello !== undefined && decodeHello(hello.data).ok);
    return new Agent(connection);
  }
  async add(pod: MeshPod): Promise<void> {
    const info = { name: pod.name, namespace: 'shop', serviceAccount: pod.name };
    await this.#send(encodeRequest({ kind: 'add', uid: pod.uid, pod: info }), pod.netns.fd);
  }
  snapshotSent(): Promise<void> {
    return this.#send(encodeRequest({ kind: 'snapshotSent' }));
  }
  async #send(data: Uint8Array, fd?: number): Promise<void> {
    await this.#connection.send(data, fd === undefined ? {} : { fd });
    const packet = await this.#connection.receive(10_000);
    assert.ok(packet !== undefined);
    assert.deepEqual(decodeAck(packet.data), { ok: true, value: { error: undefined } });
  }
  close(): void {
    this.#connection.close();
  }
}

const chatty = (socket: Socket): void => {
  socket.on('data', (chunk) => void socket.write(chunk));
  socket.on('end', () => socket.end());
};

async function say(socket: Socket, text: string): Promise<void> {
  const answer = new Promise<string>((resolve, reject) => {
    socket.once('data', (chunk) => resolve(String(chunk)));
    socket.once('close', () => reject(new Error('closed')));
  });
  socket.write(text);
  assert.equal(await answer, text);
}

namespacedTests(import.meta.url, () => {
  const folder = mkdtempSync(join(tmpdir(), 'ztunnel-test-'));
  const agentSocket = join(folder, 'ztunnel.sock');
  let mesh: Mesh;
  let order: MeshPod;
  let payment: MeshPod;
  let listener: SeqpacketListener;
  let authority: TestAuthority;
  let env: Record<string, string>;
  let ca: (netns: Netns) => Http2SecureServer;
  const processes: Process[] = [];
  const agents: Agent[] = [];

  before(async () => {
    mesh = await Mesh.create(); // only its pods: no proxy of its own serves them
    order = mesh.bare('order');
    payment = mesh.bare('payment');
    for (const pod of [order, payment]) await enrol(pod.netns);
    await mesh.listen(payment, 8000, chatty);
    listener = SeqpacketListener.listen(agentSocket);
    authority = await TestAuthority.create();
    const server = await authority.server('localhost');
    ca = (netns) => {
      const routes = connectNodeAdapter({
        grpcWeb: false,
        connect: false,
        routes: (router) =>
          void router.service(IstioCertificateService, {
            createCertificate: async ({ csr, metadata }) => {
              const leaf = await authority.sign(csr, String(metadata?.ImpersonatedIdentity));
              return create(IstioCertificateResponseSchema, { certChain: [leaf, authority.rootPem] });
            },
          }),
      });
      const server2 = createSecureServer({ cert: server.certificatePem, key: server.privateKeyPem }, routes);
      server2.listen({ fd: listenTcp(netns, { ip: '127.0.0.1' as Ip, port: CA_PORT }) });
      return server2;
    };
    writeFileSync(join(folder, 'token'), 'token');
    env = {
      XDS_ADDRESS: '',
      CA_ADDRESS: `https://localhost:${CA_PORT}`,
      CA_ROOT_CA: authority.rootPem,
      AUTH_TOKEN: join(folder, 'token'),
      INPOD_UDS: agentSocket,
      NODE_NAME: 'node-1',
      ISTIO_META_DNS_CAPTURE: 'false',
      TERMINATION_GRACE_PERIOD_SECONDS: '20',
      LOCAL_XDS: JSON.stringify({
        workloads: [order, payment].map((pod) => ({
          uid: `Kubernetes//Pod/shop/${pod.name}`,
          name: pod.name,
          namespace: 'shop',
          serviceAccount: pod.name,
          workloadIps: [pod.ip],
          protocol: 'HBONE',
          node: 'node-1',
        })),
      }),
    };
  });
  afterEach(async () => {
    for (const each of processes.splice(0)) await each.close(); // first: a living one would call the agent again
    for (const agent of agents.splice(0)) agent.close();
  });
  after(async () => {
    listener.close();
    await mesh.close();
    rmSync(folder, { recursive: true });
  });

  function ztunnel(more: Record<string, string> = {}): Process {
    const started = new Process({ ...env, ...more }, ca);
    processes.push(started);
    return started;
  }
  /** Started, and given both pods. */
  async function serving(): Promise<Process> {
    const started = ztunnel();
    const agent = await Agent.accept(listener);
    agents.push(agent);
    for (const pod of [order, payment]) await agent.add(pod);
    assert.match(await started.get(READINESS_PORT, '/healthz/ready'), / 500 [\s\S]*workload proxy manager/);
    await agent.snapshotSent();
    await started.ready();
    return started;
  }
  const dial = (): Socket => mesh.dial(order, { ip: payment.ip, port: 8000 } satisfies HostPort);

  test('takes pods over, carries their traffic, counts and logs it', async () => {
    const running = await serving();
    const socket = dial();
    await say(socket, 'hello');
    socket.end();
    await running.says(
      /\tinfo\taccess\tconnection complete\t.*dst.identity="spiffe:\/\/cluster.local\/ns\/shop\/sa\/payment".*direction="outbound"/,
    );
    await running.says(/direction="inbound"/);
    const metrics = await running.get(METRICS_PORT, '/metrics');
    assert.match(metrics, /workload_manager_active_proxy_count 2/);
    assert.match(
      metrics,
      /istio_tcp_connections_closed_total\{reporter="source".*response_flags="-",connection_security_policy="mutual_tls".*\} 1/,
    );
    assert.match(await running.get(15_000, '/config_dump'), /"workloadState": \{[\s\S]*"uid-order"[\s\S]*"state":"Up"/);
    running.kill('SIGTERM');
    assert.equal(await running.ends(), 0);
    assert.match(running.output, /shutdown complete\n$/);
  });

  test('replaced by another process under load: no connection fails, a live one is kept', async () => {
    const first = await serving();
    const alive = dial();
    await say(alive, 'on the first');
    const second = await serving();
    let asked = 0;
    let going = true;
    const failures: string[] = [];
    const load = Array.from({ length: 4 }, async () => {
      while (going) {
        const socket = dial();
        try {
          await say(socket, 'hello');
        } catch (error) {
          failures.push(String(error));
        }
        asked += 1;
        socket.end();
      }
    });
    const until = async (count: number): Promise<void> => {
      while (asked < count) await new Promise(setImmediate);
    };
    await until(50);
    first.kill('SIGTERM');
    await first.says(/shutting down/);
    await until(asked + 200);
    await say(alive, 'still on the first');
    assert.equal(first.status, undefined, 'waits for its connection');
    alive.end();
    assert.equal(await first.ends(), 0);
    await until(asked + 50);
    going = false;
    await Promise.all(load);
    assert.deepEqual(failures, [], `${asked} connections`);
    second.kill('SIGTERM');
    assert.equal(await second.ends(), 0);
  });

  test('killed: connections break, the next process serves again', async () => {
    const first = await serving();
    const socket = dial();
    await say(socket, 'hello');
    const broken = Promise.race([once(socket, 'end'), once(socket, 'close')]);
    first.kill('SIGKILL');
    await broken;
    await assert.rejects(say(dial(), 'nobody there'), 'never in plaintext');
    await serving();
    const again = dial();
    await say(again, 'hello');
    again.end();
  });

  test('a setting that makes no sense, and state that is none: every problem, status 1', async () => {
    const bad = ztunnel({ PACKET_MARK: 'many', LOG_FORMAT: 'xml' });
    assert.equal(await bad.ends(), 1);
    assert.match(bad.output, /PACKET_MARK[\s\S]*\n[\s\S]*LOG_FORMAT/);
    const state = ztunnel({ LOCAL_XDS: 'workloads: [{ nmae: x }]' });
    assert.equal(await state.ends(), 1);
    assert.match(state.output, /LOCAL_XDS: .*nmae/);
  });

  test('an agent that breaks the protocol ends the process with status 1', async () => {
    const running = ztunnel();
    const agent = await Agent.accept(listener);
    agents.push(agent);
    await agent.snapshotSent();
    await assert.rejects(agent.snapshotSent());
    assert.equal(await running.ends(), 1);
    assert.match(running.output, /second snapshot/);
  });
});

for (const [word, status, says] of [
  ['--help', 0, /XDS_ADDRESS/],
  ['help', 0, /LOCAL_XDS_PATH/],
  ['version', 0, /^\d+\.\d+\.\d+\n$/],
  ['prxoy', 1, /unknown command `prxoy`/],
] as const)
  test(`command line: ${word}`, () => {
    const ran = spawnSync(process.execPath, [MAIN, word], { encoding: 'utf8', env: {}, timeout: 10_000 });
    assert.equal(ran.status, status, ran.stderr);
    assert.match(ran.stdout + ran.stderr, says);
  });
