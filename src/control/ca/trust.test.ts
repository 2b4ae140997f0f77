// Reading authorities, and going from one to the next: judged by real TLS handshakes of peers that know only one root.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { type AuthorityWish, makeAuthority, pluggedFiles } from '../testing/authority.ts';
import { issueLeaf } from './authority.ts';
import { type CaBundle, type CaFiles, readBundle } from './bundle.ts';
import { createSelfSigned, isRenewalDue, ROOT_TTL_SECONDS, renewSelfSigned } from './self-signed.ts';
import { expire, issuerChain, recordOf, resume, rootBundle, succeed, type Trust } from './trust.ts';
import { x509 } from './x509.ts';

const HOUR_MS = 3_600_000;
const now = Date.now();
function good(files: CaFiles): CaBundle {
  const read = readBundle(files, now);
  assert.ok(read.ok, read.ok ? '' : read.error);
  return read.value;
}
const selfSigned = async (): Promise<CaBundle> => good(await createSelfSigned('cluster.local', 0, now));
const start = (bundle: CaBundle): Trust => ({ bundle, previous: undefined });

/** Whether a client that trusts these roots accepts a server with a leaf of this trust. */
async function accepts(roots: string, trust: Trust): Promise<boolean> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = new x509.PublicKey(publicKey.export({ format: 'der', type: 'spki' }));
  const leaf = await issueLeaf(trust.bundle, spki, { hosts: ['localhost'] }, 3600, now);
  const server = createServer({
    key: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    cert: [leaf, ...issuerChain(trust)].join(''),
  }).listen(0, '127.0.0.1');
  server.on('tlsClientError', () => {});
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const outcome = await new Promise<boolean>((resolve) => {
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca: roots }, () => {
      resolve(socket.authorized);
      socket.destroy();
    });
    socket.on('error', () => resolve(false));
  });
  server.close();
  return outcome;
}

test('a self-signed root is read back, and its leaves verify', async () => {
  const trust = start(await selfSigned());
  assert.deepEqual(issuerChain(trust), []);
  assert.ok(await accepts(rootBundle(trust), trust));
});

test('an intermediate brings its chain; the root itself is not repeated', async () => {
  const trust = start(good(await pluggedFiles()));
  assert.equal(issuerChain(trust).length, 1);
  assert.ok(await accepts(rootBundle(trust), trust));
});

test('a chain in any order, and one that leaves the authority itself out', async () => {
  const root = await makeAuthority({ name: 'root' });
  const middle = await makeAuthority({ name: 'middle', parent: root });
  const low = await makeAuthority({ name: 'low', parent: middle });
  for (const chain of [
    low.certificate + middle.certificate + root.certificate,
    root.certificate + middle.certificate,
    middle.certificate,
  ]) {
    const trust = start(good({ certificate: low.certificate, key: low.key, chain, roots: root.certificate }));
    assert.deepEqual(issuerChain(trust), [low.certificate, middle.certificate]);
    assert.ok(await accepts(root.certificate, trust));
  }
});

test('an RSA authority signs ECDSA leaves', async () => {
  const trust = start(good(await pluggedFiles({ rsa: true })));
  assert.ok(await accepts(rootBundle(trust), trust));
});

