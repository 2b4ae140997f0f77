// Real pods on a real node, over the embedded API in memory, in a room of the test's own.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { CONFIG_MAPS, EVENTS, NODES, PODS } from '../../kube/client/resources.ts';
import type { KubeClient } from '../../kube/client/types.ts';
import { EmbeddedApi } from '../../kube/server/embedded.ts';
import { mountTmpfs, shareMounts } from '../../platform/linux/mounts.ts';
import { runInUserNamespace } from '../../platform/linux/testing.ts';
import { makeFabric, NodeNetwork } from '../network/node-network.ts';
import { type Kubelet, type KubeletOptions, startKubelet } from './kubelet.ts';
import type { Pod, PodSpec } from './types.ts';

const INSIDE = 'AMBIT_TEST_IN_USER_NAMESPACE';
const root = join(import.meta.dirname, '../../..');
const caBundle = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'kube-root-ca.crt', namespace: 'default' },
  data: { 'ca.crt': 'CA' },
} as const;

if (process.env[INSIDE] === undefined)
  test('in a room of its own', () => runInUserNamespace([], [import.meta.filename]));
else define();

function define(): void {
  let client: KubeClient;
  let kubelet: Kubelet;
  let stateDir: string;
  let node: NodeNetwork;
  let options: KubeletOptions;
  let api: EmbeddedApi;

  const create = (
    name: string,
    spec: Partial<PodSpec> & Pick<PodSpec, 'containers'>,
    labels: Record<string, string> = {},
  ): Promise<Pod> =>
    client.create<Pod>(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels },
      spec: { nodeName: 'node-1', terminationGracePeriodSeconds: 1, ...spec },
    });
  const get = (name: string): Promise<Pod | undefined> => client.get(PODS, name, 'default');
  const until = async (name: string, holds: (pod: Pod) => boolean, ms = 10_000): Promise<Pod> => {
    const deadline = Date.now() + ms;
    for (;;) {
      const pod = await get(name);
      if (pod !== undefined && holds(pod)) return pod;
      if (Date.now() > deadline) {
        const { items } = await client.list(EVENTS, { namespace: 'default' });
        const told = items
          .filter((event) => event.involvedObject.name === name)
          .map((event) => `${event.reason}: ${event.message}`);
        assert.fail(`pod ${name} is not as wanted: ${JSON.stringify(pod?.status, undefined, 1)}\n${told.join('\n')}`);
      }
      await delay(10);
    }
  };
  const isReady = (pod: Pod): boolean =>
    pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
  const logOf = (pod: Pod, container: string, attempt = 0): string => {
    const file = join(
      stateDir,
      'logs/pods',
      `default_${pod.metadata?.name}_${pod.metadata?.uid}`,
      container,
      `${attempt}.log`,
    );
    return existsSync(file) ? readFileSync(file, 'utf8').replace(/^\S+ (stdout|stderr) F /gm, '') : '';
  };
  const logged = async (pod: Pod, container: string, wanted: RegExp): Promise<void> => {
    await eventually(async () => wanted.test(logOf(pod, container))).catch(() =>
      assert.match(logOf(pod, container), wanted),
    );
  };
  const eventsOf = async (name: string, reason: string): Promise<string[]> => {
    const { items } = await client.list(EVENTS, { namespace: 'default' });
    return items
      .filter((event) => event.involvedObject.name === name && event.reason === reason)
      .map(({ message = '' }) => message);
  };
  const gone = (name: string): Promise<void> => eventually(async () => (await get(name)) === undefined);
  const shell = (script: string, more: Partial<PodSpec['containers'][number]> = {}): PodSpec['containers'][number] => ({
    name: 'main',
    image: 'busybox',
    command: ['sh', '-c', script],
    ...more,
  });

  before(async () => {
    mountTmpfs('/run');
    mkdirSync('/run/netns');
    shareMounts('/run/netns');
    makeFabric();
    node = await NodeNetwork.create('node-1', 1);
    stateDir = join(mkdtempSync(join(tmpdir(), 'ambit-kubelet-')), 'test');
    mkdirSync(stateDir);
    api = new EmbeddedApi({ path: ':memory:' });
    client = withTokens(api.client('test'));
    await client.create(CONFIG_MAPS, caBundle);
    options = {
      node,
      client,
      stateDir,
      images: [`acme/tool=${archiveOf(stateDir)}`],
      packageRoot: root,
      nodeExecutable: process.execPath,
    };
    kubelet = await startKubelet(options);
  });
  after(async () => {
    await kubelet.stop();
    api.close();
    rmSync(dirname(stateDir), { recursive: true, force: true });
  });

  test('the node is registered with labels, addresses and readiness', async () => {
    const found = await client.get(NODES, 'node-1');
    assert.equal(found?.metadata?.labels?.['kubernetes.io/hostname'], 'node-1');
    assert.equal(found?.spec?.podCIDR, '10.244.1.0/24');
    assert.equal(found?.status?.conditions?.find((c) => c.type === 'Ready')?.status, 'True');
    assert.equal(found?.status?.addresses?.[0]?.address, '172.31.1.1');
  });

  describe('pods', { concurrency: true }, () => {
    test('a pod runs with an address, a name, files of its own and a log', async () => {
      // Of a sources' folder that lies in /tmp itself, its own way there is all that may be seen.
      const own = root.startsWith('/tmp/') ? root.split('/')[2] : '/';
      const script = `hostname; cat /etc/hostname; head -1 /etc/resolv.conf; tail -1 /etc/hosts; ls /tmp | grep -cvx '${own}'; sleep 100`;
      await create('plain', { containers: [shell(script)] });
      const pod = await until('plain', isReady);
      assert.equal(pod.status?.phase, 'Running');
      assert.match(pod.status?.podIP ?? '', /^10\.244\.1\.\d+$/);
      await logged(pod, 'main', /\n0\n$/);
      assert.deepEqual(logOf(pod, 'main').split('\n').slice(0, 4), [
        'plain',
        'plain',
        'search default.svc.cluster.local svc.cluster.local cluster.local',
        `${pod.status?.podIP}\tplain`,
      ]);
    });

    test('nothing that a container does changes the machine, and it has no power over it', async () => {
      const script =
        'exec 2>&1; echo x > /etc/ambit-was-here; rm -f /etc/hosts.allow /etc/debian_version; mount -t tmpfs x /mnt; mknod /dev/sda b 8 0; echo done';
      await create('harm', {
        restartPolicy: 'Never',
        containers: [shell(script, { securityContext: { privileged: true } })],
      });
      const pod = await until('harm', (each) => each.status?.phase === 'Succeeded');
      assert.match(logOf(pod, 'main'), /mount: .*\n(.|\n)*mknod: .*\ndone\n$/);
      assert.equal(existsSync('/etc/ambit-was-here'), false);
      assert.equal((await eventsOf('harm', 'PowersNotGiven')).length, 1);
    });

    test('environment, ConfigMap and Secret volumes, a shared emptyDir, a token; changes arrive in running pods', async () => {
      const configMap = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'settings', namespace: 'default' },
        data: { colour: 'red' },
      } as const;
      await client.create(CONFIG_MAPS, configMap);
      const script =
        'echo $COLOUR $POD_IP; cat /settings/colour /var/run/secrets/kubernetes.io/serviceaccount/token; echo; echo hi > /shared/x; until grep -q blue /settings/colour; do sleep 0.02; done; echo changed; sleep 100';
      await create('volumes', {
        containers: [
          shell(script, {
            env: [
              { name: 'COLOUR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'colour' } } },
              { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
            ],
            volumeMounts: [
              { name: 'settings', mountPath: '/settings' },
              { name: 'shared', mountPath: '/shared' },
            ],
          }),
          {
            ...shell('until cat /elsewhere/x; do sleep 0.02; done; echo > /settings/y; sleep 100'),
            name: 'other',
            volumeMounts: [
              { name: 'shared', mountPath: '/elsewhere' },
              { name: 'settings', mountPath: '/settings' },
            ],
          },
        ],
        volumes: [
          { name: 'settings', configMap: { name: 'settings' } },
          { name: 'shared', emptyDir: {} },
        ],
      });
      const pod = await until('volumes', isReady);
      await logged(pod, 'other', /hi\n/);
      await logged(pod, 'other', /Read-only file system/);
      await client.update(CONFIG_MAPS, { ...configMap, data: { colour: 'blue' } });
      await logged(pod, 'main', /changed/);
      assert.match(logOf(pod, 'main'), new RegExp(`^red ${pod.status?.podIP}\nredtoken-of-volumes-for-\n`));
    });

    test('init containers run one after another, a sidecar stays, then the others start', async () => {
      await create('inits', {
        initContainers: [
          {
            ...shell('echo first >> /shared/order'),
            name: 'first',
            volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
          },
          {
            ...shell('echo sidecar >> /shared/order; sleep 100'),
            name: 'sidecar',
            restartPolicy: 'Always',
            volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
            startupProbe: { exec: { command: ['grep', 'sidecar', '/shared/order'] }, periodSeconds: 1 },
          },
          {
            ...shell('echo second >> /shared/order'),
            name: 'second',
            volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
          },
        ],
        containers: [
          shell('cat /shared/order; sleep 100', { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] }),
        ],
        volumes: [{ name: 'shared', emptyDir: {} }],
      });
      const pod = await until('inits', isReady);
      await logged(pod, 'main', /first\nsidecar\nsecond\n/);
      assert.deepEqual(
        pod.status?.initContainerStatuses?.map(({ ready, state }) => [ready, Object.keys(state ?? {})[0]]),
        [
          [true, 'terminated'],
          [true, 'running'],
          [true, 'terminated'],
        ],
      );
    });

    test('an init container that fails for good fails its pod', async () => {
      await create('badinit', {
        restartPolicy: 'Never',
        initContainers: [{ ...shell('exit 3'), name: 'init' }],
        containers: [shell('echo never')],
      });
      const pod = await until('badinit', (each) => each.status?.phase === 'Failed');
      assert.equal(pod.status?.initContainerStatuses?.[0]?.state?.terminated?.exitCode, 3);
      assert.equal(pod.status?.containerStatuses?.[0]?.state?.waiting?.reason, 'PodInitializing');
    });

    test('a container that ends is started again at once, then with back-off, and its former log is kept', async () => {
      await create('crash', { containers: [shell('echo attempt; echo farewell > /dev/termination-log; exit 7')] });
      const pod = await until(
        'crash',
        (each) => each.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'CrashLoopBackOff',
      );
      const [status] = pod.status?.containerStatuses ?? [];
      assert.equal(status?.restartCount, 1);
      assert.deepEqual(
        [status?.lastState?.terminated?.exitCode, status?.lastState?.terminated?.message],
        [7, 'farewell\n'],
      );
      assert.match(
        status?.state?.waiting?.message ?? '',
        /^back-off 10s restarting failed container=main pod=crash_default\(/,
      );
      assert.equal(logOf(pod, 'main', 0), 'attempt\n');
      assert.equal(logOf(pod, 'main', 1), 'attempt\n');
      assert.equal(pod.status?.phase, 'Running');
    });

    test('an image that nobody can resolve says what to type', async () => {
      await create('noimage', { containers: [{ name: 'main', image: 'acme/unknown:1' }] });
      const pod = await until(
        'noimage',
        (each) => each.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'ImagePullBackOff',
      );
      assert.match(
        pod.status?.containerStatuses?.[0]?.state?.waiting?.message ?? '',
        /ambit up --image acme\/unknown:1=COMMAND/,
      );
      const log = await ask('/containerLogs/default/noimage/main');
      assert.match(log.text, /is waiting to start: ImagePullBackOff/);
      await eventually(async () => (await eventsOf('noimage', 'Failed')).length > 0);
      assert.match((await eventsOf('noimage', 'Failed'))[0] ?? '', /Failed to pull image "acme\/unknown:1"/);
    });

    test('what is missing is waited for, and told about: a ConfigMap for a variable, one for a volume', async () => {
      await create('waits', {
        containers: [
          shell('echo $A; sleep 100', {
            env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'late', key: 'a' } } }],
          }),
        ],
      });
      await create('unmounted', {
        containers: [shell('cat /late/a; echo; sleep 100', { volumeMounts: [{ name: 'late', mountPath: '/late' }] })],
        volumes: [{ name: 'late', configMap: { name: 'late' } }],
      });
      const reasonOf = (each: Pod) => each.status?.containerStatuses?.[0]?.state?.waiting?.reason;
      await until('waits', (each) => reasonOf(each) === 'CreateContainerConfigError');
      await eventually(async () => (await eventsOf('unmounted', 'FailedMount')).length > 0);
      assert.match((await eventsOf('unmounted', 'FailedMount'))[0] ?? '', /configmap "late" not found/);
      assert.equal(reasonOf((await get('unmounted')) as Pod), 'ContainerCreating');
      const metadata = { name: 'late', namespace: 'default' };
      await client.create(CONFIG_MAPS, { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { a: 'here' } });
      for (const name of ['waits', 'unmounted']) await logged(await until(name, isReady), 'main', /here/);
    });

    test('a command that is not there is a start error', async () => {
      await create('nocommand', {
        restartPolicy: 'Never',
        containers: [{ name: 'main', image: 'busybox', command: ['no-such-program'] }],
      });
      const pod = await until('nocommand', (each) => each.status?.phase === 'Failed');
      const terminated = pod.status?.containerStatuses?.[0]?.state?.terminated;
      assert.deepEqual([terminated?.reason, terminated?.exitCode], ['StartError', 128]);
      assert.match(terminated?.message ?? '', /exec: "no-such-program": executable file not found in \$PATH/);
    });

    test('HTTP, TCP and exec probes: readiness holds traffic back, liveness restarts', async () => {
      const server = `require('http').createServer((q, r) => { const fs = require('fs'); if (q.url === '/live') r.statusCode = fs.existsSync('/tmp/dead') ? 500 : 200; else r.statusCode = fs.existsSync('/tmp/ready') ? 200 : 503; r.end(); }).listen(8080)`;
      await create('probed', {
        containers: [
          {
            name: 'main',
            image: 'node:24',
            command: ['node', '-e', server],
            ports: [{ name: 'http', containerPort: 8080 }],
            startupProbe: { tcpSocket: { port: 'http' }, periodSeconds: 1 },
            readinessProbe: { httpGet: { path: '/ready', port: 'http' }, periodSeconds: 1, failureThreshold: 1 },
            livenessProbe: { httpGet: { path: '/live', port: 8080 }, periodSeconds: 1, failureThreshold: 1 },
          },
        ],
      });
      await until('probed', (each) => each.status?.containerStatuses?.[0]?.started === true);
      assert.equal(isReady((await get('probed')) as Pod), false);
      await run('probed', 'touch /tmp/ready');
      await until('probed', isReady);
      await run('probed', 'rm /tmp/ready');
      await until('probed', (each) => !isReady(each));
      await run('probed', 'touch /tmp/dead');
      const again = await until('probed', (each) => each.status?.containerStatuses?.[0]?.restartCount === 1);
      assert.ok([143, 137].includes(again.status?.containerStatuses?.[0]?.lastState?.terminated?.exitCode ?? 0));
      const message = 'Liveness probe failed: HTTP probe failed with statuscode: 500';
      await eventually(async () => (await eventsOf('probed', 'Unhealthy')).includes(message));
    });

    test('a pod is ended in order: preStop, SIGTERM, its grace, and then the object is gone', async () => {
      const script = 'trap "echo term; exit 0" TERM; echo up; while :; do sleep 0.02; done';
      await create('polite', {
        terminationGracePeriodSeconds: 5,
        containers: [
          shell(script, {
            lifecycle: { preStop: { exec: { command: ['sh', '-c', 'echo pre > /proc/3/fd/1; sleep 0.4'] } } },
          }),
        ],
      });
      const pod = await until('polite', isReady);
      await logged(pod, 'main', /up/);
      const log = ask('/containerLogs/default/polite/main?follow=true');
      await client.delete(PODS, 'polite', 'default');
      // Somebody touches the object meanwhile: it is not asked to end a second time.
      await client.patch(PODS, 'polite', 'default', 'merge', { metadata: { annotations: { touched: 'yes' } } });
      await gone('polite');
      assert.equal((await log).text, 'up\npre\nterm\n');
      assert.equal(existsSync(`/run/netns/pod-${pod.metadata?.uid}`), false);
      assert.equal(existsSync(`/run/ambit/pods/${pod.metadata?.uid}`), false);
    });

    test('who does not hear SIGTERM is killed when the grace is over', async () => {
      await create('deaf', {
        terminationGracePeriodSeconds: 1,
        containers: [shell('trap "" TERM; echo up; while :; do sleep 0.05; done')],
      });
      await logged(await until('deaf', isReady), 'main', /up/);
      const began = performance.now();
      await client.delete(PODS, 'deaf', 'default');
      await gone('deaf');
      const took = performance.now() - began;
      assert.ok(took > 900 && took < 4000, `${took} ms`);
    });

    test('a host-network pod lives in its node', async () => {
      await create('host', {
        hostNetwork: true,
        containers: [shell('hostname; cat /proc/net/dev | grep -c cni0; sleep 100')],
      });
      const pod = await until('host', isReady);
      assert.equal(pod.status?.podIP, '172.31.1.1');
      await logged(pod, 'main', /^node-1\n1\n/);
    });

    test('a read-only root is read-only, its volumes are not', async () => {
      const script = 'echo x > /etc/x || echo refused; echo x > /x || echo refused; echo x > /data/x && echo written';
      await create('sealed', {
        restartPolicy: 'Never',
        containers: [
          shell(script, {
            securityContext: { readOnlyRootFilesystem: true },
            volumeMounts: [{ name: 'data', mountPath: '/data' }],
          }),
        ],
        volumes: [{ name: 'data', emptyDir: {} }],
      });
      const pod = await until('sealed', (each) => each.status?.phase === 'Succeeded');
      assert.match(logOf(pod, 'main'), /refused\n(.*\n)*refused\nwritten\n/);
    });

    test('logs over the socket: tail, previous, following to the end', async () => {
      await create('talks', {
        restartPolicy: 'Never',
        containers: [shell('echo one; echo two; until [ -e /tmp/go ]; do sleep 0.02; done; echo three')],
      });
      const pod = await until('talks', isReady);
      await logged(pod, 'main', /two/);
      assert.equal((await ask('/containerLogs/default/talks/main?tailLines=1')).text, 'two\n');
      assert.equal((await ask('/containerLogs/default/talks/main')).text, 'one\ntwo\n');
      const followed = ask('/containerLogs/default/talks/main?follow=true');
      await run('talks', 'touch /tmp/go');
      assert.equal((await followed).text, 'one\ntwo\nthree\n');
      const previous = await ask('/containerLogs/default/talks/main?previous=true');
      assert.equal(previous.status, 400);
      assert.match(previous.text, /previous terminated container \\"main\\" in pod \\"talks\\" not found/);
      assert.equal((await ask('/containerLogs/default/none/main')).status, 404);
    });

    test('a command in a container: its output, its exit code, input, and a terminal', async () => {
      await create('shell', { containers: [shell('sleep 100')] });
      await until('shell', isReady);
      assert.equal(
        await run('shell', 'hostname; echo bad >&2; exit 3'),
        'shell\nbad\n[command terminated with non-zero exit code: exit status 3]',
      );
      assert.equal(await run('shell', 'cat; echo end', { input: 'typed\n' }), 'typed\nend\n');
      assert.equal(await run('shell', 'head -c 300000 /dev/zero | tr "\\0" x'), 'x'.repeat(300_000));
      const terminal = await run('shell', 'tty; stty size; test -t 0 && echo interactive; ps -o tty= -p $$', {
        tty: true,
      });
      assert.equal(terminal, '/dev/pts/0\r\n24 80\r\ninteractive\r\npts/0\r\n');
      assert.match(await run('shell', '', { command: ['no-such-program'] }), /executable file not found in \$PATH/);
    });

    test('a container with input can be attached to', async () => {
      await create('attached', {
        containers: [
          shell('while read line; do echo "heard $line"; done; echo closed', { stdin: true, stdinOnce: true }),
        ],
        restartPolicy: 'Never',
      });
      await until('attached', isReady);
      assert.equal(
        await run('attached', '', { verb: 'attach', input: 'one\ntwo\n' }),
        'heard one\nheard two\nclosed\n',
      );
      await until('attached', (pod) => pod.status?.phase === 'Succeeded');
    });

    test('an archive runs in its own files', async () => {
      await create('archived', {
        restartPolicy: 'Never',
        containers: [{ name: 'main', image: 'acme/tool:1', args: ['given'] }],
      });
      const pod = await until('archived', (each) => each.status?.phase === 'Succeeded');
      assert.equal(logOf(pod, 'main'), 'from the archive given yes\nbin dev etc lib lib64 proc sys tmp usr var\n');
      assert.match(pod.status?.containerStatuses?.[0]?.imageID ?? '', /^sha256:/);
    });
  });

  test('a second kubelet takes over what the API knows: pods run again, with their address, counted', async () => {
    const before = (await get('plain')) as Pod;
    await kubelet.stop();
    kubelet = await startKubelet(options);
    const after = await until('plain', (pod) => isReady(pod) && pod.status?.containerStatuses?.[0]?.restartCount === 1);
    assert.equal(after.status?.podIP, before.status?.podIP);
    assert.equal(after.status?.containerStatuses?.[0]?.lastState?.terminated?.exitCode, 255);
    assert.equal((await get('harm'))?.status?.phase, 'Succeeded');
  });
}

