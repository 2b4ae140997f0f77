// What the API asks a node's kubelet, with the real kubelet's paths, over HTTP on a Unix socket:
// /containerLogs/{namespace}/{pod}/{container}, /exec/…, /attach/…, /portForward/{namespace}/{pod}.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type Duplex, PassThrough, Writable } from 'node:stream';
import type { ExecOptions, RemoteCommand } from '../../kube/streams/exec.ts';
import type { Ip } from '../../model/ip.ts';
import { connectTcp } from '../../platform/linux/sockets.ts';
import { startExec } from './exec.ts';
import { logTime } from './log-line.ts';
import { formatForReader, type LogQuery, logFiles, readLog, selectLines } from './logs.ts';
import type { PodWorker } from './pod-worker.ts';
import type { Program } from './program.ts';
import { type ContainerStatus, type Pod, podName } from './types.ts';

export interface KubeletPods {
  find(namespace: string, name: string): { readonly pod: Pod; readonly worker: PodWorker | undefined } | undefined;
  logFolder(pod: Pod): string;
}

/** An answer that is no success, as a metav1.Status. */
class Refusal extends Error {
  readonly code: number;
  readonly reason: string;
  constructor(code: number, reason: string, message: string) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

const MAX_BEHIND_BYTES = 16 << 20;
const DIAL_TIMEOUT_MS = 10_000;

const notFound = (message: string): Refusal => new Refusal(404, 'NotFound', message);

/** @param path of the Unix socket */
export function startKubeletServer(path: string, pods: KubeletPods): Promise<Server> {
  const server = createServer((request, response) => {
    try {
      answer(pods, request, response);
    } catch (error) {
      refuse(response, error);
    }
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {});
    upgrade(pods, request, socket, head).catch(() => socket.destroy());
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve(server));
  });
}

function refuse(response: ServerResponse, error: unknown): void {
  const { code, reason } = error instanceof Refusal ? error : { code: 500, reason: 'InternalError' };
  const message = error instanceof Error ? error.message : String(error);
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(
    JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code }),
  );
}

/** `/verb/namespace/pod[/container]` */
function parsePath(url: string): {
  verb: string;
  namespace: string;
  pod: string;
  container: string;
  query: URLSearchParams;
} {
  const { pathname, searchParams } = new URL(url, 'http://kubelet');
  const [, verb = '', namespace = '', pod = '', container = ''] = pathname.split('/').map(decodeURIComponent);
  return { verb, namespace, pod, container, query: searchParams };
}

function answer(pods: KubeletPods, request: IncomingMessage, response: ServerResponse): void {
  const { verb, namespace, pod, container, query } = parsePath(request.url ?? '');
  if (verb === 'healthz') {
    response.end('ok');
    return;
  }
  if (verb !== 'containerLogs') throw notFound(`there is nothing at ${request.url}`);
  const found = pods.find(namespace, pod);
  if (found === undefined) throw notFound(`pod "${pod}" does not run on this node`);
  sendLogs(pods, found, container, query, response);
}

const whole = (text: string | null): number | undefined => {
  if (text === null || !/^\d+$/.test(text)) return undefined;
  return Number(text);
};

export function logQuery(query: URLSearchParams, nowMs: number): LogQuery {
  const tailLines = whole(query.get('tailLines'));
  const limitBytes = whole(query.get('limitBytes'));
  const sinceSeconds = whole(query.get('sinceSeconds'));
  const sinceMs = sinceSeconds !== undefined ? nowMs - sinceSeconds * 1000 : Date.parse(query.get('sinceTime') ?? '');
  return {
    timestamps: query.get('timestamps') === 'true',
    ...(tailLines !== undefined && { tailLines }),
    ...(limitBytes !== undefined && { limitBytes }),
    ...(!Number.isNaN(sinceMs) && { since: logTime(sinceMs * 1000) }),
  };
}

