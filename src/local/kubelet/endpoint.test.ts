import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Netns } from '../../platform/linux/netns.ts';
import { dial, EndpointError, grpcHealth, httpGet, type Place, portNumber } from './endpoint.ts';

const here = Netns.current();
const place = (ports: Place['ports'] = []): Place => ({ nodeNetns: here, podIp: '127.0.0.1', ports });

async function listening(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('a port is a number, the name of one, or text that is a number', () => {
  const at = place([{ name: 'http', containerPort: 8080 }]);
  assert.deepEqual([portNumber(80, at), portNumber('http', at), portNumber('81', at)], [80, 8080, 81]);
  for (const bad of ['https', 0, 70_000, '']) assert.throws(() => portNumber(bad, at), EndpointError);
});

test('an HTTP probe sends its headers and path to the pod and learns the status', async (t) => {
  const seen: string[] = [];
  const port = await listening(
    t,
    createServer((request, response) => {
      seen.push(
        `${request.method} ${request.url} ${request.headers['x-a']} ${request.headers.host} ${request.headers['user-agent']}`,
      );
      response.writeHead(request.url === '/bad' ? 503 : 302, { location: 'http://elsewhere/' }).end('body');
    }),
  );
  const good = await httpGet(
    {
      port,
      path: 'ok?x=1',
      httpHeaders: [
        { name: 'X-A', value: '1' },
        { name: 'Host', value: 'shop' },
      ],
    },
    place(),
    2000,
  );
  assert.deepEqual(good, { code: 302, body: 'body' });
  assert.equal((await httpGet({ port, path: '/bad' }, place(), 2000)).code, 503);
  assert.equal(seen[0], 'GET /ok?x=1 1 shop kube-probe/1.35');
});

test('failures are said as a cluster says them', async (t) => {
  const port = await listening(
    t,
    createTcpServer((socket) => socket.on('error', () => {})),
  );
  const closed = await listening(
    t,
    createTcpServer((socket) => socket.destroy()),
  );
  const free = await new Promise<number>((resolve) => {
    const server = createTcpServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
  await assert.rejects(dial('127.0.0.1', free, place(), 1000), {
    message: `dial tcp 127.0.0.1:${free}: connect: connection refused`,
  });
  await assert.rejects(dial('no.such.host', 80, place(), 1000), /no such host/);
  await assert.rejects(
    httpGet({ port: free, path: '/' }, place(), 1000),
    /^Error: Get "http:\/\/127\.0\.0\.1:\d+\/": dial tcp .*connection refused$/,
  );
  await assert.rejects(
    httpGet({ port }, place(), 100),
    /context deadline exceeded \(Client\.Timeout exceeded while awaiting headers\)/,
  );
  await assert.rejects(httpGet({ port: closed }, place(), 1000), /EOF|connection reset by peer/);
});

test('a gRPC probe asks the health service by its protocol', async (t) => {
  const asked: string[] = [];
  const server = createHttp2Server();
  const answers: Record<string, number> = { '': 1, down: 2 };
  server.on('stream', (stream, headers) => {
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => {
      const service = Buffer.concat(parts).subarray(7).toString();
      asked.push(`${headers[':path']} ${headers['content-type']} ${service}`);
      const known = answers[service];
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': known === undefined ? '5' : '0' }));
      stream.end(known === undefined ? undefined : Buffer.from([0, 0, 0, 0, 2, 8, known]));
    });
  });
  const port = await listening(t, server as unknown as Server);
  assert.equal(await grpcHealth({ port }, place(), 2000), 'SERVING');
  assert.equal(await grpcHealth({ port, service: 'down' }, place(), 2000), 'NOT_SERVING');
  await assert.rejects(grpcHealth({ port, service: 'unknown' }, place(), 2000), /rpc error: code = 5/);
  assert.deepEqual(asked.slice(0, 2), [
    '/grpc.health.v1.Health/Check application/grpc ',
    '/grpc.health.v1.Health/Check application/grpc down',
  ]);
});
