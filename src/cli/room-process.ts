// The process that holds a room, seen from a command: starting one in the background of its own session (so that Ctrl-C
// reaches the command first), finding one that runs, ending it.

import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure } from './failure.ts';
import { makeFolder } from './home.ts';

/** `room.json`: who holds the room. */
export interface RoomRecord {
  readonly pid: number;
  /** Start time of the process in clock ticks since boot: tells it from a later one with the same pid. */
  readonly startTicks: string;
  readonly nodes: number;
  readonly images: readonly string[];
  readonly apiPort: number;
  readonly startedAt: string;
}

export interface SuperviseOptions {
  readonly name: string;
  readonly stateDir: string;
  readonly nodes: number;
  readonly images: readonly string[];
  /** Stays when the command that started it ends. */
  readonly detach: boolean;
}

/** What the supervisor tells the command that started it. */
export type SupervisorMessage =
  /** The API answers: there is something to do already. */
  | { readonly kind: 'api' }
  | { readonly kind: 'ready'; readonly record: RoomRecord }
  /** Another supervisor has brought this room up meanwhile: it is the one to talk to. */
  | { readonly kind: 'running' }
  | { readonly kind: 'failed'; readonly what: string; readonly why: string; readonly fix: string };

export interface RoomHandle {
  /** It ran before this command, or another command started it: it is not this one's to end. */
  readonly attached: boolean;
  readonly nodes: number;
  readonly images: readonly string[];
  /** Resolves when all of it is there; until then only its API answers. Rejects with a Failure when it cannot be made. */
  readonly ready: Promise<void>;
  /** Resolves when the room's supervisor has ended, however that came. */
  readonly ended: Promise<void>;
  /** Why it ended, when nobody asked it to; undefined while it runs. */
  failure(): Promise<string | undefined>;
  /** Ends it, pods with their grace first; resolves when it is gone. */
  stop(): Promise<void>;
  /** Lets go of it: it runs on, and this process may end. */
  release(): void;
}

const STOP_MS = 45_000;
const START_MS = 60_000;
const SETTLE_MS = 50;

/** Field 22 of /proc/<pid>/stat, behind the command name that may hold anything; undefined when there is no such process. */
export function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export function readRecord(stateDir: string): RoomRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(join(stateDir, 'room.json'), 'utf8')) as RoomRecord;
    return startTicksOf(record.pid) === record.startTicks ? record : undefined;
  } catch {
    return undefined;
  }
}

/** The room that runs from this folder now, if any. */
export async function attachRoom(stateDir: string): Promise<RoomHandle | undefined> {
  const record = readRecord(stateDir);
  if (record === undefined) return undefined;
  let timer: NodeJS.Timeout | undefined;
  const gone = (): boolean => startTicksOf(record.pid) !== record.startTicks;
  const ended = new Promise<void>((resolve) => {
    timer = setInterval(() => {
      if (!gone()) return;
      clearInterval(timer);
      resolve();
    }, 50);
    timer.unref();
  });
  return {
    attached: true,
    nodes: record.nodes,
    images: record.images,
    ready: Promise.resolve(),
    ended,
    failure: async () => (gone() ? 'its supervisor is gone' : undefined),
    stop: async () => {
      timer?.ref();
      process.kill(record.pid, 'SIGTERM');
      const kill = setTimeout(() => process.kill(record.pid, 'SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(kill);
    },
    release: () => clearInterval(timer),
  };
}

/** As `attachRoom`; a room that another command is just starting, or that is just ending, is waited for. */
export async function attachSettledRoom(stateDir: string): Promise<RoomHandle | undefined> {
  const lock = join(stateDir, 'lock');
  const began = performance.now();
  for (;;) {
    const room = await attachRoom(stateDir);
    if (room !== undefined || !existsSync(lock) || performance.now() - began > START_MS) return room;
    // Loaded only here: it cannot be read on another system than Linux.
    const { tryLock } = await import('../platform/linux/locks.ts');
    let fd: number | undefined;
    try {
      fd = tryLock(lock);
    } catch {
      return undefined; // a file system without locks tells nothing
    }
    if (fd !== undefined) {
      closeSync(fd);
      return attachRoom(stateDir); // it may have come to be in between
    }
    await delay(SETTLE_MS);
  }
}

/** Starts a supervisor and waits until its API answers (`ready` tells of the rest), or that of one that another command has just started. */
export async function startRoomProcess(options: SuperviseOptions): Promise<RoomHandle> {
  const log = openLog(options.stateDir);
  const child = spawn(process.execPath, [join(import.meta.dirname, 'supervisor.mjs')], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
    env: {
      NODE_COMPILE_CACHE: join(dirname(options.stateDir), '.compile-cache'),
      ...process.env,
      AMBIT_SUPERVISE: JSON.stringify(options),
    },
  });
  closeSync(log);
  let asked = false;
  let status: string | undefined;
  const ended = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      status =
        signal === null ? `its supervisor ended with exit code ${code}` : `its supervisor was ended by ${signal}`;
      resolve();
    });
    child.once('error', (error) => {
      status = error.message;
      resolve();
    });
  });
  const failed = (why: string): Failure =>
    new Failure({
      what: 'the room did not start',
      why,
      fix: `\`ambit doctor\` checks this machine; the log is \`${join(options.stateDir, 'logs', 'supervisor.log')}\``,
    });
  const api = Promise.withResolvers<'ours' | 'running'>();
  const ready = Promise.withResolvers<void>();
  const fail = (failure: Failure): void => {
    api.reject(failure);
    ready.reject(failure);
  };
  ready.promise.catch(() => {}); // who has not come to wait for it yet hears of it then
  const late = setTimeout(() => {
    child.kill('SIGTERM');
    fail(failed(`it was not ready in ${START_MS / 1000} s`));
  }, START_MS);
  child.on('message', (message: SupervisorMessage) => {
    if (message.kind === 'api') return api.resolve('ours');
    clearTimeout(late);
    if (message.kind === 'running') return api.resolve('running');
    if (message.kind === 'failed') return fail(new Failure(message));
    api.resolve('ours');
    ready.resolve();
  });
  void ended.then(() => {
    clearTimeout(late);
    fail(failed(status ?? 'it ended at once'));
  });
  const whose = await api.promise;
  if (whose === 'running') {
    const other = await attachRoom(options.stateDir);
    if (other === undefined) throw failed('another `ambit up` had started it, and it has ended again');
    return other;
  }
  return {
    attached: false,
    nodes: options.nodes,
    images: options.images,
    ready: ready.promise,
    ended,
    failure: async () => (asked ? undefined : status),
    stop: async () => {
      asked = true;
      if (status !== undefined) return;
      child.kill('SIGTERM');
      const kill = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(kill);
    },
    release: () => {
      if (child.connected) child.disconnect();
      child.unref();
    },
  };
}

function openLog(stateDir: string): number {
  try {
    makeFolder(join(stateDir, 'logs'));
    // Not emptied here: it may be another supervisor's, see `supervise.ts`.
    return openSync(join(stateDir, 'logs', 'supervisor.log'), 'a', 0o600);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const full = message.includes('ENOSPC');
    throw new Failure({
      what: `the state folder \`${stateDir}\` cannot be used`,
      why: full ? 'the disk is full' : message,
      fix: full
        ? 'free some space, or set AMBIT_HOME to a folder on another disk'
        : 'set AMBIT_HOME to a folder that you may write to',
      cause,
    });
  }
}
