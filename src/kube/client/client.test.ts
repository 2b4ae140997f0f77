import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { clusterIdentity } from '../server/auth/identity.ts';
import { HttpKubeClient } from './client.ts';
import type { KubeCredential } from './kubeconfig.ts';
import { CONFIG_MAPS, SERVICE_ACCOUNT_TOKENS } from './resources.ts';
import { KubeError } from './types.ts';

interface Seen {
  method: string | undefined;
  url: string | undefined;
  type: string | undefined;
  auth: string | undefined;
  body: string;
}

/** A client of a plain-HTTP server that answers as told and remembers what was asked. */
async function against(t: TestContext, answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { method, url, headers } = request;
    seen.push({ method, url, type: headers['content-type'], auth: headers.authorization, body });
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = new HttpKubeClient({
    server: `http://127.0.0.1:${port}`,
    namespace: 'default',
    credential: async () => ({ token: 'secret' }),
  });
  t.after(() => {
    client.close();
    server.closeAllConnections();
    server.close();
  });
  return { client, seen };
}

const json = (response: ServerResponse, code: number, body: unknown) =>
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));

test('verbs become the paths, queries and bodies of the API', async (t) => {
  const { client, seen } = await against(t, (_, response) => json(response, 200, { items: null, metadata: {} }));
  const metadata = { name: 'a b', namespace: 'ns' };
  await client.get(CONFIG_MAPS, 'a b', 'ns');
  await client.list(CONFIG_MAPS, { labelSelector: 'a=b' });
  await client.create(CONFIG_MAPS, { apiVersion: 'v1', kind: 'ConfigMap', metadata });
  await client.update(CONFIG_MAPS, { apiVersion: 'v1', kind: 'ConfigMap', metadata }, { subresource: 'status' });
  await client.patch(CONFIG_MAPS, 'x', 'ns', 'apply', { data: {} }, { fieldManager: 'me', force: true, dryRun: true });
  await client.delete(CONFIG_MAPS, 'x', 'ns', { gracePeriodSeconds: 0 });
  const token = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', metadata } as const;
  await client.create(SERVICE_ACCOUNT_TOKENS, { ...token, spec: { audiences: [] } }, { subresource: 'token' });
  const path = '/api/v1/namespaces/ns/configmaps';
  assert.deepEqual(
    seen.map(({ method, url, type }) => `${method} ${url} ${type ?? ''}`.trim()),
    [
      `GET ${path}/a%20b`,
      'GET /api/v1/configmaps?labelSelector=a%3Db',
      `POST ${path}?fieldManager=ambit application/json`,
      `PUT ${path}/a%20b/status?fieldManager=ambit application/json`,
      `PATCH ${path}/x?fieldManager=me&dryRun=All&force=true application/apply-patch+yaml`,
      `DELETE ${path}/x application/json`,
      'POST /api/v1/namespaces/ns/serviceaccounts/a%20b/token?fieldManager=ambit application/json',
    ],
  );
  assert.equal(JSON.parse(seen[5]!.body).gracePeriodSeconds, 0);
  assert.ok(seen.every(({ auth }) => auth === 'Bearer secret'));
});

test('what is not found is undefined to get and nothing to delete; other refusals are KubeErrors', async (t) => {
  let code = 404;
  const { client } = await against(t, (_, response) => json(response, code, { code, reason: 'R', message: 'm' }));
  assert.equal(await client.get(CONFIG_MAPS, 'x', 'ns'), undefined);
  await client.delete(CONFIG_MAPS, 'x', 'ns');
  code = 409;
  await assert.rejects(client.update(CONFIG_MAPS, { apiVersion: 'v1', kind: 'ConfigMap' }), (error) => {
    assert.ok(error instanceof KubeError);
    assert.deepEqual([error.code, error.reason, error.message], [409, 'R', 'm']);
    return true;
  });
});

test('429 is tried again after the pause that the server names', async (t) => {
  let left = 2;
  const { client, seen } = await against(t, (_, response) => {
    if (left-- > 0) response.writeHead(429, { 'retry-after': '0' }).end('{}');
    else json(response, 200, { metadata: { name: 'x' } });
  });
  assert.equal((await client.get(CONFIG_MAPS, 'x', 'ns'))?.metadata?.name, 'x');
  assert.equal(seen.length, 3);
});

test('watch events are cut at lines wherever the bytes were cut, and ERROR is thrown', async (t) => {
  const events = [
    { type: 'ADDED', object: { metadata: { name: 'ä' } } },
    { type: 'BOOKMARK', object: { metadata: { resourceVersion: '7' } } },
    { type: 'ERROR', object: { code: 410, reason: 'Expired', message: 'too old' } },
  ];
  const { client } = await against(t, (_, response) => {
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    for (let i = 0; i < bytes.length; i += 7) response.write(bytes.subarray(i, i + 7));
    response.end();
  });
  const seen: string[] = [];
  const { signal } = new AbortController();
  await assert.rejects(
    async () => {
      for await (const { type, object } of client.watch(CONFIG_MAPS, { resourceVersion: '1', signal }))
        seen.push(`${type} ${object.metadata?.name ?? object.metadata?.resourceVersion}`);
    },
    { code: 410, reason: 'Expired' },
  );
  assert.deepEqual(seen, ['ADDED ä', 'BOOKMARK 7']);
});

test("later connections take up the first one's session, and are still known by their certificate", async (t) => {
  const storage = { read: () => undefined, write: () => {} };
  const { ca, serving, admin } = await clusterIdentity(storage, () => new Date());
  const tls = {
    cert: serving.certPem,
    key: serving.keyPem,
    ca: ca.certPem,
    requestCert: true,
    rejectUnauthorized: false,
  };
  const server = createTlsServer(tls, ({ socket }, response) => {
    const secure = socket as TLSSocket;
    const user = secure.authorized ? secure.getPeerCertificate().subject?.CN : 'nobody';
    response.end(`${JSON.stringify({ user, resumed: secure.isSessionReused() })}\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close().closeAllConnections());
  let credential: KubeCredential = admin;
  const client = new HttpKubeClient({
    server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    namespace: 'default',
    caPem: ca.certPem,
    credential: async () => credential,
  });
  t.after(() => client.close());
  const ask = async (): Promise<unknown> => {
    for await (const line of client.lines('/')) return JSON.parse(line); // each on a connection of its own
    return undefined;
  };
  assert.deepEqual(await ask(), { user: 'kubernetes-admin', resumed: false });
  assert.deepEqual(await ask(), { user: 'kubernetes-admin', resumed: true });
  credential = { token: 'somebody else' };
  assert.deepEqual(await ask(), { user: 'nobody', resumed: false });
});
