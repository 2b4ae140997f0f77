// The DNS proxy over real sockets on loopback, asked by c-ares (node:dns) and by hand-made packets; its nameserver is the
// test's. The namespace is the process's own: what differs inside a pod is only where the sockets are made.

import assert from 'node:assert/strict';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { IndexedWorld } from '../../model/indexed-world.ts';
import { ip, service, workload } from '../../model/testing/builders.ts';
import type { Workload } from '../../model/workload.ts';
import { type Clock, ManualClock, systemClock } from '../../platform/clock.ts';
import { Netns } from '../../platform/linux/netns.ts';
import { configureLogging } from '../../telemetry/log.ts';
import { Registry } from '../../telemetry/registry.ts';
import { decodeMessage } from '../../wire/dns/decode.ts';
import { encodeMessage } from '../../wire/dns/encode.ts';
import { type Message, RCODE, TYPE } from '../../wire/dns/message.ts';
import { createPodDns } from './server.ts';

configureLogging({ filter: 'off' });

const netns = Netns.current();
const pod = { name: 'client', namespace: 'shop', serviceAccount: 'client' };
const world = new IndexedWorld('');
world.applyAddresses([
  { kind: 'service', service: service('order', { vips: [{ network: '', ip: ip('10.96.0.1') }] }) },
  {
    kind: 'service',
    service: service('many', {
      vips: Array.from({ length: 200 }, (_, i) => ({ network: '', ip: ip(`10.97.0.${i}`) })),
    }),
  },
]);

/** A nameserver that answers as the test says; undefined: not at all. */
let script: (query: Message, protocol: 'udp' | 'tcp') => Message | Uint8Array | undefined;
let upstreamUdp: UdpSocket;
let upstreamTcp: Server;
let upstreamPort: number;
let upstreamAsked: string[] = [];

/** An ephemeral port that is free for UDP and TCP alike. */
async function bindBoth(): Promise<{ udp: UdpSocket; tcp: Server; port: number }> {
  for (;;) {
    const tcp = createServer();
    await new Promise<void>((r) => tcp.listen(0, '127.0.0.1', r));
    const { port } = tcp.address() as AddressInfo;
    const udp = createSocket('udp4');
    const bound = await new Promise<boolean>((r) => {
      udp.once('error', () => r(false));
      udp.bind(port, '127.0.0.1', () => r(true));
    });
    if (bound) return { udp, tcp, port };
    udp.close();
    tcp.close();
  }
}

function respond(bytes: Uint8Array, protocol: 'udp' | 'tcp'): Uint8Array | undefined {
  const query = decodeMessage(bytes);
  assert.ok(query.ok);
  upstreamAsked.push(`${protocol} ${query.value.questions[0]?.name}`);
  const answer = script(query.value, protocol);
  return answer === undefined || answer instanceof Uint8Array ? answer : encodeMessage(answer);
}

before(async () => {
  const { udp, tcp, port } = await bindBoth();
  upstreamPort = port;
  upstreamUdp = udp;
  upstreamTcp = tcp;
  udp.on('message', (bytes, from) => {
    const answer = respond(bytes, 'udp');
    if (answer !== undefined) udp.send(answer, from.port, from.address);
  });
  tcp.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const answer = respond(bytes.subarray(2), 'tcp');
      if (answer === undefined) return;
      socket.write(Buffer.concat([Buffer.of(answer.length >> 8, answer.length & 255), answer]));
    });
  });
});
after(() => {
  upstreamUdp.close();
  upstreamTcp.close();
  netns.close();
});
beforeEach(() => {
  upstreamAsked = [];
  script = () => undefined;
});

interface Proxy {
  readonly port: number;
  readonly registry: Registry;
  readonly resolver: Resolver;
  close(): void;
}

async function start(
  options: { clock?: Clock; client?: Workload | undefined; nameservers?: string[] } = {},
): Promise<Proxy> {
  const free = await bindBoth();
  free.udp.close();
  await new Promise((r) => free.tcp.close(r));
  const registry = new Registry();
  const client = 'client' in options ? options.client : workload('client');
  const startDns = createPodDns({
    settings: {
      listen: { v4: { ip: ip('127.0.0.1'), port: free.port }, v6: undefined },
      reusePort: true,
      lookup: { clusterDomain: 'cluster.local', ipv6: true },
      nameservers: (options.nameservers ?? ['127.0.0.1']).map(ip),
      mark: undefined,
      upstreamPort,
    },
    state: { world, waitForWorkload: () => Promise.resolve(client) },
    registry,
    clock: options.clock ?? systemClock,
    random: () => 0,
  });
  const server = await startDns(pod, netns);
  const resolver = new Resolver({ timeout: 4000, tries: 1 });
  resolver.setServers([`127.0.0.1:${free.port}`]);
  return { port: free.port, registry, resolver, close: () => server.close() };
}

