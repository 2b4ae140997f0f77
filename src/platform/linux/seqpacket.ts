// Unix sockets of type SOCK_SEQPACKET, which carry ZDS: one packet is one message, and a descriptor may come with it.
// Packets are taken from the kernel only when `receive` asks, so a flooding peer fills its own buffer, not our memory.

import { chmodSync, closeSync, lstatSync, rmSync, statSync } from 'node:fs';
import { SystemError } from './errors.ts';
import { check, lastErrno, libc } from './libc.ts';
import { type Received, receivePacket, sendPacket } from './message.ts';
import { type Watch, watchDescriptor } from './readiness.ts';
import { AF_UNIX, encodeUnix } from './sockaddr.ts';

const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const EAGAIN = 11;
const EINVAL = 22;
const ENAMETOOLONG = 36;
const ECONNABORTED = 103;

export interface Packet {
  readonly data: Buffer;
  /** A descriptor that came along (SCM_RIGHTS), close-on-exec; the receiver's to close. */
  readonly fd: number | undefined;
}

/**
 * `timeout`: nothing moved in time. `closed`: this end was closed meanwhile. `refused`: the packet cannot be used (too
 * long, too many descriptors); the connection is still good for an answer.
 */
export class SeqpacketError extends Error {
  readonly code: 'timeout' | 'closed' | 'refused';
  constructor(code: 'timeout' | 'closed' | 'refused', message: string) {
    super(message);
    this.code = code;
  }
}

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** One try at something that may not be possible yet: `done` with the result, or undefined. */
type Try<T> = () => { readonly done: T } | undefined;

/** At most one operation that waits for the descriptor, with a deadline. */
class Turn<T> {
  readonly #name: string;
  #attempt: Try<T> | undefined;
  #waiting: Waiting<T> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  start(attempt: Try<T>, timeoutMs: number | undefined): Promise<T> {
    if (this.#attempt !== undefined) throw new Error(`second ${this.#name} while one waits`);
    return new Promise((resolve, reject) => {
      this.#attempt = attempt;
      this.#waiting = { resolve, reject };
      if (timeoutMs !== undefined)
        this.#timer = setTimeout(
          () => this.fail(new SeqpacketError('timeout', `no ${this.#name} in ${timeoutMs} ms`)),
          timeoutMs,
        );
      this.look();
    });
  }

  look(): void {
    try {
      const outcome = this.#attempt?.();
      if (outcome !== undefined) this.#end()?.resolve(outcome.done);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    this.#end()?.reject(error);
  }

  #end(): Waiting<T> | undefined {
    const waiting = this.#waiting;
    clearTimeout(this.#timer);
    this.#attempt = undefined;
    this.#waiting = undefined;
    return waiting;
  }
}

export class SeqpacketConnection implements Disposable {
  readonly #fd: number;
  readonly #watch: Watch;
  readonly #receiving = new Turn<Packet | undefined>('packet');
  readonly #sending = new Turn<void>('room for a packet');
  #open = true;

  /** Takes the descriptor over. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#watch = watchDescriptor(fd, () => {
      this.#receiving.look();
      this.#sending.look();
    });
  }

  /** @throws SystemError ENOENT (no such socket), ECONNREFUSED (nobody listens), EAGAIN (too many wait), EPROTOTYPE */
  static connect(path: string): SeqpacketConnection {
    const what = (): string => `not connected to \`${path}\``;
    const address = unixAddress(path, what);
    const fd = makeSocket(what);
    try {
      check(libc.connect(fd, address, address.length), 'connect', what);
      return new SeqpacketConnection(fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /**
   * The next packet; undefined when the peer has closed. One call at a time.
   * @param timeoutMs left out: waits for ever
   * @throws SeqpacketError, SystemError
   */
  receive(timeoutMs?: number): Promise<Packet | undefined> {
    if (!this.#open) return Promise.reject(new SeqpacketError('closed', 'connection is closed'));
    return this.#receiving.start(() => outcomeOf(receivePacket(this.#fd)), timeoutMs);
  }

  /**
   * Resolves when the kernel has the packet, and its own reference to `fd`. One call at a time.
   * @throws SeqpacketError, SystemError (EPIPE: the peer has gone), RangeError (longer than MAX_PACKET_BYTES)
   */
  send(data: Uint8Array, options: { readonly fd?: number; readonly timeoutMs?: number } = {}): Promise<void> {
    if (!this.#open) return Promise.reject(new SeqpacketError('closed', 'connection is closed'));
    const attempt = () => (sendPacket(this.#fd, data, options.fd) ? { done: undefined } : undefined);
    return this.#sending.start(attempt, options.timeoutMs);
  }

  /** What waits is rejected with `closed`. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch.stop();
    closeSync(this.#fd);
    const error = new SeqpacketError('closed', 'connection was closed');
    this.#receiving.fail(error);
    this.#sending.fail(error);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function outcomeOf(received: Received): { readonly done: Packet | undefined } | undefined {
  switch (received.kind) {
    case 'packet':
      return { done: { data: received.data, fd: received.fd } };
    case 'notYet':
      return undefined;
    case 'end':
      return { done: undefined };
    case 'refused':
      throw new SeqpacketError('refused', received.why);
  }
}

export class SeqpacketListener implements Disposable {
  readonly #fd: number;
  readonly #path: string;
  readonly #inode: number;
  readonly #watch: Watch;
  readonly #accepting = new Turn<SeqpacketConnection>('connection');
  #open = true;

  private constructor(fd: number, path: string) {
    this.#fd = fd;
    this.#path = path;
    this.#inode = statSync(path).ino;
    this.#watch = watchDescriptor(fd, () => this.#accepting.look());
  }

  /**
   * Listens at `path`, for the owner only. A socket that an earlier process left there is removed; a file is not.
   * @throws SystemError EADDRINUSE, ENOENT (no such folder), ENAMETOOLONG (more than 107 bytes)
   */
  static listen(path: string, backlog = 8): SeqpacketListener {
    const what = (): string => `not listening at \`${path}\``;
    const address = unixAddress(path, what);
    const fd = makeSocket(what);
    try {
      if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) rmSync(path);
      check(libc.bind(fd, address, address.length), 'bind', what);
      chmodSync(path, 0o600);
      check(libc.listen(fd, backlog), 'listen', what);
      return new SeqpacketListener(fd, path);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** The next connection; those that wait longer stay in the kernel's queue. Rejects with `closed` on close. */
  accept(): Promise<SeqpacketConnection> {
    if (!this.#open) return Promise.reject(new SeqpacketError('closed', 'listener is closed'));
    return this.#accepting.start(() => {
      const fd = libc.accept4(this.#fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) return { done: new SeqpacketConnection(fd) };
      const errno = lastErrno();
      if (errno === EAGAIN || errno === ECONNABORTED) return undefined;
      throw new SystemError(`no connection accepted at \`${this.#path}\``, 'accept4', errno);
    }, undefined);
  }

  /** Removes the socket's file too, unless a newer listener has put its own there. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch.stop();
    closeSync(this.#fd);
    if (lstatSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode) rmSync(this.#path, { force: true });
    this.#accepting.fail(new SeqpacketError('closed', 'listener was closed'));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function makeSocket(what: () => string): number {
  return check(libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket', what);
}

function unixAddress(path: string, what: () => string): Buffer {
  const address = path === '' ? undefined : encodeUnix(path);
  if (address === undefined) throw new SystemError(what(), 'bind', path === '' ? EINVAL : ENAMETOOLONG);
  return address;
}
