// The authority exchanged under a running control plane, by its Secret.

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, test } from 'node:test';
import { SECRETS } from '../../kube/client/resources.ts';
import type { MemoryKubeClient } from '../../kube/testing/memory-client.ts';
import { makeAuthority, pluggedFiles } from '../testing/authority.ts';
import { certificates, SYSTEM, secretData, startTestControl, type TestControl, until } from '../testing/control.ts';
import type { CaFiles } from './bundle.ts';
import { x509 } from './x509.ts';

const running: AsyncDisposable[] = [];
after(async () => {
  for (const each of running) await each[Symbol.asyncDispose]();
});
async function start(prepare?: (kube: MemoryKubeClient) => void): Promise<TestControl> {
  const test = await startTestControl(prepare === undefined ? {} : { prepare });
  running.push(test);
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  return test;
}
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const plug = (kube: MemoryKubeClient, files: CaFiles): void => {
  kube.put(SECRETS, {
    metadata: { name: 'cacerts', namespace: SYSTEM },
    data: {
      'ca-cert.pem': base64(files.certificate),
      'ca-key.pem': base64(files.key),
      'cert-chain.pem': base64(files.chain),
      'root-cert.pem': base64(files.roots),
    },
  });
};
async function issue(test: TestControl, roots?: string): Promise<string[]> {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
  const csr = (await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm })).toString('pem');
  return (await (await certificates(test, 'app', roots)).createCertificate({ csr })).certChain;
}
const issuer = (chain: readonly string[]): string => new X509Certificate(chain[0] ?? '').issuer;
const count = (pem: string): number => pem.match(/BEGIN CERTIFICATE/g)?.length ?? 0;

test("the user's own authority is used from the start, with its chain", async () => {
  const files = await pluggedFiles();
  const test = await start((kube) => plug(kube, files));
  const chain = await issue(test);
  assert.deepEqual(chain.slice(1), [files.certificate, files.roots]);
  assert.equal(await test.roots(), files.roots);
  assert.equal(await test.kube.get(SECRETS, 'istio-ca-secret', SYSTEM), undefined, 'none was made');
});

test('the layout of cert-manager is read too', async () => {
  const files = await pluggedFiles();
  const test = await start((kube) =>
    kube.put(SECRETS, {
      metadata: { name: 'cacerts', namespace: SYSTEM },
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': base64(files.certificate), 'tls.key': base64(files.key), 'ca.crt': base64(files.roots) },
    }),
  );
  assert.deepEqual((await issue(test)).slice(1), [files.certificate, files.roots]);
});

test('an authority that cannot be used stops the start, and says why', async () => {
  const files = { ...(await pluggedFiles()), key: (await makeAuthority()).key };
  await assert.rejects(
    start((kube) => plug(kube, files)),
    /Secret istio-system\/cacerts: the key is not that of the certificate; correct or delete the Secret/,
  );
});

test('exchanged while running: both roots distributed, new leaves from the new one, old clients still served', async () => {
  const test = await start();
  const before = await test.roots();
  assert.equal(count(before), 1);
  const files = await pluggedFiles();
  plug(test.kube, files);
  const roots = await until(async () => {
    const now = await test.roots();
    return now === before ? undefined : now;
  });
  assert.equal(roots, files.roots + before, 'both, the new one first');
  const chain = await issue(test, before);
  assert.match(issuer(chain), /CN=plugged intermediate/);
  assert.equal(chain.at(-1), roots);
  assert.ok(chain.length >= 4, 'with a bridge from the old root');
  assert.match(issuer(await issue(test, files.roots)), /plugged/, 'a client that trusts only the new root');
  const record = await until(async () => {
    const data = await secretData(test, 'istio-ca-trust');
    return data['active-roots.pem'] === files.roots ? data : undefined;
  });
  assert.equal(record['previous-roots.pem'], before);
  await test.control.stop();
  const next = await startTestControl({ kube: test.kube });
  running.push(next);
  next.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  assert.deepEqual((await issue(next, before)).slice(1), chain.slice(1), 'the same after a restart');
});

test('a Secret that becomes unusable, or goes, changes nothing', async () => {
  const test = await start();
  const before = issuer(await issue(test));
  plug(test.kube, { ...(await pluggedFiles()), roots: (await makeAuthority()).certificate });
  await until(
    () => test.kube.requests.some(({ plural, verb }) => plural === 'secrets' && verb === 'watch') || undefined,
  );
  test.kube.remove(SECRETS, 'istio-ca-secret', SYSTEM);
  test.kube.remove(SECRETS, 'cacerts', SYSTEM);
  assert.equal(issuer(await issue(test)), before);
});

test('two that start together agree on one authority', async () => {
  const first = await start();
  const both = await Promise.all([startTestControl({ kube: first.kube }), startTestControl({ kube: first.kube })]);
  running.push(...both);
  const data = await secretData(first, 'istio-ca-secret');
  assert.equal(await first.roots(), data['ca-cert.pem']);
  assert.deepEqual(Object.keys(data).sort(), [
    'ca-cert.pem',
    'ca-key.pem',
    'cert-chain.pem',
    'key.pem',
    'root-cert.pem',
  ]);
});