async function withProxy(
  body: (proxy: Proxy) => Promise<void>,
  options: Parameters<typeof start>[0] = {},
): Promise<void> {
  const proxy = await start(options);
  try {
    await body(proxy);
  } finally {
    proxy.close();
  }
}

const answerOf = (query: Message, change: Partial<Message> = {}): Message => ({
  ...query,
  response: true,
  authoritative: true,
  recursionAvailable: false,
  ...change,
});
const a = (name: string, address: string) => ({ name, ttl: 60, class: 1, type: 'A', address: ip(address) }) as const;

/** One datagram there and back. */
async function ask(port: number, bytes: Uint8Array): Promise<Message> {
  const socket = createSocket('udp4');
  const reply = await new Promise<Buffer>((resolve) => {
    socket.once('message', resolve);
    socket.send(bytes, port, '127.0.0.1');
  });
  socket.close();
  const decoded = decodeMessage(reply);
  assert.ok(decoded.ok);
  return decoded.value;
}
const query = (name: string, type: number, change: Partial<Message> = {}): Uint8Array =>
  encodeMessage({
    id: 4711,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: 0,
    questions: [{ name, type, class: 1 }],
    answers: [],
    authorities: [],
    additionals: [],
    edns: undefined,
    ...change,
  });

test('services are answered from state, without a nameserver', () =>
  withProxy(async ({ resolver, registry }) => {
    assert.deepEqual(await resolver.resolve4('order', { ttl: true }), [{ address: '10.96.0.1', ttl: 30 }]);
    assert.deepEqual(await resolver.resolve4('order.shop.svc.cluster.local'), ['10.96.0.1']);
    await assert.rejects(resolver.resolve6('order'), { code: 'ENODATA' });
    assert.deepEqual(upstreamAsked, []);
    assert.match(
      registry.render(),
      /istio_dns_requests_total\{request_query_type="A",request_protocol="udp",source_canonical_service="client",source_canonical_revision="[^"]+"\} 2\n/,
    );
    assert.doesNotMatch(registry.render(), /upstream/);
  }));

test('other names and types are forwarded; the answer comes back with the id and bits of ours', () =>
  withProxy(async ({ port, resolver, registry }) => {
    script = (q) => answerOf(q, { answers: [a('www.example.org', '192.0.2.7')] });
    assert.deepEqual(await resolver.resolve4('www.example.org'), ['192.0.2.7']);
    const reply = await ask(port, query('www.example.org', TYPE.A));
    assert.deepEqual([reply.id, reply.authoritative, reply.recursionAvailable, reply.rcode], [4711, false, true, 0]);
    script = (q) =>
      answerOf(q, {
        answers: [
          { name: q.questions[0]!.name, ttl: 9, class: 1, type: 'SRV', priority: 1, weight: 2, port: 3, target: 'a.b' },
        ],
      });
    const [srv] = await resolver.resolveSrv('order.shop.svc.cluster.local');
    assert.deepEqual([srv?.priority, srv?.weight, srv?.port, srv?.name], [1, 2, 3, 'a.b']);
    const text = registry.render();
    assert.match(text, /istio_dns_upstream_requests_total\{request_query_type="A",[^}]*\} 2\n/);
    assert.match(text, /istio_dns_upstream_requests_total\{request_query_type="SRV",[^}]*\} 1\n/);
    assert.match(text, /istio_dns_upstream_request_duration_seconds_count\{request_query_type="A",[^}]*\} 2\n/);
    assert.match(text, /_bucket\{request_query_type="A",[^}]*le="\+Inf"\} 2\n/);
  }));

test('records whose bytes hold compressed names arrive whole', () =>
  withProxy(async ({ resolver }) => {
    script = (q) => {
      // MX 10 with the exchange `mail` + pointer to the question's name, which the codec itself cannot write.
      const head = encodeMessage(answerOf(q));
      head[7] = 1; // one answer
      return Buffer.concat([head, Buffer.from('c00c000f00010000003c0009000a046d61696cc00c', 'hex')]);
    };
    const [mx] = await resolver.resolveMx('example.org');
    assert.deepEqual([mx?.exchange, mx?.priority], ['mail.example.org', 10]);
  }));

test("a nameserver's refusal is passed on", () =>
  withProxy(async ({ port }) => {
    script = (q) => answerOf(q, { rcode: RCODE.nxDomain });
    assert.equal((await ask(port, query('no.such.name', TYPE.A))).rcode, RCODE.nxDomain);
  }));

