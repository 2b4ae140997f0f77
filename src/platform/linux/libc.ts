// The C library, called through koffi: the only place where it is loaded. Raw calls: -1 and errno on failure.
// Numbers are those of Linux on x86-64 and arm64 (both little-endian, LP64); other machines are refused.

import { endianness } from 'node:os';
import koffi from 'koffi';
import { SystemError } from './errors.ts';

if (process.platform !== 'linux' || endianness() !== 'LE' || !['x64', 'arm64'].includes(process.arch))
  throw new Error(
    `network namespaces are not available: they need Linux on x86-64 or arm64, this is ${process.platform} on ${process.arch}; use such a machine, or a virtual one`,
  );

// The process's own symbols: Node is linked against whichever C library the machine has (glibc or musl).
const library = koffi.load(null);

const bind = <T extends (...args: never[]) => unknown>(prototype: string): T => library.func(prototype) as unknown as T;

export const libc = {
  setns: bind<(fd: number, type: number) => number>('int setns(int, int)'),
  unshare: bind<(flags: number) => number>('int unshare(int)'),
  socket: bind<(domain: number, type: number, protocol: number) => number>('int socket(int, int, int)'),
  bind: bind<(fd: number, address: Uint8Array, length: number) => number>('int bind(int, const uint8_t *, uint32_t)'),
  connect: bind<(fd: number, address: Uint8Array, length: number) => number>(
    'int connect(int, const uint8_t *, uint32_t)',
  ),
  listen: bind<(fd: number, backlog: number) => number>('int listen(int, int)'),
  accept4: bind<(fd: number, address: null, length: null, flags: number) => number>(
    'int accept4(int, void *, void *, int)',
  ),
  close: bind<(fd: number) => number>('int close(int)'),
  setsockopt: bind<(fd: number, level: number, name: number, value: Uint8Array, length: number) => number>(
    'int setsockopt(int, int, int, const uint8_t *, uint32_t)',
  ),
  getsockopt: bind<(fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array) => number>(
    'int getsockopt(int, int, int, uint8_t *, uint8_t *)',
  ),
  getsockname: bind<(fd: number, address: Uint8Array, length: Uint8Array) => number>(
    'int getsockname(int, uint8_t *, uint8_t *)',
  ),
  getpeername: bind<(fd: number, address: Uint8Array, length: Uint8Array) => number>(
    'int getpeername(int, uint8_t *, uint8_t *)',
  ),
  send: bind<(fd: number, data: Uint8Array, length: number, flags: number) => number | bigint>(
    'int64_t send(int, const uint8_t *, size_t, int)',
  ),
  shutdown: bind<(fd: number, how: number) => number>('int shutdown(int, int)'),
  recv: bind<(fd: number, data: Uint8Array, length: number, flags: number) => number | bigint>(
    'int64_t recv(int, uint8_t *, size_t, int)',
  ),
  sendmsg: bind<(fd: number, message: Uint8Array, flags: number) => number | bigint>(
    'int64_t sendmsg(int, const uint8_t *, int)',
  ),
  recvmsg: bind<(fd: number, message: Uint8Array, flags: number) => number | bigint>(
    'int64_t recvmsg(int, uint8_t *, int)',
  ),
  flock: bind<(fd: number, operation: number) => number>('int flock(int, int)'),
  fcntl: bind<(fd: number, command: number, argument: number) => number>('int fcntl(int, int, int64_t)'),
  mount: bind<
    (source: string | null, target: string, type: string | null, flags: number, data: string | null) => number
  >('int mount(const char *, const char *, const char *, uint64_t, const char *)'),
  umount2: bind<(target: string, flags: number) => number>('int umount2(const char *, int)'),
  prctl: bind<(option: number, a: number, b: number, c: number, d: number) => number>(
    'int prctl(int, uint64_t, uint64_t, uint64_t, uint64_t)',
  ),
  capget: bind<(header: Uint8Array, data: Uint8Array) => number>('int capget(uint8_t *, uint8_t *)'),
  capset: bind<(header: Uint8Array, data: Uint8Array) => number>('int capset(uint8_t *, const uint8_t *)'),
  pivot_root: bind<(newRoot: string, oldRoot: string) => number>('int pivot_root(const char *, const char *)'),
  sethostname: bind<(name: Uint8Array, length: number) => number>('int sethostname(const uint8_t *, size_t)'),
  pipe2: bind<(fds: Uint8Array, flags: number) => number>('int pipe2(uint8_t *, int)'),
  ioctl: bind<(fd: number, request: number, argument: Uint8Array) => number>('int ioctl(int, uint64_t, uint8_t *)'),
  waitpid: bind<(pid: number, status: Uint8Array, options: number) => number>('int waitpid(int, uint8_t *, int)'),
  /** `number` is SYS_mount_setattr: C libraries before glibc 2.36 have no function of that name. */
  mountSetattr: bind<
    (number: number, dirfd: number, path: string, flags: number, attributes: Uint8Array, size: number) => number
  >('long syscall(long, int, const char *, uint32_t, const uint8_t *, size_t)'),
  getrlimit: bind<(resource: number, limits: Uint8Array) => number>('int getrlimit(int, uint8_t *)'),
  setrlimit: bind<(resource: number, limits: Uint8Array) => number>('int setrlimit(int, const uint8_t *)'),
} as const;

/** glibc's alone: gives the heap's free pages back to the kernel. Undefined with other C libraries. */
export const mallocTrim: ((pad: number) => number) | undefined = optional('int malloc_trim(size_t)');

function optional<T extends (...args: never[]) => unknown>(prototype: string): T | undefined {
  try {
    return bind<T>(prototype);
  } catch {
    return undefined;
  }
}

/** The last call's errno on this thread; read it before anything else is called. */
export const lastErrno = (): number => koffi.errno();

/** Address of a buffer's memory, for structures that hold pointers. The buffer must outlive the call. */
export const addressOf = (bytes: Uint8Array): bigint => koffi.address(bytes);

/**
 * @returns `result` unless it is -1
 * @throws SystemError with the errno; `what` says what was not done, in the user's terms
 */
export function check(result: number, syscall: string, what: () => string): number {
  if (result !== -1) return result;
  const errno = lastErrno();
  throw new SystemError(what(), syscall, errno);
}
