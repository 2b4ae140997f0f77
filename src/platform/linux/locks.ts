// A file that one process at a time may hold (flock(2)). The kernel lets go of it when the last descriptor of it is closed,
// so a holder that dies, however it dies, leaves no lock behind; a child that was given the descriptor holds it too.

import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { check, lastErrno, libc } from './libc.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;
const OWNER_ONLY = 0o600;

/**
 * Takes the lock without waiting; the file is made when it is missing.
 * @returns the descriptor that holds it, the caller's to close; undefined while another holds it
 * @throws SystemError when the file system has no locks; an error of `node:fs` when the file cannot be opened
 */
export function tryLock(path: string): number | undefined {
  const fd = openSync(path, 'a', OWNER_ONLY);
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return fd;
  const held = lastErrno() === constants.errno.EAGAIN;
  try {
    if (held) return undefined;
    return check(-1, 'flock', () => `\`${path}\` not locked`);
  } finally {
    closeSync(fd);
  }
}
