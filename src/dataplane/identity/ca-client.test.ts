// The certificate client against an independent gRPC server over TLS.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { ManualClock, systemClock } from '../../platform/clock.ts';
import { configureLogging } from '../../telemetry/log.ts';
import { type IstioCertificateRequest, IstioCertificateService } from '../../wire/gen/istio/v1/auth/citadel_pb.ts';
import type { ControlPlaneAccess } from '../grpc/access.ts';
import { GrpcError } from '../grpc/connection.ts';
import { TestAuthority } from '../testing/authority.ts';
import { startGrpcServer, type TestServer } from '../testing/grpc-server.ts';
import { CaClient, describeFailure } from './ca-client.ts';
import { CertificateCache } from './certificates.ts';

configureLogging({ filter: 'off' });
const folder = mkdtempSync(join(tmpdir(), 'ambit-ca-'));
after(() => rmSync(folder, { recursive: true }));
const rootFile = join(folder, 'root.pem');

const authority = await TestAuthority.create();
writeFileSync(rootFile, authority.rootPem);
const id = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' };
const uri = 'spiffe://cluster.local/ns/shop/sa/order';
const never = new AbortController().signal;

interface Asked {
  readonly request: IstioCertificateRequest;
  readonly headers: Headers;
}
type Reply = (asked: Asked) => Promise<string[]>;
const sign: Reply = async ({ request }) => [await authority.sign(request.csr, uri), authority.rootPem];

async function serve(reply: Reply, port = 0, identity = authority): Promise<{ server: TestServer; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = await startGrpcServer(
    await identity.server('localhost'),
    (router) =>
      router.service(IstioCertificateService, {
        async createCertificate(request, { requestHeader }) {
          const one = { request, headers: requestHeader };
          asked.push(one);
          return { certChain: await reply(one) };
        },
      }),
    port,
  );
  return { server, asked };
}

const accessTo = (server: TestServer): ControlPlaneAccess => ({
  host: 'localhost',
  port: server.port,
  roots: { kind: 'file', path: rootFile },
  alternativeName: undefined,
  tls12: false,
  token: { kind: 'literal', token: 'the-token' },
  clusterId: 'c1',
  headers: {},
});
const clientOf = (server: TestServer): CaClient =>
  new CaClient({ access: accessTo(server), ttlSeconds: 3600, clock: systemClock });

test('asks with CSR, lifetime, the impersonated identity and the token; returns chain, roots and key', async () => {
  const { server, asked } = await serve(sign);
  const client = clientOf(server);
  const got = await client.fetch(id, never);
  assert.deepEqual(got.identity, id);
  assert.equal(got.rootsPem, authority.rootPem);
  assert.match(got.certificateChainPem, /BEGIN CERTIFICATE/);
  const [one] = asked;
  assert.equal(one?.request.validityDuration, 3600n);
  assert.deepEqual(one?.request.metadata, { ImpersonatedIdentity: uri });
  assert.equal(one?.headers.get('authorization'), 'Bearer the-token');
  assert.equal(one?.headers.get('clusterid'), 'c1');
  assert.doesNotMatch(JSON.stringify(one?.request.csr), /PRIVATE KEY/);
  client.close();
  await server.close();
});

const failures: { name: string; reply: Reply; why: RegExp }[] = [
  {
    name: 'refused',
    reply: () => Promise.reject(new ConnectError('not on this node', Code.Unauthenticated)),
    why: /^certificate service: Unauthenticated: not on this node$/,
  },
  {
    name: 'not ready',
    reply: () => Promise.reject(new ConnectError('', Code.Internal)),
    why: /^certificate service: Internal/,
  },
  { name: 'no root in the answer', reply: async (asked) => (await sign(asked)).slice(0, 1), why: /so no root/ },
  { name: 'empty answer', reply: () => Promise.resolve([]), why: /so no root/ },
  {
    name: 'for another identity',
    reply: async ({ request }) => [await authority.sign(request.csr, `${uri}-2`), authority.rootPem],
    why: /is for `.*order-2`/,
  },
];
for (const c of failures)
  test(`not obtained: ${c.name}`, async () => {
    const { server } = await serve(c.reply);
    const client = clientOf(server);
    await assert.rejects(client.fetch(id, never), (error) => {
      assert.match(describeFailure(error), c.why);
      return true;
    });
    client.close();
    await server.close();
  });

