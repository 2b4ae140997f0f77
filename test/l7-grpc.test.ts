// gRPC by a real client and a real server (Connect's, over HTTP/2), through a waypoint and through a gateway.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { listenerUrl } from './support/gateway-url.ts';
import { type Call, callAll, type Outcome } from './support/grpc-caller.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';
import { nodeServer, programPath } from './support/node-server.ts';

const GATEWAY = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: ${NAMESPACE} }
spec:
  gatewayClassName: istio
  listeners: [{ name: grpc, port: 8082, protocol: HTTP }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: edge, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ name: edge }]
  rules: [{ matches: [{ method: { service: ambit.test.Talk } }], backendRefs: [{ name: talker, port: 50051 }] }]
---`;

let world: L7World;
before(async () => {
  world = await L7World.up(
    nodeServer({
      name: 'talker',
      port: 50051,
      program: { file: 'grpc-talker.ts' },
      ports: '[{ name: grpc, port: 50051 }]',
    }) + GATEWAY,
  );
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

/** Calls from the client's pod. */
async function calls(...list: readonly Call[]): Promise<Outcome[]> {
  const command = ['node', programPath('grpc-caller.ts'), 'http://talker:50051', JSON.stringify(list)];
  return JSON.parse(await world.mesh.kubectlOk(['exec', '-n', NAMESPACE, 'deploy/client', '--', ...command]));
}
const say: Call = { method: 'Say', texts: ['hello'], headers: { 'x-metadata': 'over the mesh' } };
const count: Call = { method: 'Count', texts: ['50'] };
const chat: Call = { method: 'Chat', texts: ['one', 'two', 'three'] };
const ALL: readonly Call[] = [
  say,
  { method: 'Say', texts: ['fail 9'] },
  count,
  chat,
  { method: 'Wait', texts: [], deadlineMs: 400 },
];

function assertAll([unary, failed, counted, chatted, waited]: readonly Outcome[]): void {
  assert.deepEqual([unary?.code, unary?.texts], [0, ['hello']], unary?.message);
  assert.equal(unary?.trailer['x-length'], '5', 'trailers arrive');
  assert.equal(unary?.trailer['x-metadata'], 'over the mesh');
  assert.deepEqual([failed?.code, failed?.message], [9, 'as asked']);
  assert.equal(counted?.texts.length, 50, counted?.message);
  assert.deepEqual(chatted?.texts, ['you said one', 'you said two', 'you said three'], chatted?.message);
  assert.equal(waited?.code, 4, 'its deadline is over');
}

test('unary, both kinds of streams, errors, trailers and deadlines through a waypoint', async () => {
  await eventually('the server answers', async () => ((await calls(say))[0]?.code === 0 ? true : undefined));
  assertAll(await calls(...ALL));
});

test('the same through a gateway', async () => {
  const url = await listenerUrl(world.mesh, 'grpc');
  await eventually('the route is in force', async () =>
    (await callAll(url, [say]))[0]?.code === 0 ? true : undefined,
  );
  assertAll(await callAll(url, ALL));
});

test('GRPCRoute by service and method; what matches nothing is unimplemented', async () => {
  await using _route = await world.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: talker, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ group: "", kind: Service, name: talker }]
  rules:
    - matches: [{ method: { service: ambit.test.Talk, method: Say }, headers: [{ name: x-metadata, value: routed }] }]
      filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-metadata, value: changed }] } }]
      backendRefs: [{ name: talker, port: 50051 }]
    - matches: [{ method: { method: Chat } }]
      backendRefs: [{ name: talker, port: 50051 }]
`);
  const routed: Call = { ...say, headers: { 'x-metadata': 'routed' } };
  const [changed, unmatched, chatted, counted] = await eventually('the route is in force', async () => {
    const outcomes = await calls(routed, say, chat, count);
    return outcomes[1]?.code !== 0 ? outcomes : undefined;
  });
  assert.equal(changed?.trailer['x-metadata'], 'changed', changed?.message);
  assert.equal(chatted?.texts.length, 3, chatted?.message);
  assert.deepEqual([unmatched?.code, counted?.code], [12, 12]);
});

test('a policy refuses with status 7, by path of service and method', async () => {
  await using _policy = await world.apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: talker, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: "", kind: Service, name: talker }]
  action: DENY
  rules: [{ to: [{ operation: { paths: ["/ambit.test.Talk/Say"] } }] }]
`);
  const [refused, counted] = await eventually('the policy is in force', async () => {
    const outcomes = await calls(say, count);
    return outcomes[0]?.code !== 0 ? outcomes : undefined;
  });
  assert.equal(refused?.code, 7);
  assert.match(refused.message, /RBAC: access denied/);
  assert.equal(counted?.code, 0, counted?.message);
});

test('metrics tell gRPC and its status apart', async () => {
  const pod = await world.mesh.kubectlOk([
    'get',
    'pods',
    '-n',
    NAMESPACE,
    '-l',
    'gateway.networking.k8s.io/gateway-name=waypoint',
    '-o',
    'jsonpath={.items[0].status.podIP}',
  ]);
  const { body } = await world.client.get(`http://${pod.trim()}:15020/metrics`);
  const lines = body.split('\n').filter((line) => line.includes('request_protocol="grpc"'));
  for (const status of ['0', '7', '9', '12'])
    assert.ok(
      lines.some(
        (line) => line.startsWith('istio_requests_total{') && line.includes(`grpc_response_status="${status}"`),
      ),
      `status ${status} in ${lines.join('\n')}`,
    );
  assert.ok(
    lines.some((line) => line.startsWith('istio_response_messages_total{')),
    'messages are counted',
  );
});
