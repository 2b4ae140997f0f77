// Unary gRPC methods over plain HTTP/2 for the test programs, on Node's own server.

import { createServer, type Http2Server } from 'node:http2';

/** @returns the answer, or the number of a gRPC status; undefined: never answers */
export type Method = (message: Uint8Array) => Uint8Array | number | undefined;

export function serveGrpc(methods: Readonly<Record<string, Method>>): Http2Server {
  const server = createServer();
  server.on('stream', (stream, headers) => {
    const pieces: Buffer[] = [];
    stream.on('error', () => {});
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.on('end', () => {
      const sent = Buffer.concat(pieces);
      const answer = methods[String(headers[':path'])]?.(sent.subarray(5, 5 + sent.readUInt32BE(1)));
      if (answer === undefined) return;
      const status = typeof answer === 'number' ? answer : 0;
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () =>
        stream.sendTrailers({ 'grpc-status': String(status), 'grpc-message': 'told%20so' }),
      );
      if (typeof answer === 'number') {
        stream.end();
        return;
      }
      const framed = Buffer.alloc(5 + answer.length);
      framed.writeUInt32BE(answer.length, 1);
      framed.set(answer, 5);
      stream.end(framed);
    });
  });
  server.on('session', (session) => session.on('error', () => {}));
  return server;
}
