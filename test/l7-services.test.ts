// What a waypoint asks others, and tells others: an external authorizer, a collector of spans, metrics, access logs; gRPC,
// WebSocket and large bodies through it. The authorizer and the collector are programs of their own, in pods.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Answered, Asked } from './support/client-pod.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';

const program = (name: string, port: number, source: string): string => `
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name}, namespace: ${NAMESPACE} }
data:
  main.mjs: |
${source.trim().replace(/^/gm, '    ')}
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: node:24
          command: [node, /app/main.mjs]
          readinessProbe: { tcpSocket: { port: ${port} } }
          volumeMounts: [{ name: app, mountPath: /app }]
      volumes: [{ name: app, configMap: { name: ${name} } }]
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${NAMESPACE}, labels: { istio.io/use-waypoint: none } }
spec: { selector: { app: ${name} }, ports: [{ name: http, port: ${port} }] }
---`;

/** Says yes to whoever asks with \`x-pass: yes\`, and tells upstream who it is. */
const AUTHORIZER = `
import http from 'node:http';
http.createServer((request, response) => {
  request.resume();
  const pass = request.headers['x-pass'] === 'yes';
  response.writeHead(pass ? 200 : 403, { 'x-who': 'authorized', 'x-why': 'no pass', 'content-type': 'text/plain' });
  response.end(pass ? '' : 'the authorizer says no');
}).listen(9000);
`;

/** Takes OTLP over HTTP, and tells whether some text was in what came. */
const COLLECTOR = `
import http from 'node:http';
let seen = '';
http.createServer(async (request, response) => {
  if (request.method === 'POST') {
    for await (const part of request) seen += part.toString('latin1');
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
    return;
  }
  const text = new URL(request.url, 'http://x').searchParams.get('text');
  response.end(String(seen.includes(text)));
}).listen(4318);
`;

/** Speaks WebSocket as far as RFC 6455 needs for short messages: sends back what it gets. */
const SOCKETS = `
import http from 'node:http';
import { createHash } from 'node:crypto';
const server = http.createServer((request, response) => response.end('http'));
server.on('upgrade', (request, socket) => {
  const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
  socket.on('data', (frame) => {
    const length = frame[1] & 127;
    const mask = frame.subarray(2, 6);
    const text = Buffer.from(frame.subarray(6, 6 + length).map((byte, i) => byte ^ mask[i % 4]));
    if ((frame[0] & 15) === 8) socket.end();
    else socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
  });
  socket.on('error', () => {});
});
server.listen(7000);
`;

const MESH = `
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    accessLogFile: /dev/stdout
    extensionProviders:
      - name: authorizer
        envoyExtAuthzHttp:
          service: authorizer.${NAMESPACE}.svc.cluster.local
          port: 9000
          timeout: 2s
          includeRequestHeadersInCheck: [x-pass]
          headersToUpstreamOnAllow: [x-who]
          headersToDownstreamOnDeny: [x-why]
      - name: gone
        envoyExtAuthzHttp: { service: gone.${NAMESPACE}.svc.cluster.local, port: 9000, timeout: 1s }
      - name: collector
        opentelemetry: { service: collector.${NAMESPACE}.svc.cluster.local, port: 4318, http: { path: /v1/traces } }
---`;

let world: L7World;
before(async () => {
  world = await L7World.up(
    MESH +
      program('authorizer', 9000, AUTHORIZER) +
      program('collector', 4318, COLLECTOR) +
      program('sockets', 7000, SOCKETS).replace('istio.io/use-waypoint: none', 'app: sockets'),
  );
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

const ask = (path: string, more: Omit<Asked, 'url'> = {}): Promise<Answered> =>
  world.client.ask({ url: `http://echo${path}`, ...more });
const soon = (what: string, holds: () => Promise<boolean>): Promise<unknown> =>
  eventually(what, async () => ((await holds()) ? true : undefined), 15_000, 100);
const custom = (provider: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: "", kind: Service, name: echo }]
  action: CUSTOM
  provider: { name: ${provider} }
  rules: [{ to: [{ operation: { paths: ["/asked*"] } }] }]
`;

test('CUSTOM: the authorizer decides, and its headers go both ways', async () => {
  await using _policy = await world.apply(custom('authorizer'));
  await soon('it is asked', async () => (await ask('/asked')).status === 403);
  const refused = await ask('/asked');
  assert.deepEqual([refused.body, refused.headers['x-why']], ['the authorizer says no', 'no pass']);
  const allowed = await ask('/asked', { headers: { 'x-pass': 'yes' } });
  assert.equal(allowed.status, 200);
  assert.equal(JSON.parse(allowed.body).headers['x-who'], 'authorized');
  assert.equal((await ask('/free')).status, 200);
});

test('CUSTOM: an authorizer that cannot be had refuses, as does one that nobody knows', async () => {
  for (const provider of ['gone', 'stranger']) {
    await using _policy = await world.apply(custom(provider));
    await soon(`${provider} refuses`, async () => (await ask('/asked')).status === 403);
    assert.equal((await ask('/asked', { headers: { 'x-pass': 'yes' } })).status, 403);
    assert.equal((await ask('/free')).status, 200);
  }
});

test('metrics with Istio’s names and labels, reporter waypoint', async () => {
  for (let i = 0; i < 3; i++) await ask('/counted');
  const pod = (
    await world.mesh.kubectlOk([
      'get',
      'pods',
      '-n',
      NAMESPACE,
      '-l',
      'gateway.networking.k8s.io/gateway-name=waypoint',
      '-o',
      'jsonpath={.items[0].status.podIP}',
    ])
  ).trim();
  const text = await eventually('the counter', async () => {
    const { body } = await world.client.get(`http://${pod}:15020/metrics`);
    return body
      .split('\n')
      .find((line) => line.startsWith('istio_requests_total{') && line.includes('destination_service="echo.')) ===
      undefined
      ? undefined
      : body;
  });
  const line = text
    .split('\n')
    .find(
      (one) =>
        one.startsWith('istio_requests_total{') &&
        one.includes('destination_service="echo.') &&
        one.includes('response_code="200"'),
    );
  for (const label of [
    'reporter="waypoint"',
    'source_workload="client"',
    `source_principal="spiffe://cluster.local/ns/${NAMESPACE}/sa/client"`,
    'destination_service_name="echo"',
    `destination_service_namespace="${NAMESPACE}"`,
    'request_protocol="http"',
    'connection_security_policy="mutual_tls"',
  ])
    assert.ok(line?.includes(label), `${label} in ${line}`);
  assert.match(text, /istio_request_duration_milliseconds_bucket\{/);
});

