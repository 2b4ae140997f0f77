// The discovery client against an independent gRPC server over TLS: what it sends, what it keeps, how it comes back.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createSecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { service, workload } from '../../model/testing/builders.ts';
import { type Clock, ManualClock, systemClock } from '../../platform/clock.ts';
import { configureLogging } from '../../telemetry/log.ts';
import { Registry } from '../../telemetry/registry.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../../wire/xds/names.ts';
import { encodeService, encodeWorkload } from '../../wire/xds/resources.ts';
import { ZtunnelState } from '../../ztunnel/state.ts';
import type { ControlPlaneAccess } from '../grpc/access.ts';
import { GrpcError } from '../grpc/connection.ts';
import { TestAuthority } from '../testing/authority.ts';
import { type DiscoveryStream, discoveryRoutes, startGrpcServer, type TestServer } from '../testing/grpc-server.ts';
import { backoffAfter, XdsClient } from './client.ts';
import { DeltaProtocol } from './protocol.ts';

const folder = mkdtempSync(join(tmpdir(), 'ambit-xds-'));
const rootFile = join(folder, 'root.pem');
const tokenFile = join(folder, 'token');
let authority: TestAuthority;

before(async () => {
  configureLogging({ filter: 'off' });
  authority = await TestAuthority.create();
  writeFileSync(rootFile, authority.rootPem);
  writeFileSync(tokenFile, 'token-1\n');
});
after(() => rmSync(folder, { recursive: true }));

const any = (value: Uint8Array) => ({ resource: { typeUrl: ADDRESS_TYPE, value } });
const order = workload('order');
const payment = workload('payment');
const resource = (w: typeof order, version: string) => ({ name: w.uid, version, ...any(encodeWorkload(w)) });

interface Running {
  readonly server: TestServer;
  readonly streams: ReturnType<typeof discoveryRoutes>['streams'];
  readonly state: ZtunnelState;
  readonly client: XdsClient;
  readonly registry: Registry;
  readonly protocol: DeltaProtocol;
  ready: number;
  stop(): Promise<void>;
}

interface Options {
  readonly onDemand?: boolean;
  readonly clock?: Clock;
  readonly access?: Partial<ControlPlaneAccess>;
  readonly names?: readonly string[];
}

async function start(options: Options = {}): Promise<Running> {
  const clock = options.clock ?? systemClock;
  const { routes, streams } = discoveryRoutes();
  const server = await startGrpcServer(await authority.server(...(options.names ?? ['localhost'])), routes);
  const state = new ZtunnelState({ network: '', nodeName: 'node-1', clock });
  const protocol = new DeltaProtocol(
    { id: 'ztunnel~10.0.0.9~z.istio-system~istio-system.svc.cluster.local', metadata: { NODE_NAME: 'node-1' } },
    [
      { typeUrl: ADDRESS_TYPE, store: state.addresses, onDemand: options.onDemand ?? false },
      { typeUrl: AUTHORIZATION_TYPE, store: state.authorizations, onDemand: false },
    ],
  );
  const registry = new Registry();
  const client = new XdsClient({
    access: {
      host: 'localhost',
      port: server.port,
      roots: { kind: 'file', path: rootFile },
      alternativeName: undefined,
      tls12: false,
      token: { kind: 'file', path: tokenFile },
      clusterId: 'c1',
      headers: { 'x-extra': 'yes' },
      ...options.access,
    },
    protocol,
    clock,
    registry,
    onReady: () => {
      running.ready++;
    },
  });
  const stopping = new AbortController();
  const done = client.run(stopping.signal);
  const running: Running = {
    server,
    streams,
    state,
    client,
    registry,
    protocol,
    ready: 0,
    async stop() {
      stopping.abort();
      await done;
      await server.close();
    },
  };
  return running;
}

/** Reads both initial requests. */
const opening = async (stream: DiscoveryStream) =>
  [await stream.requests.take(), await stream.requests.take()] as const;

