// Each process of a running mesh is killed under load: what needs no new decision goes on, what is lost comes back by
// itself, nothing captured ever falls back to plain text, and nothing acknowledged is gone.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { eventually, TestMesh } from './support/mesh.ts';

const NAMESPACE = 'ecommerce';
let mesh: TestMesh;

before(async () => {
  mesh = await TestMesh.up({ up: ['--wait', '60s'] });
});
after(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

interface ProcessInfo {
  readonly pid: number;
  readonly ppid: number;
  readonly command: string;
}

function processes(): ProcessInfo[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return state === 'Z' ? [] : [{ pid: Number(name), ppid: Number(ppid), command }];
      } catch {
        return [];
      }
    });
}

/** Everything below the mesh's supervisor, itself included. */
function family(root: number): ProcessInfo[] {
  const all = processes();
  const found = all.filter((p) => p.pid === root);
  for (const p of found) found.push(...all.filter((child) => child.ppid === p.pid));
  return found;
}

const supervisor = async (): Promise<number> =>
  (JSON.parse((await mesh.ambit(['status', '-o', 'json'])).stdout) as { pid: number }).pid;
const members = async (bundle: string): Promise<number[]> =>
  family(await supervisor())
    .filter((p) => p.command.includes(`/dist/${bundle}.mjs`))
    .map((p) => p.pid);

const get = async (from: string, to: string): Promise<string> =>
  (await mesh.kubectl(['exec', '-n', NAMESPACE, `deploy/${from}`, '--', 'node', '/shop/shop.mjs', 'get', to])).stdout;
const works = async (): Promise<true | undefined> =>
  (await get('shopper', 'http://order-service/orders')).startsWith('200') || undefined;
const refuses = async (): Promise<true | undefined> =>
  /ECONNRESET|socket hang up|ECONNREFUSED|no answer/.test(await get('shopper', 'http://payment-service/payments')) ||
  undefined;

/** How many run when all is well: those that a rollout has replaced may still be finishing their connections. */
const USUALLY: Readonly<Record<string, number>> = { ztunnel: 2, 'node-agent': 2, control: 1 };

async function killAll(bundle: string): Promise<void> {
  const victims = await eventually(`processes of ${bundle}`, async () => {
    const pids = await members(bundle);
    return pids.length > 0 ? pids : undefined;
  });
  for (const pid of victims) process.kill(pid, 'SIGKILL');
  await eventually(
    `${bundle} runs again`,
    async () => {
      const now = await members(bundle);
      const enough = now.length >= Math.min(victims.length, USUALLY[bundle] ?? 1);
      return enough && !now.some((pid) => victims.includes(pid)) ? true : undefined;
    },
    40_000,
  );
}

test('SIGKILL of every ztunnel: traffic comes back, never as plain text', async () => {
  await killAll('ztunnel');
  // While no proxy listens, what is captured waits or is refused: an answer of payment would have been plain text.
  for (let i = 0; i < 5; i++)
    assert.equal((await get('shopper', 'http://payment-service/payments')).startsWith('200'), false);
  await eventually('the shop works', works, 30_000);
  await eventually('the refusal holds', refuses);
});

test('`why` still knows the connections that ztunnels told of before they fell, and before they were replaced', async () => {
  const told = async (): Promise<string[]> => {
    const why = await mesh.ambit(['why', '-n', NAMESPACE, 'deploy/shopper', 'payment-service:80', '-o', 'json']);
    return (JSON.parse(why.stdout) as { recent: { time: string }[] }).recent.map(({ time }) => time);
  };
  assert.ok(await refuses());
  const [last] = await eventually('it is told of', async () => {
    const times = await told();
    return times.length > 0 ? times : undefined;
  });
  assert.ok(last !== undefined);
  await killAll('ztunnel');
  assert.ok((await eventually('after the fall', async () => told())).includes(last));
  await mesh.kubectlOk(['rollout', 'restart', 'daemonset/ztunnel', '-n', 'istio-system']);
  await mesh.kubectlOk(['rollout', 'status', 'daemonset/ztunnel', '-n', 'istio-system', '--timeout=60s'], {
    timeoutMs: 70_000,
  });
  await eventually('after the replacement', async () => (await told()).includes(last) || undefined);
  await eventually('the shop works', works, 30_000);
});