test('files that do not fit together are refused with the reason', async (t) => {
  const files = await pluggedFiles();
  const stranger = await makeAuthority({ name: 'stranger' });
  const wished = async (wish: AuthorityWish): Promise<CaFiles> => pluggedFiles(wish);
  const cases: readonly [string, CaFiles, RegExp][] = [
    ['no certificate', { ...files, certificate: 'x' }, /not a PEM certificate/],
    ['no key', { ...files, key: 'x' }, /not a PEM private key/],
    ['the key of another', { ...files, key: stranger.key }, /not that of the certificate/],
    ['a leaf', await wished({ ca: false }), /not that of an authority/],
    ['expired', await wished({ notAfter: new Date(now - 1000) }), /expired/],
    ['a root that did not issue it', { ...files, roots: stranger.certificate }, /no chain leads/],
    ['an endless chain', { ...files, chain: stranger.certificate.repeat(9) }, /longer than 8/],
    [
      'an unreadable root',
      { ...files, roots: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' },
      /root certificate cannot/,
    ],
  ];
  for (const [name, wrong, reason] of cases)
    await t.test(name, () => {
      const read = readBundle(wrong, now);
      assert.ok(!read.ok);
      assert.match(read.error, reason);
    });
});

test('a leaf never outlives its authority', async () => {
  const notAfter = new Date(Math.floor(now / 1000) * 1000 + 2 * HOUR_MS);
  const bundle = good(await pluggedFiles({ notAfter }));
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = new x509.PublicKey(publicKey.export({ format: 'der', type: 'spki' }));
  const leaf = new x509.X509Certificate(await issueLeaf(bundle, spki, { uri: 'spiffe://a/ns/b/sa/c' }, 86_400, now));
  assert.equal(leaf.notAfter.getTime(), notAfter.getTime());
});

test('after a change of authority, peers of the old root, the new one or both accept what is issued', async () => {
  const old = start(await selfSigned());
  const fresh = await succeed(old, await selfSigned(), now, 24 * HOUR_MS);
  assert.ok(await accepts(rootBundle(old), fresh), 'a peer that has not heard of the change');
  assert.ok(await accepts(fresh.bundle.roots.join(''), fresh), 'a peer that knows only the new root');
  assert.ok(await accepts(rootBundle(fresh), old), 'a certificate from before the change');
  assert.ok(!(await accepts(fresh.bundle.roots.join(''), old)), 'two different roots indeed');
});

test('two changes in a row, with an intermediate in between', async () => {
  const first = start(await selfSigned());
  const second = await succeed(first, good(await pluggedFiles({ name: 'two' })), now, 24 * HOUR_MS);
  const third = await succeed(second, await selfSigned(), now, 24 * HOUR_MS);
  assert.equal(rootBundle(third).match(/BEGIN/g)?.length, 3);
  for (const earlier of [first, second]) {
    assert.ok(await accepts(rootBundle(third), earlier));
    assert.ok(await accepts(rootBundle(earlier), third));
  }
});

test('an authority that may not sign authorities makes no bridge; its root stays trusted', async () => {
  const old = start(good(await pluggedFiles({ pathLength: 0 })));
  const fresh = await succeed(old, await selfSigned(), now, HOUR_MS);
  assert.deepEqual(fresh.previous?.bridge, []);
  assert.ok(await accepts(rootBundle(fresh), old));
});

test('earlier roots are forgotten after the overlap', async () => {
  const old = start(await selfSigned());
  const fresh = await succeed(old, await selfSigned(), now, HOUR_MS);
  assert.equal(expire(fresh, now + HOUR_MS - 1), fresh);
  assert.equal(rootBundle(expire(fresh, now + HOUR_MS)), fresh.bundle.roots.join(''));
});

test('a restart remembers; a change of authority meanwhile keeps the old root trusted', async () => {
  const old = start(await selfSigned());
  const fresh = await succeed(old, await selfSigned(), now, HOUR_MS);
  assert.deepEqual(resume(fresh.bundle, recordOf(fresh), now, HOUR_MS), fresh);
  assert.equal(resume(fresh.bundle, recordOf(fresh), now + HOUR_MS, HOUR_MS).previous, undefined);
  const next = await selfSigned();
  const changed = resume(next, recordOf(start(fresh.bundle)), now, HOUR_MS);
  assert.equal(rootBundle(changed), next.roots.join('') + fresh.bundle.roots.join(''));
  assert.equal(resume(next, undefined, now, HOUR_MS).previous, undefined);
});

test('a root that grows old is renewed with the same key: nobody notices', async () => {
  const files = await createSelfSigned('cluster.local', 0, now);
  const old = good(files);
  assert.ok(!isRenewalDue(old, now));
  const later = now + ROOT_TTL_SECONDS * 900;
  assert.ok(isRenewalDue(old, later));
  const renewed = readBundle({ ...files, certificate: await renewSelfSigned(old, now) }, now);
  assert.ok(renewed.ok);
  const fresh = await succeed(start(old), renewed.value, now, HOUR_MS);
  assert.deepEqual(fresh.previous?.bridge, [], 'no bridge is needed');
  assert.ok(await accepts(old.roots.join(''), fresh));
  assert.ok(await accepts(renewed.value.roots.join(''), start(old)));
});
