// The application behind an L7 hop: answers `GET /<n>` with n bytes (100 without a number), on raw sockets. It reads no more
// of a request than where it ends.

import { createServer, type Socket } from 'node:net';
import { HTTP_PORT } from './protocol.ts';

const responses = new Map<number, Buffer>();
function responseOf(bytes: number): Buffer {
  let response = responses.get(bytes);
  if (response === undefined) {
    const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${bytes}\r\n\r\n`;
    response = Buffer.concat([Buffer.from(head), Buffer.alloc(bytes, 'x')]);
    responses.set(bytes, response);
  }
  return response;
}

createServer({ noDelay: true }, (socket: Socket) => {
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      const size = /^GET \/(\d+)/.exec(text);
      socket.write(responseOf(Number(size?.[1] ?? 100)));
      text = text.slice(end + 4);
    }
  });
  socket.on('error', () => {});
}).listen({ port: HTTP_PORT, host: '0.0.0.0', backlog: 4096 }, () => console.log('serving'));