test('subscribes to addresses, then policies, with node, metadata and token; answers each response once', async () => {
  const run = await start();
  try {
    const stream = await run.streams.take();
    assert.equal(stream.headers.get('authorization'), 'Bearer token-1');
    assert.equal(stream.headers.get('clusterid'), 'c1');
    assert.equal(stream.headers.get('x-extra'), 'yes');
    const [addresses, policies] = await opening(stream);
    assert.equal(addresses.typeUrl, ADDRESS_TYPE);
    assert.equal(policies.typeUrl, AUTHORIZATION_TYPE);
    for (const request of [addresses, policies]) {
      assert.equal(request.node?.id, 'ztunnel~10.0.0.9~z.istio-system~istio-system.svc.cluster.local');
      assert.deepEqual(request.node?.metadata, { NODE_NAME: 'node-1' });
      assert.deepEqual([request.resourceNamesSubscribe, request.resourceNamesUnsubscribe], [[], []]);
      assert.deepEqual(request.initialResourceVersions, {});
      assert.equal(request.responseNonce, '');
    }
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1', resources: [resource(order, 'v1')] });
    const ack = await stream.requests.take();
    assert.deepEqual(
      [ack.typeUrl, ack.responseNonce, ack.errorDetail, ack.node],
      [ADDRESS_TYPE, 'n1', undefined, undefined],
    );
    assert.deepEqual(run.state.world.workload(order.uid), order);
    assert.equal(run.ready, 0, 'policies have not come yet');
    stream.send({ typeUrl: AUTHORIZATION_TYPE, nonce: 'n2' });
    assert.equal((await stream.requests.take()).responseNonce, 'n2');
    assert.equal(run.ready, 1);
    assert.match(run.registry.render(), new RegExp(`istio_xds_message_total\\{url="${ADDRESS_TYPE}"\\} 1\n`));
    assert.match(
      run.registry.render(),
      new RegExp(`istio_xds_message_bytes_total\\{url="${ADDRESS_TYPE}"\\} [1-9]\\d+\n`),
    );
  } finally {
    await run.stop();
  }
});

test('a bad resource is refused alone, is not held, and readiness waits for an answer without refusals', async () => {
  const run = await start();
  try {
    const stream = await run.streams.take();
    await opening(stream);
    const bad = { name: 'c1//Pod/shop/bad', version: 'v1', ...any(Uint8Array.of(0xff, 0xff)) };
    const empty = { name: 'c1//Pod/shop/empty', version: 'v1' };
    stream.send({ typeUrl: AUTHORIZATION_TYPE, nonce: 'p' });
    await stream.requests.take();
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1', resources: [bad, resource(order, 'v1'), empty] });
    const nack = await stream.requests.take();
    assert.equal(nack.responseNonce, 'n1');
    assert.equal(nack.errorDetail?.code, 0);
    assert.match(
      nack.errorDetail?.message ?? '',
      /^c1\/\/Pod\/shop\/bad: .+; c1\/\/Pod\/shop\/empty: resource is empty$/,
    );
    assert.deepEqual(run.state.world.workload(order.uid), order, 'the good one applies');
    assert.equal(run.ready, 0);
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n2', resources: [resource(payment, 'v7')] });
    await stream.requests.take();
    assert.equal(run.ready, 1);
    stream.end();
    const [again] = await opening(await run.streams.take());
    assert.deepEqual(again.initialResourceVersions, { [order.uid]: 'v1', [payment.uid]: 'v7' });
  } finally {
    await run.stop();
  }
});

test('a resource that turns bad keeps its last good form, and its old version is what a reconnect tells', async () => {
  const run = await start();
  try {
    const stream = await run.streams.take();
    await opening(stream);
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1', resources: [resource(order, 'v1')] });
    await stream.requests.take();
    stream.send({
      typeUrl: ADDRESS_TYPE,
      nonce: 'n2',
      resources: [{ name: order.uid, version: 'v2', ...any(Uint8Array.of(0xff)) }],
    });
    assert.notEqual((await stream.requests.take()).errorDetail, undefined);
    assert.deepEqual(run.state.world.workload(order.uid), order);
    stream.end();
    const [again] = await opening(await run.streams.take());
    assert.deepEqual(again.initialResourceVersions, { [order.uid]: 'v1' });
  } finally {
    await run.stop();
  }
});

