// A container's namespaces (mount, pid, host name; the network is the pod's) and the programs started in them, without a
// helper program: namespaces belong to the thread, so this thread steps in, spawns, and steps back, all in one turn.
//
// Each container has a first process of ours, a shell that only mounts /proc (nobody outside the pid namespace can), lets
// the kernel reap orphans, hands signals sent to process 1 on to the program, and ends when this process does. Ending
// it ends every process of the container.

import { type ChildProcess, spawn } from 'node:child_process';
import { access, closeSync, fchownSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Capability, keepingOnly } from './capabilities.ts';
import { errnoName, SystemError } from './errors.ts';
import { check, lastErrno, libc } from './libc.ts';
import type { Netns } from './netns.ts';
import { buildRootfs, pivotInto, protectKernel, type RootfsStep } from './rootfs.ts';

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
const CLONE_NEWUTS = 0x4000000;
const CLONE_NEWPID = 0x20000000;
const MS_REC = 16384;
const MS_SLAVE = 1 << 19;
const START_TIMEOUT_MS = 10_000;

const KINDS = [
  { file: 'mnt', flag: CLONE_NEWNS },
  { file: 'uts', flag: CLONE_NEWUTS },
  { file: 'pid', flag: CLONE_NEWPID },
] as const;

/**
 * The program's own number arrives as a line. `read` fails when a signal came (some shells then say "end of input"), or
 * at the true end, which means that this process has gone. SIGCHLD ignored: orphans leave no zombies.
 */
const FIRST_PROCESS = `
mount -t proc -o nosuid,nodev,noexec proc "$PROC" || exit 1
trap '' CHLD HUP PIPE
echo ready
while :; do
  woken=
  if read -r program; then
    for s in TERM INT QUIT USR1 USR2; do trap "woken=1; kill -$s $program 2>/dev/null" $s; done
  elif [ -z "$woken" ]; then exit 0
  fi
done`;
let home: readonly number[] | undefined;

/** This thread's own namespaces, opened once. From then on the thread has its own root and working directory. */
function homeNamespaces(): readonly number[] {
  if (home === undefined) {
    access('/', () => {}); // libuv's pool is born here and now, with the process's root and namespaces
    // The host name's namespace may belong to a user namespace above ours, which could be left but not entered again.
    check(libc.unshare(CLONE_FS | CLONE_NEWUTS), 'unshare', () => 'thread not given a root of its own');
    home = KINDS.map(({ file }) => openSync(`/proc/thread-self/ns/${file}`, 'r'));
  }
  return home;
}

/** A thread left inside a container would read the container's files as its own: nothing is worth going on for. */
function goHome(fds: readonly number[]): void {
  for (const [index, { flag }] of KINDS.entries())
    if (libc.setns(fds[index] as number, flag) !== 0) {
      writeFileSync(
        2,
        `fatal: the thread could not leave a container's namespaces (setns ${errnoName(lastErrno())})\n`,
      );
      process.abort();
    }
}

export interface ContainerOptions {
  readonly hostname: string;
  readonly netns: Netns;
  readonly rootfs: readonly RootfsStep[];
  /** The container may change settings of the kernel: it is a part of the mesh. */
  readonly trusted?: boolean;
  /** An empty folder of the room to build in; what is mounted there is seen by the container alone. */
  readonly workspace: string;
}

export interface ProgramOptions {
  readonly argv: readonly [program: string, ...args: string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly capabilities: readonly Capability[] | 'all';
  /** Standard input, output and error: a descriptor of this process, a new pipe, or /dev/null. */
  readonly stdio: readonly [Stdio, Stdio, Stdio];
  /** A session of its own, for a terminal. */
  readonly detached?: boolean;
  /** Undefined: uid and gid 0, whoever that is outside. Others must be mapped into this user namespace. */
  readonly user?: User | undefined;
}

export interface User {
  readonly uid: number;
  readonly gid: number;
}

export type Stdio = number | 'pipe' | 'null';

let nullDevice: number | undefined;
/** Opened at home: a container of somebody's archive may have no /dev/null. */
const nullFd = (): number => (nullDevice ??= openSync('/dev/null', 'r+'));

export class Container {
  readonly #netns: Netns;
  readonly #first: ChildProcess;
  readonly #namespaces: readonly number[];
  #ended = false;
  /** Resolves when the last process of the container has gone. */
  readonly ended: Promise<void>;

