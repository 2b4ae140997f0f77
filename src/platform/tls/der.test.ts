import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { DerError, subjectUris } from './der.ts';
import { identityOfCertificate } from './peer.ts';
import { TestAuthority } from './testing.ts';

const URI = 'spiffe://cluster.local/ns/shop/sa/order';
const authority = await TestAuthority.create();
const derOf = async (...options: Parameters<TestAuthority['issue']>): Promise<Buffer> =>
  new X509Certificate((await authority.issue(...options)).certificateChainPem).raw;
const certificate = await derOf(URI);

test('the URIs are found among other names, in order', async () => {
  const der = await derOf(URI, {
    names: [
      { type: 'dns', value: 'a.example' },
      { type: 'url', value: URI },
      { type: 'ip', value: '10.0.0.1' },
      { type: 'url', value: 'https://b.example/' },
    ],
  });
  assert.deepEqual(subjectUris(der), [URI, 'https://b.example/']);
});

test('a root without alternative names has no URI', () => {
  assert.deepEqual(subjectUris(new X509Certificate(authority.rootPem).raw), []);
});

test('any bytes: an identity, or a refusal in words; never anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.equal(identityOfCertificate(bytes).ok, false);
    }),
  );
});

test('a certificate with any byte changed is read, or refused in words', () => {
  fc.assert(
    fc.property(fc.nat(certificate.length - 1), fc.nat(255), (at, byte) => {
      const bent = Buffer.from(certificate);
      bent[at] = byte;
      const result = identityOfCertificate(bent);
      if (!result.ok) assert.equal(result.error.code, 'IDENTITY');
    }),
    { numRuns: 1000 },
  );
});

test('a certificate cut short is refused at every length', () => {
  for (let length = 0; length < certificate.length; length++)
    assert.throws(() => subjectUris(certificate.subarray(0, length)), DerError);
});