test('removals, and a type that nobody asked for', async () => {
  const run = await start();
  try {
    const stream = await run.streams.take();
    await opening(stream);
    const svc = service('payment');
    const key = 'shop/payment.shop.svc.cluster.local';
    stream.send({
      typeUrl: ADDRESS_TYPE,
      nonce: 'n1',
      resources: [
        resource(order, 'v1'),
        resource(payment, 'v1'),
        { name: key, version: 's', ...any(encodeService(svc)) },
      ],
    });
    await stream.requests.take();
    assert.notEqual(run.state.world.service(key), undefined);
    stream.send({
      typeUrl: ADDRESS_TYPE,
      nonce: 'n2',
      removedResources: [order.uid, key, 'no/such.service', 'a//b/c/d'],
    });
    const ack = await stream.requests.take();
    assert.equal(ack.errorDetail, undefined, 'removing what is unknown is no error');
    assert.equal(run.state.world.workload(order.uid), undefined);
    assert.equal(run.state.world.service(key), undefined);
    stream.send({ typeUrl: 'type.googleapis.com/some.Other', nonce: 'n3' });
    const other = await stream.requests.take();
    assert.deepEqual(
      [other.typeUrl, other.responseNonce, other.errorDetail],
      ['type.googleapis.com/some.Other', 'n3', undefined],
    );
    stream.end();
    const [again] = await opening(await run.streams.take());
    assert.deepEqual(again.initialResourceVersions, { [payment.uid]: 'v1' });
    assert.equal(again.node?.id !== undefined, true, 'each stream tells the node again');
  } finally {
    await run.stop();
  }
});

test('the server dies in mid-stream: state stays, the client comes back with its versions and a fresh token', async () => {
  const run = await start();
  try {
    const stream = await run.streams.take();
    await opening(stream);
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1', resources: [resource(order, 'v1')] });
    await stream.requests.take();
    writeFileSync(tokenFile, 'token-2\n');
    run.server.cut();
    const next = await run.streams.take();
    assert.equal(next.headers.get('authorization'), 'Bearer token-2');
    const [addresses] = await opening(next);
    assert.deepEqual(addresses.initialResourceVersions, { [order.uid]: 'v1' });
    assert.deepEqual(run.state.world.workload(order.uid), order);
    assert.match(run.registry.render(), /istio_xds_connection_terminations_total\{reason="Reconnect"\} 1\n/);
  } finally {
    writeFileSync(tokenFile, 'token-1\n');
    await run.stop();
  }
});

test('a response that is none ends the stream, as a failure', async () => {
  const clock = new ManualClock();
  const server = await rawServer((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.write(Buffer.concat([Buffer.of(0, 0, 0, 0, 3), Buffer.from('0a0512', 'hex')]));
  });
  const run = await start({ clock, access: { port: server.port } });
  await until(() => run.registry.render().includes('{reason="Error"} 1\n'));
  await run.stop();
  server.close();
});

test('a server that says it will go is used until it ends the stream', async () => {
  const run = await start();
  try {
    const stream = await run.streams.take();
    await opening(stream);
    run.server.goaway();
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1', resources: [resource(order, 'v1')] });
    assert.equal((await stream.requests.take()).responseNonce, 'n1');
    stream.end(new ConnectError('transport is closing', Code.Unavailable));
    const [again] = await opening(await run.streams.take());
    assert.deepEqual(again.initialResourceVersions, { [order.uid]: 'v1' });
  } finally {
    await run.stop();
  }
});