test('a server that is not there, and one of another authority, are named', async () => {
  const other = await TestAuthority.create('other');
  const { server } = await serve(sign, 0, other);
  const client = clientOf(server);
  await assert.rejects(client.fetch(id, never), (error) => {
    assert.ok(error instanceof GrpcError);
    assert.match(error.message, /no connection to localhost:\d+: .*certificate/);
    return true;
  });
  await server.close();
  await assert.rejects(client.fetch(id, never), /ECONNREFUSED/);
  client.close();
});

test('one connection serves many requests; after it was cut, or roots changed, the next request makes a new one', async () => {
  const { server, asked } = await serve(sign);
  const client = clientOf(server);
  await Promise.all([client.fetch(id, never), client.fetch(id, never), client.fetch(id, never)]);
  server.cut();
  await new Promise((r) => setTimeout(r, 20));
  await client.fetch(id, never);
  assert.equal(asked.length, 4);

  const next = await TestAuthority.create('next');
  writeFileSync(rootFile, next.rootPem);
  try {
    await client.fetch(id, never); // The server does not have it yet: the present connection stays in use.
    writeFileSync(rootFile, next.rootPem + authority.rootPem);
    await client.fetch(id, never);
    writeFileSync(rootFile, 'no certificate');
    await client.fetch(id, never);
    assert.equal(asked.length, 7);
  } finally {
    writeFileSync(rootFile, authority.rootPem);
    client.close();
    await server.close();
  }
});

test('a request that is no longer wanted ends', async () => {
  const hanging = Promise.withResolvers<string[]>();
  const { server } = await serve(() => hanging.promise);
  const client = clientOf(server);
  const stop = new AbortController();
  const fetched = client.fetch(id, stop.signal);
  setTimeout(() => stop.abort(), 30);
  await assert.rejects(fetched, /cancelled/);
  hanging.resolve([]); // The server's own deadline timer would keep this process alive.
  client.close();
  await server.close();
});

test('a server that does not answer is given up after 10 s', async () => {
  const hanging = Promise.withResolvers<string[]>();
  const { server, asked } = await serve(() => hanging.promise);
  const clock = new ManualClock(Date.now());
  const client = new CaClient({ access: accessTo(server), ttlSeconds: 3600, clock });
  const fetched = client.fetch(id, never);
  while (asked.length === 0) await new Promise((r) => setTimeout(r, 1));
  clock.advance(10_000);
  await assert.rejects(
    fetched,
    (error) => describeFailure(error) === 'certificate service: DeadlineExceeded: no answer in 10 s',
  );
  hanging.resolve([]); // The server's own deadline timer would keep this process alive.
  client.close();
  await server.close();
});

test('cache and client together: refused once, obtained by the retry', async () => {
  let refuse = true;
  const { server } = await serve((asked) =>
    refuse ? Promise.reject(new ConnectError('no pod', Code.Unauthenticated)) : sign(asked),
  );
  const client = clientOf(server);
  const clock = new ManualClock(Date.now());
  const cache = new CertificateCache(client, clock);
  await assert.rejects(
    cache.forIdentity(id, 'realTime'),
    /identity error: certificate service: Unauthenticated: no pod/,
  );
  refuse = false;
  const obtained = new Promise((r) => cache.onRotate(r));
  clock.advance(1200);
  await obtained;
  assert.equal((await cache.forIdentity(id, 'realTime')).rootsPem, authority.rootPem);
  cache.close();
  client.close();
  await server.close();
});
