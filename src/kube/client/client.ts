// KubeClient over HTTP/1.1 and TLS with node:https: one pool of kept-alive connections for requests, one connection a
// watch. Its twin over the embedded store, without a socket, is kube/server/local-client.

import { type IncomingMessage, request as plainRequest, type RequestOptions } from 'node:http';
import { Agent, request as tlsRequest } from 'node:https';
import { createSecureContext, type SecureContext } from 'node:tls';
import { type ConnectOptions, findConnection, type KubeConnection, type KubeCredential } from './kubeconfig.ts';
import { apiVersionOf, resourcePath } from './resources.ts';
import {
  type KubeClient,
  KubeError,
  type KubeObject,
  type ListOptions,
  type PageOptions,
  type PatchType,
  type Resource,
  type WatchEvent,
  type WriteOptions,
} from './types.ts';

const REQUEST_TIMEOUT_MS = 60_000;
const WATCH_SECONDS = 300;
/** The server ends a watch itself; when it does not, the connection is taken for dead after this much silence. */
const WATCH_SILENCE_MS = (WATCH_SECONDS + 60) * 1000;
const MAX_EVENT_CHARS = 64 * 1024 * 1024;
const MAX_SOCKETS = 32;
const RETRIES = 3;

const PATCH_TYPES: Record<PatchType, string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

type Query = Record<string, string | number | boolean | undefined>;

interface Call {
  readonly method: string;
  readonly path: string;
  readonly query?: Query;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  readonly agent?: Agent | false;
  readonly timeoutMs?: number;
}

/** Connects as kubectl would: `$KUBECONFIG`, the pod's service account, `~/.kube/config`; no request is made yet. */
export async function connectKube(options: ConnectOptions & { userAgent?: string } = {}): Promise<HttpKubeClient> {
  return new HttpKubeClient(await findConnection(options), options.userAgent);
}

/** What connections of one credential share. */
interface Secure {
  readonly certPem: string | undefined;
  readonly keyPem: string | undefined;
  readonly context: SecureContext;
  /** Of the last connection: the next one need not show and check certificates again. */
  session: Buffer | undefined;
}

export class HttpKubeClient implements KubeClient {
  readonly connection: KubeConnection;
  readonly #userAgent: string;
  readonly #tls: { ca?: string; servername?: string; rejectUnauthorized: boolean };
  readonly #pool = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS, scheduling: 'lifo' });
  readonly #watches = new Agent({ keepAlive: false });
  #secure: Secure | undefined;