test('an answer that is not to the question, or to another id, is passed over', () =>
  withProxy(async ({ port }) => {
    script = (q) => {
      const wrong = [
        encodeMessage(answerOf(q, { id: q.id ^ 1, answers: [a('x.example', '6.6.6.6')] })),
        encodeMessage(
          answerOf(q, {
            questions: [{ name: 'other.example', type: 1, class: 1 }],
            answers: [a('x.example', '6.6.6.6')],
          }),
        ),
        encodeMessage({ ...answerOf(q), response: false }),
        Buffer.from('rubbish'),
      ];
      const [socket, to] = lastUdp;
      for (const bytes of wrong) socket.send(bytes, to.port, to.address);
      return answerOf(q, { answers: [a('x.example', '192.0.2.1')] });
    };
    let lastUdp: [UdpSocket, { port: number; address: string }] = [upstreamUdp, { port: 0, address: '' }];
    const remember = (_: Buffer, from: { port: number; address: string }): void => {
      lastUdp = [upstreamUdp, from];
    };
    upstreamUdp.prependListener('message', remember);
    const reply = await ask(port, query('x.example', TYPE.A));
    upstreamUdp.off('message', remember);
    assert.deepEqual(
      reply.answers.map((r) => (r.type === 'A' ? r.address : r.type)),
      ['192.0.2.1'],
    );
  }));

test('without an answer from any nameserver: the next one is asked, then SERVFAIL', async () => {
  const clock = new ManualClock();
  const proxy = await start({ clock });
  const reply = ask(proxy.port, query('x.example', TYPE.A));
  for (let i = 0; i < 2; i++) {
    while (upstreamAsked.length === i) await new Promise((r) => setTimeout(r, 1));
    clock.advance(2500);
  }
  assert.equal((await reply).rcode, RCODE.servFail);
  assert.match(proxy.registry.render(), /istio_dns_upstream_failures_total\{[^}]*\} 1\n/);
  proxy.close();
});

test('a nameserver that is not there is left for the next, which then comes first', () =>
  withProxy(
    async ({ port }) => {
      script = (q) => answerOf(q);
      assert.equal((await ask(port, query('x.example', TYPE.A))).rcode, 0);
      assert.equal((await ask(port, query('y.example', TYPE.A))).rcode, 0);
    },
    { nameservers: ['127.0.0.2', '127.0.0.1'] },
  ));

test('no nameserver at all: SERVFAIL', () =>
  withProxy(async ({ port }) => assert.equal((await ask(port, query('x.example', TYPE.A))).rcode, RCODE.servFail), {
    nameservers: [],
  }));

test('a pod that the mesh does not know yet gets SERVFAIL', () =>
  withProxy(async ({ port }) => assert.equal((await ask(port, query('order', TYPE.A))).rcode, RCODE.servFail), {
    client: undefined,
  }));

const refused: { name: string; bytes: Uint8Array; rcode: number }[] = [
  { name: 'the response bit', bytes: query('order', TYPE.A, { response: true }), rcode: RCODE.formErr },
  { name: 'another opcode', bytes: query('order', TYPE.A, { opcode: 4 }), rcode: RCODE.notImp },
  { name: 'no question', bytes: query('order', TYPE.A, { questions: [] }), rcode: RCODE.formErr },
  {
    name: 'two questions',
    bytes: query('order', TYPE.A, {
      questions: [
        { name: 'a', type: 1, class: 1 },
        { name: 'b', type: 1, class: 1 },
      ],
    }),
    rcode: RCODE.formErr,
  },
  {
    name: 'broken bytes after the header',
    bytes: Uint8Array.of(...query('order', TYPE.A).subarray(0, 14), 0xff),
    rcode: RCODE.formErr,
  },
  {
    name: 'an EDNS version of the future',
    bytes: query('order', TYPE.A, { edns: { payloadBytes: 512, version: 1, dnssecOk: false } }),
    rcode: RCODE.badVersion,
  },
];
for (const c of refused)
  test(`refused with its id: ${c.name}`, () =>
    withProxy(async ({ port }) => {
      const reply = await ask(port, c.bytes);
      assert.deepEqual([reply.id, reply.response, reply.rcode], [4711, true, c.rcode]);
    }));

test('letters of the question come back as they were, EDNS is echoed with 512 bytes at least', () =>
  withProxy(async ({ port }) => {
    const reply = await ask(
      port,
      query('oRDer.Shop', TYPE.A, { edns: { payloadBytes: 100, version: 0, dnssecOk: true } }),
    );
    assert.equal(reply.questions[0]?.name, 'oRDer.Shop');
    assert.equal(reply.answers[0]?.name, 'oRDer.Shop');
    assert.deepEqual(reply.edns, { payloadBytes: 512, version: 0, dnssecOk: true });
    assert.equal(reply.authoritative, true);
  }));