test('the access log in Istio’s default text', async () => {
  await ask('/logged-request');
  const line = await eventually('the line', async () => {
    const log = await world.mesh.kubectlOk(['logs', '-n', NAMESPACE, 'deploy/waypoint', '--tail=200']);
    return log.split('\n').find((one) => one.includes('/logged-request'));
  });
  assert.match(
    line,
    /^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] "GET \/logged-request HTTP\/1\.1" 200 - via_upstream - "-" 0 \d+ \d+ \d+ "/,
  );
});

test('spans go to the collector with the identities of both ends; the trace is passed on', async () => {
  await using _telemetry = await world.apply(`
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: traces, namespace: ${NAMESPACE} }
spec: { tracing: [{ providers: [{ name: collector }], randomSamplingPercentage: 100, customTags: { shop: { literal: { value: harbour-street } } } }] }
`);
  await soon('a span with the tag arrives', async () => {
    await ask('/traced');
    return (await world.client.get('http://collector:4318/?text=harbour-street')).body === 'true';
  });
  for (const text of ['istio.source_workload', 'istio.destination_workload', 'waypoint'])
    assert.equal((await world.client.get(`http://collector:4318/?text=${text}`)).body, 'true', text);
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const { body } = await ask('/traced', { headers: { traceparent } });
  assert.match(String(JSON.parse(body).headers.traceparent), /^00-0af7651916cd43dd8448eb211c80319c-/);
});

test('WebSocket through the waypoint, by Node’s own client', async () => {
  const script = `
    const socket = new WebSocket('ws://sockets:7000/');
    socket.onopen = () => socket.send('over the mesh');
    socket.onmessage = ({ data }) => { console.log('got ' + data); socket.close(); process.exit(0); };
    socket.onerror = (event) => { console.log('failed ' + event.message); process.exit(1); };
    setTimeout(() => process.exit(2), 10000);`;
  const ran = await world.mesh.kubectl(['exec', '-n', NAMESPACE, 'deploy/client', '--', 'node', '-e', script]);
  assert.equal(ran.stdout.trim(), 'got over the mesh', ran.stderr);
});

test('bodies of a megabyte and more, both ways', async () => {
  const body = 'x'.repeat(3 << 20);
  const answer = await ask('/large', { method: 'POST', body });
  assert.equal(answer.status, 200);
  assert.equal(JSON.parse(answer.body).bodyBytes, body.length);
});

test('replacing and scaling the waypoint loses no request', async () => {
  let over = false;
  const failures: string[] = [];
  let asked = 0;
  const load = (async () => {
    while (!over) {
      const answer = await ask('/steady');
      asked++;
      if (answer.status !== 200) failures.push(`${answer.status} ${answer.error ?? answer.body.slice(0, 80)}`);
    }
  })();
  await world.mesh.kubectlOk(['rollout', 'restart', 'deploy/waypoint', '-n', NAMESPACE]);
  await world.mesh.kubectlOk(['rollout', 'status', 'deploy/waypoint', '-n', NAMESPACE, '--timeout=60s']);
  await new Promise((resolve) => setTimeout(resolve, 3_000)); // the old one is on its way out
  over = true;
  await load;
  assert.deepEqual(failures, []);
  assert.ok(asked > 50, `${asked} requests`);
});
