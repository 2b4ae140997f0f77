// The load generator for what reads HTTP: keep-alive connections, each with one request under way, responses found by
// their Content-Length. As client.ts otherwise. A response that is not 200 counts as a failure.

import { connect, type Socket } from 'node:net';
import type { LoadOptions } from './protocol.ts';
import { finished, lost, pace, record } from './recorder.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions;
const { host, port, path = '/', headers = [] } = options;
const closed = options.mode === 'closed';
const REQUEST = Buffer.from(
  [`GET ${path} HTTP/1.1`, 'Host: bench.example', 'User-Agent: bench', 'Accept: */*', ...headers, '', ''].join('\r\n'),
);

class Caller {
  readonly socket: Socket;
  #startedMs = 0;
  #busy = false;
  #head = '';
  /** Of the body; -1 while the head is not whole. */
  #missing = -1;
  #owing = 0;

  constructor() {
    this.socket = connect({ host, port, noDelay: true });
    this.socket.on('data', (chunk: Buffer) => this.#received(chunk));
    this.socket.on('error', lost);
    this.socket.on('close', () => lost(new Error('connection closed')));
    if (closed) this.socket.on('connect', () => this.send());
  }

  /** One that is late is sent as soon as the connection is free. */
  send(): void {
    if (this.#busy) {
      this.#owing++;
      return;
    }
    this.#busy = true;
    this.#missing = -1;
    this.#head = '';
    this.#startedMs = performance.now();
    this.socket.write(REQUEST);
  }

  #received(chunk: Buffer): void {
    if (this.#missing >= 0) this.#missing -= chunk.length;
    else {
      this.#head += chunk.toString('latin1');
      const end = this.#head.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!this.#head.startsWith('HTTP/1.1 200')) lost(new Error(this.#head.slice(0, 300)));
      const length = /\r\ncontent-length: *(\d+)/i.exec(this.#head);
      this.#missing = Number(length?.[1] ?? 0) - (this.#head.length - end - 4);
    }
    if (this.#missing > 0) return;
    this.#busy = false;
    finished(this.#startedMs);
    if (closed) this.send();
    else if (this.#owing > 0) {
      this.#owing--;
      this.send();
    }
  }
}

const callers = Array.from({ length: options.connections }, () => new Caller());
if (options.mode === 'paced') pace(callers, options.rate ?? 1_000);
record(options, true);
