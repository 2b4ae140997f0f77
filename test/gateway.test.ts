// The edge: a Gateway of class istio, published on this machine; HTTP and HTTPS, routes by host, tokens, and the way from
// there to pods in the mesh, with and without a waypoint.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { TestAuthority } from '../src/dataplane/testing/authority.ts';
import { listenerUrl } from './support/gateway-url.ts';
import { eventually, TestMesh } from './support/mesh.ts';

let mesh: TestMesh;
let certificates: string;

const world = `
apiVersion: v1
kind: Namespace
metadata: { name: edge, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo, namespace: edge }
spec:
  replicas: 2
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{ name: echo, image: ambit/echo, env: [{ name: PORT, value: "8080" }], readinessProbe: { tcpSocket: { port: 8080 } } }]
---
apiVersion: v1
kind: Service
metadata: { name: echo, namespace: edge }
spec: { selector: { app: echo }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: strict, namespace: edge }
spec: { mtls: { mode: STRICT } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: shop, namespace: edge }
spec:
  gatewayClassName: istio
  listeners:
    - { name: http, port: 8081, protocol: HTTP, hostname: "*.example" }
    - name: https
      port: 8444
      protocol: HTTPS
      hostname: shop.example
      tls: { certificateRefs: [{ name: shop-cert }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: edge }
spec:
  parentRefs: [{ name: shop }]
  hostnames: [shop.example]
  rules: [{ matches: [{ path: { value: /api } }], backendRefs: [{ name: echo, port: 80 }] }]
`;

interface Got {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

function get(url: string, host: string, headers: Record<string, string> = {}, ca?: string): Promise<Got> {
  return new Promise((resolve, reject) => {
    const options = {
      headers: { host, ...headers },
      agent: false,
      ...(ca === undefined ? {} : { ca, servername: host }),
    };
    const request = (url.startsWith('https') ? https : http).get(url, options, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts).toString() }),
      );
    });
    request.on('error', reject);
    request.setTimeout(10_000, () => request.destroy(new Error('no answer in time')));
  });
}

const urlOf = (listener: string): Promise<string> => listenerUrl(mesh, listener);

before(async () => {
  certificates = mkdtempSync(join(tmpdir(), 'ambit-test-cert-'));
  const authority = await TestAuthority.create();
  const issued = await authority.server('shop.example');
  writeFileSync(join(certificates, 'cert.pem'), issued.certificatePem);
  writeFileSync(join(certificates, 'key.pem'), issued.privateKeyPem, { mode: 0o600 });
  writeFileSync(join(certificates, 'ca.pem'), authority.rootPem);
  mesh = await TestMesh.up({ up: ['--wait', '90s', '-f', '-'], input: world });
  await mesh.kubectlOk([
    'create',
    'secret',
    'tls',
    'shop-cert',
    '-n',
    'edge',
    `--cert=${certificates}/cert.pem`,
    `--key=${certificates}/key.pem`,
  ]);
  await mesh.kubectlOk(['wait', '-n', 'edge', 'gateway/shop', '--for=condition=Programmed', '--timeout=60s']);
});
after(async () => {
  await mesh?.[Symbol.asyncDispose]();
  if (certificates !== undefined) rmSync(certificates, { recursive: true, force: true });
});

test('a request from this machine reaches a STRICT pod over the mesh; hosts and paths nobody routes are 404', async () => {
  const url = await urlOf('http');
  const answer = await eventually('the route is in force', async () => {
    const got = await get(`${url}/api/x`, 'shop.example');
    return got.status === 200 ? got : undefined;
  });
  const echo = JSON.parse(answer.body) as { path: string; headers: Record<string, string> };
  assert.equal(echo.path, '/api/x');
  assert.ok(echo.headers['x-forwarded-for']);
  assert.equal((await get(`${url}/other`, 'shop.example')).status, 404);
  assert.equal((await get(`${url}/api`, 'else.example')).status, 404);
});

test('headers that only proxies may set are taken from clients', async () => {
  const url = await urlOf('http');
  const { body } = await get(`${url}/api`, 'shop.example', {
    'x-forwarded-client-cert': 'By=spiffe://cluster.local/ns/a/sa/b',
    'x-envoy-internal': 'true',
    'x-envoy-upstream-rq-timeout-ms': '1',
  });
  const { headers } = JSON.parse(body) as { headers: Record<string, string | undefined> };
  assert.doesNotMatch(headers['x-forwarded-client-cert'] ?? '', /sa\/b/);
  assert.equal(headers['x-envoy-internal'], undefined);
});

test('HTTPS with the Secret’s certificate, and HTTP/2 by ALPN', async () => {
  const url = await urlOf('https');
  const ca = readFileSync(join(certificates, 'ca.pem'), 'utf8');
  const got = await eventually('the certificate is there', async () => {
    const answer = await get(`${url}/api`, 'shop.example', {}, ca);
    return answer.status === 200 ? answer : undefined;
  });
  assert.equal(JSON.parse(got.body).headers['x-forwarded-proto'], 'https');
  const { port } = new URL(url);
  const h2 = execFileSync(
    'curl',
    [
      '-sS',
      '--http2',
      '--cacert',
      join(certificates, 'ca.pem'),
      '--resolve',
      `shop.example:${port}:127.0.0.1`,
      '-o',
      '/dev/null',
      '-w',
      '%{http_version} %{http_code}',
      `https://shop.example:${port}/api`,
    ],
    { encoding: 'utf8' },
  );
  assert.equal(h2, '2 200');
});

test('JWT at the gateway', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'a', alg: 'RS256' }] });
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'RS256', kid: 'a' })}.${encode({ iss: 'edge', sub: 'me', exp: Math.floor(Date.now() / 1000) + 600 })}`;
  const token = `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`;
  await mesh.kubectlOk(['apply', '-f', '-'], {
    input: `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: jwt, namespace: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: shop }]
  jwtRules: [{ issuer: edge, jwks: '${jwks}' }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: need-token, namespace: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: shop }]
  action: DENY
  rules: [{ from: [{ source: { notRequestPrincipals: ["*"] } }] }]
`,
  });
  const url = await urlOf('http');
  await eventually('a token is needed', async () =>
    (await get(`${url}/api`, 'shop.example')).status === 403 ? true : undefined,
  );
  assert.equal((await get(`${url}/api`, 'shop.example', { authorization: `Bearer ${token}` })).status, 200);
  assert.equal((await get(`${url}/api`, 'shop.example', { authorization: 'Bearer nonsense' })).status, 401);
  await mesh.kubectlOk(['delete', '-n', 'edge', 'requestauthentication/jwt', 'authorizationpolicy/need-token']);
});

test('the way from the edge goes through the service’s waypoint where that is asked for', async () => {
  assert.equal((await mesh.ambit(['waypoint', 'apply', '-n', 'edge', '--wait'])).code, 0);
  await mesh.kubectlOk([
    'label',
    'service',
    'echo',
    '-n',
    'edge',
    'istio.io/use-waypoint=waypoint',
    'istio.io/ingress-use-waypoint=true',
  ]);
  await mesh.kubectlOk(['apply', '-f', '-'], {
    input: `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: behind, namespace: edge }
spec:
  parentRefs: [{ group: "", kind: Service, name: echo }]
  rules:
    - filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-waypoint, value: "yes" }] } }]
      backendRefs: [{ name: echo, port: 80 }]
`,
  });
  const url = await urlOf('http');
  await eventually('the waypoint adds its header', async () => {
    const got = await get(`${url}/api`, 'shop.example');
    return got.status === 200 && got.headers['x-waypoint'] === 'yes' ? true : undefined;
  });
});
