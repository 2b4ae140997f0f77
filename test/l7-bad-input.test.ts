// Bytes that no honest client sends, through a waypoint and against a gateway's published port: refused clearly, and the
// server behind never sees more than it should. Every message tries to smuggle a request for /smuggled or to reach /admin.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { listenerUrl } from './support/gateway-url.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';
import { nodeServer, programPath } from './support/node-server.ts';
import { sendAll } from './support/raw-sender.ts';

/** A server as lenient as Node's can be, that remembers every request. */
const RECORDER = `
import http from 'node:http';
const seen = [];
http.createServer({ insecureHTTPParser: true, requireHostHeader: false }, (request, response) => {
  if (request.url === '/seen') return response.end(JSON.stringify(seen));
  seen.push({ method: request.method, url: request.url, host: request.headers.host, headers: request.rawHeaders });
  request.resume();
  request.on('end', () => response.end('recorded'));
  request.on('error', () => {});
}).listen(8080);
`;

const EDGE = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: ${NAMESPACE} }
spec:
  gatewayClassName: istio
  listeners: [{ name: http, port: 8083, protocol: HTTP }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: edge, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ name: edge }]
  rules: [{ backendRefs: [{ name: recorder, port: 80 }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: admin, namespace: ${NAMESPACE} }
spec:
  targetRefs:
    - { group: gateway.networking.k8s.io, kind: Gateway, name: edge }
  action: DENY
  rules: [{ to: [{ operation: { paths: ["/admin*"] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: admin-waypoint, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: "", kind: Service, name: recorder }]
  action: DENY
  rules: [{ to: [{ operation: { paths: ["/admin*"] } }] }]
---`;

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly host: string;
  readonly headers: readonly string[];
}

let world: L7World;
before(async () => {
  world = await L7World.up(
    nodeServer({
      name: 'recorder',
      port: 8080,
      program: { text: RECORDER },
      ports: '[{ name: http, port: 80, targetPort: 8080 }]',
    }) + EDGE,
  );
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: recorder\r\n\r\n';
const get = (headers: string, target = '/bad', version = 'HTTP/1.1'): string =>
  `GET ${target} ${version}\r\n${headers}\r\n\r\n`;
const post = (headers: string, body: string): string =>
  `POST /bad HTTP/1.1\r\nHost: recorder\r\n${headers}\r\n\r\n${body}`;

/** Name, message. Each is refused: 400 or another 4xx, or the connection ends without an answer of the server. */
const REFUSED: readonly (readonly [string, string])[] = [
  [
    'content-length and transfer-encoding',
    post('Content-Length: 4\r\nTransfer-Encoding: chunked', `0\r\n\r\n${SMUGGLED}`),
  ],
  [
    'transfer-encoding and content-length',
    post('Transfer-Encoding: chunked\r\nContent-Length: 60', `0\r\n\r\n${SMUGGLED}`),
  ],
  ['two lengths', post(`Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}`, SMUGGLED)],
  ['two lengths in one', post(`Content-Length: 0, ${SMUGGLED.length}`, SMUGGLED)],
  ['a length with a sign', post('Content-Length: +0', SMUGGLED)],
  ['a length that is none', post('Content-Length: 0x0', SMUGGLED)],
  ['an unknown transfer coding', post('Transfer-Encoding: xchunked', SMUGGLED)],
  ['chunked not at the end', post('Transfer-Encoding: chunked, identity', SMUGGLED)],
  ['chunked twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', `0\r\n\r\n${SMUGGLED}`)],
  [
    'transfer-encoding in HTTP/1.0',
    `POST /bad HTTP/1.0\r\nHost: recorder\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  ['a bare LF in the headers', get('Host: recorder\nX-A: b')],
  ['a bare CR in a value', get('Host: recorder\r\nX-A: b\rGET /smuggled HTTP/1.1')],
  ['space before the colon', post(`Content-Length : 0`, SMUGGLED)],
  ['a tab before the colon', post(`Transfer-Encoding\t: chunked`, `0\r\n\r\n${SMUGGLED}`)],
  ['folded lines', get('Host: recorder\r\nX-A: b\r\n c: d')],
  ['a first line that is folded', get(' Host: recorder\r\nX-A: b')],
  ['NUL in a value', get('Host: recorder\r\nX-A: a\0b')],
  ['NUL in a name', get('Host: recorder\r\nX-\0A: b')],
  ['a name that is not ASCII', get('Host: recorder\r\nX-\xe9: b')],
  ['an empty name', get('Host: recorder\r\n: b')],
  ['a chunk size beyond all numbers', post('Transfer-Encoding: chunked', 'fffffffffffffffff\r\nx\r\n0\r\n\r\n')],
  ['a negative chunk size', post('Transfer-Encoding: chunked', `-1\r\nx\r\n0\r\n\r\n`)],
  ['a chunk size in another notation', post('Transfer-Encoding: chunked', '0x1\r\nx\r\n0\r\n\r\n')],
  ['a chunk that is longer than its size', post('Transfer-Encoding: chunked', '1\r\nxyz\r\n0\r\n\r\n')],
  ['a bare LF after a chunk size', post('Transfer-Encoding: chunked', `1\nx\r\n0\r\n\r\n${SMUGGLED}`)],
  ['two hosts', get('Host: recorder\r\nHost: other')],
  ['no host', get('X-A: b')],
  ['a host with a space', get('Host: recorder other')],
  ['a host with a user', get('Host: me@recorder')],
  ['authority form without CONNECT', get('Host: recorder', 'recorder:80')],
  ['CONNECT that nobody routes', `CONNECT recorder:80 HTTP/1.1\r\nHost: recorder:80\r\n\r\n${SMUGGLED}`],
  ['a space in the target', get('Host: recorder', '/bad /smuggled')],
  ['a control character in the target', get('Host: recorder', '/bad\x01')],
  ['NUL escaped in the path', get('Host: recorder', '/bad%00')],
  ['a version that is none', get('Host: recorder', '/bad', 'HTTP/1.11')],
  ['a later version', get('Host: recorder', '/bad', 'HTTP/3.0')],
  ['a method that is no token', `GE(T /bad HTTP/1.1\r\nHost: recorder\r\n\r\n`],
  ['headers beyond all bounds', get(`Host: recorder\r\nX-A: ${'a'.repeat(200_000)}`)],
  ['no HTTP at all', `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${SMUGGLED}`],
];

/** Ways to write /admin: 403, for the normalised path is what is judged. */
const ADMIN: readonly string[] = [
  '/admin',
  '/admin/',
  '/./admin',
  '/x/../admin',
  '/%61dmin',
  '/%2e/admin',
  '/x/%2e%2e/admin',
  '/admin;v=1',
  '/admin?x',
  '/ADMIN/../admin',
  'http://recorder/admin',
  'HTTP://RECORDER/x/../admin',
  'http://other.example/admin',
];
/** What by default is another path (slashes are merged and unescaped only on demand), and how it is passed on. */
const OTHERS: Readonly<Record<string, string>> = {
  '//admin': '//admin',
  '/x/..//admin': '//admin',
  '/\\\\admin': '///admin',
  '/%2Fadmin': '/%2Fadmin',
  '/%5Cadmin': '/%5Cadmin',
  '/x/..%2fadmin': '/x/..%2fadmin',
  '/;/admin': '/;/admin',
  '/a/./b/../c;p=1?q=/../x': '/a/c;p=1?q=/../x',
  'http://recorder//admin': '//admin',
  '/bad#/admin': '/bad',
};

async function seen(): Promise<Seen[]> {
  const pod = await world.client.get('http://recorder/seen');
  return JSON.parse(pod.body) as Seen[];
}
const statusOf = (answer: string): string => /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? '';

const closing = (target: string): string => get('Host: recorder\r\nConnection: close', target);

async function check(send: (messages: readonly string[]) => Promise<string[]>): Promise<void> {
  const known = (await seen()).length;
  const answers = await send(REFUSED.map(([, message]) => message));
  REFUSED.forEach(([name], i) => {
    const statuses = [...(answers[i] ?? '').matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status);
    assert.ok(
      statuses.length > 0 && statuses.every((status) => /^(4..|505)$/.test(status ?? '')),
      `${name}: ${answers[i]}`,
    );
  });
  assert.deepEqual((await seen()).slice(known), [], 'nothing of it came through');

  const refused = await send(ADMIN.map(closing));
  ADMIN.forEach((target, i) => {
    assert.equal(statusOf(refused[i] ?? ''), '403', target);
  });
  assert.deepEqual((await seen()).slice(known), [], 'none of them came through');

  for (const [target, sent] of Object.entries(OTHERS)) {
    const [answer = ''] = await send([closing(target)]);
    assert.equal(statusOf(answer), '200', `${target}: ${answer}`);
    assert.equal((await seen()).at(-1)?.url, sent, target);
  }
}

test('through a waypoint', async () => {
  await eventually('the server answers', async () =>
    (await world.client.get('http://recorder/admin')).status === 403 ? true : undefined,
  );
  await check(async (messages) => {
    const command = ['exec', '-i', '-n', NAMESPACE, 'deploy/client', '--', 'node', programPath('raw-sender.ts')];
    const answers = await world.mesh.kubectlOk([...command, 'recorder', '80'], { input: JSON.stringify(messages) });
    return JSON.parse(answers) as string[];
  });
});

test('at a gateway', async () => {
  const { hostname, port } = new URL(await listenerUrl(world.mesh, 'http'));
  await eventually('the policy is in force', async () =>
    statusOf((await sendAll(hostname, Number(port), [closing('/admin')]))[0] ?? '') === '403' ? true : undefined,
  );
  await check((messages) => sendAll(hostname, Number(port), messages));
});
