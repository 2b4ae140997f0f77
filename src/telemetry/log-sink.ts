// Where log lines go: one file descriptor, written in batches off the event loop, one write at a time so that order holds.
// `process.stdout` is not used: on Linux it writes pipes and files synchronously, so a slow reader would stop the proxy.
// Leans to dropping: when the reader does not keep up, new lines are lost and counted, memory stays bounded.

import { write as writeFd, writeSync } from 'node:fs';

export interface LogSink {
  write(line: string): void;
  /** Resolves when everything written so far has left, or could not. */
  flush(): Promise<void>;
  /** Lines lost since the start because the reader was too slow. */
  readonly dropped: number;
}

const MAX_QUEUE_CHARS = 4 * 1024 * 1024;
/** A pipe takes 64 KiB at once; larger pieces would only keep one pool thread waiting. */
const MAX_WRITE_CHARS = 64 * 1024;
const RETRY_MS = 5;
/**
 * Between two writes, unless much has come: each costs a turn of the thread pool. Measured with an access-log line per
 * connection: a fifth of the CPU of new connections.
 */
const PACE_MS = 20;
const MUCH_CHARS = MAX_WRITE_CHARS / 2;

type Write = typeof writeFd;

/** The end of the process writes what is left, so the timer need not keep it alive. */
const pause = (again: () => void): void => void setTimeout(again, PACE_MS).unref();

/**
 * @param fd             an open descriptor: 1 or 2
 * @param droppedNotice  makes the line that tells how many were lost, written as soon as there is room again
 * @param pace           calls back when the next write may follow, for tests
 */
export function fdSink(
  fd: number,
  droppedNotice: (lines: number) => string,
  write: Write = writeFd,
  pace: (again: () => void) => void = pause,
): LogSink {
  let queue: string[] = [];
  let queuedChars = 0;
  let inFlight = false;
  let scheduled = false;
  let resting = false;
  let dropped = 0;
  let announced = 0;
  let idle: (() => void)[] = [];

  const settle = (): void => {
    const waiting = idle;
    idle = [];
    for (const done of waiting) done();
  };

  const takeBatch = (): Buffer => {
    let take = 0;
    let chars = 0;
    while (take < queue.length && (take === 0 || chars + (queue[take] as string).length <= MAX_WRITE_CHARS))
      chars += (queue[take++] as string).length;
    const batch = take === queue.length ? queue : queue.slice(0, take);
    queue = take === queue.length ? [] : queue.slice(take);
    queuedChars -= chars;
    return Buffer.from(batch.join(''));
  };

  const push = (piece: Buffer): void => {
    write(fd, piece, 0, piece.length, null, (error, written) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(push, RETRY_MS, piece);
        return;
      }
      // Any other error means that nobody reads any more (EPIPE, EBADF): the lines are lost, the process goes on.
      if (error === null && written < piece.length) {
        push(piece.subarray(written));
        return;
      }
      inFlight = false;
      if (idle.length > 0 || queuedChars >= MUCH_CHARS) pump();
      else rest();
    });
  };

  const rest = (): void => {
    resting = true;
    pace(() => {
      resting = false;
      pump();
    });
  };

  const pump = (): void => {
    if (inFlight) return;
    if (dropped > announced && queuedChars < MAX_QUEUE_CHARS / 2) {
      const notice = droppedNotice(dropped - announced);
      announced = dropped;
      queue.push(notice);
      queuedChars += notice.length;
    }
    if (queue.length === 0) {
      settle();
      return;
    }
    inFlight = true;
    push(takeBatch());
  };

  process.on('exit', () => {
    if (queue.length === 0) return;
    // A write may still be under way in the pool; it takes microseconds unless the reader is stuck.
    if (inFlight) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    try {
      for (let piece = Buffer.from(queue.join('')); piece.length > 0; ) piece = piece.subarray(writeSync(fd, piece));
    } catch {
      // The reader has gone or is stuck; a process on its way out waits for nobody.
    }
  });

  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      if (queuedChars + line.length > MAX_QUEUE_CHARS) {
        dropped++;
        return;
      }
      queue.push(line);
      queuedChars += line.length;
      if (scheduled || inFlight) return;
      if (resting) {
        if (queuedChars >= MUCH_CHARS) pump();
        return;
      }
      scheduled = true;
      setImmediate(() => {
        scheduled = false;
        pump();
      });
    },
    flush() {
      if (queue.length === 0 && !inFlight) return Promise.resolve();
      return new Promise((done) => {
        idle.push(done);
        pump();
      });
    },
  };
}
