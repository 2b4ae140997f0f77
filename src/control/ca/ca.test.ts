// Istio's certificate service over real TLS sockets: who gets which certificate, and who does not.

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, test } from 'node:test';
import { PODS } from '../../kube/client/resources.ts';
import { subjectUris } from '../../platform/tls/der.ts';
import {
  addPod,
  addZtunnel,
  Code,
  ConnectError,
  certificates,
  SYSTEM,
  startTestControl,
  type TestControl,
} from '../testing/control.ts';
import { x509 } from './x509.ts';

const running: AsyncDisposable[] = [];
after(async () => {
  for (const each of running) await each[Symbol.asyncDispose]();
});
async function start(env: Record<string, string> = {}): Promise<TestControl> {
  const test = await startTestControl({ env });
  running.push(test);
  return test;
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
async function csr(algorithm: typeof P256 | RsaHashedKeyGenParams = P256): Promise<string> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: algorithm,
    // What a certificate is for is not the requester's choice: this must be ignored.
    extensions: [
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: 'spiffe://cluster.local/ns/x/sa/y' }]),
    ],
  });
  return request.toString('pem');
}
interface RsaHashedKeyGenParams {
  readonly name: 'RSASSA-PKCS1-v1_5';
  readonly hash: 'SHA-256';
  readonly modulusLength: number;
  readonly publicExponent: Uint8Array;
}
const rsa = (modulusLength: number): RsaHashedKeyGenParams => ({
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  modulusLength,
  publicExponent: Uint8Array.of(1, 0, 1),
});

interface Wish {
  readonly csr?: string;
  readonly seconds?: bigint;
  readonly as?: unknown;
}
async function ask(test: TestControl, token: string | undefined, wish: Wish = {}): Promise<string[]> {
  const client = await certificates(test, token);
  const { certChain } = await client.createCertificate({
    csr: wish.csr ?? (await csr()),
    validityDuration: wish.seconds ?? 0n,
    ...(wish.as === undefined ? {} : { metadata: { ImpersonatedIdentity: wish.as as string } }),
  });
  return certChain;
}
const refused = async (run: Promise<unknown>): Promise<string> => {
  const error = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConnectError, `not refused: ${String(error)}`);
  return `${Code[error.code]}: ${error.rawMessage}`;
};
const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const uri = (pem: string): readonly string[] => subjectUris(new X509Certificate(pem).raw);
const lifeSeconds = (pem: string): number => {
  const { validFromDate, validToDate } = new X509Certificate(pem);
  return (validToDate.getTime() - validFromDate.getTime()) / 1000;
};

test('a node proxy gets a certificate for an account that runs on its node', async () => {
  const test = await start();
  const token = addZtunnel(test, 'n1');
  addPod(test, { name: 'web-0', ip: '10.244.1.2' });
  const [leaf = '', roots = '', ...rest] = await ask(test, token, { as: WEB });
  assert.equal(rest.length, 0);
  const certificate = new X509Certificate(leaf);
  const root = new X509Certificate(roots);
  assert.deepEqual(uri(leaf), [WEB]);
  assert.equal(certificate.subject, undefined, 'no name but the alternative');
  assert.ok(certificate.checkIssued(root) && certificate.verify(root.publicKey));
  assert.ok(!certificate.ca);
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  assert.equal(lifeSeconds(leaf), 24 * 3600 + 120, 'a day, from two minutes ago');
  assert.ok(leaf.endsWith('-----\n') && roots.endsWith('-----\n'));
  assert.equal(roots, await test.roots(), 'the roots that proxies mount');
  const usage = new x509.X509Certificate(leaf);
  assert.equal(usage.getExtension(x509.SubjectAlternativeNameExtension)?.critical, true);
});

test('without impersonation the caller gets its own identity, whatever the request says', async () => {
  const test = await start();
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  const [leaf = ''] = await ask(test, 'app');
  assert.deepEqual(uri(leaf), [WEB]);
  const [named = ''] = await ask(test, 'app', { as: WEB });
  assert.deepEqual(uri(named), [WEB], 'naming itself is no impersonation');
  assert.match(await refused(ask(test, 'app', { as: WEB.replace('/sa/web', '/sa/other') })), /other accounts/);
});

