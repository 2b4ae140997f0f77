// Tells when a descriptor that Node cannot watch (SOCK_SEQPACKET) may be readable or writable, without a thread.
//
// libuv polls only what it knows as a stream. A blocking call on its thread pool holds one of four threads a connection
// and hangs process.exit(); a worker thread costs about 10 MB; polling costs latency. So the kernel is asked for a signal:
// O_ASYNC makes it send SIGIO to this process on every change of a watched socket, and Node runs a listener for it in
// the event loop. Signals coalesce, so a listener looks at every watched descriptor: meant for a handful of them.
// Measured: packet sent to listener run, 0.05 ms. A slow tick covers kernels that emulate Linux without O_ASYNC.

import { isMainThread } from 'node:worker_threads';
import { check, libc } from './libc.ts';

const F_GETFL = 3;
const F_SETFL = 4;
const F_SETOWN = 8;
const O_NONBLOCK = 0o4000;
const O_ASYNC = 0o20000;
const TICK_MS = 1000;

export interface Watch {
  stop(): void;
}

const watched = new Map<number, () => void>();
let listening = false;
let tick: NodeJS.Timeout | undefined;

function lookAtAll(): void {
  for (const look of [...watched.values()]) look();
}

/** SIGIO ends a process that does not listen: the listener stays once it is there, and no signal is due after `exit`. */
function listen(): void {
  if (listening) return;
  if (!isMainThread) throw new Error('descriptors are watched on the main thread only: signals arrive there');
  listening = true;
  process.on('SIGIO', lookAtAll);
  process.on('exit', () => {
    for (const fd of watched.keys()) libc.fcntl(fd, F_SETFL, O_NONBLOCK);
  });
}

/**
 * Calls `look` after every change of the descriptor, and now and then without one; so `look` tries and takes EAGAIN for
 * "not yet". The descriptor becomes non-blocking. Keeps the process alive until `stop`, which must come before close.
 */
export function watchDescriptor(fd: number, look: () => void): Watch {
  listen();
  const what = (): string => 'descriptor not watched';
  check(libc.fcntl(fd, F_SETOWN, process.pid), 'fcntl', what);
  const flags = check(libc.fcntl(fd, F_GETFL, 0), 'fcntl', what);
  check(libc.fcntl(fd, F_SETFL, flags | O_ASYNC | O_NONBLOCK), 'fcntl', what);
  watched.set(fd, look);
  tick ??= setInterval(lookAtAll, TICK_MS);
  return {
    stop() {
      if (watched.get(fd) !== look) return;
      watched.delete(fd);
      libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK);
      if (watched.size > 0) return;
      clearInterval(tick);
      tick = undefined;
    },
  };
}
