// A client inside a pod that makes requests one after the other: one `kubectl exec` for all of them, since starting one
// costs more than the request. The pod must have Node (image `node`).

import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestMesh } from './mesh.ts';

export interface Asked {
  /** `http://host[:port]/path`: the host is what is dialled. */
  readonly url: string;
  readonly method?: string;
  /** `host` takes the place of the URL's. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
  readonly timeoutMs?: number;
}

export interface Answered {
  /** 0: there was none, see `error`. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
  readonly error: string | undefined;
  readonly tookMs: number;
}

/** What the echo server tells. */
export interface Echoed {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly host: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
  readonly peer: { readonly address: string };
  readonly pod: string;
}

/** Runs inside the pod. No keep-alive: each request is balanced and judged on its own. */
const PROGRAM = `
const http = require('node:http');
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, url, method = 'GET', headers = {}, body, timeoutMs = 15000 } = JSON.parse(line);
  const startedMs = performance.now();
  const tell = (answer) => console.log(JSON.stringify({ id, tookMs: performance.now() - startedMs, ...answer }));
  const request = http.request(url, { method, headers, agent: false, timeout: timeoutMs }, (response) => {
    const parts = [];
    response.on('data', (part) => parts.push(part));
    response.on('error', (error) => tell({ status: 0, headers: {}, body: '', error: error.message }));
    response.on('end', () => tell({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() }));
  });
  request.on('timeout', () => request.destroy(new Error('no answer in time')));
  request.on('error', (error) => tell({ status: 0, headers: {}, body: '', error: error.message }));
  request.end(body);
});
`;

export class ClientPod {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answered) => void>();
  #next = 1;
  #noise = '';

  /** @param target  as `kubectl exec` takes it: `deploy/client` */
  constructor(mesh: TestMesh, namespace: string, target: string) {
    this.#child = mesh.spawnKubectl(['exec', '-i', '-n', namespace, target, '--', 'node', '-e', PROGRAM], 'pipe');
    this.#child.stderr?.on('data', (text: Buffer) => (this.#noise += text.toString()));
    this.#child.stdin?.on('error', () => {});
    this.#child.on('exit', () => {
      for (const answer of this.#waiting.values()) answer(failed(`the client in the pod ended: ${this.#noise}`));
      this.#waiting.clear();
    });
    if (this.#child.stdout !== null)
      createInterface({ input: this.#child.stdout }).on('line', (line) => {
        const { id, ...answer } = JSON.parse(line) as Answered & { id: number };
        this.#waiting.get(id)?.(answer);
        this.#waiting.delete(id);
      });
  }

  ask(asked: Asked): Promise<Answered> {
    const id = this.#next++;
    if (this.#child.exitCode !== null) return Promise.resolve(failed(`the client in the pod ended: ${this.#noise}`));
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.stdin?.write(`${JSON.stringify({ id, ...asked })}\n`);
    });
  }

  get(url: string, headers: Asked['headers'] = {}): Promise<Answered> {
    return this.ask({ url, headers });
  }

  close(): void {
    this.#child.stdin?.end();
    this.#child.kill('SIGKILL');
  }
}

const failed = (error: string): Answered => ({ status: 0, headers: {}, body: '', error, tookMs: 0 });

/** @throws when the answer is not an echo server's */
export const echoed = (answer: Answered): Echoed => {
  if (answer.status === 0) throw new Error(`no answer: ${answer.error}`);
  return JSON.parse(answer.body) as Echoed;
};
