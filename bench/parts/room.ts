// What a user waits for: the shop and an empty mesh up (a detached `ambit up` from its first byte to its exit), a namespace
// labelled until each of its running pods is captured, a policy written until the next connection is refused.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { connectKube, type HttpKubeClient } from '../../src/kube/client/client.ts';
import { connectPod } from '../../src/kube/client/portforward.ts';
import { AUTHORIZATION_POLICIES, NAMESPACES, PODS } from '../../src/kube/client/resources.ts';
import type { Part, PartOptions } from '../part.ts';
import type { Row } from '../report.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const NAMESPACE = 'ecommerce';
const REDIRECTION = 'ambient.istio.io/redirection';
const PROBER_PORT = 9000;

/** Connects every 3 ms, and remembers when that began to work or to fail. */
const PROBER = `
const http = require('http'); const changes = []; let last = '';
const note = (state) => { if (state !== last) { last = state; changes.push({ state, atMs: Date.now() }); } };
const turn = () => { const again = () => setTimeout(turn, 3);
  http.get('http://product-service/products', { agent: false, timeout: 2000 }, (r) => { r.resume(); r.on('end', () => { note('answered'); again(); }); })
    .on('timeout', function () { this.destroy(); }).on('error', () => { note('refused'); again(); }); };
turn(); http.createServer((q, r) => r.end(JSON.stringify(changes))).listen(${PROBER_PORT}, '127.0.0.1');`;

const median = (list: readonly number[]): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;

export const room: Part = {
  name: 'room',
  title: 'A whole mesh',
  async run(options: PartOptions): Promise<readonly Row[]> {
    const home = mkdtempSync(join(tmpdir(), 'ambit-bench-'));
    const ambit = (...args: string[]): Promise<number> => timed(home, args);
    try {
      await ambit('version'); // bundles and compile cache are there, as on any run but the very first
      const empty: number[] = [];
      const shop: number[] = [];
      for (let round = 0; round < options.rounds; round++) {
        options.progress(`room: empty mesh, ${round + 1} of ${options.rounds}`);
        empty.push(await ambit('up', '--detach', '--empty'));
        await ambit('down', '--purge');
        options.progress(`room: shop, ${round + 1} of ${options.rounds}`);
        shop.push(await ambit('up', '--detach'));
        if (round < options.rounds - 1) await ambit('down', '--purge');
      }
      const client = await connectKube({ kubeconfig: join(home, 'default', 'kubeconfig') });
      const enrolled = await enrolment(client, options);
      const enforced = await enforcement(client, options);
      client.close();
      const row = (what: string, rounds: readonly number[], unit: string, atMost: number): Row => ({
        what,
        unit,
        values: { ambit: median(rounds) },
        rounds: { ambit: rounds },
        budget: { kind: 'absolute', atMost },
      });
      return [
        row('`ambit up`, empty mesh', empty, 's', 2),
        row('`ambit up`, every shop pod ready', shop, 's', 4),
        row('namespace labelled → all its pods captured', enrolled, 'ms', 300),
        row('policy written → next connection refused', enforced, 'ms', 100),
      ];
    } finally {
      await ambit('down', '--purge');
      rmSync(home, { recursive: true, force: true });
    }
  },
};

/** @returns seconds from start to exit. Throws when the command fails. */
function timed(home: string, args: readonly string[]): Promise<number> {
  const began = performance.now();
  const child = spawn(join(ROOT, 'ambit'), args, {
    env: { ...process.env, HOME: home, AMBIT_HOME: home },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => {
      if (code === 0) resolve((performance.now() - began) / 1000);
      else reject(new Error(`ambit ${args.join(' ')} ended with ${code}: ${errors}`));
    });
  });
}

async function enrolment(client: HttpKubeClient, options: PartOptions): Promise<number[]> {
  const label = (mode: string | null): Promise<unknown> =>
    client.patch(NAMESPACES, NAMESPACE, undefined, 'merge', {
      metadata: { labels: { 'istio.io/dataplane-mode': mode } },
    });
  const settled = async (captured: boolean): Promise<void> => {
    const end = performance.now() + 20_000;
    for (;;) {
      // Gateways and waypoints are never captured.
      const { items } = await client.list(PODS, {
        namespace: NAMESPACE,
        labelSelector: '!gateway.networking.k8s.io/gateway-name',
      });
      if (items.every((pod) => (pod.metadata?.annotations?.[REDIRECTION] === 'enabled') === captured)) return;
      if (performance.now() > end) throw new Error('the pods were not captured in 20 s');
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  };
  const times: number[] = [];
  for (let round = 0; round < Math.max(5, options.rounds); round++) {
    options.progress(`room: enrolment, ${round + 1}`);
    await label(null);
    await settled(false);
    const began = performance.now();
    await label('ambient');
    await settled(true);
    times.push(performance.now() - began);
  }
  return times;
}

async function enforcement(client: HttpKubeClient, options: PartOptions): Promise<number[]> {
  await client.create<IPod>(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'prober', namespace: NAMESPACE },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'prober', image: 'node:24-alpine', command: ['node', '-e', PROBER] }],
    },
  });
  const times: number[] = [];
  await changeAfter(client, 'answered', 0);
  for (let round = 0; round < Math.max(5, options.rounds); round++) {
    options.progress(`room: enforcement, ${round + 1}`);
    const beganMs = Date.now();
    await client.create(AUTHORIZATION_POLICIES, {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'bench', namespace: NAMESPACE },
      spec: { selector: { matchLabels: { app: 'product-service' } }, action: 'DENY', rules: [{}] },
    });
    times.push((await changeAfter(client, 'refused', beganMs)) - beganMs);
    const endMs = Date.now();
    await client.delete(AUTHORIZATION_POLICIES, 'bench', NAMESPACE);
    await changeAfter(client, 'answered', endMs);
  }
  return times;
}

/** @returns when (Unix ms) the prober first saw `state` at or after `sinceMs` */
async function changeAfter(client: HttpKubeClient, state: string, sinceMs: number): Promise<number> {
  const end = performance.now() + 30_000;
  for (;;) {
    const changes = await readProber(client).catch(() => []);
    const found = changes.find((change) => change.state === state && change.atMs >= sinceMs);
    if (found !== undefined) return found.atMs;
    if (performance.now() > end) throw new Error(`the prober did not see \`${state}\` in 30 s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function readProber(client: HttpKubeClient): Promise<{ state: string; atMs: number }[]> {
  const stream = await connectPod(client, NAMESPACE, 'prober', PROBER_PORT);
  return new Promise((resolve, reject) => {
    const call = request(
      { path: '/', headers: { connection: 'close' }, createConnection: () => stream as never },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part) => {
          text += part;
        });
        response.on('end', () => resolve(JSON.parse(text) as { state: string; atMs: number }[]));
      },
    );
    call.on('error', reject);
    call.end();
  });
}
