// The host's side of a room: makes the namespaces, holds the API's listening socket on 127.0.0.1 (so that the API may
// die and come back without its port being lost), and is the room's way out. The room ends with it, however it ends.

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import type { Ip } from '../model/ip.ts';
import { hasCode } from '../platform/linux/errors.ts';
import { Netns } from '../platform/linux/netns.ts';
import { listenTcp, localAddress } from '../platform/linux/sockets.ts';
import { listenOnHost } from './host-listener.ts';
import { dialOutside, resolveOutside } from './outside.ts';
import type { FromRoom, RoomSettings, ToRoom } from './room/messages.ts';

export interface RoomOptions {
  readonly name: string;
  readonly stateDir: string;
  readonly nodes: number;
  readonly images: readonly string[];
  readonly packageRoot: string;
  /** The API's port of an earlier life, taken again when it is free, so that a kubeconfig stays true. */
  readonly preferredPort?: number | undefined;
  /** Descriptor of the state folder's lock, lent to the room: it is free again when both have ended. */
  readonly lockFd?: number | undefined;
  /** Called when the API answers, somewhat before all of the room is there. */
  readonly onApi: () => void;
}

export interface Room {
  readonly apiPort: number;
  /** Resolves with what ended it: undefined when `stop` did. */
  readonly ended: Promise<string | undefined>;
  /** Ends the pods with their grace, then everything. */
  stop(): Promise<void>;
}

/** Why a room could not be made: what, why, fix. */
export class RoomError extends Error {
  readonly what: string;
  readonly why: string;
  readonly fix: string;
  constructor(parts: { what: string; why: string; fix: string }) {
    super(`${parts.what}: ${parts.why}`);
    this.what = parts.what;
    this.why = parts.why;
    this.fix = parts.fix;
  }
}

const API_FD = 4; // behind the IPC channel, which is 3
const KILL_AFTER_MS = 40_000;
const MAX_STDERR = 4000;

/** Starts a room; resolves once its API answers and its nodes are registered. @throws RoomError */
export async function startRoom(options: RoomOptions): Promise<Room> {
  const { fd, port } = openApiSocket(options.preferredPort);
  const settings: RoomSettings = {
    name: options.name,
    stateDir: options.stateDir,
    nodes: options.nodes,
    images: options.images,
    apiPort: port,
    apiFd: API_FD,
    packageRoot: options.packageRoot,
  };
  const root = process.getuid?.() === 0;
  const child = spawn(
    'unshare',
    [
      ...(root ? [] : ['--user', '--map-root-user']),
      ...['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
      process.execPath,
      join(options.packageRoot, 'dist', 'room.mjs'),
    ],
    {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc', fd, options.lockFd ?? 'ignore'],
      env: { ...process.env, AMBIT_ROOM: JSON.stringify(settings) },
    },
  );
  closeSync(fd);
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    process.stderr.write(chunk);
    stderr = (stderr + chunk.toString('utf8')).slice(-MAX_STDERR);
  });
  let stopping = false;
  const ended = new Promise<string | undefined>((resolve) => {
    child.once('error', (error) =>
      resolve(hasCode(error, 'ENOENT') ? 'the program `unshare` is not installed' : error.message),
    );
    child.once('exit', (code, signal) =>
      resolve(stopping ? undefined : `the room ended by itself (${signal ?? `exit code ${code}`})`),
    );
  });
  serveOutside(child);
  await ready(child, ended, options.onApi, () => stderr.trim());
  return {
    apiPort: port,
    ended,
    stop: async () => {
      stopping = true;
      send(child, { kind: 'stop' });
      const kill = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
      await ended;
      clearTimeout(kill);
    },
  };
}

function openApiSocket(preferred: number | undefined): { fd: number; port: number } {
  using here = Netns.current();
  const listen = (port: number): number => listenTcp(here, { ip: '127.0.0.1' as Ip, port, backlog: 511 });
  let fd: number;
  try {
    fd = listen(preferred ?? 0);
  } catch (error) {
    if (preferred === undefined || !hasCode(error, 'EADDRINUSE')) throw error;
    fd = listen(0);
  }
  return { fd, port: localAddress(fd)?.port ?? 0 };
}

function ready(
  child: ChildProcess,
  ended: Promise<string | undefined>,
  onApi: () => void,
  stderr: () => string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on('message', (message: FromRoom) => {
      if (message.kind === 'api') onApi();
      else if (message.kind === 'ready') resolve();
      else if (message.kind === 'failed') reject(new RoomError(message));
    });
    void ended.then((why) => {
      const text = stderr();
      const namespaces = /unshare|uid_map|Operation not permitted/.test(text);
      reject(
        new RoomError({
          what: 'the room could not be made',
          why: [why, text].filter(Boolean).join(': '),
          fix: namespaces
            ? 'allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run as root; `ambit doctor` checks'
            : '`ambit doctor` checks this machine',
        }),
      );
    });
  });
}

function send(child: ChildProcess, message: ToRoom, ...handle: [Parameters<ChildProcess['send']>[1]?]): void {
  if (child.connected) child.send(message, handle[0], () => {}); // a room that is just ending needs no answer
}

function serveOutside(child: ChildProcess): void {
  child.on('message', (message: FromRoom) => {
    if (message.kind === 'dial')
      dialOutside(message.ip, message.port).then(
        (socket) => send(child, { kind: 'dialled', id: message.id }, socket),
        (error: NodeJS.ErrnoException) =>
          send(child, { kind: 'refused', id: message.id, code: error.code ?? 'ECONNREFUSED' }),
      );
    else if (message.kind === 'listen')
      listenOnHost(message.ports).then(
        ({ server, port }) => {
          if (!child.connected) return void server.close();
          // The room has its own copy of the listening socket from then on.
          child.send({ kind: 'listening', id: message.id, port } satisfies ToRoom, server, () => server.close());
        },
        (error: NodeJS.ErrnoException) =>
          send(child, { kind: 'refused', id: message.id, code: error.code ?? 'EADDRINUSE' }),
      );
    else if (message.kind === 'resolve')
      resolveOutside(Buffer.from(message.query, 'base64')).then(
        (answer) => send(child, { kind: 'resolved', id: message.id, answer: answer.toString('base64') }),
        () => send(child, { kind: 'refused', id: message.id, code: 'ESERVFAIL' }),
      );
  });
}
