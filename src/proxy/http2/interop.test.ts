// Real peers: Node's own HTTP/2 (nghttp2) and gRPC by connect-node on either side of a relay made of our server and our
// client.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryResponseSchema,
} from '../../wire/gen/envoy/service/discovery/v3/discovery_pb.ts';
import { IstioCertificateResponseSchema, IstioCertificateService } from '../../wire/gen/istio/v1/auth/citadel_pb.ts';
import { relayTo, TestClient, TestServer } from './testing.ts';

let grpc: Http2Server;
let plain: Http2Server;
let toGrpc: TestServer;
let toPlain: TestServer;
const clients: TestClient[] = [];
let onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void = (stream) => stream.respond();

const portOf = (server: Http2Server): number => (server.address() as AddressInfo).port;

async function relay(port: number): Promise<TestServer> {
  const client = await TestClient.connect(port);
  clients.push(client);
  const server = await new TestServer().listen();
  server.onRequest = relayTo(client.connection);
  return server;
}

before(async () => {
  grpc = createServer(
    connectNodeAdapter({
      grpcWeb: false,
      connect: false,
      routes: (router) =>
        router
          .service(IstioCertificateService, {
            createCertificate: (request, context) => {
              if (request.csr === 'refuse') throw new ConnectError('not for you: ä', Code.PermissionDenied);
              if (request.csr === 'slow')
                return new Promise((_, reject) => context.signal.addEventListener('abort', reject));
              context.responseTrailer.set('x-trailer', 'there');
              return create(IstioCertificateResponseSchema, { certChain: [request.csr.toUpperCase()] });
            },
          })
          .service(AggregatedDiscoveryService, {
            async *deltaAggregatedResources(requests: AsyncIterable<DeltaDiscoveryRequest>) {
              for await (const { typeUrl } of requests)
                yield create(DeltaDiscoveryResponseSchema, { systemVersionInfo: typeUrl });
            },
          }),
    }),
  );
  grpc.listen(0, '127.0.0.1');
  plain = createServer({ settings: { enableConnectProtocol: true } });
  plain.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  plain.listen(0, '127.0.0.1');
  await Promise.all([once(grpc, 'listening'), once(plain, 'listening')]);
  toGrpc = await relay(portOf(grpc));
  toPlain = await relay(portOf(plain));
});

after(async () => {
  for (const client of clients) client[Symbol.dispose]();
  await toGrpc[Symbol.asyncDispose]();
  await toPlain[Symbol.asyncDispose]();
  grpc.close();
  plain.close();
});

const transport = () => createGrpcTransport({ baseUrl: `http://127.0.0.1:${toGrpc.port}` });

test('gRPC: unary calls with trailers, errors, and deadlines', async () => {
  const client = createClient(IstioCertificateService, transport());
  let trailer: string | null = null;
  const answer = await client.createCertificate(
    { csr: 'hello' },
    {
      onTrailer: (trailers) => {
        trailer = trailers.get('x-trailer');
      },
    },
  );
  assert.deepEqual(answer.certChain, ['HELLO']);
  assert.equal(trailer, 'there');
  await assert.rejects(client.createCertificate({ csr: 'refuse' }), (error) => {
    assert.ok(error instanceof ConnectError);
    assert.deepEqual([error.code, error.rawMessage], [Code.PermissionDenied, 'not for you: ä']);
    return true;
  });
  await assert.rejects(client.createCertificate({ csr: 'slow' }, { timeoutMs: 100 }), { code: Code.DeadlineExceeded });
  const large = 'x'.repeat(3 << 20);
  const [echo] = (await client.createCertificate({ csr: large })).certChain;
  assert.equal(echo, large.toUpperCase());
});

test('gRPC: a bidirectional stream, message by message', async () => {
  const client = createClient(AggregatedDiscoveryService, transport());
  const next = Promise.withResolvers<void>();
  async function* requests() {
    yield { typeUrl: 'one' };
    await next.promise;
    yield { typeUrl: 'two' };
  }
  const seen: string[] = [];
  for await (const { systemVersionInfo } of client.deltaAggregatedResources(requests())) {
    seen.push(systemVersionInfo);
    next.resolve(); // the answer came before the second question was asked
  }
  assert.deepEqual(seen, ['one', 'two']);
});