test('lifetimes: default, wanted, more than allowed, cut to the authority', async () => {
  const test = await start({ DEFAULT_WORKLOAD_CERT_TTL: '1h', MAX_WORKLOAD_CERT_TTL: '2h' });
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  const life = async (seconds: bigint): Promise<number> =>
    lifeSeconds((await ask(test, 'app', { seconds }))[0] ?? '') - 120;
  assert.deepEqual([await life(0n), await life(-5n), await life(600n), await life(7200n)], [3600, 3600, 600, 7200]);
  assert.match(await refused(ask(test, 'app', { seconds: 7201n })), /^InvalidArgument: validity_duration/);
});

test('RSA and the other curves are signed too', async () => {
  const test = await start();
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  for (const algorithm of [rsa(2048), { ...P256, namedCurve: 'P-384', hash: 'SHA-384' }])
    assert.equal((await ask(test, 'app', { csr: await csr(algorithm) })).length, 2);
});

test('an RSA authority, as istiod makes by default', async () => {
  const test = await start({ CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE: '2048' });
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  const [leaf = '', roots = ''] = await ask(test, 'app');
  const root = new X509Certificate(roots);
  assert.equal(root.publicKey.asymmetricKeyType, 'rsa');
  assert.ok(new X509Certificate(leaf).verify(root.publicKey));
});

