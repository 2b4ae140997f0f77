// A gateway's TLS on loopback: certificates by server name, clients' certificates, versions, passthrough, reload.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
  type TLSSocket,
} from 'node:tls';
import { TestAuthority } from '../../dataplane/testing/authority.ts';
import { routeRule } from '../../model/http/testing/builders.ts';
import type { ProxyListener } from '../../model/proxy/proxy-config.ts';
import type { RouteResource } from '../../model/proxy/route-resource.ts';
import { listenerRoute, Reader, Rig, type RigOptions, SERVICE } from '../testing/rig.ts';

let rig: Rig | undefined;
afterEach(() => {
  rig?.close();
  rig = undefined;
});

type Terminating = Extract<NonNullable<ProxyListener['tls']>, { mode: 'terminate' }>;

const https = (name: string, hostname: string, tls: Partial<Terminating> = {}): ProxyListener => ({
  name,
  port: 80,
  protocol: 'HTTPS',
  hostname,
  redirectsToHttps: false,
  tls: {
    mode: 'terminate',
    certificates: [`shop/${name}`],
    client: undefined,
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    ...tls,
  },
});

/** Each listener answers with its own name. */
async function start(
  listeners: ProxyListener[],
  options: RigOptions = {},
): Promise<{ r: Rig; authority: TestAuthority }> {
  const authority = await TestAuthority.create();
  const routes = listeners.map(({ name }) => listenerRoute([routeRule(name)], { listener: name, name }));
  const r = await Rig.start({ proxy: { listeners }, routes, ...options });
  rig = r;
  for (const { name, hostname } of listeners) {
    const { certificatePem, privateKeyPem } = await authority.server(hostname === '*' ? 'default.example' : hostname);
    r.parts.state.setCertificate(`shop/${name}`, { chainPem: certificatePem, keyPem: privateKeyPem, rootsPem: '' });
  }
  r.certificatesChanged();
  return { r, authority };
}

async function secure(
  r: Rig,
  authority: TestAuthority,
  options: ConnectionOptions,
): Promise<{ socket: TLSSocket; reader: Reader }> {
  const socket = connectTls({ host: '127.0.0.1', port: r.port, ca: authority.rootPem, ...options });
  r.sockets.keep(socket);
  await new Promise<void>((resolve, reject) =>
    socket
      .once('secureConnect', resolve)
      .once('error', reject)
      .once('close', () => reject(new Error('closed'))),
  );
  return { socket, reader: new Reader(socket) };
}
const GET = 'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n';

test('certificate and routes by server name; the most specific listener alone acts', async () => {
  const { r, authority } = await start([https('wild', '*.apps.example'), https('exact', 'a.apps.example')]);
  for (const [servername, name] of [
    ['a.apps.example', 'exact'],
    ['b.apps.example', 'wild'],
  ] as const) {
    const { socket, reader } = await secure(r, authority, { servername, ALPNProtocols: ['http/1.1'] });
    assert.equal(socket.alpnProtocol, 'http/1.1');
    socket.write(GET.replace('a.example', servername));
    assert.equal((await reader.response()).body, name);
  }
  await assert.rejects(secure(r, authority, { servername: 'other.test' }));
});

test('ALPN h2 is HTTP/2', async () => {
  const { r, authority } = await start([https('exact', 'a.example')]);
  const { socket, reader } = await secure(r, authority, { servername: 'a.example', ALPNProtocols: ['h2', 'http/1.1'] });
  assert.equal(socket.alpnProtocol, 'h2');
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1');
  assert.equal((await reader.bytes(9)).charCodeAt(3), 4, 'SETTINGS');
});