function statusOf(pod: Pod, container: string): ContainerStatus | undefined {
  const { status } = pod;
  const all = [
    ...(status?.containerStatuses ?? []),
    ...(status?.initContainerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ];
  return all.find(({ name }) => name === container);
}

function sendLogs(
  pods: KubeletPods,
  { pod, worker }: { pod: Pod; worker: PodWorker | undefined },
  container: string,
  query: URLSearchParams,
  response: ServerResponse,
): void {
  const files = logFiles(join(pods.logFolder(pod), container));
  const previous = query.get('previous') === 'true';
  const runner = worker?.runner(container);
  const file = previous ? files.at(-2) : files.at(-1);
  if (previous && file === undefined)
    throw new Refusal(
      400,
      'BadRequest',
      `previous terminated container "${container}" in pod "${podName(pod)}" not found`,
    );
  if (file === undefined) {
    const state = runner?.record.state;
    const reason =
      state?.kind === 'waiting'
        ? state.reason
        : (statusOf(pod, container)?.state?.waiting?.reason ?? 'ContainerCreating');
    throw new Refusal(
      400,
      'BadRequest',
      `container "${container}" in pod "${podName(pod)}" is waiting to start: ${reason}`,
    );
  }
  const wanted = logQuery(query, Date.now());
  response.writeHead(200, { 'content-type': 'text/plain' });
  response.write(selectLines(readLog(file), wanted));
  const live = runner?.log;
  if (query.get('follow') !== 'true' || live === undefined || live.file !== file) {
    response.end();
    return;
  }
  response.flushHeaders();
  const stop = live.follow(
    (line) => {
      // Whoever reads too slowly is let go: the log itself must not wait.
      if (response.writableLength > MAX_BEHIND_BYTES) response.destroy();
      else response.write(formatForReader(line, wanted.timestamps === true));
    },
    () => response.end(),
  );
  response.on('close', stop);
}

async function upgrade(pods: KubeletPods, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const { verb, namespace, pod, container } = parsePath(request.url ?? '');
  const workerNow = (): PodWorker => {
    const worker = pods.find(namespace, pod)?.worker;
    if (worker === undefined) throw notFound(`pod "${pod}" does not run on this node`);
    return worker;
  };
  if (verb === 'exec' || verb === 'attach') {
    const { serveExec } = await import('../../kube/streams/exec.ts');
    const start = verb === 'exec' ? execIn : attachTo;
    await serveExec(request, socket, head, async (options) => start(workerNow(), container, options));
  } else if (verb === 'portForward') {
    const { servePortForward } = await import('../../kube/streams/portforward.ts');
    await servePortForward(request, socket, head, {
      dial: (port) => dialInPod(workerNow(), port),
      describe: `pod ${namespace}/${pod}`,
    });
  } else socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
}

function runningIn(worker: PodWorker, container: string) {
  const runner = worker.runner(container);
  if (runner === undefined) throw new Error(`container ${container} is not valid for pod ${podName(worker.pod)}`);
  if (runner.running === undefined)
    throw new Error(`unable to upgrade connection: container not found ("${container}")`);
  return { runner, running: runner.running };
}

const exitOf = (program: Program): RemoteCommand['exit'] =>
  program.ended.then(({ exitCode }) => ({ kind: 'exited', code: exitCode }));

async function execIn(worker: PodWorker, container: string, options: ExecOptions): Promise<RemoteCommand> {
  const { running } = runningIn(worker, container);
  const program = await startExec(running, options.command, options);
  const { io } = program;
  // What nobody reads must not hold the program up.
  if (!options.stdout) io.stdout?.resume();
  if (!options.stderr) io.stderr?.resume();
  return {
    ...(options.stdin && { stdin: io.stdin }),
    ...(options.stdout && { stdout: io.stdout }),
    ...(options.stderr && { stderr: io.stderr }),
    resize: ({ columns, rows }) => io.terminal?.resize(columns, rows),
    exit: exitOf(program),
    hangUp: () => {
      program.child.kill('SIGHUP');
    },
  };
}

async function attachTo(worker: PodWorker, container: string, options: ExecOptions): Promise<RemoteCommand> {
  const { runner, running } = runningIn(worker, container);
  const { program } = running;
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const stop = program.io.onOutput((stream, chunk) => {
    const to = stream === 'stdout' ? stdout : stderr;
    if (to.writableLength < MAX_BEHIND_BYTES) to.write(chunk);
  });
  const ended = (): void => {
    stop();
    stdout.end();
    stderr.end();
  };
  void program.ended.then(ended);
  const once = runner.spec.stdinOnce === true;
  const { stdin } = program.io;
  return {
    ...(options.stdin && stdin !== undefined && { stdin: borrowed(stdin, once) }),
    ...(options.stdout && { stdout }),
    ...(options.stderr && { stderr }),
    resize: ({ columns, rows }) => program.io.terminal?.resize(columns, rows),
    exit: exitOf(program),
    hangUp: ended,
  };
}

/** The container's input for as long as somebody is attached; it stays open for the next unless `once`. */
function borrowed(stdin: Writable, once: boolean): Writable {
  const giveBack = (): void => {
    if (once) stdin.end();
  };
  return new Writable({
    write: (chunk, _encoding, done) => void stdin.write(chunk, done),
    final: (done) => {
      giveBack();
      done();
    },
    destroy: (error, done) => {
      giveBack();
      done(error);
    },
  });
}

function dialInPod(worker: PodWorker, port: number): Promise<Duplex> {
  const { netns } = worker;
  if (netns === undefined) return Promise.reject(new Error('the pod has no network now'));
  return new Promise((resolve, reject) => {
    const socket = connectTcp(netns, { destination: { ip: '127.0.0.1' as Ip, port }, allowHalfOpen: true });
    const late = setTimeout(() => socket.destroy(new Error('no answer in 10 s')), DIAL_TIMEOUT_MS);
    const failed = (error: NodeJS.ErrnoException): void => {
      clearTimeout(late);
      reject(
        new Error(
          `failed to connect to localhost:${port} inside the pod: ${error.code === 'ECONNREFUSED' ? 'connection refused' : error.message}`,
        ),
      );
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(late);
      socket.off('error', failed);
      resolve(socket);
    });
  });
}
