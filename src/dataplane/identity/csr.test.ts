import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { readCsr, TestAuthority } from '../testing/authority.ts';
import { makeCertificateRequest } from './csr.ts';
import { pemBlocks, readCertificateReply } from './reply.ts';

const id = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' };
const uri = 'spiffe://cluster.local/ns/shop/sa/order';

test('the request: P-256, SHA-256, no subject, one critical URI, a good signature', async () => {
  const { csrPem } = await makeCertificateRequest(id);
  assert.deepEqual(await readCsr(csrPem), {
    subject: '',
    algorithm: { name: 'ECDSA', namedCurve: 'P-256' },
    signatureAlgorithm: { name: 'ECDSA', hash: { name: 'SHA-256' } },
    verifies: true,
    names: [{ type: 'url', value: uri }],
    critical: true,
    extensions: 1,
  });
});

test('long identities, whose lengths take more bytes, are written well too', async () => {
  for (const length of [1, 60, 100, 200, 253]) {
    const long = { ...id, serviceAccount: 'a'.repeat(length) };
    const csr = await readCsr((await makeCertificateRequest(long)).csrPem);
    assert.equal(csr.verifies, true);
    assert.equal(csr.names?.[0]?.value, `spiffe://cluster.local/ns/shop/sa/${'a'.repeat(length)}`);
  }
});

test('each request has a key of its own, and the private one is not in it', async () => {
  const [a, b] = await Promise.all([makeCertificateRequest(id), makeCertificateRequest(id)]);
  const pem = (r: typeof a) => createPublicKey(r.privateKey).export({ type: 'spki', format: 'pem' });
  assert.notEqual(pem(a), pem(b));
  assert.doesNotMatch(a.csrPem, /PRIVATE/);
});

const authority = await TestAuthority.create();
const other = await TestAuthority.create('other');
const now = Date.now();
const made = await makeCertificateRequest(id);
const leaf = await authority.sign(made.csrPem, uri);

test('an answer with intermediates and several roots is taken apart', () => {
  const got = readCertificateReply(
    [leaf, authority.rootPem, `${authority.rootPem}${other.rootPem}`],
    id,
    made.privateKey,
    now,
  );
  assert.ok(got.ok);
  assert.equal(got.value.certificateChainPem, leaf + authority.rootPem);
  assert.equal(got.value.rootsPem, authority.rootPem + other.rootPem);
  assert.match(got.value.privateKeyPem, /^-----BEGIN PRIVATE KEY-----/);
  assert.ok(got.value.notBeforeMs < now && got.value.notAfterMs > now);
});

test('of an intermediate only the first certificate counts', () => {
  const got = readCertificateReply(
    [leaf, authority.rootPem + other.rootPem, authority.rootPem],
    id,
    made.privateKey,
    now,
  );
  assert.ok(got.ok);
  assert.equal(pemBlocks(got.value.certificateChainPem).length, 2);
});

const stranger = await makeCertificateRequest(id);
const refusals: { name: string; chain: () => Promise<string[]> | string[]; why: RegExp }[] = [
  { name: 'no root', chain: () => [leaf], why: /so no root/ },
  { name: 'nothing', chain: () => [], why: /so no root/ },
  {
    name: 'another identity',
    chain: async () => [await authority.sign(made.csrPem, `${uri}2`), authority.rootPem],
    why: /is for `spiffe:.*order2` instead of/,
  },
  {
    name: 'another key',
    chain: async () => [await authority.sign(stranger.csrPem, uri), authority.rootPem],
    why: /another key/,
  },
  { name: 'text that is no PEM', chain: () => ['hello', authority.rootPem], why: /not PEM/ },
  { name: 'a root that is no PEM', chain: () => [leaf, ''], why: /root of the answer is not PEM/ },
  {
    name: 'PEM that is no certificate',
    chain: () => ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', authority.rootPem],
    why: /cannot be read/,
  },
  {
    name: 'a root that is no certificate',
    chain: () => [leaf, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'],
    why: /cannot be read/,
  },
  { name: 'far too many', chain: () => Array<string>(101).fill(leaf), why: /101 certificates/ },
  {
    name: 'over already',
    chain: async () => [
      await authority.sign(made.csrPem, uri, { notBefore: new Date(now - 7200_000), notAfter: new Date(now - 1000) }),
      authority.rootPem,
    ],
    why: /ended at/,
  },
];
for (const c of refusals)
  test(`an answer is refused: ${c.name}`, async () => {
    const got = readCertificateReply(await c.chain(), id, made.privateKey, now);
    assert.match(got.ok ? 'accepted' : got.error, c.why);
  });
