// Role `supervisor`: the process that holds a room. Started by `ambit up`, tells it how things go, outlives it when detached.

import { ftruncateSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { RoomError, startRoom } from '../local/supervisor.ts';
import { tryLock } from '../platform/linux/locks.ts';
import {
  type RoomRecord,
  readRecord,
  type SuperviseOptions,
  type SupervisorMessage,
  startTicksOf,
} from './room-process.ts';

const STDERR = 2;
const LOCK_RETRY_MS = 50;
/** A room that was told to end gives its pods their grace first. */
const LOCK_WAIT_MS = 45_000;

const options = JSON.parse(process.env.AMBIT_SUPERVISE ?? '{}') as SuperviseOptions;
const recordFile = join(options.stateDir, 'room.json');
const tell = (message: SupervisorMessage): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
};

process.on('SIGINT', () => {}); // a terminal's Ctrl-C is the command's to hear
process.on('SIGHUP', () => {});

try {
  const lockFd = await lockState();
  if (lockFd === 'running') {
    const running: SupervisorMessage = { kind: 'running' };
    await new Promise((heard) => process.send?.(running, undefined, undefined, heard) ?? heard(undefined));
    process.exit(0);
  }
  ftruncateSync(STDERR, 0); // the log is of this life alone
  const room = await startRoom({
    name: options.name,
    stateDir: options.stateDir,
    nodes: options.nodes,
    images: options.images,
    packageRoot: process.env.AMBIT_ROOT ?? join(import.meta.dirname, '..'),
    preferredPort: formerPort(),
    lockFd,
    onApi: () => tell({ kind: 'api' }),
  });
  const record: RoomRecord = {
    pid: process.pid,
    startTicks: startTicksOf(process.pid) ?? '',
    nodes: options.nodes,
    images: options.images,
    apiPort: room.apiPort,
    startedAt: new Date().toISOString(),
  };
  writeFileSync(recordFile, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
  const stop = (): void => void room.stop();
  process.on('SIGTERM', stop);
  if (!options.detach) process.on('disconnect', stop);
  if (!options.detach && !process.connected) stop();
  tell({ kind: 'ready', record });
  const why = await room.ended;
  if (why === undefined) rmPid();
  else process.stderr.write(`${why}\n`);
  process.exit(why === undefined ? 0 : 1);
} catch (error) {
  const why = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${error instanceof Error ? error.stack : why}\n`);
  if (error instanceof RoomError) tell({ kind: 'failed', what: error.what, why: error.why, fix: error.fix });
  else tell({ kind: 'failed', what: 'the room did not start', why, fix: '`ambit doctor` checks this machine' });
  setTimeout(() => process.exit(1), 100); // so that the message leaves first
}

/**
 * The state folder for this process and its room alone: two rooms on one database would each undo what the other does.
 * @returns the lock; `running` when a room that another command has started is ready meanwhile
 * @throws RoomError when it does not come free
 */
async function lockState(): Promise<number | 'running' | undefined> {
  const path = join(options.stateDir, 'lock');
  for (let waitedMs = 0; ; waitedMs += LOCK_RETRY_MS) {
    let held: number | undefined;
    try {
      held = tryLock(path);
    } catch (error) {
      // A file system without locks (some network ones): better one unguarded room than none.
      process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
      return undefined;
    }
    if (held !== undefined) return held;
    if (readRecord(options.stateDir) !== undefined) return 'running';
    if (waitedMs >= LOCK_WAIT_MS)
      throw new RoomError({
        what: `mesh \`${options.name}\` is not free`,
        why: `another process has held \`${path}\` for ${LOCK_WAIT_MS / 1000} s: a room that is starting, or one that does not end`,
        fix: `wait a moment and try again; \`fuser ${path}\` names the process`,
      });
    await delay(LOCK_RETRY_MS);
  }
}

/** The port of the room before this one, for the sake of kubeconfigs that name it. */
function formerPort(): number | undefined {
  try {
    return (JSON.parse(readFileSync(recordFile, 'utf8')) as RoomRecord).apiPort;
  } catch {
    return undefined;
  }
}

/** An orderly end leaves the port for the next life, and no process. */
function rmPid(): void {
  try {
    const record = JSON.parse(readFileSync(recordFile, 'utf8')) as RoomRecord;
    writeFileSync(recordFile, `${JSON.stringify({ ...record, pid: 0, startTicks: '' }, null, 2)}\n`, { mode: 0o600 });
  } catch {
    rmSync(recordFile, { force: true });
  }
}
