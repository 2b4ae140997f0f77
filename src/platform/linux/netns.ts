// Network namespaces: open, create, name, enter. Entering is a property of the thread, so `run` is synchronous and always
// comes back; sockets and child processes made inside stay inside. Not for asynchronous work: that runs after the return.

import { access, closeSync, fstatSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoName, SystemError } from './errors.ts';
import { check, lastErrno, libc } from './libc.ts';

const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096;
const MNT_DETACH = 2;

/** Of the calling thread: libuv's main thread is not the only one that may hold sockets (worker threads). */
const OWN_NAMESPACE = '/proc/thread-self/ns/net';

/** What makes two descriptors the same namespace (Istio's ztunnel compares inode and device). */
export interface NetnsIdentity {
  readonly device: number;
  readonly inode: number;
}

let home: number | undefined;
/** The descriptor of the namespace this thread is in now. INVARIANT (here): changes only in `switchTo`. */
let here: number | undefined;
let homeIdentity: NetnsIdentity | undefined;

/**
 * Opens the thread's own namespace once. libuv starts its pool of threads on first use, and threads are born in the
 * namespace of their maker: a pool first used inside `run` would resolve names there for ever. So it is started here.
 */
function atHome(): number {
  if (home === undefined) {
    access('/', () => {});
    home = openSync(OWN_NAMESPACE, 'r');
    here = home;
    homeIdentity = identityOf(home);
  }
  return home;
}

function identityOf(fd: number): NetnsIdentity {
  const { dev, ino } = fstatSync(fd);
  return { device: dev, inode: ino };
}

function switchTo(fd: number, what: () => string): void {
  check(libc.setns(fd, CLONE_NEWNET), 'setns', what);
  here = fd;
}

/** A thread left in the wrong namespace would open every later socket there: nothing is worth going on for. */
function goBack(fd: number): void {
  if (libc.setns(fd, CLONE_NEWNET) === 0) {
    here = fd;
    return;
  }
  writeFileSync(2, `fatal: the thread could not leave a pod's network namespace (setns ${errnoName(lastErrno())})\n`);
  process.abort();
}

export class Netns implements Disposable {
  readonly #fd: number;
  readonly #name: string;
  #open = true;
  #identity: NetnsIdentity | undefined;

  private constructor(fd: number, name: string) {
    this.#fd = fd;
    this.#name = name;
  }

  /** @throws SystemError ENOENT and so on; EINVAL when `path` is not a network namespace */
  static open(path: string): Netns {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (cause) {
      const errno = cause instanceof Error && 'errno' in cause ? -Number(cause.errno) : 0;
      throw new SystemError(`network namespace \`${path}\` not opened`, 'open', errno, { cause });
    }
    return Netns.fromFd(fd, path);
  }

  /** Takes the descriptor over, and closes it when it is no network namespace. `name` appears in errors. */
  static fromFd(fd: number, name = `descriptor ${fd}`): Netns {
    const before = here ?? atHome();
    if (libc.setns(fd, CLONE_NEWNET) !== 0) {
      const errno = lastErrno();
      closeSync(fd);
      throw new SystemError(`\`${name}\` is not a network namespace that this process may enter`, 'setns', errno);
    }
    goBack(before);
    return new Netns(fd, name);
  }

  /** The namespace that the calling thread is in. */
  static current(): Netns {
    atHome();
    return new Netns(openSync(OWN_NAMESPACE, 'r'), 'current');
  }

  /** A new, empty namespace (only `lo`, down) that lives as long as something holds it. Takes about 0.6 ms. */
  static create(): Netns {
    const before = here ?? atHome();
    check(libc.unshare(CLONE_NEWNET), 'unshare', () => 'no network namespace made');
    try {
      return new Netns(openSync(OWN_NAMESPACE, 'r'), 'new');
    } finally {
      goBack(before);
    }
  }

  /**
   * A new namespace with a name in the file system, as `ip netns add` makes it: a bind mount on an empty file.
   * @param path for example `/run/netns/pod-<uid>`; must not exist
   */
  static createAt(path: string): Netns {
    mkdirSync(dirname(path), { recursive: true });
    closeSync(openSync(path, 'wx', 0o444));
    let made: Netns | undefined;
    try {
      made = Netns.create();
      check(libc.mount(`/proc/self/fd/${made.fd}`, path, null, MS_BIND, null), 'mount', () => `\`${path}\` not made`);
      return new Netns(made.#release(), path);
    } catch (error) {
      made?.close();
      rmSync(path, { force: true });
      throw error;
    }
  }

  /** Takes the name away; the namespace itself ends with its last process, socket and descriptor. Twice is harmless. */
  static remove(path: string): void {
    libc.umount2(path, MNT_DETACH);
    rmSync(path, { force: true });
  }

  /** The open descriptor, for passing on; it stays this object's. */
  get fd(): number {
    if (!this.#open) throw new Error(`network namespace \`${this.#name}\` is used after it was closed`);
    return this.#fd;
  }

  get closed(): boolean {
    return !this.#open;
  }

  get identity(): NetnsIdentity {
    this.#identity ??= identityOf(this.fd);
    return this.#identity;
  }

  /**
   * Calls `action` inside the namespace and comes back, whatever happens. About 6 microseconds. May be nested.
   * `child_process.spawn` called inside starts the child inside. @throws what `action` throws
   */
  run<T>(action: () => T): T {
    const before = here ?? atHome();
    // Staying needs no power: an ordinary user outside a room makes sockets this way too.
    if (before === home && homeIdentity !== undefined && sameNetns(this.identity, homeIdentity))
      return synchronously(action());
    switchTo(this.fd, () => `network namespace \`${this.#name}\` not entered`);
    let result: T;
    try {
      result = action();
    } finally {
      goBack(before);
    }
    return synchronously(result);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #release(): number {
    this.#open = false;
    return this.#fd;
  }
}

function synchronously<T>(result: T): T {
  if (result instanceof Promise) throw new Error('Netns.run was given asynchronous work, which would run outside');
  return result;
}

export const sameNetns = (a: NetnsIdentity, b: NetnsIdentity): boolean => a.inode === b.inode && a.device === b.device;
