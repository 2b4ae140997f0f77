// Bytes between the nodes of a mesh: TLS on the tunnel port, and never what the applications said to each other.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, ROOT, TestMesh } from './support/mesh.ts';

interface Segment {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly payload: string;
}

const SECRET = 'the-word-that-must-not-be-seen';
const SERVER = `require('http').createServer((q, r) => r.end('${SECRET} ' + q.url)).listen(8080)`;
const pods = `
apiVersion: v1
kind: Namespace
metadata: { name: wire, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: v1
kind: Pod
metadata: { name: server, namespace: wire, labels: { app: server } }
spec:
  nodeName: node-1
  containers: [{ name: c, image: node, command: [node, -e, "${SERVER}"], readinessProbe: { tcpSocket: { port: 8080 } } }]
---
apiVersion: v1
kind: Service
metadata: { name: server, namespace: wire }
spec: { selector: { app: server }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: client, namespace: wire }
spec: { nodeName: node-2, containers: [{ name: c, image: node, command: [node, -e, "setInterval(() => {}, 1e6)"] }] }
`;

let mesh: TestMesh;
before(async () => {
  mesh = await TestMesh.up({ up: ['-f', '-', '--wait', '60s'], input: pods });
});
after(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

/** Process 1 of the room, as the host sees it: the child of the supervisor's `unshare`. */
function roomPid(supervisor: number): number {
  const childrenOf = (pid: number): number[] =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((each) => {
        try {
          const stat = readFileSync(`/proc/${each}/stat`, 'utf8');
          return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid;
        } catch {
          return false;
        }
      });
  const [unshare] = childrenOf(supervisor);
  const [room] = unshare === undefined ? [] : childrenOf(unshare);
  if (room === undefined) throw new Error('the room has no process');
  return room;
}

async function captureWhile(action: () => Promise<void>): Promise<Segment[]> {
  const { pid } = JSON.parse((await mesh.ambit(['status', '-o', 'json'])).stdout) as { pid: number };
  const user = process.getuid?.() === 0 ? [] : ['--user', '--preserve-credentials'];
  const args = [
    '--target',
    String(roomPid(pid)),
    ...user,
    '--net',
    process.execPath,
    join(ROOT, 'test/support/capture-fabric.ts'),
  ];
  const child = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (part) => {
    output += part;
  });
  await eventually('the capture has begun', () => output.includes('capturing') || undefined);
  await action();
  child.stdin.end();
  await once(child, 'close');
  return output
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => JSON.parse(line) as Segment);
}

const ask = async (): Promise<string> =>
  (
    await mesh.kubectl([
      'exec',
      '-n',
      'wire',
      'client',
      '--',
      'node',
      '-e',
      `fetch('http://server/hello').then((r) => r.text()).then(console.log)`,
    ])
  ).stdout;
const between = (segments: readonly Segment[]): Segment[] =>
  segments.filter(
    (s) =>
      s.source.startsWith('10.244.') &&
      s.destination.startsWith('10.244.') &&
      s.source.split('.')[2] !== s.destination.split('.')[2],
  );
const says = (s: Segment, text: string): boolean => Buffer.from(s.payload, 'base64').includes(text);

test('between nodes there is TLS 1.3 on the tunnel port, and nothing readable', async () => {
  await eventually('the pods talk', async () => (await ask()).includes(SECRET) || undefined);
  const segments = between(
    await captureWhile(async () => {
      assert.ok((await ask()).includes(SECRET));
    }),
  );
  const tunnel = segments.filter((s) => s.destinationPort === 15008 || s.sourcePort === 15008);
  assert.ok(tunnel.length > 0, 'nothing was captured');
  assert.equal(
    segments.some((s) => says(s, SECRET) || says(s, 'GET /hello')),
    false,
  );
  // TLS records: handshake or application data, version 3.x.
  const first = tunnel
    .map((s) => Buffer.from(s.payload, 'base64'))
    .filter((b) => b.length > 5 && [20, 21, 22, 23].includes(b[0] as number) && b[1] === 3);
  assert.ok(first.length > 0);
  const others = segments.filter(
    (s) => !tunnel.includes(s) && (s.destinationPort === 8080 || s.sourcePort === 8080 || s.destinationPort === 80),
  );
  assert.deepEqual(others, []);
});

test('the capture would see plain text: outside the mesh it does', async () => {
  await mesh.kubectlOk(['label', 'namespace', 'wire', 'istio.io/dataplane-mode-']);
  await eventually('the pods are out of the mesh', async () => {
    const text = await mesh.kubectlOk(['get', 'pods', '-n', 'wire', '-o', 'jsonpath={.items[*].metadata.annotations}']);
    return !text.includes('redirection') || undefined;
  });
  const segments = between(
    await captureWhile(async () => {
      assert.ok((await ask()).includes(SECRET));
    }),
  );
  assert.ok(segments.some((s) => says(s, SECRET)));
  await mesh.kubectlOk(['label', 'namespace', 'wire', 'istio.io/dataplane-mode=ambient']);
});

test('an open connection that a new policy forbids is closed', async () => {
  await eventually('the pods are back in the mesh', async () => {
    const text = await mesh.kubectlOk(['get', 'pods', '-n', 'wire', '-o', 'jsonpath={.items[*].metadata.annotations}']);
    return text.split('enabled').length === 3 || undefined;
  });
  const script = `
    const s = require('net').connect(80, 'server');
    const say = () => s.write('GET /again HTTP/1.1\\r\\nhost: server\\r\\n\\r\\n');
    let answers = 0;
    s.on('connect', say);
    s.on('data', () => { if (++answers === 1) console.log('open'); setTimeout(say, 50); });
    s.on('error', (e) => { console.log('closed', e.code); process.exit(0); });
    s.on('close', () => { console.log('closed'); process.exit(0); });`;
  const child = mesh.spawnKubectl(['exec', '-n', 'wire', 'client', '--', 'node', '-e', script]);
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (part) => {
    output += part;
  });
  await eventually('the connection is open', () => output.includes('open') || undefined);
  await mesh.kubectlOk(['apply', '-f', '-'], {
    input:
      'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: nobody, namespace: wire }\nspec: { action: DENY, rules: [{}] }\n',
  });
  await eventually('it is closed', () => output.includes('closed') || undefined, 5000);
  const logs = await mesh.kubectlOk(['logs', '-n', 'istio-system', '-l', 'app=ztunnel', '--tail=100']);
  assert.match(logs, /connection closed due to policy change/);
});

test('what pods may not reach outside is reset at once, and never dialled from the host', async () => {
  const script = `const s = require('net').connect(80, '169.254.169.254'); s.on('error', (e) => console.log(e.code)); s.on('close', () => console.log('closed')); s.setTimeout(8000, () => s.destroy(new Error('hangs')));`;
  const output = await mesh.kubectlOk(['exec', '-n', 'wire', 'client', '--', 'node', '-e', script]);
  assert.match(output, /ECONNRESET|^closed/);
});