  constructor(connection: KubeConnection, userAgent = 'ambit') {
    this.connection = connection;
    this.#userAgent = userAgent;
    const { caPem, tlsServerName, skipTlsVerify } = connection;
    this.#tls = {
      ...(caPem === undefined ? {} : { ca: caPem }),
      ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
      rejectUnauthorized: skipTlsVerify !== true,
    };
  }

  /** Closes kept connections and watches; the client must not be used afterwards. */
  close(): void {
    this.#pool.destroy();
    this.#watches.destroy();
  }

  async get<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string): Promise<T | undefined> {
    try {
      return await this.#json<T>({ method: 'GET', path: resourcePath(resource, namespace, name) });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async list<T extends KubeObject>(
    resource: Resource<T>,
    options: PageOptions = {},
  ): Promise<{ items: T[]; resourceVersion: string; continue?: string }> {
    const { labelSelector, fieldSelector, limit } = options;
    const list = await this.#json<{ items: T[] | null; metadata?: { resourceVersion?: string; continue?: string } }>({
      method: 'GET',
      path: resourcePath(resource, options.namespace),
      query: { labelSelector, fieldSelector, limit, continue: options.continue },
    });
    // The API leaves these out of a list's items; a reader that gets an object must not care how it came.
    const [apiVersion, kind] = [apiVersionOf(resource), resource.kind];
    const items = (list.items ?? []).map((item) => ({ ...item, apiVersion, kind }));
    const { resourceVersion = '', continue: next } = list.metadata ?? {};
    return { items, resourceVersion, ...(next ? { continue: next } : {}) };
  }

  create<T extends KubeObject>(resource: Resource<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { name, namespace } = object.metadata ?? {};
    const path = resourcePath(resource, namespace, options.subresource && name, options.subresource);
    return this.#json<T>({ method: 'POST', path, query: writeQuery(options), body: object });
  }

  update<T extends KubeObject>(resource: Resource<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { name, namespace } = object.metadata ?? {};
    const path = resourcePath(resource, namespace, name, options.subresource);
    return this.#json<T>({ method: 'PUT', path, query: writeQuery(options), body: object });
  }

  patch<T extends KubeObject>(
    resource: Resource<T>,
    name: string,
    namespace: string | undefined,
    type: PatchType,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#json<T>({
      method: 'PATCH',
      path: resourcePath(resource, namespace, name, options.subresource),
      query: { ...writeQuery(options), force: options.force === true && type === 'apply' ? true : undefined },
      contentType: PATCH_TYPES[type],
      body,
    });
  }

  async delete<T extends KubeObject>(
    resource: Resource<T>,
    name: string,
    namespace?: string,
    options: {
      readonly gracePeriodSeconds?: number;
      readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
    } = {},
  ): Promise<void> {
    try {
      await this.#json({
        method: 'DELETE',
        path: resourcePath(resource, namespace, name),
        body: { kind: 'DeleteOptions', apiVersion: 'v1', ...options },
      });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions & { readonly resourceVersion: string; readonly signal: AbortSignal },
  ): AsyncGenerator<WatchEvent<T>> {
    const { namespace, labelSelector, fieldSelector, resourceVersion, signal } = options;
    const response = await this.#send({
      method: 'GET',
      path: resourcePath(resource, namespace),
      query: {
        watch: true,
        allowWatchBookmarks: true,
        timeoutSeconds: WATCH_SECONDS,
        resourceVersion,
        labelSelector,
        fieldSelector,
      },
      signal,
      agent: this.#watches,
      timeoutMs: WATCH_SILENCE_MS,
    });
    for await (const line of linesOf(response)) {
      const event = JSON.parse(line) as { type: WatchEvent<T>['type'] | 'ERROR'; object: T };
      if (event.type === 'ERROR') throw errorFromStatus(500, event.object);
      yield { type: event.type, object: event.object };
    }
  }

  /** A GET of any path as text (`/version`, a pod's `log`); every failure is a KubeError or the connection's error. */
  async text(path: string, query: Query = {}): Promise<string> {
    return readAll(await this.#send({ method: 'GET', path, query }));
  }

  /** As `text`, line by line as they come (a pod's `log` with `follow`). */
  async *lines(path: string, query: Query = {}): AsyncGenerator<string> {
    const agent = this.#watches;
    yield* linesOf(await this.#send({ method: 'GET', path, query, agent, timeoutMs: 24 * 3600 * 1000 }));
  }

  async #json<R>(call: Call): Promise<R> {
    return JSON.parse(await readAll(await this.#send(call))) as R;
  }

  /** Sends until there is an answer that is neither 429 nor a kept connection that had just been closed. */
  async #send(call: Call): Promise<IncomingMessage> {
    for (let attempt = 0; ; attempt++) {
      const result = await this.#sendOnce(call, attempt < RETRIES);
      if (result !== 'again') return result;
    }
  }

  async #sendOnce(call: Call, mayRetry: boolean): Promise<IncomingMessage | 'again'> {
    const credential = await this.connection.credential();
    const url = new URL(call.path, this.connection.server);
    for (const [key, value] of Object.entries(call.query ?? {}))
      if (value !== undefined) url.searchParams.set(key, String(value));
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const options: RequestOptions & Record<string, unknown> = {
      method: call.method,
      headers: this.#headers(call, credential, body),
      timeout: call.timeoutMs ?? REQUEST_TIMEOUT_MS,
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    };
    const secure = url.protocol === 'https:' ? this.#secureFor(credential) : undefined;
    if (secure !== undefined)
      Object.assign(options, this.#tls, {
        agent: call.agent ?? this.#pool,
        secureContext: secure.context,
        ...(secure.session === undefined ? {} : { session: secure.session }),
        ...(credential.certPem === undefined ? {} : { cert: credential.certPem, key: credential.keyPem }),
      });
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage | 'again'>();
    const request = url.protocol === 'https:' ? tlsRequest(url, options) : plainRequest(url, options);
    request.on('response', (response) => {
      if ((response.statusCode ?? 500) < 300) return resolve(response);
      this.#refusal(response, mayRetry).then(resolve, reject);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer from ${url.host} for ${options.timeout} ms`)));
    request.on('socket', (socket) => {
      socket.setKeepAlive(true, 15_000);
      if (secure !== undefined && !request.reusedSocket)
        socket.on('session', (session: Buffer) => {
          secure.session = session;
        });
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      const closedUnderUs = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (mayRetry && closedUnderUs && call.method === 'GET') resolve('again');
      else reject(error);
    });
    request.end(body);
    return promise;
  }

  /** One for all connections of a credential: each would read the certificates anew (3 ms, and a watcher has dozens). */
  #secureFor({ certPem, keyPem }: KubeCredential): Secure {
    const now = this.#secure;
    if (now !== undefined && now.certPem === certPem && now.keyPem === keyPem) return now;
    const { ca } = this.#tls;
    const context = createSecureContext({
      ...(ca === undefined ? {} : { ca }),
      ...(certPem === undefined || keyPem === undefined ? {} : { cert: certPem, key: keyPem }),
    });
    this.#secure = { certPem, keyPem, context, session: undefined };
    return this.#secure;
  }

  #headers(call: Call, credential: KubeCredential, body: Buffer | undefined): Record<string, string | number> {
    const headers: Record<string, string | number> = { accept: 'application/json', 'user-agent': this.#userAgent };
    if (credential.token !== undefined) headers.authorization = `Bearer ${credential.token}`;
    else if (credential.username !== undefined)
      headers.authorization = `Basic ${Buffer.from(`${credential.username}:${credential.password ?? ''}`).toString('base64')}`;
    if (body !== undefined) {
      headers['content-type'] = call.contentType ?? 'application/json';
      headers['content-length'] = body.length;
    }
    return headers;
  }

  async #refusal(response: IncomingMessage, mayRetry: boolean): Promise<'again'> {
    const text = await readAll(response);
    const retryAfter = Number(response.headers['retry-after']);
    if (response.statusCode === 429 && mayRetry && retryAfter >= 0 && retryAfter <= 10) {
      await new Promise((resolve) => setTimeout(resolve, retryAfter * 1000));
      return 'again';
    }
    let status: unknown;
    try {
      status = JSON.parse(text);
    } catch {
      status = { message: text.slice(0, 1000) };
    }
    throw errorFromStatus(response.statusCode ?? 500, status);
  }
}

function writeQuery(options: WriteOptions): Query {
  return { fieldManager: options.fieldManager ?? 'ambit', dryRun: options.dryRun === true ? 'All' : undefined };
}

function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.code === 404;
}

function errorFromStatus(httpCode: number, body: unknown): KubeError {
  const status = (typeof body === 'object' && body !== null ? body : {}) as {
    code?: number;
    reason?: string;
    message?: string;
    details?: unknown;
  };
  const code = status.code ?? httpCode;
  return new KubeError(code, status.reason ?? 'Unknown', status.message ?? `the API answered ${code}`, status.details);
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  response.setEncoding('utf8');
  let rest = '';
  for await (const chunk of response) {
    const lines = (rest + (chunk as string)).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_EVENT_CHARS) throw new Error(`a watch event is longer than ${MAX_EVENT_CHARS} characters`);
    for (const line of lines) if (line !== '') yield line;
  }
}
