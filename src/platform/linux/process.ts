// What a long-lived process asks of the kernel for itself.

import { check, libc } from './libc.ts';

const PR_SET_PDEATHSIG = 1;
const RLIMIT_NOFILE = 7;
const SIGKILL = 9;

/**
 * Raises the soft limit of open descriptors to the hard one: a proxy holds two a connection.
 * @returns the limit now in force
 */
export function raiseDescriptorLimit(): bigint {
  const limits = Buffer.alloc(16);
  const what = (): string => 'limit of open descriptors not raised';
  check(libc.getrlimit(RLIMIT_NOFILE, limits), 'getrlimit', what);
  const hard = limits.readBigUInt64LE(8);
  limits.writeBigUInt64LE(hard, 0);
  check(libc.setrlimit(RLIMIT_NOFILE, limits), 'setrlimit', what);
  return hard;
}

/**
 * Lets this process end when its parent does, however that happens. Call it first thing: a parent that died before is
 * noticed only by comparing. @param parent the pid that the parent is known by, usually `process.ppid` at the start
 */
export function dieWithParent(parent: number): void {
  check(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), 'prctl', () => 'not tied to the parent process');
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
}
