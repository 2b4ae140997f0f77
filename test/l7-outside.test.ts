// What is outside the mesh behind a waypoint: ServiceEntries of every resolution, their routes and policies, and TLS that
// the waypoint begins. Pods of a namespace without the mesh's label stand for the outside.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestAuthority } from '../src/dataplane/testing/authority.ts';
import type { Answered } from './support/client-pod.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';
import { nodeServer } from './support/node-server.ts';

const HTTP = `
import http from 'node:http';
import { hostname } from 'node:os';
http.createServer((request, response) => {
  response.end(JSON.stringify({ pod: hostname(), host: request.headers.host, url: request.url }));
}).listen(8080);
`;
const HTTPS = `
import https from 'node:https';
import { readFileSync } from 'node:fs';
https.createServer({ key: readFileSync('/secret/tls.key'), cert: readFileSync('/secret/tls.crt') }, (request, response) => {
  response.end(JSON.stringify({ sni: request.socket.servername, host: request.headers.host }));
}).listen(8443);
`;
const entry = (name: string, spec: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec: ${spec}
---`;
const HTTP_PORT = 'ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8080 }]';
const TO_TLS = 'ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8443 }]';
const SECURE = 'endpoints: [{ address: secure.outside.svc.cluster.local }]';
const entries = `
${entry('by-name', `{ hosts: [name.example], resolution: DNS, ${HTTP_PORT}, endpoints: [{ address: plain.outside.svc.cluster.local }] }`)}
${entry('wildcard', `{ hosts: ["*.many.outside.svc.cluster.local"], location: MESH_EXTERNAL, resolution: DYNAMIC_DNS, ports: [{ number: 8080, name: http, protocol: HTTP }] }`)}
${entry('by-rule', `{ hosts: [rule.example], resolution: DNS, ${TO_TLS}, ${SECURE} }`)}
${entry('by-policy', `{ hosts: [policy.example], resolution: DNS, ${TO_TLS}, ${SECURE} }`)}
${entry('doubted', `{ hosts: [doubted.example], resolution: DNS, ${TO_TLS}, ${SECURE} }`)}
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: by-rule, namespace: ${NAMESPACE} }
spec:
  host: rule.example
  trafficPolicy: { tls: { mode: SIMPLE, sni: secure.example, subjectAltNames: [secure.example], credentialName: authority } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: doubted, namespace: ${NAMESPACE} }
spec:
  host: doubted.example
  trafficPolicy: { tls: { mode: SIMPLE, sni: secure.example, subjectAltNames: [another.example], credentialName: authority } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: by-policy, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: networking.istio.io, kind: ServiceEntry, name: by-policy }]
  validation: { hostname: secure.example, caCertificateRefs: [{ group: "", kind: ConfigMap, name: authority }] }
---`;
/** On the node's own address, which is no workload's: an address that is both counts as the workload. */
const NODE_POD = `
apiVersion: v1
kind: Pod
metadata: { name: machine, namespace: outside, labels: { app: machine } }
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers: [{ name: main, image: "node:24", command: ${JSON.stringify(['node', '--input-type=module', '-e', HTTP.replace('hostname()', "'machine'").replace('8080', '18080')])}, readinessProbe: { tcpSocket: { port: 18080 } } }]
---`;
const many = (name: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: outside, labels: { app: many } }
spec:
  hostname: ${name}
  subdomain: many
  terminationGracePeriodSeconds: 0
  containers: [{ name: main, image: "node:24", command: ${JSON.stringify(['node', '--input-type=module', '-e', HTTP])}, readinessProbe: { tcpSocket: { port: 8080 } } }]
---`;

