// Accepting a WebSocket upgrade with one of the subprotocols of Kubernetes' streaming endpoints.

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';

/** kubectl sends at most 32 KiB in a message; others may send more. */
const MAX_MESSAGE_BYTES = 4 << 20;
const PING_EVERY_MS = 30_000;

const server = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false });
const chosen = new WeakMap<IncomingMessage, string>();

// The library neither reads nor writes the header of subprotocols: it would refuse `SPDY/3.1+portforward.k8s.io`, which
// is no token of HTTP's, but what kubectl asks for.
server.on('headers', (headers, request) => {
  const protocol = chosen.get(request);
  if (protocol !== undefined) headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
});

export interface AcceptedWebSocket {
  readonly webSocket: WebSocket;
  /** The one of `supported` that was agreed on. */
  readonly protocol: string;
}

/**
 * Completes the upgrade, with the first of `supported` that the client offers.
 * Refuses it with 400 in the socket, and returns undefined, when the client offers none: kubectl then says so.
 */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  supported: readonly string[],
): Promise<AcceptedWebSocket | undefined> {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim());
  const protocol = supported.find((one) => offered.includes(one));
  if (request.headers.upgrade?.toLowerCase() !== 'websocket' || protocol === undefined) {
    refuseUpgrade(socket, 400, `this endpoint speaks WebSocket with one of ${supported.join(', ')}`);
    return Promise.resolve(undefined);
  }
  chosen.set(request, protocol);
  delete request.headers['sec-websocket-protocol'];
  return new Promise((resolve) => {
    socket.once('close', () => resolve(undefined)); // a handshake that the library refused
    server.handleUpgrade(request, socket, head, (webSocket) => {
      keepAlive(webSocket);
      resolve({ webSocket, protocol });
    });
  });
}

/** Answers a request for an upgrade with an ordinary refusal. */
export function refuseUpgrade(socket: Duplex, code: number, message: string): void {
  const body = JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason: code === 404 ? 'NotFound' : code === 400 ? 'BadRequest' : 'InternalError',
    code,
  });
  socket.end(
    `HTTP/1.1 ${code} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/** A client that vanished without a word is noticed within two pings. */
function keepAlive(webSocket: WebSocket): void {
  let answered = true;
  const timer = setInterval(() => {
    if (!answered) {
      webSocket.terminate();
      return;
    }
    answered = false;
    webSocket.ping();
  }, PING_EVERY_MS);
  timer.unref();
  webSocket.on('pong', () => {
    answered = true;
  });
  webSocket.on('message', () => {
    answered = true;
  });
  webSocket.on('close', () => clearInterval(timer));
}

export function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
