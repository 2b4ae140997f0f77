// TLS at the edge: client certificates, a rotated Secret, versions, two hostnames on one port, and the redirect from HTTP.

import assert from 'node:assert/strict';
import http from 'node:http';
import https, { type RequestOptions } from 'node:https';
import { after, before, test } from 'node:test';
import { type IssuedCertificate, TestAuthority } from '../src/dataplane/testing/authority.ts';
import { listenerUrl } from './support/gateway-url.ts';
import { eventually, TestMesh } from './support/mesh.ts';

const secret = (name: string, { certificatePem, privateKeyPem }: IssuedCertificate): string =>
  `${JSON.stringify({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: 'edge' },
    type: 'kubernetes.io/tls',
    stringData: { 'tls.crt': certificatePem, 'tls.key': privateKeyPem },
  })}\n---\n`;
const world = (root: string): string => `
apiVersion: v1
kind: Namespace
metadata: { name: edge, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo, namespace: edge }
spec:
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: echo, image: ambit/echo, env: [{ name: PORT, value: "8080" }], readinessProbe: { tcpSocket: { port: 8080 } } }] }
---
apiVersion: v1
kind: Service
metadata: { name: echo, namespace: edge }
spec: { selector: { app: echo }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
${JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'clients', namespace: 'edge' }, data: { 'ca.crt': root } })}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: shop, namespace: edge }
spec:
  gatewayClassName: istio
  tls:
    frontend:
      default: {}
      perPort:
        - port: 8446
          tls: { validation: { caCertificateRefs: [{ group: "", kind: ConfigMap, name: clients }] } }
  listeners:
    - { name: http, port: 8086, protocol: HTTP }
    - { name: red, port: 8445, protocol: HTTPS, hostname: red.example, tls: { certificateRefs: [{ name: red }] } }
    - { name: blue, port: 8445, protocol: HTTPS, hostname: blue.example, tls: { certificateRefs: [{ name: blue }] } }
    - { name: mutual, port: 8446, protocol: HTTPS, hostname: red.example, tls: { certificateRefs: [{ name: red }] } }
    - name: modern
      port: 8447
      protocol: HTTPS
      tls: { certificateRefs: [{ name: red }], options: { ambit.dev/tls-min-protocol-version: TLSV1_3 } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: edge }
spec:
  parentRefs: [{ name: shop, sectionName: red }, { name: shop, sectionName: mutual }, { name: shop, sectionName: modern }]
  rules: [{ backendRefs: [{ name: echo, port: 80 }] }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: blue, namespace: edge }
spec:
  parentRefs: [{ name: shop, sectionName: blue }]
  rules: [{ matches: [{ path: { value: /blue } }], backendRefs: [{ name: echo, port: 80 }] }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: to-https, namespace: edge }
spec:
  parentRefs: [{ name: shop, sectionName: http }]
  rules: [{ filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, port: 443, statusCode: 301 } }] }]
`;

let mesh: TestMesh;
let authority: TestAuthority;
before(async () => {
  authority = await TestAuthority.create();
  const secrets =
    secret('red', await authority.server('red.example')) + secret('blue', await authority.server('blue.example'));
  const input = world(authority.rootPem).replace('---\n', `---\n${secrets}`);
  mesh = await TestMesh.up({ up: ['--wait', '90s', '-f', '-'], input });
  await mesh.kubectlOk(['wait', '-n', 'edge', 'gateway/shop', '--for=condition=Programmed', '--timeout=60s']);
});
after(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

interface Got {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly serial: string;
}
/** Over TLS with the test's root. @throws when the handshake or the connection fails */
async function get(listener: string, host: string, path = '/', more: RequestOptions = {}): Promise<Got> {
  const url = new URL(await listenerUrl(mesh, listener));
  const options = {
    ca: authority.rootPem,
    servername: host,
    headers: { host },
    agent: false,
    timeout: 10_000,
    ...more,
  };
  return new Promise((resolve, reject) => {
    const target = `https://127.0.0.1:${url.port}${path}`;
    const request = https.get(target, options, (response) => {
      const socket = response.socket as import('node:tls').TLSSocket;
      const serial = socket.getPeerCertificate().serialNumber;
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(parts).toString(),
          serial,
        }),
      );
    });
    request.on('timeout', () => request.destroy(new Error('no answer in time')));
    request.on('error', reject);
  });
}
const soon = <T>(what: string, look: () => Promise<T | undefined>): Promise<T> => eventually(what, look, 15_000, 100);

test('two hostnames on one port: each its certificate and its routes', async () => {
  await soon('red answers', async () => ((await get('red', 'red.example')).status === 200 ? true : undefined));
  assert.equal((await get('blue', 'blue.example', '/blue')).status, 200);
  assert.equal((await get('blue', 'blue.example', '/')).status, 404);
  await assert.rejects(get('red', 'green.example'), 'a name that no listener has');
  const other = await get('red', 'red.example', '/', { headers: { host: 'blue.example' } });
  assert.ok([404, 421].includes(other.status), `routes of a host that was not asked for by SNI: ${other.status}`);
});

test('mutual TLS: only with a certificate that the gateway trusts', async () => {
  const client = await authority.server('client.example');
  const mine = { cert: client.certificatePem, key: client.privateKeyPem };
  await soon('it answers', async () =>
    (await get('mutual', 'red.example', '/', mine)).status === 200 ? true : undefined,
  );
  await assert.rejects(get('mutual', 'red.example'), 'without a certificate');
  const stranger = await (await TestAuthority.create('strangers')).server('client.example');
  await assert.rejects(
    get('mutual', 'red.example', '/', { cert: stranger.certificatePem, key: stranger.privateKeyPem }),
    'with somebody else’s',
  );
});

test('a minimum version', async () => {
  await soon('it answers', async () => ((await get('modern', 'red.example')).status === 200 ? true : undefined));
  await assert.rejects(get('modern', 'red.example', '/', { maxVersion: 'TLSv1.2' }));
  assert.equal((await get('red', 'red.example', '/', { maxVersion: 'TLSv1.2' })).status, 200);
  await assert.rejects(
    get('red', 'red.example', '/', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
  );
});

test('a certificate that is rotated in its Secret is shown at once, by the same pod', async () => {
  const pods = (): Promise<string> =>
    mesh.kubectlOk([
      'get',
      'pods',
      '-n',
      'edge',
      '-l',
      'gateway.networking.k8s.io/gateway-name=shop',
      '-o',
      'jsonpath={.items[*].metadata.uid}',
    ]);
  const [before, pod] = [await get('red', 'red.example'), await pods()];
  await mesh.kubectlOk(['apply', '-f', '-'], { input: secret('red', await authority.server('red.example')) });
  await soon('the new one is shown', async () => {
    const now = await get('red', 'red.example');
    return now.status === 200 && now.serial !== before.serial ? true : undefined;
  });
  assert.equal(await pods(), pod);
});

test('HTTP redirects to HTTPS', async () => {
  const url = new URL(await listenerUrl(mesh, 'http'));
  const location = await soon(
    'the redirect is in force',
    () =>
      new Promise<string | undefined>((resolve, reject) => {
        const request = http.get(
          `${url.origin}/a?b=c`,
          { headers: { host: 'red.example' }, agent: false },
          (response) => {
            response.resume();
            resolve(response.statusCode === 301 ? response.headers.location : undefined);
          },
        );
        request.on('error', reject);
      }),
  );
  assert.equal(location, 'https://red.example/a?b=c');
});
