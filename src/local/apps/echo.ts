// The echo server that stands behind `ambit/echo` and the well-known echo images: it answers with what it received and
// where. Plain node:http and node:net, no dependency, so that a pod of it starts in tens of milliseconds.
// `flavour` says which image it plays: ports and the few special paths differ, the JSON answer does not.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import { hostname } from 'node:os';
import { type EchoConfig, parseEchoConfig } from './echo-config.ts';

const MAX_KEPT_BODY_BYTES = 8192;
const MAX_DELAY_MS = 300_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What one request looked like from here; the answer's body. */
interface Echo {
  readonly method: string;
  readonly path: string;
  readonly query: Record<string, string>;
  readonly httpVersion: string;
  readonly host: string;
  readonly headers: IncomingMessage['headers'];
  readonly bodyBytes: number;
  readonly body: string;
  readonly peer: { readonly address: string; readonly port: number };
  readonly local: { readonly address: string; readonly port: number };
  readonly pod: string;
  readonly namespace: string;
  readonly node: string;
  readonly serviceAccount: string;
  readonly hostname: string;
}

const plainAddress = (address: string | undefined): string => (address ?? '').replace(/^::ffff:/, '');

async function readBody(request: IncomingMessage): Promise<{ bytes: number; kept: string }> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    if (bytes < MAX_KEPT_BODY_BYTES) parts.push(part);
    bytes += part.length;
  }
  return { bytes, kept: Buffer.concat(parts).subarray(0, MAX_KEPT_BODY_BYTES).toString('utf8') };
}

async function answer(config: EchoConfig, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://echo');
  const { bytes, kept } = await readBody(request);
  const wish = (name: string): number => Number(url.searchParams.get(name) ?? request.headers[`x-echo-${name}`] ?? 0);
  const [, word, number] = url.pathname.split('/');
  const status = word === 'status' ? Number(number) : wish('status') || wish('code');
  const delayMs = word === 'delay' ? Number(number) * 1000 : wish('delay');
  if (delayMs > 0) await pause(Math.min(delayMs, MAX_DELAY_MS));
  response.statusCode = status >= 200 && status <= 599 ? status : 200;
  const { pod, namespace, node, serviceAccount } = config;
  response.setHeader('x-pod', pod);
  if (config.text !== undefined) {
    response.setHeader('content-type', 'text/plain; charset=utf-8');
    response.end(`${config.text}\n`);
    return;
  }
  const echo: Echo = {
    method: request.method ?? '',
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    httpVersion: request.httpVersion,
    host: request.headers.host ?? '',
    headers: request.headers,
    bodyBytes: bytes,
    body: kept,
    peer: { address: plainAddress(request.socket.remoteAddress), port: request.socket.remotePort ?? 0 },
    local: { address: plainAddress(request.socket.localAddress), port: request.socket.localPort ?? 0 },
    pod,
    namespace,
    node,
    serviceAccount,
    hostname: hostname(),
  };
  response.setHeader('content-type', 'application/json');
  response.end(`${JSON.stringify(word === 'ip' ? { origin: echo.peer.address } : echo, undefined, 2)}\n`);
}

function serveHttp(config: EchoConfig, port: number): Server {
  const server = createServer((request, response) => {
    request.on('error', () => response.destroy());
    answer(config, request, response).catch((error: Error) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(400).end(`${error.message}\n`);
    });
  });
  return server.listen(port, () => console.log(`echo: HTTP on port ${port}`));
}

/** Every byte back; with a greeting, the greeting before each chunk, as Istio's tcp-echo-server does. */
function serveTcp(greeting: string | undefined, port: number): TcpServer {
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    if (greeting === undefined) socket.pipe(socket);
    else {
      socket.on('data', (chunk) => {
        if (!socket.write(Buffer.concat([Buffer.from(`${greeting} `), chunk]))) socket.pause();
      });
      socket.on('drain', () => socket.resume());
      socket.on('end', () => socket.end());
    }
  });
  return server.listen(port, () => console.log(`echo: TCP on port ${port}`));
}

function main(): void {
  const config = parseEchoConfig(process.env, process.argv.slice(2));
  if (!config.ok) {
    console.error(`echo: ${config.error}`);
    process.exit(2);
  }
  const { httpPorts, tcpPorts, tcpGreeting, shutdownDelayMs } = config.value;
  const http = httpPorts.map((port) => serveHttp(config.value, port));
  const tcp = tcpPorts.map((port) => serveTcp(tcpGreeting, port));
  for (const server of [...http, ...tcp])
    server.on('error', (error) => {
      console.error(`echo: ${error.message}`);
      process.exit(1);
    });
  let ending = false;
  process.on('SIGTERM', () => {
    if (ending) return;
    ending = true;
    // Callers hear of our leaving a little later than we do: serve on for a moment, then only finish what runs.
    setTimeout(() => {
      for (const server of tcp) server.close();
      for (const server of http) {
        server.close();
        server.closeIdleConnections();
      }
      setTimeout(() => process.exit(0), 5000).unref();
      let open = http.length;
      for (const server of http) server.once('close', () => --open === 0 && process.exit(0));
      if (open === 0) process.exit(0);
    }, shutdownDelayMs);
  });
}

main();