let world: L7World;
before(async () => {
  const authority = await TestAuthority.create();
  const { certificatePem, privateKeyPem } = await authority.server('secure.example');
  const objects = [
    { kind: 'Namespace', metadata: { name: 'outside' } },
    {
      kind: 'Secret',
      metadata: { name: 'cert', namespace: 'outside' },
      stringData: { 'tls.crt': certificatePem, 'tls.key': privateKeyPem },
    },
    {
      kind: 'Secret',
      metadata: { name: 'authority', namespace: NAMESPACE },
      stringData: { cacert: authority.rootPem },
    },
    { kind: 'ConfigMap', metadata: { name: 'authority', namespace: NAMESPACE }, data: { 'ca.crt': authority.rootPem } },
  ].map((object) => `${JSON.stringify({ apiVersion: 'v1', ...object })}\n---\n`);
  world = await L7World.up(
    `${objects.join('')}${nodeServer({ name: 'plain', namespace: 'outside', port: 8080, program: { text: HTTP } })}
${nodeServer({ name: 'secure', namespace: 'outside', port: 8443, program: { text: HTTPS }, secret: 'cert' })}
apiVersion: v1
kind: Service
metadata: { name: many, namespace: outside }
spec: { clusterIP: None, selector: { app: many }, ports: [{ name: http, port: 8080 }] }
---${NODE_POD}${many('one')}${many('two')}${entries}`,
  );
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

const get = (url: string): Promise<Answered> => world.client.get(url);
const soon = (what: string, holds: () => Promise<boolean>): Promise<unknown> =>
  eventually(what, async () => ((await holds()) ? true : undefined), 15_000, 100);
interface Told {
  readonly pod?: string;
  readonly host?: string;
  readonly sni?: string;
}
async function told(url: string): Promise<Told> {
  return eventually(`an answer of ${url}`, async () => {
    const answer = await get(url);
    assert.equal(answer.status, 200, answer.body || answer.error);
    return JSON.parse(answer.body) as Told;
  });
}
const addressOf = async (app: string): Promise<string> =>
  (
    await world.mesh.kubectlOk([
      'get',
      'pods',
      '-n',
      'outside',
      '-l',
      `app=${app}`,
      '-o',
      'jsonpath={.items[0].status.podIP}',
    ])
  ).trim();
/** A mark on answers shows that they came through the waypoint. */
const mark = (name: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ group: networking.istio.io, kind: ServiceEntry, name: ${name} }]
  rules:
    - filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-mark, value: ${name} }] } }]
      backendRefs: [{ group: networking.istio.io, kind: Hostname, name: HOST, port: 80 }]
---`;

test('DNS: a name outside, with a route and a policy', async () => {
  assert.match((await told('http://name.example/')).pod ?? '', /^plain-/);
  await using _objects = await world.apply(`${mark('by-name').replace('HOST', 'name.example')}
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: by-name, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: networking.istio.io, kind: ServiceEntry, name: by-name }]
  action: DENY
  rules: [{ to: [{ operation: { paths: [/denied] } }] }]
`);
  await soon('the policy is in force', async () => (await get('http://name.example/denied')).status === 403);
  await soon('the route is in force', async () => (await get('http://name.example/')).headers['x-mark'] === 'by-name');
});

test('STATIC: endpoints by address', async () => {
  await using _entry = await world.apply(
    entry(
      'static',
      `{ hosts: [static.example], resolution: STATIC, ${HTTP_PORT}, endpoints: [{ address: ${await addressOf('plain')} }] }`,
    ) + mark('static').replace('HOST', 'static.example'),
  );
  await soon('it is routed', async () => (await get('http://static.example/')).headers['x-mark'] === 'static');
  assert.equal((await told('http://static.example/')).host, 'static.example');
});

test('NONE: the address that was asked for', async () => {
  const ip = await addressOf('machine');
  await using _entry = await world.apply(
    entry(
      'none',
      `{ hosts: [none.example], addresses: [${ip}], resolution: NONE, ports: [{ number: 18080, name: http, protocol: HTTP }] }`,
    ) +
      `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: none, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: networking.istio.io, kind: ServiceEntry, name: none }]
  action: DENY
  rules: [{ to: [{ operation: { paths: [/denied] } }] }]
`,
  );
  await soon('the policy is in force', async () => (await get(`http://${ip}:18080/denied`)).status === 403);
  assert.equal((await told(`http://${ip}:18080/`)).pod, 'machine');
});

test('DYNAMIC_DNS: every name below a wildcard is looked up as it is asked for', async () => {
  for (const name of ['one', 'two'])
    assert.equal((await told(`http://${name}.many.outside.svc.cluster.local:8080/`)).pod, name);
  assert.equal((await get('http://three.many.outside.svc.cluster.local:8080/')).status, 503);
});

test('TLS is begun by the waypoint: by DestinationRule, by BackendTLSPolicy, and not with somebody else', async () => {
  assert.deepEqual(await told('http://rule.example/'), { sni: 'secure.example', host: 'rule.example' });
  assert.deepEqual(await told('http://policy.example/'), { sni: 'secure.example', host: 'policy.example' });
  const doubted = await get('http://doubted.example/');
  assert.equal(doubted.status, 503, doubted.body);
});