async function withNode<T>(run: (session: ClientHttp2Session) => Promise<T>): Promise<T> {
  const session = connect(`http://127.0.0.1:${toPlain.port}`);
  try {
    return await run(session);
  } finally {
    session.destroy();
  }
}

test('nghttp2 on both ends: large contents both ways, byte for byte, many at once', async () => {
  onStream = (stream) => {
    stream.respond({ ':status': 201, 'x-a': ['1', '2'] });
    stream.pipe(stream);
  };
  const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  await withNode(async (session) => {
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const sent = randomBytes(200_000 + i);
        const stream = session.request({ ':method': 'POST', ':path': `/${i}` });
        stream.end(sent);
        const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
        assert.equal(headers[':status'], 201);
        assert.equal(headers['x-a'], '1, 2');
        const pieces: Buffer[] = [];
        for await (const piece of stream) pieces.push(piece as Buffer);
        assert.equal(digest(Buffer.concat(pieces)), digest(sent));
      }),
    );
  });
});

test('nghttp2: trailers both ways, 103, HEAD', async () => {
  onStream = (stream) => {
    stream.additionalHeaders({ ':status': 103, link: '</a>' });
    const trailers = Promise.withResolvers<IncomingHttpHeaders>();
    stream.on('trailers', trailers.resolve);
    stream.resume();
    stream.on('end', async () => {
      const got = await trailers.promise;
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': `got ${String(got['x-up'])}` }));
      stream.end('body');
    });
  };
  await withNode(async (session) => {
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-up': '7' }));
    const early = once(stream, 'headers');
    const late = once(stream, 'trailers');
    stream.end('content');
    const [interim] = (await early) as [IncomingHttpHeaders];
    assert.deepEqual([interim[':status'], interim.link], [103, '</a>']);
    let body = '';
    for await (const piece of stream) body += String(piece);
    assert.equal(body, 'body');
    assert.equal(((await late) as [IncomingHttpHeaders])[0]['x-sum'], 'got 7');

    onStream = (head) => {
      head.respond({ ':status': 200, 'content-length': '12' });
      head.end();
    };
    const head = session.request({ ':method': 'HEAD', ':path': '/' });
    head.end();
    const [headers] = (await once(head, 'response')) as [IncomingHttpHeaders];
    assert.equal(headers['content-length'], '12');
    head.resume();
    await once(head, 'close');
  });
});

test('nghttp2: extended CONNECT from end to end', async () => {
  onStream = (stream, headers) => {
    assert.equal(headers[':protocol'], 'websocket');
    assert.equal(headers['sec-websocket-key'], undefined);
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  };
  await withNode(async (session) => {
    await once(session, 'remoteSettings');
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'http',
      ':authority': 'shop.example.com',
      ':path': '/chat',
    });
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    assert.equal(headers[':status'], 200);
    assert.equal(headers['sec-websocket-accept'], undefined);
    stream.write('ping');
    const [piece] = (await once(stream, 'data')) as [Buffer];
    assert.equal(String(piece), 'ping');
    stream.end();
    await once(stream, 'end');
  });
});

test('a reset travels to the endpoint, and one of the endpoint to the client', async () => {
  const seen = Promise.withResolvers<number>();
  onStream = (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('x');
    stream.on('close', () => seen.resolve(stream.rstCode));
  };
  await withNode(async (session) => {
    const stream = session.request({ ':path': '/' });
    await once(stream, 'data');
    stream.close(8);
    assert.equal(await seen.promise, 8);

    onStream = (other) => {
      other.respond({ ':status': 200 });
      other.write('x');
      other.destroy(new Error('broken')); // RST_STREAM INTERNAL_ERROR
    };
    const lost = session.request({ ':path': '/' });
    lost.resume();
    const [error] = (await once(lost, 'error')) as [Error];
    assert.match(error.message, /INTERNAL_ERROR/);
  });
});