test('ztunnel that falls again and again is back within seconds each time', async () => {
  for (let i = 0; i < 3; i++) {
    const began = Date.now();
    await killAll('ztunnel');
    await eventually('the shop works', works, 30_000);
    // By the everyday back-off of pods the third fall would take 20 s.
    assert.ok(Date.now() - began < 10_000, `fall ${i + 1}: ${Date.now() - began} ms`);
  }
});

test('SIGKILL of the node agents: traffic goes on, and new pods join afterwards', async () => {
  await killAll('node-agent');
  assert.ok(await works());
  await mesh.kubectlOk(['rollout', 'restart', 'deployment/product-service', '-n', NAMESPACE]);
  await mesh.kubectlOk(['rollout', 'status', 'deployment/product-service', '-n', NAMESPACE, '--timeout=60s'], {
    timeoutMs: 70_000,
  });
  await eventually('the new pod is in the mesh', async () => {
    const text = await mesh.kubectlOk([
      'get',
      'pods',
      '-n',
      NAMESPACE,
      '-l',
      'app=product-service',
      '-o',
      'jsonpath={.items[*].metadata.annotations.ambient\\.istio\\.io/redirection}',
    ]);
    return text.trim() === 'enabled' || undefined;
  });
  await eventually('the shop works', works);
});

test('SIGKILL of the control plane: traffic goes on, and changes are enforced again', async () => {
  await killAll('control');
  assert.ok(await works());
  await mesh.kubectlOk(['apply', '-f', '-'], {
    input: `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: nobody, namespace: ${NAMESPACE} }\nspec: { selector: { matchLabels: { app: product-service } }, action: DENY, rules: [{}] }\n`,
  });
  await eventually(
    'the new policy is enforced',
    async () => /ECONNRESET|socket hang up/.test(await get('shopper', 'http://product-service/products')) || undefined,
    30_000,
  );
  await mesh.kubectlOk(['delete', 'authorizationpolicy', 'nobody', '-n', NAMESPACE]);
  await eventually(
    'and gone again',
    async () => (await get('shopper', 'http://product-service/products')).startsWith('200') || undefined,
    30_000,
  );
});

test('SIGKILL of the API while it is written to: no acknowledged object is gone', async () => {
  const acknowledged: string[] = [];
  let going = true;
  const writer = (async () => {
    for (let i = 0; going; i++) {
      const ran = await mesh.kubectl(['create', 'configmap', `written-${i}`]);
      if (ran.code === 0) acknowledged.push(`configmap/written-${i}`);
    }
  })();
  await eventually('some writes', () => acknowledged.length > 3 || undefined);
  await killAll('api');
  going = false;
  await writer;
  const there = await eventually('the API answers', async () =>
    (await mesh.kubectlOk(['get', 'configmaps', '-o', 'name'])).split('\n'),
  );
  assert.deepEqual(
    acknowledged.filter((name) => !there.includes(name)),
    [],
  );
  assert.ok(await works());
});

test('SIGKILL of the supervisor: everything of the room is gone, and `up` brings back every object', async () => {
  const before = (
    await mesh.kubectlOk(['get', 'deployments,services,authorizationpolicies,configmaps', '-A', '-o', 'name'])
  )
    .trim()
    .split('\n')
    .sort();
  const root = await supervisor();
  const all = family(root).map((p) => p.pid);
  assert.ok(all.length > 10);
  process.kill(root, 'SIGKILL');
  await eventually('no process is left', () => processes().every((p) => !all.includes(p.pid)) || undefined);
  const mounts = execFileSync('cat', ['/proc/mounts'], { encoding: 'utf8' });
  assert.equal(mounts.includes(mesh.home), false);
  const again = await mesh.ambit(['up', '--detach', '--wait', '60s']);
  assert.equal(again.code, 0, again.stderr);
  const now = (
    await mesh.kubectlOk(['get', 'deployments,services,authorizationpolicies,configmaps', '-A', '-o', 'name'])
  )
    .trim()
    .split('\n')
    .sort();
  assert.deepEqual(
    before.filter((name) => !now.includes(name)),
    [],
  );
  await eventually('the shop works', works);
});

test('`down` leaves nothing', async () => {
  const all = family(await supervisor()).map((p) => p.pid);
  const down = await mesh.ambit(['down']);
  assert.equal(down.code, 0, down.stderr);
  assert.equal(
    processes().some((p) => all.includes(p.pid)),
    false,
  );
  assert.equal((await mesh.ambit(['down'])).code, 0, 'safe to repeat');
});