/** The client inside the process signs no tokens. */
function withTokens(client: KubeClient): KubeClient {
  const create: KubeClient['create'] = async (resource, object, options) => {
    if (options?.subresource !== 'token') return client.create(resource, object, options);
    const wish = object as { spec?: { audiences?: string[]; boundObjectRef?: { name?: string } } };
    const token = `token-of-${wish.spec?.boundObjectRef?.name}-for-${wish.spec?.audiences?.join()}`;
    return { ...object, status: { token, expirationTimestamp: new Date(Date.now() + 3_600_000).toISOString() } };
  };
  return new Proxy(client, {
    get: (target, key) => (key === 'create' ? create : Reflect.get(target, key).bind(target)),
  });
}

async function eventually(holds: () => Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, 'it did not come true in time');
    await delay(20);
  }
}

/** Asks the kubelet's socket. */
function ask(path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    request({ socketPath: '/run/ambit/kubelet/node-1.sock', path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => (text += part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    })
      .on('error', reject)
      .end();
  });
}

interface RunOptions {
  readonly input?: string;
  readonly tty?: boolean;
  readonly command?: readonly string[];
  readonly verb?: 'exec' | 'attach';
}

/** Runs a shell command in the container `main` of a pod, as `kubectl exec` does; resolves with what it said. */
async function run(pod: string, script: string, options: RunOptions = {}): Promise<string> {
  const { input, tty = false, command = ['sh', '-c', script], verb = 'exec' } = options;
  const query = new URLSearchParams({
    stdout: 'true',
    stderr: String(!tty),
    tty: String(tty),
    stdin: String(input !== undefined),
  });
  if (verb === 'exec') for (const word of command) query.append('command', word);
  const url = `ws+unix:///run/ambit/kubelet/node-1.sock:/${verb}/default/${pod}/main?${query}`;
  const socket = new WebSocket(url, ['v5.channel.k8s.io']);
  let said = '';
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.on('open', () => {
      if (tty) socket.send(Buffer.from('\x04{"Width":80,"Height":24}'));
      if (input !== undefined) {
        socket.send(Buffer.from(`\x00${input}`));
        socket.send(Buffer.from([255, 0]));
      }
    });
    socket.on('message', (data: Buffer) => {
      if (data[0] === 1 || data[0] === 2) said += data.subarray(1).toString();
      else if (data[0] === 3) said += statusText(data.subarray(1).toString());
    });
  });
  return said;
}

