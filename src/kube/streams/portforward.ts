// The kubelet's side of port-forward. For the kubelet:
//
//   server.on('upgrade', (request, socket, head) =>
//     servePortForward(request, socket, head, { dial: (port) => connectInPod(pod, port), describe: 'pod shop/web' }));
//
// `dial` opens a connection to 127.0.0.1:port inside the pod's network namespace and rejects with a reason for the user.
// Both protocols of `/portForward/{namespace}/{pod}?ports=…` are spoken: SPDY/3.1 inside a WebSocket, which kubectl 1.31
// and later use (any number of connections, each a pair of streams), and one WebSocket a connection (client-node, Ambit).

import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { WebSocket } from 'ws';
import { SpdyServer, type SpdyStream } from './spdy.ts';
import { acceptWebSocket, bytesOf } from './websocket.ts';

const TUNNEL = 'SPDY/3.1+portforward.k8s.io';
const CHANNELS = 'v4.channel.k8s.io';
/** Two bytes of port on each channel before its data; one pair of channels a port. */
const MAX_PORTS = 64;
const PAIR_TIMEOUT_MS = 30_000;

export interface PortForwardTarget {
  /** Resolves to an open connection; rejects with a message that the user is shown. */
  readonly dial: (port: number) => Promise<Duplex>;
  /** Names the pod in messages. */
  readonly describe: string;
}

/** Serves one upgrade request until it closes; what goes wrong is told to the client. */
export async function servePortForward(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  target: PortForwardTarget,
): Promise<void> {
  const accepted = await acceptWebSocket(request, socket, head, [TUNNEL, CHANNELS]);
  if (accepted === undefined) return;
  if (accepted.protocol === TUNNEL) serveTunnel(accepted.webSocket, target);
  else serveChannels(accepted.webSocket, portsOf(request.url ?? ''), target);
}

function portsOf(url: string): number[] {
  const { searchParams } = new URL(url, 'http://kubelet');
  const ports = searchParams
    .getAll('ports')
    .flatMap((text) => text.split(','))
    .map(Number);
  return ports.filter(isPort).slice(0, MAX_PORTS);
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535;

function serveTunnel(webSocket: WebSocket, target: PortForwardTarget): void {
  const pairs = new Map<string, { data?: SpdyStream; error?: SpdyStream; timer: NodeJS.Timeout }>();
  const spdy = new SpdyServer(
    {
      send: (bytes, sent) => webSocket.send(bytes, (error) => sent(error)),
      pause: () => webSocket.pause(),
      resume: () => webSocket.resume(),
      close: (error) => webSocket.close(error === undefined ? 1000 : 1002, error?.message.slice(0, 100)),
    },
    (stream) => {
      stream.on('error', () => {}); // resets are ordinary; what matters is told on the error stream
      const id = stream.headers.get('requestid') ?? stream.headers.get('port') ?? '';
      const kind = stream.headers.get('streamtype');
      if (kind !== 'data' && kind !== 'error') {
        stream.destroy();
        return;
      }
      const pair = pairs.get(id) ?? { timer: setTimeout(() => abandon(id), PAIR_TIMEOUT_MS) };
      pairs.set(id, pair);
      pair[kind] = stream;
      if (pair.data === undefined || pair.error === undefined) return;
      clearTimeout(pair.timer);
      pairs.delete(id);
      void forward(target, pair.data, pair.error);
    },
  );
  const abandon = (id: string) => {
    const pair = pairs.get(id);
    pairs.delete(id);
    pair?.data?.destroy();
    pair?.error?.destroy();
  };
  webSocket.on('message', (data) => spdy.receive(bytesOf(data)));
  webSocket.on('error', () => {});
  webSocket.on('close', () => {
    for (const { timer } of pairs.values()) clearTimeout(timer);
    spdy.close();
  });
}

/** Joins one pair of streams with one connection in the pod; each direction ends by itself. */
async function forward(target: PortForwardTarget, data: SpdyStream, error: SpdyStream): Promise<void> {
  error.resume(); // the client closes its side at once and writes nothing
  const port = Number(data.headers.get('port'));
  try {
    if (!isPort(port)) throw new Error(`\`${data.headers.get('port')}\` is not a port`);
    const connection = await target.dial(port);
    await join(data, connection);
    error.end();
  } catch (cause) {
    error.end(`error forwarding port ${port} to ${target.describe}: ${(cause as Error).message}`);
    data.end();
    data.resume();
  }
}

async function join(stream: Duplex, connection: Duplex): Promise<void> {
  const results = await Promise.allSettled([pipeline(stream, connection), pipeline(connection, stream)]);
  const broken = results.find((result) => result.status === 'rejected');
  // A client that goes away mid-way is no failure of the pod's.
  if (broken?.status === 'rejected' && !stream.destroyed) throw broken.reason;
}

function serveChannels(webSocket: WebSocket, ports: readonly number[], target: PortForwardTarget): void {
  webSocket.on('error', () => {});
  if (ports.length === 0) {
    webSocket.close(1008, 'the query must name ports');
    return;
  }
  const connections = new Map<number, ChannelStream>();
  for (const [i, port] of ports.entries()) {
    const stream = new ChannelStream(webSocket, i * 2);
    connections.set(i * 2, stream);
    const preamble = Buffer.from([port & 255, port >> 8]);
    sendOn(webSocket, i * 2, preamble);
    sendOn(webSocket, i * 2 + 1, preamble);
    stream.on('error', () => {});
    target
      .dial(port)
      .then((connection) => join(stream, connection))
      .catch((error: Error) => {
        sendOn(
          webSocket,
          i * 2 + 1,
          Buffer.from(`error forwarding port ${port} to ${target.describe}: ${error.message}`),
        );
      })
      .finally(() => {
        connections.delete(i * 2);
        if (connections.size === 0) webSocket.close(1000);
      });
  }
  webSocket.on('message', (data) => {
    const bytes = bytesOf(data);
    connections.get(bytes[0] ?? -1)?.arrived(bytes.subarray(1));
  });
  webSocket.on('close', () => {
    for (const stream of connections.values()) stream.arrived(null);
  });
}

function sendOn(webSocket: WebSocket, channel: number, data: Buffer, sent?: (error?: Error) => void): void {
  webSocket.send(Buffer.concat([Buffer.from([channel]), data]), (error) => sent?.(error ?? undefined));
}

class ChannelStream extends Duplex {
  readonly #webSocket: WebSocket;
  readonly #channel: number;

  constructor(webSocket: WebSocket, channel: number) {
    super({ allowHalfOpen: true });
    this.#webSocket = webSocket;
    this.#channel = channel;
  }

  arrived(data: Buffer | null): void {
    if (this.destroyed || this.readableEnded) return;
    if (!this.push(data) && data !== null) this.#webSocket.pause();
  }

  override _read(): void {
    this.#webSocket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    sendOn(this.#webSocket, this.#channel, chunk, done);
  }

  /** A channel has no end of its own: when the pod is done, the client can only be told by closing. */
  override _final(done: (error?: Error | null) => void): void {
    this.arrived(null);
    done();
  }
}
