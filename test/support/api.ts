// The embedded API on loopback, without a room: for tests with real clients. A small kubelet stands behind it that
// answers logs, exec and port-forward from what the test gives.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';
import { type RunningApi, startApi } from '../../src/kube/server/server.ts';
import { serveExec } from '../../src/kube/streams/exec.ts';
import { servePortForward } from '../../src/kube/streams/portforward.ts';
import { kubectlPath } from './kubectl.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class TestApi {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly port: number;
  readonly #api: RunningApi;

  constructor(folder: string, api: RunningApi) {
    this.folder = folder;
    this.kubeconfig = join(folder, 'kubeconfig');
    this.#api = api;
    this.port = api.ports[0] ?? 0;
  }

  stop(): Promise<void> {
    return this.#api.stop();
  }

  /** Runs kubectl to its end. */
  async kubectl(args: readonly string[], options: { input?: string; env?: Record<string, string> } = {}): Promise<Ran> {
    const child = this.spawnKubectl(args, options.env);
    child.stdin.end(options.input ?? '');
    const [stdout, stderr, code] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise<number>((resolve) => child.once('close', (exit) => resolve(exit ?? -1))),
    ]);
    return { code, stdout, stderr };
  }

  /** As `kubectl`, throwing when it fails; returns what it printed. */
  async ok(args: readonly string[], options: { input?: string; env?: Record<string, string> } = {}): Promise<string> {
    const ran = await this.kubectl(args, options);
    if (ran.code !== 0) throw new Error(`kubectl ${args.join(' ')} failed (${ran.code}): ${ran.stderr}${ran.stdout}`);
    return ran.stdout;
  }

  spawnKubectl(args: readonly string[], env: Record<string, string> = {}) {
    return spawn(kubectlPath(), ['--kubeconfig', this.kubeconfig, ...args], {
      env: { ...process.env, HOME: this.folder, KUBECACHEDIR: join(this.folder, 'cache'), ...env },
    });
  }
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let all = '';
  for await (const chunk of stream) all += chunk;
  return all;
}

/** Starts an API with the workload controllers; it ends with the test. */
export async function startTestApi(t: TestContext, options: { controllers?: boolean } = {}): Promise<TestApi> {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-api-'));
  const kubeletDir = join(folder, 'kubelet');
  mkdirSync(kubeletDir);
  const api = await startApi(
    {
      stateDir: folder,
      meshName: 'default',
      listenFd: undefined,
      hostPort: undefined,
      listen: { host: '127.0.0.1', port: 0 },
      roomKubeconfig: undefined,
      kubeletDir,
      database: join(folder, 'state.db'),
    },
    options,
  );
  const started = new TestApi(folder, api);
  t.after(async () => {
    await started.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return started;
}

export interface FakeKubelet {
  /** Paths that were asked for. */
  readonly asked: string[];
}

/**
 * A kubelet of one node: logs say what was asked, exec runs programs of this machine, port-forward leads to its loopback.
 */
export async function startFakeKubelet(t: TestContext, api: TestApi, node: string): Promise<FakeKubelet> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(200, { 'content-type': 'text/plain' }).end(`log of ${request.url}\n`);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    asked.push(request.url ?? '');
    if (request.url?.startsWith('/portForward/'))
      void servePortForward(request, socket, head, { dial, describe: 'the pod' });
    else void serveExec(request, socket, head, async ({ command }) => runHere(command));
  });
  await new Promise<void>((resolve) => server.listen(join(api.folder, 'kubelet', `${node}.sock`), resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked };
}

async function runHere(command: readonly string[]) {
  const [program = '', ...args] = command;
  const child = spawn(program, args);
  const exit = new Promise<{ kind: 'exited'; code: number }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ kind: 'exited', code: code ?? 137 }));
  });
  exit.catch(() => {});
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    exit,
    hangUp: () => void child.kill('SIGKILL'),
  };
}

function dial(port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}