test('bad requests are refused one by one', async (t) => {
  const test = await start();
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  const good = await csr();
  const cut = good.replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAAAAAAAAAAAAAAAAAA');
  const cases: readonly [string, string][] = [
    ['nothing', ''],
    ['no PEM', 'hello'],
    ['two requests', good + good],
    ['a certificate instead', await test.roots()],
    ['bytes that are no PKCS#10', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n'],
    ['a broken signature or body', cut],
    ['an RSA key of 1024 bits', await csr(rsa(1024))],
    ['far too long', `${good}${'x'.repeat(100_000)}`],
  ];
  for (const [name, text] of cases)
    await t.test(name, async () =>
      assert.match(await refused(ask(test, 'app', { csr: text })), /^InvalidArgument: csr: /),
    );
  const { body } = await test.get('/metrics', 'metrics');
  assert.match(body, new RegExp(`citadel_server_csr_parsing_err_count ${cases.length}\n`));
  assert.equal((await ask(test, 'app')).length, 2, 'and the next good one is signed');
});

test('callers that are not known are refused', async () => {
  const test = await start();
  assert.match(await refused(ask(test, undefined)), /^Unauthenticated: no bearer token/);
  assert.match(await refused(ask(test, 'nonsense')), /^Unauthenticated: invalid bearer token/);
  test.tokens.set('other', { namespace: 'shop', serviceAccount: 'web', audience: 'vault' });
  assert.match(await refused(ask(test, 'other')), /^Unauthenticated: /);
  assert.match((await test.get('/metrics', 'metrics')).body, /citadel_server_authentication_failure_count 3\n/);
});

test('an API server that ignores audiences does not make every token good', async () => {
  const test = await start();
  const { kube } = test;
  const { TOKEN_REVIEWS } = await import('../../kube/client/resources.ts');
  kube.answer(TOKEN_REVIEWS, (review) => ({
    ...review,
    ...({ status: { authenticated: true, user: { username: 'system:serviceaccount:shop:web' } } } as object),
  }));
  assert.match(await refused(ask(test, 'any')), /not for audience istio-ca/);
});

test('who may act for whom', async (t) => {
  const test = await start();
  const token = addZtunnel(test, 'n1');
  addPod(test, { name: 'web-0', ip: '10.244.1.2' });
  addPod(test, { name: 'far-0', node: 'n2', account: 'far', ip: '10.244.2.2' });
  addPod(test, { name: 'done-0', account: 'done', phase: 'Succeeded', ip: '10.244.1.3' });
  addPod(test, { name: 'dead-0', account: 'dead', phase: 'Failed', ip: '10.244.1.4' });
  addPod(test, { name: 'new-0', account: 'new', phase: 'Pending' });
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web', pod: { name: 'web-0', uid: 'u' }, node: 'n1' });
  test.tokens.set('unbound', { namespace: SYSTEM, serviceAccount: 'ztunnel' });
  test.tokens.set('stale', {
    namespace: SYSTEM,
    serviceAccount: 'ztunnel',
    pod: { name: 'ztunnel-n1', uid: 'uid-of-an-earlier-pod' },
  });
  test.tokens.set('moved', {
    namespace: SYSTEM,
    serviceAccount: 'ztunnel',
    pod: { name: 'ztunnel-n1', uid: 'uid-n1' },
    node: 'n2',
  });
  test.kube.put(PODS, {
    metadata: { name: 'impostor', namespace: SYSTEM, uid: 'imp' },
    spec: { nodeName: 'n1', serviceAccountName: 'default', containers: [] },
    status: { phase: 'Running' },
  });
  test.tokens.set('impostor', {
    namespace: SYSTEM,
    serviceAccount: 'ztunnel',
    pod: { name: 'impostor', uid: 'imp' },
  });
  const id = (account: string, domain = 'cluster.local'): string => `spiffe://${domain}/ns/shop/sa/${account}`;
  const cases: readonly [string, string, unknown, RegExp][] = [
    ['an account that runs on another node only', token, id('far'), /no pod of shop\/far runs on node n1/],
    ['an account that runs nowhere', token, id('ghost'), /no pod of shop\/ghost/],
    ['an account whose pod is done', token, id('done'), /no pod of shop\/done/],
    ['an account whose pod failed', token, id('dead'), /no pod of shop\/dead/],
    ['another trust domain', token, id('web', 'evil.example'), /trust domain/],
    ['an identity that is none', token, 'spiffe://cluster.local/shop/web', /not valid/],
    ['an identity that is no text', token, 7, /not valid/],
    ['a caller that is no node proxy', 'app', id('other'), /shop\/web may not act for other accounts/],
    ['a node proxy whose token is bound to no pod', 'unbound', WEB, /not bound to a pod/],
    ['a token of an earlier pod of that name', 'stale', WEB, /does not exist/],
    ['a token that says another node', 'moved', WEB, /of another node/],
    ['a pod that runs as another account', 'impostor', WEB, /runs as another account/],
  ];
  for (const [name, who, as, reason] of cases)
    await t.test(name, async () => {
      const answer = await refused(ask(test, who, { as }));
      assert.match(answer, /^Unauthenticated: /);
      assert.match(answer, reason);
    });
  await t.test('a pod that is only starting counts', async () => {
    assert.deepEqual(uri((await ask(test, token, { as: id('new') }))[0] ?? ''), [id('new')]);
  });
});

test('a pod that the watch has not told of yet is asked for', async () => {
  const test = await start();
  const token = addZtunnel(test, 'n1');
  addPod(test, { name: 'web-0', ip: '10.244.1.2' });
  await ask(test, token, { as: WEB });
  test.kube.requests.length = 0;
  await ask(test, token, { as: WEB });
  assert.ok(!test.kube.requests.some(({ plural }) => plural === 'pods'), 'what is known is not asked again');
  await refused(ask(test, token, { as: 'spiffe://cluster.local/ns/shop/sa/ghost' }));
  assert.ok(test.kube.requests.some(({ plural, verb }) => plural === 'pods' && verb === 'list'));
});

test('a burst of requests with one token is one review', async () => {
  const test = await start();
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  await Promise.all(Array.from({ length: 8 }, () => ask(test, 'app')));
  assert.equal(test.kube.requests.filter(({ plural }) => plural === 'tokenreviews').length, 1);
});

test('the account in the Secret is used again by the next control plane', async () => {
  const first = await start();
  first.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  const [, roots] = await ask(first, 'app');
  await first.control.stop();
  const second = await startTestControl({ kube: first.kube });
  running.push(second);
  second.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  assert.equal((await ask(second, 'app'))[1], roots);
});
