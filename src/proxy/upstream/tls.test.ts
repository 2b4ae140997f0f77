// TLS to endpoints against Node's own TLS server on loopback.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from 'node:net';
import { after, before, test } from 'node:test';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { TestAuthority } from '../../dataplane/testing/authority.ts';
import type { ProxyCertificate } from '../../model/proxy/proxy-config.ts';
import type { UpstreamTls } from '../../model/proxy/service-config.ts';
import { secureUpstream } from './tls.ts';

let authority: TestAuthority;
let stranger: TestAuthority;
let server: Server;
let port = 0;
const seen: { serverName: string; client: string | undefined }[] = [];
const certificates = new Map<string, ProxyCertificate>();
const certificateOf = (name: string): ProxyCertificate | undefined => certificates.get(name);
const BOTH = ['h2', 'http/1.1'];

before(async () => {
  authority = await TestAuthority.create();
  stranger = await TestAuthority.create('stranger');
  const { certificatePem, privateKeyPem } = await authority.server(
    'api.example.com',
    '*.wild.example.com',
    '127.0.0.1',
  );
  server = createServer(
    {
      cert: certificatePem,
      key: privateKeyPem,
      ca: authority.rootPem,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2', 'http/1.1'],
    },
    (socket) => {
      const shown = socket.authorized ? socket.getPeerX509Certificate()?.subjectAltName : undefined;
      seen.push({ serverName: String(socket.servername || ''), client: shown });
      socket.on('error', () => {});
      socket.end('hello');
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
after(() => server.close());

const simple = (set: Partial<UpstreamTls> = {}): UpstreamTls => ({
  mode: 'simple',
  serverName: '',
  subjectAltNames: [],
  roots: { kind: 'pem', pem: authority.rootPem },
  certificate: undefined,
  ...set,
});

async function secure(tls: UpstreamTls, host?: string, alpn: readonly string[] = BOTH, to = port): Promise<TLSSocket> {
  const raw = connectTcp(to, '127.0.0.1');
  await once(raw, 'connect');
  try {
    return await secureUpstream(raw, { tls, certificateOf, host, alpn, timeoutMs: 2_000 });
  } catch (error) {
    assert.equal(raw.destroyed, true, 'nothing is left open');
    throw error;
  }
}
async function text(socket: TLSSocket): Promise<string> {
  let all = '';
  for await (const chunk of socket) all += String(chunk);
  return all;
}

test('the server name is the rule’s, else the host of the request; the certificate must be for it', async () => {
  assert.equal(await text(await secure(simple({ serverName: 'api.example.com' }), 'other.example.com')), 'hello');
  assert.equal(await text(await secure(simple(), 'a.wild.example.com')), 'hello');
  assert.deepEqual(
    seen.splice(0).map(({ serverName }) => serverName),
    ['api.example.com', 'a.wild.example.com'],
  );
  await assert.rejects(secure(simple(), 'other.example.com'), /not for `other.example.com`/);
  await assert.rejects(secure(simple(), 'a.b.wild.example.com'), /not for/);
  assert.equal(await text(await secure(simple(), '127.0.0.1')), 'hello', 'an address is no server name');
});

test('names of the rule count instead of the server name', async () => {
  const named = (value: string) => simple({ serverName: 'x.example', subjectAltNames: [{ kind: 'exact', value }] });
  assert.equal(await text(await secure(named('API.example.com'))), 'hello');
  assert.equal(await text(await secure(named('b.wild.example.com'))), 'hello');
  await assert.rejects(secure(named('x.example')), /none of the names/);
  await assert.rejects(secure(named('api')), /none of the names/);
  const suffix = simple({ subjectAltNames: [{ kind: 'suffix', value: '.example.com' }] });
  assert.equal(await text(await secure(suffix)), 'hello');
});

test('roots: a stranger’s are refused, unusable ones fail before a byte is sent, unverified takes anybody', async () => {
  await assert.rejects(
    secure(simple({ roots: { kind: 'pem', pem: stranger.rootPem } }), 'api.example.com'),
    /handshake failed/,
  );
  await assert.rejects(secure(simple({ roots: { kind: 'system' } }), 'api.example.com'), /handshake failed/);
  await assert.rejects(secure(simple({ roots: { kind: 'system' } })), /no name that the endpoint must have/);
  await assert.rejects(secure(simple({ roots: { kind: 'unusable', why: 'ConfigMap is gone' } })), /ConfigMap is gone/);
  await assert.rejects(secure(simple({ roots: { kind: 'pem', pem: '' } }), 'api.example.com'), /no certificate/);
  assert.equal(await text(await secure(simple({ roots: { kind: 'unverified' } }), 'any.example')), 'hello');
});

test('mutual: our certificate is shown, and its absence fails; a new one is used at once', async () => {
  const mutual = simple({ mode: 'mutual', certificate: 'shop/client' });
  await assert.rejects(secure(mutual, 'api.example.com'), /`shop\/client` is not there/);
  for (const name of ['one.client', 'two.client']) {
    const { certificatePem, privateKeyPem } = await authority.server(name);
    certificates.set('shop/client', { chainPem: certificatePem, keyPem: privateKeyPem, rootsPem: '' });
    seen.length = 0;
    assert.equal(await text(await secure(mutual, 'api.example.com')), 'hello');
    assert.equal(seen[0]?.client, `DNS:${name}`);
  }
});

test('what is spoken is settled by ALPN', async () => {
  const offered = async (...alpn: string[]) => {
    const socket = await secure(simple(), 'api.example.com', alpn);
    socket.destroy();
    return socket.alpnProtocol;
  };
  assert.equal(await offered(...BOTH), 'h2');
  assert.equal(await offered('http/1.1'), 'http/1.1');
  assert.equal(await offered(), false);
});

test('an endpoint that speaks no TLS, or says nothing, is given up', async () => {
  const plain = createTcpServer((socket) => void socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  await assert.rejects(
    secure(simple(), 'api.example.com', BOTH, (plain.address() as AddressInfo).port),
    /handshake failed/,
  );
  plain.close();
  const silent = createTcpServer((socket) => void socket.on('error', () => {}));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const raw = connectTcp((silent.address() as AddressInfo).port, '127.0.0.1');
  await once(raw, 'connect');
  const options = { tls: simple(), certificateOf, host: 'api.example.com', alpn: BOTH, timeoutMs: 30 };
  await assert.rejects(secureUpstream(raw, options), /no answer in 0.03 s/);
  silent.close();
});
