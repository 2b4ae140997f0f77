import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { before, describe, test } from 'node:test';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { createMeshClientContext, secureMeshClient } from './client.ts';
import { createMeshServer, type MeshServer } from './server.ts';
import { spiffe, TestAuthority } from './testing.ts';
import { MeshTlsError, type SecuredSocket, type WorkloadCredential } from './types.ts';

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/order';
const SERVER = 'spiffe://cluster.local/ns/shop/sa/payment';

let authority: TestAuthority;
let client: WorkloadCredential;
let server: WorkloadCredential;

type Outcome = SecuredSocket | MeshTlsError;

/** A listener whose outcomes can be awaited one by one. */
class Listener {
  readonly mesh: MeshServer;
  readonly #tcp: Server;
  readonly #outcomes: Outcome[] = [];
  readonly #waiting: ((outcome: Outcome) => void)[] = [];
  #sockets: Socket[] = [];

  constructor(credential: WorkloadCredential, handshakeTimeoutMs?: number) {
    this.mesh = createMeshServer({
      credential,
      ...(handshakeTimeoutMs === undefined ? {} : { handshakeTimeoutMs }),
      onSecured: (secured) => this.#deliver(secured),
      onFailure: (error) => this.#deliver(error),
    });
    this.#tcp = createServer((raw) => {
      this.#sockets.push(raw);
      this.mesh.accept(raw);
    });
  }

  async listen(): Promise<this> {
    this.#tcp.listen(0, '127.0.0.1');
    await once(this.#tcp, 'listening');
    return this;
  }

  dial(): Socket {
    const raw = connectTcp((this.#tcp.address() as AddressInfo).port, '127.0.0.1');
    raw.on('error', () => {});
    this.#sockets.push(raw);
    return raw;
  }

  outcome(): Promise<Outcome> {
    const ready = this.#outcomes.shift();
    return ready === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(ready);
  }

  #deliver(outcome: Outcome): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#outcomes.push(outcome);
    else next(outcome);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets = [];
    this.#tcp.close();
  }
}

function securedOf(outcome: Outcome): SecuredSocket {
  if (outcome instanceof MeshTlsError) throw outcome;
  return outcome;
}

function errorOf(outcome: Outcome): MeshTlsError {
  assert.ok(outcome instanceof MeshTlsError, 'the connection was let in');
  return outcome;
}

before(async () => {
  authority = await TestAuthority.create();
  client = await authority.issue(CLIENT);
  server = await authority.issue(SERVER);
});

describe('two workloads of one mesh', () => {
  test('see each other, speak TLS 1.3 and h2, name no server and resume nothing', async () => {
    const listener = await new Listener(server).listen();
    try {
      for (let round = 0; round < 2; round++) {
        const dialled = await secureMeshClient(listener.dial(), createMeshClientContext(client), [spiffe(SERVER)]);
        assert.ok(dialled.ok);
        const accepted = securedOf(await listener.outcome());
        assert.equal(accepted.peer.uri, CLIENT);
        assert.deepEqual(accepted.peer.identity, spiffe(CLIENT));
        assert.equal(dialled.value.peer.uri, SERVER);
        for (const { socket } of [accepted, dialled.value]) {
          assert.equal(socket.getProtocol(), 'TLSv1.3');
          assert.equal(socket.alpnProtocol, 'h2');
          assert.equal(socket.getCipher().name, 'TLS_AES_128_GCM_SHA256');
          assert.equal(socket.isSessionReused(), false);
        }
        assert.equal('servername' in accepted.socket && accepted.socket.servername, false);
        dialled.value.socket.write('ping');
        const [bytes] = (await once(accepted.socket, 'data')) as [Buffer];
        assert.equal(bytes.toString(), 'ping');
      }
    } finally {
      listener.close();
    }
  });

  test('whoever offers only AES-256 gets it; an order of its own does not matter', async () => {
    const listener = await new Listener(server).listen();
    try {
      for (const [ciphers, chosen] of [
        ['TLS_AES_256_GCM_SHA384', 'TLS_AES_256_GCM_SHA384'],
        ['TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256', 'TLS_AES_128_GCM_SHA256'],
      ]) {
        const dialled = connectTls({
          socket: listener.dial(),
          cert: client.certificateChainPem,
          key: client.privateKeyPem,
          ca: client.rootsPem,
          ciphers,
          ALPNProtocols: ['h2'],
          checkServerIdentity: () => undefined,
        });
        await once(dialled, 'secureConnect');
        assert.equal(securedOf(await listener.outcome()).socket.getCipher().name, chosen);
        assert.equal(dialled.getCipher().name, chosen);
        dialled.destroy();
      }
    } finally {
      listener.close();
    }
  });

  test('rotation: new handshakes see the new certificate and roots, connections that exist go on', async () => {
    const other = await TestAuthority.create();
    const listener = await new Listener(server).listen();
    try {
      const old = await secureMeshClient(listener.dial(), createMeshClientContext(client), [spiffe(SERVER)]);
      assert.ok(old.ok);
      const oldAccepted = securedOf(await listener.outcome());
      listener.mesh.rotate(await other.issue(SERVER));

      const stale = await secureMeshClient(listener.dial(), createMeshClientContext(client), [spiffe(SERVER)]);
      assert.equal(stale.ok, false);
      errorOf(await listener.outcome());

      const fresh = createMeshClientContext(await other.issue(CLIENT));
      const dialled = await secureMeshClient(listener.dial(), fresh, [spiffe(SERVER)]);
      assert.ok(dialled.ok);
      securedOf(await listener.outcome());

      old.value.socket.write('still here');
      const [bytes] = (await once(oldAccepted.socket, 'data')) as [Buffer];
      assert.equal(bytes.toString(), 'still here');
    } finally {
      listener.close();
    }
  });
});

describe('what a client does not accept of a server', () => {
  const cases: readonly [name: string, make: () => Promise<WorkloadCredential>, code: string, message: RegExp][] = [
    [
      'another identity',
      () => authority.issue('spiffe://cluster.local/ns/shop/sa/thief'),
      'IDENTITY',
      /sa\/thief.*expected.*sa\/payment/,
    ],
    [
      'another trust domain',
      () => authority.issue('spiffe://evil.local/ns/shop/sa/payment'),
      'IDENTITY',
      /evil\.local/,
    ],
    ['a root that is not trusted', async () => (await TestAuthority.create()).issue(SERVER), 'HANDSHAKE', /refused/],
    [
      'an expired certificate',
      () => authority.issue(SERVER, { notBeforeMs: Date.now() - 7_200_000, notAfterMs: Date.now() - 60_000 }),
      'HANDSHAKE',
      /expired/,
    ],
    [
      'a certificate for clients only',
      () => authority.issue(SERVER, { usage: 'client' }),
      'HANDSHAKE',
      /not for this use/,
    ],
    [
      'the right DNS name but no SPIFFE id',
      () => authority.issue(SERVER, { names: [{ type: 'dns', value: 'payment.shop.svc' }] }),
      'IDENTITY',
      /no SPIFFE id/,
    ],
    [
      'several URIs, the right one among them',
      () =>
        authority.issue(SERVER, {
          names: [
            { type: 'url', value: SERVER },
            { type: 'url', value: 'spiffe://cluster.local/ns/a/sa/b' },
          ],
        }),
      'IDENTITY',
      /2 URIs/,
    ],
    [
      'a URI hidden in a DNS name',
      () => authority.issue(SERVER, { names: [{ type: 'dns', value: `x, URI:${SERVER}` }] }),
      'IDENTITY',
      /no SPIFFE id/,
    ],
    [
      'a URI with a path too many',
      () => authority.issue(SERVER, { names: [{ type: 'url', value: `${SERVER}/x` }] }),
      'IDENTITY',
      /not of the form/,
    ],
  ];
  for (const [name, make, code, message] of cases)
    test(name, async () => {
      const listener = await new Listener(await make()).listen();
      try {
        const result = await secureMeshClient(listener.dial(), createMeshClientContext(client), [spiffe(SERVER)]);
        assert.equal(result.ok, false);
        assert.equal(result.error.code, code);
        assert.match(result.error.message, message);
        assert.equal(result.error.flag, 'CONNECT');
      } finally {
        listener.close();
      }
    });

  test('a DNS name beside the right SPIFFE id is no obstacle, and no usage at all is every usage', async () => {
    const names = [
      { type: 'url', value: SERVER },
      { type: 'dns', value: 'whatever.example' },
    ] as const;
    const listener = await new Listener(await authority.issue(SERVER, { names, usage: 'none' })).listen();
    try {
      const result = await secureMeshClient(listener.dial(), createMeshClientContext(client), [spiffe(SERVER)]);
      assert.ok(result.ok);
    } finally {
      listener.close();
    }
  });

  test('nobody is accepted when nobody is expected', async () => {
    const listener = await new Listener(server).listen();
    try {
      const result = await secureMeshClient(listener.dial(), createMeshClientContext(client), []);
      assert.ok(!result.ok && result.error.code === 'IDENTITY');
    } finally {
      listener.close();
    }
  });

  test('silence: the handshake has a time limit', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const raw = connectTcp((silent.address() as AddressInfo).port, '127.0.0.1');
    const result = await secureMeshClient(raw, createMeshClientContext(client), [spiffe(SERVER)], 20);
    assert.ok(!result.ok && result.error.code === 'TIMEOUT');
    assert.ok(raw.destroyed);
    silent.close();
  });

  test('a port where nobody listens', async () => {
    const result = await secureMeshClient(connectTcp(1, '127.0.0.1'), createMeshClientContext(client), [
      spiffe(SERVER),
    ]);
    assert.ok(!result.ok && result.error.code === 'HANDSHAKE');
  });
});