  private constructor(netns: Netns, first: ChildProcess, namespaces: readonly number[]) {
    this.#netns = netns;
    this.#first = first;
    this.#namespaces = namespaces;
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        if (this.#ended) return;
        this.#ended = true;
        for (const fd of namespaces) closeSync(fd);
        resolve();
      };
      if (first.exitCode !== null || first.signalCode !== null) end();
      else first.once('exit', end);
    });
  }

  /**
   * Makes the namespaces and the file tree; nothing of the container's own runs yet. Takes about 5 ms.
   * @throws SystemError when the tree cannot be built
   */
  static async create(options: ContainerOptions): Promise<Container> {
    const fds = homeNamespaces();
    const root = join(options.workspace, 'root');
    const { first, mounts } = options.netns.run(() => {
      check(libc.unshare(CLONE_NEWNS | CLONE_NEWUTS), 'unshare', () => 'container namespaces not made');
      try {
        // Not wholly private: what is mounted later in a shared folder of the room (/run/netns) is to appear inside.
        check(libc.mount('none', '/', null, MS_REC | MS_SLAVE, null), 'mount', () => 'container mounts not separated');
        const name = Buffer.from(options.hostname.slice(0, 64));
        check(libc.sethostname(name, name.length), 'sethostname', () => `host name \`${options.hostname}\` not set`);
        check(
          libc.mount('tmpfs', options.workspace, 'tmpfs', 0, 'mode=0755'),
          'mount',
          () => 'container folder not made',
        );
        mkdirSync(root);
        buildRootfs(root, join(options.workspace, 'changes'), options.rootfs);
        mkdirSync(join(root, 'proc'), { recursive: true });
        check(libc.unshare(CLONE_NEWPID), 'unshare', () => 'container pid namespace not made');
        // The script travels in the environment, so that `ps` shows a short line to people who look around inside.
        const first = spawn('/bin/sh', ['-c', 'eval "$CONTAINER"'], {
          stdio: ['pipe', 'pipe', 'pipe'],
          env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', CONTAINER: FIRST_PROCESS, PROC: join(root, 'proc') },
          cwd: '/',
        });
        return { first, mounts: openSync('/proc/thread-self/ns/mnt', 'r') };
      } finally {
        goHome(fds);
      }
    });
    const namespaces = [mounts];
    let container: Container | undefined;
    try {
      await started(first);
      for (const { file } of KINDS) if (file !== 'mnt') namespaces.push(openSync(`/proc/${first.pid}/ns/${file}`, 'r'));
      container = new Container(options.netns, first, namespaces);
      container.#inside(() => {
        pivotInto(root);
        if (options.trusted !== true) protectKernel();
      });
      return container;
    } catch (error) {
      first.kill('SIGKILL');
      if (container === undefined) for (const fd of namespaces) closeSync(fd); // it closes them itself otherwise
      throw error;
    }
  }

  /** Calls `action` with this thread in the container's namespaces (its files, its network). Synchronous. */
  #inside<T>(action: () => T): T {
    if (this.#ended) throw new Error('the container has ended');
    const fds = homeNamespaces();
    return this.#netns.run(() => {
      try {
        for (const [index, { flag }] of KINDS.entries())
          check(libc.setns(this.#namespaces[index] as number, flag), 'setns', () => 'container not entered');
        return action();
      } finally {
        goHome(fds);
      }
    });
  }

  /** Looks at the container's files: synchronous file calls of `action` see them as the container does. */
  withFiles<T>(action: () => T): T {
    return this.#inside(action);
  }

  /**
   * Starts a program in the container. A program that cannot be executed is reported by the child's `error` event.
   * @throws SystemError ENOENT or ENOTDIR when the working directory is not there
   */
  start(options: ProgramOptions): ChildProcess {
    const [program, ...args] = options.argv;
    const { user } = options;
    // So that /dev/stdout can be opened again, and a terminal be had by its name.
    if (user !== undefined)
      for (const each of options.stdio) if (typeof each === 'number') fchownSync(each, user.uid, user.gid);
    const stdio = options.stdio.map((each) => (each === 'null' ? nullFd() : each));
    return this.#inside(() => {
      checkDirectory(options.workingDir);
      const go = (): ChildProcess =>
        spawn(program, args, {
          env: options.env,
          cwd: options.workingDir,
          stdio,
          detached: options.detached ?? false,
          ...user,
        });
      return options.capabilities === 'all' ? go() : keepingOnly(options.capabilities, go);
    });
  }

  /** Signals that people send to process 1 go to this child from now on. */
  setMain(child: ChildProcess): void {
    if (child.pid === undefined) return;
    const pids = /^NSpid:(.*)$/m.exec(readStatus(child.pid))?.[1]?.trim().split(/\s+/);
    const inner = pids?.at(-1);
    if (inner !== undefined) this.#first.stdin?.write(`${inner}\n`);
  }

  /** Ends every process of the container at once. */
  kill(): void {
    if (!this.#ended) this.#first.kill('SIGKILL');
  }
}

function readStatus(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return ''; // it has ended already
  }
}

function checkDirectory(directory: string): void {
  let isDirectory: boolean;
  try {
    isDirectory = statSync(directory).isDirectory();
  } catch (cause) {
    const errno = cause instanceof Error && 'errno' in cause ? -Number(cause.errno) : 0;
    throw new SystemError(`working directory \`${directory}\` not entered`, 'chdir', errno, { cause });
  }
  if (!isDirectory) throw new SystemError(`working directory \`${directory}\` not entered`, 'chdir', 20);
}

/** Resolves at the first process's "ready". */
function started(first: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    const late = setTimeout(() => stop('nothing was heard of it in 10 s'), START_TIMEOUT_MS);
    const stop = (why: string): void => {
      clearTimeout(late);
      reject(new Error(`container not started: ${why}`));
    };
    first.once('error', (error) => stop(error.message));
    first.once('exit', (code) => stop(said.trim() || `its first process ended with code ${code}`));
    first.stdin?.on('error', () => {}); // it ends on its own terms
    first.stderr?.on('data', (text: Buffer) => {
      if (said.length < 1000) said += text.toString();
    });
    first.stdout?.once('data', () => {
      clearTimeout(late);
      first.stdout?.destroy();
      first.stderr?.destroy();
      first.removeAllListeners('exit');
      resolve();
    });
  });
}
