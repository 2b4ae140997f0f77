// What is not HTTP: TCP and TLS at a gateway, routed by port and by SNI; ports with and without a protocol at a waypoint,
// and policies of connections there.

import assert from 'node:assert/strict';
import { connect as connectTcp, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { TestAuthority } from '../src/dataplane/testing/authority.ts';
import { listenerUrl } from './support/gateway-url.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';
import { nodeServer, programPath } from './support/node-server.ts';
import { sendAll } from './support/raw-sender.ts';

/** Says its name, then every byte back. */
const NAMED_TCP = `
import { createServer } from 'node:net';
createServer((socket) => {
  socket.on('error', () => {});
  socket.on('data', (data) => socket.write(process.env.NAME + ' ' + data));
  socket.on('end', () => socket.end());
}).listen(Number(process.env.PORT));
`;
/** HTTP that tells whether it came as TLS, and by which name; HTTP/1.1 on the next port. */
const TLS_SERVER = `
import { readFileSync } from 'node:fs';
import { createServer } from 'node:tls';
createServer({ key: readFileSync('/secret/tls.key'), cert: readFileSync('/secret/tls.crt') }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', () => socket.end(process.env.NAME + ' ' + socket.servername));
}).on('tlsClientError', () => {}).listen(Number(process.env.PORT));
`;
const tcp = (name: string): string =>
  nodeServer({
    name,
    port: 9000,
    program: { text: NAMED_TCP },
    env: { NAME: name },
    ports: '[{ name: tcp, port: 9000 }]',
  });
const tls = (name: string): string =>
  nodeServer({
    name,
    port: 9443,
    program: { text: TLS_SERVER },
    env: { NAME: name },
    secret: 'cert',
    ports: '[{ name: tls, port: 443, targetPort: 9443 }]',
  });

const EDGE = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: ${NAMESPACE} }
spec:
  gatewayClassName: istio
  listeners:
    - { name: tcp, port: 9001, protocol: TCP }
    - { name: sni, port: 9444, protocol: TLS, tls: { mode: Passthrough } }
    - { name: ends, port: 9445, protocol: TLS, tls: { mode: Terminate, certificateRefs: [{ name: cert }] } }
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: { name: edge, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ name: edge, sectionName: tcp }]
  rules: [{ backendRefs: [{ name: one, port: 9000, weight: 1 }, { name: two, port: 9000, weight: 1 }] }]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: { name: ends, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ name: edge, sectionName: ends }]
  rules: [{ backendRefs: [{ name: one, port: 9000 }] }]
---
apiVersion: gateway.networking.k8s.io/v1alpha3
kind: TLSRoute
metadata: { name: red, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ name: edge, sectionName: sni }]
  hostnames: [red.example]
  rules: [{ backendRefs: [{ name: red, port: 443 }] }]
---
apiVersion: gateway.networking.k8s.io/v1alpha3
kind: TLSRoute
metadata: { name: blue, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ name: edge, sectionName: sni }]
  hostnames: ["*.blue.example"]
  rules: [{ backendRefs: [{ name: blue, port: 443 }] }]
---`;
/** The same HTTP server by ports of different names, and of none. */
const PORTS = `
apiVersion: v1
kind: Service
metadata: { name: ports, namespace: ${NAMESPACE} }
spec:
  selector: { app: echo }
  ports:
    - { name: http-named, port: 81, targetPort: 8080 }
    - { name: plain, port: 82, targetPort: 8080 }
    - { name: tcp-named, port: 83, targetPort: 8080 }
    - { name: said, port: 84, targetPort: 8080, appProtocol: http }
    - { name: http-but, port: 85, targetPort: 8080, appProtocol: tcp }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ports, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ group: "", kind: Service, name: ports }]
  rules:
    - filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-layer, value: "7" }] } }]
      backendRefs: [{ name: echo, port: 80 }]
