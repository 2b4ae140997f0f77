// The load generator: raw sockets and as little else as possible, so that it measures what lies between it and the
// server. `node bench/load/client.ts '<LoadOptions as JSON>'` prints a LoadResult as JSON.

import { connect, type Socket } from 'node:net';
import { CLOSING_REQUEST, type LoadOptions, REQUEST, RESPONSE } from './protocol.ts';
import { finished, finishedBytes, lost, pace, record } from './recorder.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions;
const { host, port } = options;

/** One keep-alive connection; sends again as soon as it is answered (closed), or when it is told (paced). */
class Caller {
  readonly socket: Socket;
  readonly #closed: boolean;
  #startedMs = 0;
  #missing = 0;
  #owing = 0;

  constructor(closed: boolean) {
    this.#closed = closed;
    this.socket = connect({ host, port, noDelay: true });
    this.socket.on('data', (chunk: Buffer) => this.#received(chunk.length));
    this.socket.on('error', lost);
    this.socket.on('close', () => lost(new Error('connection closed')));
    if (closed) this.socket.on('connect', () => this.send());
  }

  /** One that is late is sent as soon as the connection is free. */
  send(): void {
    if (this.#missing > 0) {
      this.#owing++;
      return;
    }
    this.#missing = RESPONSE.length;
    this.#startedMs = performance.now();
    this.socket.write(REQUEST);
  }

  #received(bytes: number): void {
    this.#missing -= bytes;
    if (this.#missing > 0) return;
    finished(this.#startedMs);
    if (this.#closed) this.send();
    else if (this.#owing > 0) {
      this.#owing--;
      this.send();
    }
  }
}

/** A connection for every request: opened, answered, closed by the server, again. */
function callOnce(): void {
  const startedMs = performance.now();
  let received = 0;
  const socket = connect({ host, port, noDelay: true });
  socket.write(CLOSING_REQUEST);
  socket.on('data', (chunk: Buffer) => (received += chunk.length));
  socket.on('error', lost);
  socket.on('close', () => {
    if (received === RESPONSE.length) finished(startedMs);
    else lost(new Error('closed without a whole answer'));
    callOnce();
  });
}

/** Bytes are counted and thrown away; one buffer for all reads. */
function swallow(): void {
  const socket = connect({
    host,
    port,
    noDelay: true,
    onread: {
      buffer: Buffer.allocUnsafe(256 << 10),
      callback: (bytes) => {
        finishedBytes(bytes);
        return true;
      },
    },
  });
  socket.on('error', lost);
  socket.on('connect', () => socket.write('x'));
}

for (let i = 0; i < options.connections; i++) if (options.mode === 'connect') callOnce();
if (options.mode === 'bulk') for (let i = 0; i < options.connections; i++) swallow();
if (options.mode === 'closed' || options.mode === 'paced') {
  const callers = Array.from({ length: options.connections }, () => new Caller(options.mode === 'closed'));
  if (options.mode === 'paced') pace(callers, options.rate ?? 1_000);
}

record(options, options.mode !== 'bulk');
