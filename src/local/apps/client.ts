// The built-in HTTP client: what `curl` (and `wget`) is in a container of a machine that has none, and the image
// `ambit/client`. Exit codes and messages are curl's, so that scripts and people read them alike.
// One thing of its own: `--loop[=N] [--interval MS]` asks again and again and prints one line an answer.

import { lookup } from 'node:dns';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { type ClientOptions, parseClientOptions, wgetToCurl } from './client-options.ts';

const MAX_REDIRECTS = 50;

/** A failure with curl's exit code. */
class ClientError extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

interface Answer {
  readonly status: number;
  readonly timings: { readonly startedMs: number; connectedMs: number; firstByteMs: number; endedMs: number };
  readonly bytes: number;
  readonly url: string;
  readonly remote: string;
}

const note = (options: ClientOptions, text: string): void =>
  void (options.verbose && process.stderr.write(`${text}\n`));

function explain(error: NodeJS.ErrnoException, url: URL, startedMs: number): ClientError {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const after = `after ${Math.round(performance.now() - startedMs)} ms`;
  switch (error.code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new ClientError(6, `Could not resolve host: ${url.hostname}`);
    case 'ECONNREFUSED':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new ClientError(
        7,
        `Failed to connect to ${url.hostname} port ${port} ${after}: Couldn't connect to server`,
      );
    case 'ECONNRESET':
      return error.message === 'socket hang up'
        ? new ClientError(52, 'Empty reply from server')
        : new ClientError(56, 'Recv failure: Connection reset by peer');
    case 'EPIPE':
      return new ClientError(55, 'Send failure: Broken pipe');
    default:
      if (error.code?.startsWith('HPE_')) return new ClientError(1, `Received malformed HTTP: ${error.message}`);
      if (/CERT|ALTNAME|SELF_SIGNED|ISSUER/.test(error.code ?? ''))
        return new ClientError(60, `SSL certificate problem: ${error.message}`);
      if (error.code?.startsWith('ERR_SSL')) return new ClientError(35, error.message);
      return new ClientError(56, error.message);
  }
}

/** One exchange without redirects; writes the answer where the options say. */
function exchange(
  options: ClientOptions,
  url: URL,
  out: (chunk: Buffer) => void,
): Promise<{ answer: Answer; location: string | undefined }> {
  const timings = { startedMs: performance.now(), connectedMs: 0, firstByteMs: 0, endedMs: 0 };
  const fixed = options.resolve.get(`${url.hostname}:${url.port || (url.protocol === 'https:' ? 443 : 80)}`);
  const find: LookupFunction = (host, how, done) => lookup(fixed ?? host, how, done);
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of options.headers) {
    const known = headers[name];
    headers[name] = known === undefined ? value : [known, value].flat();
  }
  if (options.body !== undefined) headers['content-length'] = String(Buffer.byteLength(bodyOf(options.body)));
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request: ClientRequest = send(url, {
      method: options.method,
      headers,
      agent: false,
      lookup: find,
      rejectUnauthorized: !options.insecure,
      ...(options.caFile !== undefined && { ca: readFileSync(options.caFile) }),
      ...(options.certFile !== undefined && { cert: readFileSync(options.certFile) }),
      ...(options.keyFile !== undefined && { key: readFileSync(options.keyFile) }),
    });
    let total: NodeJS.Timeout | undefined;
    let connecting: NodeJS.Timeout | undefined;
    const stop = (error: ClientError): void => {
      clearTimeout(total);
      clearTimeout(connecting);
      request.destroy();
      reject(error);
    };
    const late = (): void =>
      stop(
        new ClientError(
          28,
          `Operation timed out after ${Math.round(performance.now() - timings.startedMs)} milliseconds`,
        ),
      );
    if (options.maxTimeMs !== undefined) total = setTimeout(late, options.maxTimeMs);
    if (options.connectTimeoutMs !== undefined) connecting = setTimeout(late, options.connectTimeoutMs);
    request.on('error', (error) => stop(explain(error, url, timings.startedMs)));
    request.on('socket', (socket) => {
      socket.once('connect', () => {
        clearTimeout(connecting);
        timings.connectedMs = performance.now();
        note(options, `* Connected to ${url.hostname} (${socket.remoteAddress}) port ${socket.remotePort}`);
        note(options, `> ${options.method} ${url.pathname}${url.search} HTTP/1.1`);
        for (const [name, value] of Object.entries(request.getHeaders())) note(options, `> ${name}: ${value}`);
        note(options, '>');
      });
    });
    request.on('response', (response: IncomingMessage) => {
      timings.firstByteMs = performance.now();
      const head = [`HTTP/${response.httpVersion} ${response.statusCode} ${response.statusMessage}`.trimEnd()];
      for (let i = 0; i < response.rawHeaders.length; i += 2)
        head.push(`${response.rawHeaders[i]}: ${response.rawHeaders[i + 1]}`);
      for (const line of head) note(options, `< ${line}`);
      note(options, '<');
      if (options.includeHeaders) out(Buffer.from(`${head.join('\r\n')}\r\n\r\n`));
      const status = response.statusCode ?? 0;
      const location = options.follow && status >= 300 && status < 400 ? response.headers.location : undefined;
      const hide = location !== undefined || (options.failOnStatus && status >= 400);
      let bytes = 0;
      const remote = response.socket.remoteAddress ?? '';
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (!hide) out(chunk);
      });
      response.on('error', (error) => stop(explain(error, url, timings.startedMs)));
      response.on('end', () => {
        clearTimeout(total);
        timings.endedMs = performance.now();
        if (!response.complete)
          return stop(new ClientError(18, 'transfer closed with outstanding read data remaining'));
        resolve({ answer: { status, timings, bytes, url: url.href, remote }, location });
      });
    });
    request.end(options.body === undefined ? undefined : bodyOf(options.body));
  });
}

