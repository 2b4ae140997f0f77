// The api process as the room runs it: an inherited socket, readiness over IPC, SIGKILL at any moment, a disk that is full.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connectKube, type HttpKubeClient } from '../src/kube/client/client.ts';
import { CONFIG_MAPS } from '../src/kube/client/resources.ts';
import { KubeError } from '../src/kube/client/types.ts';
import type { Ip } from '../src/model/ip.ts';
import { Netns } from '../src/platform/linux/netns.ts';
import { listenTcp, localAddress } from '../src/platform/linux/sockets.ts';

const MAIN = join(import.meta.dirname, '../src/kube/server/main.ts');

interface Room {
  readonly folder: string;
  /** Starts the api process on the room's socket; resolves when it says that it is ready. */
  start(prefix?: readonly string[]): Promise<ChildProcess>;
  connect(): Promise<HttpKubeClient>;
}

/** What the room does for its api process: a state folder and a listening socket that outlives it. */
async function room(t: TestContext): Promise<Room> {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-process-'));
  // Only opened here, never accepted on: that is the child's.
  using here = Netns.current();
  const fd = listenTcp(here, { ip: '127.0.0.1' as Ip, port: 0, backlog: 511 });
  const port = localAddress(fd)?.port;
  const children: ChildProcess[] = [];
  t.after(async () => {
    for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    closeSync(fd);
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    folder,
    start(prefix = []) {
      const [program = process.execPath, ...args] = [...prefix, process.execPath, MAIN];
      const child = spawn(program, args, {
        stdio: ['ignore', 'ignore', 'inherit', fd, 'ipc'],
        env: {
          ...process.env,
          AMBIT_STATE_DIR: folder,
          AMBIT_API_FD: '3',
          AMBIT_API_PORT: String(port),
          AMBIT_API_LISTEN: '127.0.0.1:0',
          AMBIT_ROOM_KUBECONFIG: join(folder, 'room.kubeconfig'),
        },
      });
      children.push(child);
      return new Promise((resolve, reject) => {
        child.once('message', () => resolve(child));
        child.once('exit', (code, signal) =>
          reject(new Error(`the api ended before it was ready (${code ?? signal})`)),
        );
      });
    },
    connect: () => connectKube({ kubeconfig: join(folder, 'kubeconfig') }),
  };
}

const configMap = (name: string, data: Record<string, string> = {}) =>
  ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' }, data }) as const;

const ended = (child: ChildProcess) => new Promise<void>((resolve) => child.once('exit', () => resolve()));

test('SIGKILL while writing: what was acknowledged is there, the socket is never closed', {
  timeout: 60_000,
}, async (t) => {
  const { start, connect, folder } = await room(t);
  let child = await start();
  assert.equal(statSync(join(folder, 'kubeconfig')).mode & 0o777, 0o600);
  assert.equal(statSync(join(folder, 'state.db')).mode & 0o777, 0o600);
  const { clusters } = JSON.parse(readFileSync(join(folder, 'room.kubeconfig'), 'utf8')) as {
    clusters: { cluster: { server: string } }[];
  };
  assert.match(clusters[0]?.cluster.server ?? '', /^https:\/\/127\.0\.0\.1:\d+$/);
  const acknowledged: string[] = [];
  for (let round = 0; round < 3; round++) {
    const client = await connect();
    const writers = [0, 1, 2, 3].map(async (writer) => {
      for (let i = 0; ; i++) {
        const name = `m-${round}-${writer}-${i}`;
        try {
          await client.create(CONFIG_MAPS, configMap(name));
        } catch {
          return; // it was killed
        }
        acknowledged.push(name);
      }
    });
    const target = acknowledged.length + 40;
    while (acknowledged.length < target) await new Promise((resolve) => setTimeout(resolve, 5));
    const gone = ended(child);
    child.kill('SIGKILL');
    await gone;
    await Promise.all(writers);
    client.close();
    child = await start();
  }
  const client = await connect();
  t.after(() => client.close());
  const { items } = await client.list(CONFIG_MAPS, { namespace: 'default' });
  const there = new Set(items.map(({ metadata }) => metadata?.name));
  assert.deepEqual(
    acknowledged.filter((name) => !there.has(name)),
    [],
  );
  assert.ok(acknowledged.length >= 120);
});

test('a disk that takes no more: the write is refused, reads go on, nothing is lost', {
  timeout: 60_000,
}, async (t) => {
  const { start, connect } = await room(t);
  // A limit on the size of files, its signal ignored, looks to the database as a full disk does: writing fails.
  const limited = ['sh', '-c', 'trap "" XFSZ; ulimit -f 4096; exec "$0" "$@"'];
  const child = await start(limited);
  const client = await connect();
  t.after(() => client.close());
  const data = { text: 'x'.repeat(200_000) };
  const kept: string[] = [];
  let refusal: unknown;
  for (let i = 0; i < 100 && refusal === undefined; i++)
    try {
      await client.create(CONFIG_MAPS, configMap(`m-${i}`, data));
      kept.push(`m-${i}`);
    } catch (error) {
      refusal = error;
    }
  assert.ok(refusal instanceof KubeError, String(refusal));
  assert.ok(refusal.code === 500 || refusal.code === 507, `${refusal.code}`);
  assert.match(refusal.message, /the database `.*state\.db` cannot be written/);
  const names = async (of: HttpKubeClient) =>
    (await of.list(CONFIG_MAPS, { namespace: 'default' })).items
      .map(({ metadata }) => metadata?.name ?? '')
      .filter((name) => name.startsWith('m-'));
  assert.deepEqual((await names(client)).sort(), kept.toSorted());
  const gone = ended(child);
  child.kill('SIGTERM');
  await gone;
  await start();
  const again = await connect();
  t.after(() => again.close());
  assert.deepEqual((await names(again)).sort(), kept.toSorted());
  await again.create(CONFIG_MAPS, configMap('after'));
});

test('a second api on the same database is refused with the reason', { timeout: 30_000 }, async (t) => {
  const { start } = await room(t);
  await start();
  await assert.rejects(start(), /ended before it was ready \(1\)/);
});