describe('what a server does not accept of a client', () => {
  /** Dials with Node's own client, which can be made to misbehave, and returns what the server made of it. */
  async function attempt(options: ConnectionOptions): Promise<MeshTlsError> {
    const listener = await new Listener(server).listen();
    try {
      const socket: TLSSocket = connectTls({
        socket: listener.dial(),
        rejectUnauthorized: false,
        ALPNProtocols: ['h2'],
        ...options,
      });
      socket.on('error', () => {});
      return errorOf(await listener.outcome());
    } finally {
      listener.close();
    }
  }
  const show = (credential: WorkloadCredential): ConnectionOptions => ({
    cert: credential.certificateChainPem,
    key: credential.privateKeyPem,
  });

  test('no certificate', async () => assert.match((await attempt({})).message, /no client certificate/));
  test('TLS 1.2', async () =>
    assert.match(
      (await attempt({ ...show(client), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })).message,
      /too old/,
    ));
  test('another protocol', async () =>
    assert.equal((await attempt({ ...show(client), ALPNProtocols: ['http/1.1'] })).code, 'ALPN'));
  test('no protocol', async () => assert.equal((await attempt({ ...show(client), ALPNProtocols: [] })).code, 'ALPN'));
  test('a certificate of another authority', async () =>
    assert.match(
      (await attempt(show(await (await TestAuthority.create()).issue(CLIENT)))).message,
      /client certificate refused/,
    ));
  test('a certificate for servers only', async () =>
    assert.match(
      (await attempt(show(await authority.issue(CLIENT, { usage: 'server' })))).message,
      /not for this use/,
    ));
  test('an expired certificate', async () => {
    const expired = await authority.issue(CLIENT, {
      notBeforeMs: Date.now() - 7_200_000,
      notAfterMs: Date.now() - 60_000,
    });
    assert.match((await attempt(show(expired))).message, /expired/);
  });
  test('another trust domain', async () => {
    const error = await attempt(show(await authority.issue('spiffe://other.local/ns/shop/sa/order')));
    assert.equal(error.code, 'IDENTITY');
    assert.match(error.message, /not of trust domain `cluster\.local`/);
  });
  test('several URIs', async () => {
    const names = [
      { type: 'url', value: CLIENT },
      { type: 'url', value: 'https://example.com/' },
    ] as const;
    assert.match((await attempt(show(await authority.issue(CLIENT, { names })))).message, /2 URIs/);
  });
  test('no URI', async () => {
    const names = [{ type: 'dns', value: 'order.shop' }] as const;
    assert.match((await attempt(show(await authority.issue(CLIENT, { names })))).message, /no SPIFFE id/);
  });

  test('plain HTTP', async () => {
    const listener = await new Listener(server).listen();
    try {
      const raw = listener.dial();
      raw.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      assert.match(errorOf(await listener.outcome()).message, /plain HTTP/);
      raw.resume();
      if (!raw.closed) await once(raw, 'close');
    } finally {
      listener.close();
    }
  });

  test('silence', async () => {
    const listener = await new Listener(server, 20).listen();
    try {
      listener.dial();
      assert.equal(errorOf(await listener.outcome()).code, 'TIMEOUT');
    } finally {
      listener.close();
    }
  });

  test('a peer that hangs up in the middle', async () => {
    const listener = await new Listener(server).listen();
    try {
      const raw = listener.dial();
      raw.end(Buffer.from([0x16, 3, 1, 2, 0, 1]));
      assert.equal(errorOf(await listener.outcome()).code, 'HANDSHAKE');
    } finally {
      listener.close();
    }
  });
});

describe('our own certificate', () => {
  test('a key that does not fit is a configuration error', async () => {
    const mixed = { ...client, privateKeyPem: server.privateKeyPem };
    for (const make of [
      () => createMeshClientContext(mixed),
      () => createMeshServer({ credential: mixed, onSecured: () => {}, onFailure: () => {} }),
    ])
      assert.throws(
        make,
        (error) => error instanceof MeshTlsError && error.code === 'CONFIGURATION' && error.flag === 'TLS_FAILURE',
      );
  });
  test('so are missing roots: the system`s are never used instead', () => {
    assert.throws(() => createMeshClientContext({ ...client, rootsPem: '' }), MeshTlsError);
  });
});