test('a refused call is tried again, each time after twice the wait', async () => {
  const clock = new ManualClock();
  let calls = 0;
  const server = await refusingServer(() => {
    calls++;
  });
  const run = await start({ clock, access: { port: server.port } });
  try {
    const waits: number[] = [];
    for (let i = 1; i <= 3; i++) {
      await until(() => run.registry.render().includes(`{reason="ConnectionError"} ${i}\n`));
      await until(() => clock.waiting === 1);
      const from = clock.nowMs();
      while (clock.waiting > 0) clock.advance(1);
      waits.push(clock.nowMs() - from);
      await until(() => calls === i + 1);
    }
    assert.deepEqual(waits, [20, 40, 80]);
  } finally {
    await run.stop();
    server.close();
  }
});

/** Answers every call as istiod answers a bad token: with headers that are the whole answer. */
const refusingServer = (called: () => void) =>
  rawServer((stream) => {
    called();
    const headers = {
      ':status': 200,
      'content-type': 'application/grpc',
      'grpc-status': '16',
      'grpc-message': 'no%20token',
    };
    stream.respond(headers, { endStream: true });
  });

async function rawServer(answer: (stream: ServerHttp2Stream) => void): Promise<{ port: number; close(): void }> {
  const { certificatePem, privateKeyPem } = await authority.server('localhost');
  const server = createSecureServer({ cert: certificatePem, key: privateKeyPem });
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    answer(stream);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

/** Lets I/O happen until something holds. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 5000 && !holds(); i++) await new Promise((r) => setTimeout(r, 1));
  assert.ok(holds());
}

test('without a server the client keeps trying and finds it when it comes', async () => {
  const clock = new ManualClock();
  const run = await start({ clock });
  const { port } = run.server;
  const stream = await run.streams.take();
  await opening(stream);
  stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1' });
  await stream.requests.take();
  await run.server.close();
  const { routes, streams } = discoveryRoutes();
  await until(() => run.registry.render().includes('reason="Reconnect"} 1'));
  clock.advance(10);
  await until(() => run.registry.render().includes('reason="ConnectionError"} 1'));
  const server = await startGrpcServer(await authority.server('localhost'), routes, port);
  try {
    await until(() => clock.waiting === 1);
    clock.advance(20);
    await opening(await streams.take());
  } finally {
    await run.stop();
    await server.close();
  }
});

test('a server with another name is refused, unless the alternative name fits', async () => {
  const refused = await start({ names: ['istiod.istio-system.svc'] });
  await until(() => refused.registry.render().includes('reason="ConnectionError"'));
  assert.deepEqual(refused.streams.pending, []);
  await refused.stop();
  const accepted = await start({
    names: ['istiod.istio-system.svc'],
    access: { alternativeName: 'istiod.istio-system.svc' },
  });
  await accepted.streams.take();
  await accepted.stop();
});

test('a server of another authority is refused', async () => {
  const other = await TestAuthority.create('other');
  const run = await start({ access: { roots: { kind: 'pem', pem: other.rootPem } } });
  await until(() => run.registry.render().includes('reason="ConnectionError"'));
  assert.deepEqual(run.streams.pending, []);
  await run.stop();
});

test('a missing token file is a failed start, said so, and tried again', async () => {
  const run = await start({ access: { token: { kind: 'file', path: join(folder, 'none') } } });
  await until(() => run.registry.render().includes('reason="ConnectionError"'));
  assert.deepEqual(run.streams.pending, []);
  await run.stop();
});

test('on demand: nothing is subscribed at first, names are asked for one by one, waiters wake by name, alias or removal', async () => {
  const run = await start({ onDemand: true });
  try {
    const stream = await run.streams.take();
    const [addresses, policies] = await opening(stream);
    assert.deepEqual([addresses.resourceNamesSubscribe, addresses.resourceNamesUnsubscribe], [['*'], ['*']]);
    assert.deepEqual([policies.resourceNamesSubscribe, policies.resourceNamesUnsubscribe], [[], []]);
    let woken = '';
    const ask = (name: string): Promise<void> => {
      const answered = run.client.demand(ADDRESS_TYPE, name);
      assert.ok(answered);
      return answered.then(() => {
        woken += `${name} `;
      });
    };
    const first = ask('/10.0.0.1');
    const asked = await stream.requests.take();
    assert.deepEqual([asked.resourceNamesSubscribe, asked.responseNonce, asked.node], [['/10.0.0.1'], '', undefined]);
    const same = ask('/10.0.0.1');
    const gone = ask('/10.0.0.9');
    assert.deepEqual(
      (await stream.requests.take()).resourceNamesSubscribe,
      ['/10.0.0.9'],
      'the second waiter of a name sends nothing',
    );
    stream.send({
      typeUrl: ADDRESS_TYPE,
      nonce: 'n1',
      resources: [{ ...resource(order, 'v1'), aliases: ['/10.0.0.1'] }],
      removedResources: ['/10.0.0.9'],
    });
    await Promise.all([first, same, gone]);
    assert.equal(woken, '/10.0.0.1 /10.0.0.1 /10.0.0.9 ');
    assert.deepEqual(run.state.world.workload(order.uid), order, 'woken only after the state has it');
    await stream.requests.take();
    const pending = ask('/10.0.0.7');
    await stream.requests.take();
    stream.end();
    const [again] = await opening(await run.streams.take());
    assert.deepEqual(again.initialResourceVersions, { [order.uid]: 'v1', '/10.0.0.7': '' });
    assert.deepEqual(again.resourceNamesSubscribe, ['*']);
    void pending;
  } finally {
    await run.stop();
  }
});

test('in wildcard mode a lookup has nothing to wait for', async () => {
  const run = await start();
  assert.equal(run.client.demand(ADDRESS_TYPE, '/10.0.0.1'), undefined);
  await run.stop();
});

const failed = (status: GrpcError['status'], stage: 'start' | 'stream', transport = false, message = '') => ({
  error: new GrpcError(status, message, { stage, transport }),
  responses: 3,
});
const table: {
  name: string;
  end: Parameters<typeof backoffAfter>[0];
  base: number;
  wanted: ReturnType<typeof backoffAfter>;
}[] = [
  {
    name: 'no connection',
    end: failed('Unavailable', 'start', true),
    base: 10,
    wanted: { reason: 'ConnectionError', waitMs: 20, baseMs: 20 },
  },
  {
    name: 'no connection for long',
    end: failed('Unavailable', 'start', true),
    base: 9000,
    wanted: { reason: 'ConnectionError', waitMs: 15_000, baseMs: 15_000 },
  },
  {
    name: 'refused at the start',
    end: failed('Unauthenticated', 'start'),
    base: 40,
    wanted: { reason: 'ConnectionError', waitMs: 80, baseMs: 80 },
  },
  {
    name: 'cut in mid-stream',
    end: failed('Unavailable', 'stream', true),
    base: 640,
    wanted: { reason: 'Reconnect', waitMs: 10, baseMs: 10 },
  },
  {
    name: 'unknown',
    end: failed('Unknown', 'stream'),
    base: 640,
    wanted: { reason: 'Reconnect', waitMs: 10, baseMs: 10 },
  },
  {
    name: 'shutting down',
    end: failed('Unavailable', 'stream', false, 'transport is closing'),
    base: 640,
    wanted: { reason: 'Reconnect', waitMs: 10, baseMs: 10 },
  },
  {
    name: 'unavailable for another reason',
    end: failed('Unavailable', 'stream', false, 'overloaded'),
    base: 640,
    wanted: { reason: 'Error', waitMs: 1280, baseMs: 1280 },
  },
  {
    name: 'refused in mid-stream',
    end: failed('PermissionDenied', 'stream'),
    base: 10,
    wanted: { reason: 'Error', waitMs: 20, baseMs: 20 },
  },
  {
    name: 'clean end',
    end: { error: undefined, responses: 1 },
    base: 640,
    wanted: { reason: 'Complete', waitMs: 0, baseMs: 10 },
  },
  {
    name: 'clean end without a word',
    end: { error: undefined, responses: 0 },
    base: 10,
    wanted: { reason: 'Complete', waitMs: 20, baseMs: 20 },
  },
];
for (const c of table) test(`back-off: ${c.name}`, () => assert.deepEqual(backoffAfter(c.end, c.base), c.wanted));
