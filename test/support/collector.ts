// A program: an OTLP collector (traces and logs over gRPC, traces over HTTP) and a Zipkin server. Prints
// `listening <http port> <grpc port>`, then one line of JSON for each export: what kind, and what was in it.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveGrpc } from './answer-grpc.ts';
import { decode, EXPORT_LOGS, EXPORT_TRACES } from './proto-shapes.ts';

const told = (kind: string, content: unknown): void => console.log(JSON.stringify({ kind, content }));

const overGrpc = serveGrpc({
  '/opentelemetry.proto.collector.trace.v1.TraceService/Export': (message) => {
    told('traces over gRPC', decode(EXPORT_TRACES, message));
    return new Uint8Array(0);
  },
  '/opentelemetry.proto.collector.logs.v1.LogsService/Export': (message) => {
    told('logs', decode(EXPORT_LOGS, message));
    return new Uint8Array(0);
  },
});

const overHttp = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces);
    const { 'content-type': type, 'x-key': key } = request.headers;
    if (request.url === '/v1/traces' && type === 'application/x-protobuf')
      told('traces over HTTP', { key, ...decode(EXPORT_TRACES, body) });
    else if (request.url === '/api/v2/spans' && type === 'application/json')
      told('zipkin', JSON.parse(body.toString()));
    else response.statusCode = 404;
    response.end();
  });
});

overHttp.listen(0, '127.0.0.1', () =>
  overGrpc.listen(0, '127.0.0.1', () => {
    const port = (server: { address(): AddressInfo | string | null }): number => (server.address() as AddressInfo).port;
    console.log(`listening ${port(overHttp)} ${port(overGrpc)}`);
  }),
);