test('a new certificate is shown to new connections; those that exist go on', async () => {
  const { r, authority } = await start([https('exact', 'a.example')]);
  const first = await secure(r, authority, { servername: 'a.example' });
  const before = first.socket.getPeerX509Certificate()?.serialNumber;
  const { certificatePem, privateKeyPem } = await authority.server('a.example');
  r.parts.state.setCertificate('shop/exact', { chainPem: certificatePem, keyPem: privateKeyPem, rootsPem: '' });
  r.certificatesChanged();
  const second = await secure(r, authority, { servername: 'a.example' });
  assert.notEqual(second.socket.getPeerX509Certificate()?.serialNumber, before);
  first.socket.write(GET);
  assert.equal((await first.reader.response()).body, 'exact');
});

test('minimum version, and clients without a certificate', async () => {
  const clients = await TestAuthority.create('clients');
  const client = await clients.server('client.example');
  const { r, authority } = await start([
    https('new', 'new.example', { minVersion: 'TLSv1.3' }),
    https('mutual', 'mutual.example', {
      client: { rootsPem: clients.rootPem, mode: 'required', subjectAltNames: ['client.example'] },
    }),
    https('picky', 'picky.example', {
      client: { rootsPem: clients.rootPem, mode: 'required', subjectAltNames: ['other.example'] },
    }),
    https('maybe', 'maybe.example', { client: { rootsPem: clients.rootPem, mode: 'optional', subjectAltNames: [] } }),
  ]);
  await assert.rejects(secure(r, authority, { servername: 'new.example', maxVersion: 'TLSv1.2' }));
  await secure(r, authority, { servername: 'new.example' });
  const ask = async (servername: string, options: ConnectionOptions = {}): Promise<string> => {
    const { socket, reader } = await secure(r, authority, { servername, ...options });
    socket.write(GET.replace('a.example', servername));
    return (await reader.response()).body;
  };
  const own = { cert: client.certificatePem, key: client.privateKeyPem };
  await assert.rejects(ask('mutual.example'));
  assert.equal(await ask('mutual.example', own), 'mutual');
  await assert.rejects(ask('picky.example', own));
  assert.equal(await ask('maybe.example'), 'maybe');
  assert.equal(await ask('maybe.example', own), 'maybe');
});

test('passthrough: by server name to the endpoint, which ends TLS itself', async () => {
  const listener: ProxyListener = {
    name: 'pass',
    port: 80,
    protocol: 'TLS',
    hostname: '*',
    tls: { mode: 'passthrough' },
    redirectsToHttps: false,
  };
  const target = { kind: 'service', service: SERVICE, port: 80, subset: undefined } as const;
  const route: RouteResource = {
    kind: 'tls',
    origin: { kind: 'TLSRoute', namespace: 'shop', name: 'pass', createdAtMs: 0 },
    attachments: [{ kind: 'listener', listener: 'pass', hosts: ['inner.example'] }],
    order: 0,
    rules: [{ serverNames: [], anyMatch: [], backends: [{ target, weight: 1 }] }],
  };
  const { r, authority } = await start([listener], { routes: [route] });
  const { certificatePem, privateKeyPem } = await authority.server('inner.example');
  const endpoint = createTlsServer({ cert: certificatePem, key: privateKeyPem }, (socket) => {
    r.sockets.keep(socket);
    socket.end('from inside');
  });
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
  const address = endpoint.address();
  assert.ok(typeof address === 'object' && address !== null);
  r.parts.state.applyAddresses([{ kind: 'workload', workload: r.pod('order-1', address.port) }], []);
  const { reader } = await secure(r, authority, { servername: 'inner.example' });
  assert.equal(await reader.all(), 'from inside');
  await assert.rejects(secure(r, authority, { servername: 'other.example' }));
  endpoint.close();
});

test('what is no ClientHello gets no further; a listener without certificate refuses', async () => {
  const { r, authority } = await start([https('exact', 'a.example')]);
  assert.equal(await r.exchange(GET), '');
  const bare = https('bare', 'bare.example', { certificates: ['shop/missing'] });
  r.useListeners([bare]);
  await assert.rejects(secure(r, authority, { servername: 'bare.example' }));
});