---`;

let world: L7World;
let authority: TestAuthority;
before(async () => {
  authority = await TestAuthority.create();
  const { certificatePem, privateKeyPem } = await authority.server('red.example');
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'cert', namespace: NAMESPACE },
    type: 'kubernetes.io/tls',
    stringData: { 'tls.crt': certificatePem, 'tls.key': privateKeyPem },
  };
  world = await L7World.up(
    `${JSON.stringify(secret)}\n---\n${tcp('one')}${tcp('two')}${tls('red')}${tls('blue')}${EDGE}${PORTS}`,
  );
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

const soon = (what: string, holds: () => Promise<boolean>): Promise<unknown> =>
  eventually(what, async () => ((await holds()) ? true : undefined), 15_000, 100);

/** Sends a line, and gives what comes back first; empty when it is closed instead. */
function exchange(socket: Socket, text: string): Promise<string> {
  return new Promise((resolve) => {
    socket.setTimeout(5_000, () => socket.destroy());
    socket.once('data', (data) => {
      resolve(data.toString());
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.once('close', () => resolve(''));
    socket.write(text);
  });
}
async function place(listener: string): Promise<{ host: string; port: number }> {
  const url = await listenerUrl(world.mesh, listener);
  const [, host = '', port = ''] = /([\d.]+):(\d+)/.exec(url) ?? [];
  return { host, port: Number(port) };
}
const overTls = async (listener: string, servername: string): Promise<string> =>
  exchange(connectTls({ ...(await place(listener)), servername, rejectUnauthorized: false }), 'hello');
/** From the client's pod. */
const fromPod = async (host: string, port: number, message: string): Promise<string> => {
  const command = ['exec', '-i', '-n', NAMESPACE, 'deploy/client', '--', 'node', programPath('raw-sender.ts')];
  const ran = await world.mesh.kubectlOk([...command, host, String(port)], { input: JSON.stringify([message]) });
  return (JSON.parse(ran) as string[])[0] ?? '';
};

test('TCPRoute: by weight, from this machine to pods', async () => {
  const { host, port } = await place('tcp');
  await soon('the route is in force', async () => (await exchange(connectTcp(port, host), 'hello')) !== '');
  const answers = await Promise.all(Array.from({ length: 30 }, () => exchange(connectTcp(port, host), 'hello')));
  assert.deepEqual([...new Set(answers)].sort(), ['one hello', 'two hello']);
});

test('TLSRoute: passed through by SNI; a name that nobody routes gets no connection', async () => {
  await soon('the route is in force', async () => (await overTls('sni', 'red.example')) === 'red red.example');
  assert.equal(await overTls('sni', 'a.blue.example'), 'blue a.blue.example');
  assert.equal(await overTls('sni', 'green.example'), '');
  assert.equal(await overTls('sni', 'blue.example'), '', 'a wildcard is for names below');
  const plain = await place('sni');
  assert.equal(await exchange(connectTcp(plain.port, plain.host), 'GET / HTTP/1.1\r\n\r\n'), '', 'not TLS at all');
});

test('TLS that ends at the gateway goes on as TCP', async () => {
  await soon('the route is in force', async () => (await overTls('ends', 'red.example')) === 'one hello');
});

test('a TCP port at a waypoint, with a policy of connections', async () => {
  assert.equal(await fromPod('one', 9000, 'hello'), 'one hello');
  await using _policy = await world.apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: one, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: "", kind: Service, name: one }]
  action: DENY
  rules: [{ from: [{ source: { principals: ["cluster.local/ns/${NAMESPACE}/sa/client"] } }], to: [{ operation: { ports: ["9000"] } }] }]
`);
  await soon('the client is refused', async () => (await fromPod('one', 9000, 'hello')) === '');
  assert.equal(await fromPod('two', 9000, 'hello'), 'two hello');
  const other = [
    'exec',
    '-i',
    '-n',
    NAMESPACE,
    'deploy/other',
    '--',
    'node',
    programPath('raw-sender.ts'),
    'one',
    '9000',
  ];
  assert.deepEqual(JSON.parse(await world.mesh.kubectlOk(other, { input: '["hello"]' })), ['one hello']);
});

test('TCPRoute of a service', async () => {
  await using _route = await world.apply(`
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: { name: one, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ group: "", kind: Service, name: one, port: 9000 }]
  rules: [{ backendRefs: [{ name: two, port: 9000 }] }]
`);
  await soon('the other one answers', async () => (await fromPod('one', 9000, 'hello')) === 'two hello');
});

test('the protocol of a port: by its name, by appProtocol, by what is said', async () => {
  const layer = async (port: number): Promise<unknown> => {
    const answer = await world.client.get(`http://ports:${port}/`);
    assert.equal(answer.status, 200, `port ${port}: ${answer.error}`);
    return answer.headers['x-layer'];
  };
  await soon('the route is in force', async () => (await layer(81)) === '7');
  assert.deepEqual(
    [await layer(82), await layer(83), await layer(84), await layer(85)],
    ['7', undefined, '7', undefined],
  );
});

test('a gateway’s TCP listener answers nobody when its route is gone', async () => {
  await world.mesh.kubectlOk(['delete', 'tcproute/edge', '-n', NAMESPACE]);
  const { host, port } = await place('tcp');
  await soon('nobody answers', async () => (await sendAll(host, port, ['hello']))[0] === '');
});
