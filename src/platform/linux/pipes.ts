// Pipes and terminals for programs in containers. Real pipes, since Node's own are sockets, and a program that opens
// /dev/stdout again (nginx does) cannot open a socket.

import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import { hasCode } from './errors.ts';
import { check, libc } from './libc.ts';

const O_CLOEXEC = 0o2000000;
const TIOCSWINSZ = 0x5414;
const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;
const TIOCSPTLCK = 0x40045431;
const TIOCGPTN = 0x80045430;

export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
}

export function makePipe(): Pipe {
  const fds = Buffer.alloc(8);
  check(libc.pipe2(fds, O_CLOEXEC), 'pipe2', () => 'pipe not made');
  return { readFd: fds.readInt32LE(0), writeFd: fds.readInt32LE(4) };
}

/** Our end of a pipe as a stream; it owns the descriptor. */
export const readEnd = (pipe: Pipe): Socket => new Socket({ fd: pipe.readFd, readable: true, writable: false });
export const writeEnd = (pipe: Pipe): Socket => new Socket({ fd: pipe.writeFd, readable: false, writable: true });

/** A new terminal: our side as a stream both ways, and the program's side. */
export interface Terminal {
  /** Ends when the last program that has the other side is gone. */
  readonly stream: ReadStream;
  /** For the program; to be closed here once it has started. */
  readonly programFd: number;
  /** `/dev/pts/0`, as the program sees it. */
  readonly path: string;
  resize(columns: number, rows: number): void;
}

/** Opens a terminal of the container whose files the calling thread sees (`Container.withFiles`). */
export function openTerminal(): Terminal {
  const what = (): string => 'terminal not made';
  const fd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
  let programFd: number | undefined;
  try {
    const number = Buffer.alloc(4);
    check(libc.ioctl(fd, TIOCSPTLCK, Buffer.alloc(4)), 'ioctl', what);
    check(libc.ioctl(fd, TIOCGPTN, number), 'ioctl', what);
    const path = `/dev/pts/${number.readInt32LE(0)}`;
    programFd = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
    const stream = new ReadStream(fd);
    let open = true;
    stream.once('close', () => {
      open = false;
    });
    // The kernel says EIO, not end of file, when the program's side is gone.
    stream.on('error', (error) => {
      if (hasCode(error, 'EIO')) stream.destroy();
    });
    const resize = (columns: number, rows: number): void => {
      if (!open) return;
      const size = Buffer.alloc(8);
      size.writeUInt16LE(Math.min(rows, 0xffff), 0);
      size.writeUInt16LE(Math.min(columns, 0xffff), 2);
      check(libc.ioctl(fd, TIOCSWINSZ, size), 'ioctl', () => 'terminal not resized');
    };
    resize(DEFAULT_COLUMNS, DEFAULT_ROWS); // a program may ask before its user's size has come
    return { stream, programFd, path, resize };
  } catch (error) {
    closeSync(fd);
    if (programFd !== undefined) closeSync(programFd);
    throw error;
  }
}
