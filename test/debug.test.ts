// Looking into a running pod: `kubectl debug`, and HTTP through the API to pods and services.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, TestMesh } from './support/mesh.ts';

const PODS = `apiVersion: v1
kind: Pod
metadata: { name: web, namespace: default, labels: { app: web } }
spec: { containers: [{ name: web, image: ambit/echo, ports: [{ containerPort: 8080, name: http }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: http }] }
`;
let mesh: TestMesh;
const AS_USER = `apiVersion: v1
kind: Pod
metadata: { name: plain-user, namespace: default }
spec:
  securityContext: { runAsUser: 1234, runAsGroup: 2345 }
  volumes: [{ name: data, emptyDir: {} }]
  containers:
    - name: main
      image: busybox
      command: [sh, -c, "id -u; id -g; echo kept > /data/file && cat /data/file; echo again > /dev/stdout; grep CapEff /proc/self/status; exec sleep 1000"]
      volumeMounts: [{ name: data, mountPath: /data }]
`;

before(async () => {
  mesh = await TestMesh.up({ up: ['--nodes', '1', '-f', '-'], input: PODS });
});
after(() => mesh?.[Symbol.asyncDispose]());

test("kubectl debug adds a container that shares the pod's network; its logs are there", async () => {
  const script = 'echo "asking"; curl -s http://127.0.0.1:8080/from-inside';
  await mesh.kubectlOk(['debug', 'web', '--image=busybox', '-c', 'looker', '--', 'sh', '-c', script]);
  const said = await eventually('it has looked', async () => {
    const { stdout } = await mesh.kubectl(['logs', 'web', '-c', 'looker']);
    return stdout.includes('from-inside') ? stdout : undefined;
  });
  assert.match(said, /^asking\n/);
  const at = '{.status.ephemeralContainerStatuses[*].state.terminated.reason}';
  await eventually('its status is told', async () =>
    (await mesh.kubectlOk(['get', 'pod', 'web', '-o', `jsonpath=${at}`])) === 'Completed' ? true : undefined,
  );
  assert.match(await mesh.kubectlOk(['describe', 'pod', 'web']), /Ephemeral Containers:\n +looker:/);
  assert.equal(await mesh.kubectlOk(['get', 'pod', 'web', '-o', 'jsonpath={.status.phase}']), 'Running');
});

test('the next room shows what the debugger came to, and does not start it again', async () => {
  const at = '{.status.ephemeralContainerStatuses[*].state.terminated.finishedAt}';
  const before = await mesh.kubectlOk(['get', 'pod', 'web', '-o', `jsonpath=${at}`]);
  assert.equal((await mesh.ambit(['down'])).code, 0);
  const up = await mesh.ambit(['up', '--detach', '--nodes', '1', '--empty']);
  assert.equal(up.code, 0, up.stderr);
  await mesh.kubectlOk(['wait', '--for=condition=Ready', 'pod/web', '--timeout=30s']);
  await mesh.kubectlOk(['label', 'pod', 'web', 'seen=again']);
  assert.equal(await mesh.kubectlOk(['get', 'pod', 'web', '-o', `jsonpath=${at}`]), before);
});

test('a pod and a service are reached through the API', async () => {
  for (const at of ['pods/web', 'pods/web:8080', 'services/web', 'services/web:80', 'services/http:web:80']) {
    const path = `/api/v1/namespaces/default/${at}/proxy/some%20where?q=1`;
    const got = JSON.parse(await mesh.kubectlOk(['get', '--raw', path])) as {
      path: string;
      query: unknown;
      pod: string;
    };
    assert.deepEqual([got.path, got.query, got.pod], ['/some%20where', { q: '1' }, 'web'], at);
  }
  const gone = await mesh.kubectl(['get', '--raw', '/api/v1/namespaces/default/pods/web:9/proxy/']);
  assert.match(gone.stderr, /error trying to reach pod: connect ECONNREFUSED/);
});

for (const as of ['caller', 'user'] as const)
  test(`runAsUser, in a room made by ${as === 'user' ? 'an ordinary user' : 'the caller'}`, async (t) => {
    const other = await TestMesh.up({ as, up: ['--nodes', '1', '-f', '-'], input: AS_USER });
    t.after(() => other[Symbol.asyncDispose]());
    const log = await eventually('it has spoken', async () => {
      const said = await other.kubectlOk(['logs', 'plain-user']);
      return said.includes('CapEff') ? said : undefined;
    });
    // Only root may have other users in its room.
    const can = as === 'caller' && process.getuid?.() === 0;
    assert.match(log, new RegExp(`^${can ? '1234\\n2345' : '0\\n0'}\\nkept\\nagain\\nCapEff:\\s+0000000000000000\\n`));
    const inside = await other.kubectlOk(['exec', 'plain-user', '--', 'id', '-u']);
    assert.equal(inside, can ? '1234\n' : '0\n');
    const told = await other.kubectlOk(['get', 'events', '--field-selector', 'reason=UserNotChanged', '-o', 'name']);
    assert.equal(told !== '', !can);
  });

test('a program that lies where only its owner gets to runs as root all the same, and the pod says so', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-closed-')); // mode 0700
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, 'app');
  writeFileSync(program, '#!/bin/sh\nid -u\nexec sleep 1000\n', { mode: 0o755 });
  const pod = `apiVersion: v1
kind: Pod
metadata: { name: closed, namespace: default }
spec: { containers: [{ name: main, image: closed/app, securityContext: { runAsUser: 1234 } }] }
`;
  const up = ['--nodes', '1', '--image', `closed/app=${program}`, '-f', '-'];
  const other = await TestMesh.up({ up, input: pod });
  t.after(() => other[Symbol.asyncDispose]());
  const said = await eventually('it has spoken', async () => (await other.kubectlOk(['logs', 'closed'])) || undefined);
  assert.equal(said, '0\n');
  const told = ['get', 'events', '--field-selector', 'reason=UserNotChanged', '-o', 'jsonpath={.items[*].message}'];
  assert.match(await other.kubectlOk(told), /Container main runs as root instead of 1234:0: /);
});