test('an answer too large for the datagram is cut and says so; over TCP it comes whole', () =>
  withProxy(async ({ port, resolver }) => {
    const small = await ask(port, query('many', TYPE.A));
    assert.equal(small.truncated, true);
    const large = await ask(port, query('many', TYPE.A, { edns: { payloadBytes: 4096, version: 0, dnssecOk: false } }));
    assert.deepEqual([large.truncated, large.answers.length], [false, 200]);
    assert.equal((await resolver.resolve4('many')).length, 200, 'c-ares comes back over TCP by itself');
  }));

test('forwarding: a cut answer is relayed to a UDP client, fetched whole for a TCP client', () =>
  withProxy(async ({ port, resolver }) => {
    const whole = Array.from({ length: 300 }, (_, i) => a('big.example', `10.1.${i >> 8}.${i & 255}`));
    script = (q, protocol) => (protocol === 'udp' ? answerOf(q, { truncated: true }) : answerOf(q, { answers: whole }));
    assert.equal((await ask(port, query('big.example', TYPE.A))).truncated, true);
    assert.deepEqual(upstreamAsked, ['udp big.example']);
    assert.equal((await resolver.resolve4('big.example')).length, 300);
  }));

test('forwarding: an answer larger than the client takes is cut', () =>
  withProxy(async ({ port }) => {
    script = (q) => answerOf(q, { answers: Array.from({ length: 100 }, (_, i) => a('big.example', `10.1.0.${i}`)) });
    const reply = await ask(port, query('big.example', TYPE.A));
    assert.deepEqual([reply.truncated, reply.answers.length, reply.id], [true, 0, 4711]);
  }));

test('TCP: several questions in one piece, one in many pieces, the end after the question', () =>
  withProxy(async ({ port }) => {
    const framed = (bytes: Uint8Array) => Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
    const socket = connect(port, '127.0.0.1');
    let got = Buffer.alloc(0);
    socket.on('data', (d) => {
      got = Buffer.concat([got, d]);
    });
    const closed = new Promise((r) => socket.on('close', r));
    socket.write(
      Buffer.concat([framed(query('order', TYPE.A, { id: 1 })), framed(query('order', TYPE.AAAA, { id: 2 }))]),
    );
    for (const byte of framed(query('order', TYPE.A, { id: 3 }))) socket.write(Uint8Array.of(byte));
    socket.end();
    await closed;
    const ids: number[] = [];
    for (let at = 0; at < got.length; at += 2 + got.readUInt16BE(at)) ids.push(got.readUInt16BE(at + 2));
    assert.deepEqual(ids.sort(), [1, 2, 3]);
  }));

test('TCP: rubbish ends the connection, nobody else is harmed', () =>
  withProxy(async ({ port, resolver }) => {
    const socket = connect(port, '127.0.0.1');
    const closed = new Promise((r) => socket.on('close', r));
    socket.on('error', () => {});
    socket.write(Uint8Array.of(0, 3, 1, 2, 3));
    await closed;
    assert.deepEqual(await resolver.resolve4('order'), ['10.96.0.1']);
  }));

test('a flood of questions that nobody answers is bounded, and local names still resolve once it has passed', async () => {
  const clock = new ManualClock();
  const proxy = await start({ clock });
  const socket = createSocket('udp4');
  let refusedAtOnce = 0;
  socket.on('message', () => {
    refusedAtOnce++;
  });
  for (let sent = 0; sent < 400; sent += 20) {
    for (let i = 0; i < 20; i++) socket.send(query(`n${sent + i}.example`, TYPE.A), proxy.port, '127.0.0.1');
    await new Promise((r) => setTimeout(r, 2));
  }
  while (refusedAtOnce < 200) await new Promise((r) => setTimeout(r, 1));
  assert.equal(upstreamAsked.length, 200);
  for (let i = 0; i < 4; i++) {
    clock.advance(2500);
    await new Promise((r) => setTimeout(r, 10));
  }
  while (refusedAtOnce < 400) await new Promise((r) => setTimeout(r, 1));
  socket.close();
  assert.deepEqual(await proxy.resolver.resolve4('order'), ['10.96.0.1']);
  proxy.close();
});

test('after close nothing listens any more', async () => {
  const proxy = await start();
  proxy.close();
  const socket = connect(proxy.port, '127.0.0.1');
  await new Promise((r) => socket.on('error', r));
  const again = createSocket('udp4');
  await new Promise<void>((r) => again.bind(proxy.port, '127.0.0.1', r));
  again.close();
});
