// Failures of system calls as errors with a stable code (`EADDRINUSE`) and what / why / how to fix.

import { constants } from 'node:os';

const NAMES = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** Meanings in the words of somebody who runs the mesh; everything else shows the bare code. */
const REASONS: Readonly<Record<string, { why: string; fix: string }>> = {
  EPERM: {
    why: 'this process may not do that here',
    fix: 'run as root, or inside a user namespace (CAP_NET_ADMIN and CAP_SYS_ADMIN are needed)',
  },
  EACCES: { why: 'permission denied', fix: 'check the owner and mode of the path, or run with CAP_NET_ADMIN' },
  EADDRINUSE: {
    why: 'another socket has that address and port',
    fix: 'stop what listens there, or choose another port',
  },
  EADDRNOTAVAIL: {
    why: 'the address belongs to no interface of this network namespace, or no port is free',
    fix: 'check the address with `ip addr` inside the namespace',
  },
  EAFNOSUPPORT: { why: 'the kernel has no IPv6', fix: 'set IPV6_ENABLED=false, or load the ipv6 module' },
  EMFILE: { why: 'the process has no free file descriptors', fix: 'raise the limit (`ulimit -n`)' },
  ENFILE: { why: 'the machine has no free file descriptors', fix: 'raise the sysctl fs.file-max' },
  ENOENT: { why: 'it does not exist', fix: 'check the path' },
  EEXIST: { why: 'it exists already', fix: 'remove what is there, or choose another name' },
  ENODEV: { why: 'there is no such interface', fix: 'check the name with `ip link` inside the namespace' },
  EINVAL: { why: 'the kernel does not accept the arguments', fix: 'check the kernel with `ambit doctor`' },
  ENOSPC: {
    why: 'a kernel limit on namespaces or mounts is reached',
    fix: 'raise the sysctls user.max_net_namespaces and fs.mount-max',
  },
  EOPNOTSUPP: { why: 'the kernel lacks this feature', fix: 'check the kernel with `ambit doctor`' },
  ENETUNREACH: { why: 'there is no route to that address', fix: 'check the routes of the network namespace' },
  ENETDOWN: { why: 'the interface is down', fix: 'bring the interface up' },
};

/** A system call that failed; `code` is the errno's name. The message reads `what: why (call CODE); fix`. `detail`: the kernel's own words. */
export class SystemError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  readonly what: string;
  readonly why: string;
  readonly fix: string;

  constructor(what: string, syscall: string, errno: number, options?: ErrorOptions & { detail?: string }) {
    const code = errnoName(errno);
    const known = REASONS[code] ?? { why: 'the kernel refused', fix: `see ${syscall}(2) for ${code}` };
    const { why, fix } = options?.detail === undefined ? known : { why: options.detail, fix: known.fix };
    super(`${what}: ${why} (${syscall} ${code}); ${fix}`, options);
    this.name = 'SystemError';
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
    this.what = what;
    this.why = why;
    this.fix = fix;
  }
}

/** `EADDRINUSE` for 98; `E<number>` for a number that Node does not know. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `E${errno}`;
}

/** Whether `error` is a failed system call (ours, or Node's own) with that code. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** The code of a failed system call, or the message of any other error. */
export function errorCode(error: unknown): string {
  if (error instanceof SystemError) return `${error.syscall} ${error.code}`;
  return error instanceof Error ? error.message : String(error);
}
