// What a user gets wrong: each is refused with what, why and how to fix, a non-zero exit code, and nothing lost.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, type Ran, TestMesh } from './support/mesh.ts';

let mesh: TestMesh;
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ambit-manifests-'));
  mesh = await TestMesh.up({ up: ['--empty', '--wait', '60s'] });
  await mesh.kubectlOk(['create', 'configmap', 'there', '--from-literal=a=1']);
});
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  await mesh?.[Symbol.asyncDispose]();
});

const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const apply = (text: string, ...flags: string[]): Promise<Ran> =>
  mesh.ambit(['up', '--detach', '-f', file('in.yaml', text), ...flags]);
const refusal = (ran: Ran): string => {
  assert.notEqual(ran.code, 0);
  assert.match(ran.stderr, /^what {2}.+\nwhy {3}.+/m);
  assert.match(ran.stderr, /^fix {3}.+/m);
  return ran.stderr;
};
const untouched = async (): Promise<void> =>
  assert.equal(await mesh.kubectlOk(['get', 'configmap', 'there', '-o', 'jsonpath={.data.a}']), '1');
const pod = (name: string, image: string, more = ''): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: { name: ${name}, namespace: default }\nspec:\n  containers:\n    - { name: c, image: ${image} }\n${more}`;

test('YAML that does not parse is named with file and line, and nothing is applied', async () => {
  const ran = await apply(`${pod('fine', 'ambit/echo')}---\nkind: [unclosed\n`);
  assert.match(refusal(ran), /in\.yaml:\d+/);
  assert.equal((await mesh.kubectl(['get', 'pod', 'fine'])).code, 1);
  await untouched();
});

test('a kind that nobody serves, and a field that does not exist', async () => {
  assert.match(refusal(await apply('apiVersion: v1\nkind: Wizard\nmetadata: { name: w }\n')), /no kind `Wizard`/);
  const strict = await mesh.kubectl(['apply', '--validate=strict', '-f', '-'], {
    input: pod('typo', 'ambit/echo', '  restartPolcy: Never\n'),
  });
  assert.notEqual(strict.code, 0);
  assert.match(strict.stderr, /unknown field "spec\.restartPolcy"/);
  await untouched();
});

test('an image that nobody can resolve: the pod says what to do, and the command does not wait for ever', async () => {
  const ran = await apply(pod('lost', 'registry.example/nobody/knows:1'), '--wait', '20s');
  assert.match(refusal(ran), /ImagePullBackOff|ErrImagePull/);
  assert.match(ran.stderr, /--image/);
  await mesh.kubectlOk(['delete', 'pod', 'lost']);
  await untouched();
});

test('an object that the API refuses keeps the others from nothing', async () => {
  const ran = await apply(
    'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: good }\ndata: { a: b }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: Not_A_Name }\n',
  );
  assert.match(refusal(ran), /Not_A_Name/);
  await mesh.kubectlOk(['get', 'configmap', 'good']);
  await untouched();
});

test('another number of nodes is refused while it runs, a bad flag at once', async () => {
  assert.match(refusal(await mesh.ambit(['up', '--detach', '--empty', '--nodes', '5'])), /runs already/);
  assert.equal((await mesh.ambit(['up', '--nodes', 'many'])).code, 2);
  assert.equal((await mesh.ambit(['up', '--wait', 'soon'])).code, 2);
  await untouched();
});

test('a port in use: the pod says so in its log and is restarted with back-off', async () => {
  const command = `["node", "-e", "require('net').createServer().listen(8080); require('net').createServer().on('error', (e) => { console.error(e.code); process.exit(1); }).listen(8080)"]`;
  await mesh.kubectlOk(['apply', '-f', '-'], {
    input: `apiVersion: v1\nkind: Pod\nmetadata: { name: twice }\nspec:\n  containers:\n    - { name: c, image: node, command: ${command} }\n`,
  });
  await eventually(
    'the log',
    async () =>
      (await mesh.kubectlOk(['logs', 'twice'])).includes('EADDRINUSE') ||
      (await mesh.kubectl(['logs', 'twice', '--previous'])).stdout.includes('EADDRINUSE') ||
      undefined,
  );
  await eventually(
    'a restart',
    async () =>
      Number(
        await mesh.kubectlOk(['get', 'pod', 'twice', '-o', 'jsonpath={.status.containerStatuses[0].restartCount}']),
      ) >= 1 || undefined,
  );
  await mesh.kubectlOk(['delete', 'pod', 'twice', '--grace-period=0', '--force']);
});

test('a mesh whose state folder cannot be used says so', async () => {
  const other = TestMesh.create();
  try {
    writeFileSync(join(other.home, other.name), 'a file where the folder should be');
    assert.match(refusal(await other.ambit(['up', '--detach', '--empty'])), /state folder/);
  } finally {
    rmSync(join(other.home, other.name));
    await other[Symbol.asyncDispose]();
  }
});

test('two meshes run side by side, and ending one leaves the other', async () => {
  const other = await TestMesh.up({ up: ['--empty', '--wait', '60s'] });
  await other.kubectlOk(['create', 'configmap', 'mine']);
  assert.equal((await mesh.kubectl(['get', 'configmap', 'mine'])).code, 1);
  await other[Symbol.asyncDispose]();
  await untouched();
});

test('the API answers nobody without a credential', async () => {
  const server = new URL(
    (await mesh.kubectlOk(['config', 'view', '--raw', '-o', 'jsonpath={.clusters[0].cluster.server}'])).trim(),
  );
  assert.equal(server.hostname, '127.0.0.1');
  process.env.NODE_NO_WARNINGS = '1';
  const { request } = await import('node:https');
  const status = await new Promise<number>((resolve, reject) => {
    const call = request(
      { host: server.hostname, port: server.port, path: '/api/v1/secrets', rejectUnauthorized: false },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    call.on('error', reject);
    call.end();
  });
  assert.equal(status, 401);
});

test('the port of the API is taken by somebody else after a crash: the mesh comes back on another', async () => {
  const status = JSON.parse((await mesh.ambit(['status', '-o', 'json'])).stdout) as { pid: number; apiPort: number };
  process.kill(status.pid, 'SIGKILL');
  await eventually('the room has ended', async () => (await mesh.ambit(['status'])).code === 1 || undefined);
  const squatter = createServer();
  await eventually(
    'the port is free',
    () =>
      new Promise<true | undefined>((resolve) => {
        squatter.once('error', () => resolve(undefined));
        squatter.listen(status.apiPort, '127.0.0.1', () => resolve(true));
      }),
  );
  try {
    const again = await mesh.ambit(['up', '--detach', '--empty', '--wait', '60s']);
    assert.equal(again.code, 0, again.stderr);
    await untouched();
  } finally {
    squatter.close();
  }
});
