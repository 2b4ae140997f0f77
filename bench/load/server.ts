// The application of a benchmark: answers every request with the same bytes, on raw sockets. Ports as in protocol.ts.

import { createServer, type Socket } from 'node:net';
import { BULK_PORT, CLOSING_REQUEST, HTTP_PORT, REQUEST, RESPONSE } from './protocol.ts';

const kSeen = Symbol('seen');
interface Counted extends Socket {
  [kSeen]: number;
}

/** Requests come whole or in parts, and are told apart by length: nobody else talks to this server. */
function onRequest(this: Socket, chunk: Buffer): void {
  const socket = this as Counted;
  if (chunk.length === CLOSING_REQUEST.length && chunk.equals(CLOSING_REQUEST)) {
    socket.end(RESPONSE);
    return;
  }
  let seen = socket[kSeen] + chunk.length;
  while (seen >= REQUEST.length) {
    seen -= REQUEST.length;
    socket.write(RESPONSE);
  }
  socket[kSeen] = seen;
}

const ignore = (): void => {};

createServer({ noDelay: true }, (socket) => {
  (socket as Counted)[kSeen] = 0;
  socket.on('data', onRequest);
  socket.on('error', ignore);
}).listen({ port: HTTP_PORT, host: '0.0.0.0', backlog: 4096 });

const block = Buffer.alloc(256 << 10, 'x');
createServer({ noDelay: true }, (socket) => {
  const pour = (): void => {
    while (socket.write(block));
  };
  socket.once('data', pour);
  socket.on('drain', pour);
  socket.on('error', ignore);
}).listen({ port: BULK_PORT, host: '0.0.0.0', backlog: 4096 }, () => console.log('serving'));