const statusText = (json: string): string => {
  const { status, message } = JSON.parse(json) as { status: string; message?: string };
  return status === 'Success' ? '' : `[${message}]`;
};

/** An image of this machine's shell, as `docker save` would write it. */
function archiveOf(folder: string): string {
  const tree = join(folder, 'tree');
  for (const path of ['usr/bin', 'usr/lib', 'usr/lib64', 'etc', 'var', 'proc'])
    mkdirSync(join(tree, path), { recursive: true });
  for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(tree, name));
  const libraries = execFileSync('ldd', ['/bin/sh', '/bin/ls'], { encoding: 'utf8' }).match(/\/\S+\.so\S*/g) ?? [];
  for (const file of new Set(['/bin/sh', '/bin/ls', ...libraries])) {
    const real = file.replace(/^\/(bin|lib|lib64)\//, '/usr/$1/');
    mkdirSync(join(tree, dirname(real)), { recursive: true });
    copyFileSync(file, join(tree, real));
  }
  const script = '#!/bin/sh\necho "from the archive $1 $SET"\ncd /; echo *\n';
  writeFileSync(join(tree, 'usr/bin/tool'), script, { mode: 0o755 });
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({ config: { Entrypoint: ['tool'], Env: ['PATH=/bin', 'SET=yes'] } }),
  );
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify([{ Config: 'config.json', Layers: ['layer.tar'] }]));
  execFileSync('tar', ['-cf', join(folder, 'layer.tar'), '-C', tree, '.']);
  execFileSync('tar', ['-cf', join(folder, 'tool.tar'), '-C', folder, 'manifest.json', 'config.json', 'layer.tar']);
  return join(folder, 'tool.tar');
}