/** `@FILE` reads a file, `@-` standard input, as curl's --data. */
const bodyOf = (body: string): string =>
  body.startsWith('@') ? readFileSync(body === '@-' ? 0 : body.slice(1), 'utf8') : body;

async function fetchOne(options: ClientOptions, target: string, out: (chunk: Buffer) => void): Promise<Answer> {
  let url: URL;
  try {
    url = new URL(target);
  } catch {
    throw new ClientError(3, `URL rejected: Malformed input: ${target}`);
  }
  let current = options;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    if (url.protocol !== 'http:' && url.protocol !== 'https:')
      throw new ClientError(1, `Protocol "${url.protocol.slice(0, -1)}" not supported`);
    const { answer, location } = await exchange(current, url, out);
    if (location === undefined) {
      if (options.failOnStatus && answer.status >= 400)
        throw new ClientError(22, `The requested URL returned error: ${answer.status}`);
      return answer;
    }
    url = new URL(location, url);
    const becomesGet =
      answer.status === 303 || ((answer.status === 301 || answer.status === 302) && current.method === 'POST');
    if (becomesGet) current = { ...current, method: 'GET', body: undefined };
  }
  throw new ClientError(47, `Maximum (${MAX_REDIRECTS}) redirects followed`);
}

/** curl's `--write-out`: `%{http_code}` and friends, `\n`. */
function formatWriteOut(format: string, answer: Answer): string {
  const { startedMs, connectedMs, firstByteMs, endedMs } = answer.timings;
  const seconds = (ms: number): string => (Math.max(0, ms - startedMs) / 1000).toFixed(6);
  const values: Readonly<Record<string, string>> = {
    http_code: String(answer.status).padStart(3, '0'),
    response_code: String(answer.status).padStart(3, '0'),
    size_download: String(answer.bytes),
    time_connect: seconds(connectedMs),
    time_starttransfer: seconds(firstByteMs),
    time_total: seconds(endedMs),
    url_effective: answer.url,
    remote_ip: answer.remote,
  };
  return format
    .replace(/\\n/g, '\n')
    .replace(/\\t/g, '\t')
    .replace(/%\{([a-z_]+)\}/g, (_all, name: string) => values[name] ?? '');
}

const noAnswer = (url: string): Answer => ({
  status: 0,
  timings: { startedMs: 0, connectedMs: 0, firstByteMs: 0, endedMs: 0 },
  bytes: 0,
  url,
  remote: '',
});

async function once(options: ClientOptions): Promise<number> {
  let exitCode = 0;
  for (const [index, url] of options.urls.entries()) {
    const { output } = options;
    if (output !== undefined && index === 0) writeFileSync(output, '');
    const out = (chunk: Buffer): void =>
      void (output === undefined ? process.stdout.write(chunk) : appendFileSync(output, chunk));
    let answer = noAnswer(url);
    try {
      answer = await fetchOne(options, url, out);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      exitCode = error.exitCode;
      if (exitCode === 22) answer = { ...answer, status: Number(/\d+$/.exec(error.message)?.[0]) };
      if (!options.silent || options.showError) process.stderr.write(`curl: (${error.exitCode}) ${error.message}\n`);
    }
    if (options.writeOut !== undefined) process.stdout.write(formatWriteOut(options.writeOut, answer));
  }
  return exitCode;
}

async function loop(options: ClientOptions, times: number): Promise<number> {
  let failures = 0;
  for (let turn = 1; times === 0 || turn <= times; turn++) {
    for (const url of options.urls) {
      const began = performance.now();
      const parts: Buffer[] = [];
      try {
        const answer = await fetchOne(options, url, (chunk) => void (parts.length < 64 && parts.push(chunk)));
        const ms = (performance.now() - began).toFixed(1);
        console.log(
          `${turn} ${url} ${answer.status} ${ms} ms${options.silent ? '' : ` ${Buffer.concat(parts).toString().replace(/\s+/g, ' ').trim().slice(0, 200)}`}`,
        );
        if (answer.status >= 400) failures++;
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        failures++;
        console.log(`${turn} ${url} failed (${error.exitCode}) ${error.message}`);
      }
    }
    if (times === 0 || turn < times) await new Promise((resolve) => setTimeout(resolve, options.intervalMs));
  }
  return failures > 0 ? 1 : 0;
}

process.on('SIGTERM', () => process.exit(143));
process.on('SIGINT', () => process.exit(130));
const [first = '', ...rest] = process.argv.slice(2);
const options = parseClientOptions(first === '--as-wget' ? wgetToCurl(rest) : process.argv.slice(2));
if (!options.ok) {
  process.stderr.write(`curl: ${options.error}\n`);
  process.exitCode = 2;
} else
  process.exitCode = await (options.value.loop === undefined
    ? once(options.value)
    : loop(options.value, options.value.loop));
