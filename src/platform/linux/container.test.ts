import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Container } from './container.ts';
import { Netns } from './netns.ts';
import type { RootfsStep } from './rootfs.ts';
import { namespacedTests } from './testing.ts';

const HOST_VIEW: RootfsStep[] = [
  { kind: 'tmpfs', at: '/', mode: 0o755 },
  ...['/usr', '/etc'].map((at): RootfsStep => ({ kind: 'copyOnWrite', lower: at, at, writable: ['bin'] })),
  ...['bin', 'lib', 'lib64', 'sbin']
    .filter((name) => existsSync(`/${name}`))
    .map((name): RootfsStep => ({ kind: 'link', at: `/${name}`, target: `usr/${name}` })),
  { kind: 'tmpfs', at: '/tmp', mode: 0o1777 },
  { kind: 'bind', from: '/dev/null', at: '/dev/null', readOnly: false },
];

const output = (child: ChildProcess): Promise<{ code: number | null; text: string }> =>
  new Promise((resolve) => {
    let text = '';
    child.stdout?.on('data', (part) => (text += part));
    child.stderr?.on('data', (part) => (text += part));
    child.once('close', (code) => resolve({ code, text }));
  });

namespacedTests(import.meta.url, () => {
  test('a container', inContainer);
});

async function inContainer(t: TestContext): Promise<void> {
  const workspace = mkdtempSync(join(tmpdir(), 'ambit-container-'));
  const netns = Netns.create();
  const container = await Container.create({ hostname: 'pod-1', netns, rootfs: HOST_VIEW, workspace });
  const sh = (script: string, capabilities: Parameters<Container['start']>[0]['capabilities'] = ['CHOWN', 'KILL']) =>
    output(
      container.start({
        argv: ['sh', '-c', script],
        env: { PATH: '/usr/bin:/bin' },
        workingDir: '/',
        capabilities,
        stdio: ['null', 'pipe', 'pipe'],
      }),
    );
  t.after(async () => {
    container.kill();
    await container.ended;
    netns.close();
    rmSync(workspace, { recursive: true });
  });

  await t.test('has a host name, processes and interfaces of its own', async () => {
    const { text } = await sh('hostname; echo /proc/[0-9]*; cat /proc/net/dev | wc -l');
    assert.equal(text, 'pod-1\n/proc/1 /proc/3\n3\n');
  });

  await t.test('changes files that stay as they are outside', async () => {
    const { text } = await sh('echo mine > /etc/ambit-test; cat /etc/ambit-test; rm /usr/bin/env; ls /usr/bin/env');
    assert.match(text, /^mine\nls: cannot access/);
    assert.equal(existsSync('/etc/ambit-test'), false);
    assert.equal(existsSync('/usr/bin/env'), true);
  });

  await t.test('keeps the chosen capabilities and wins no others, also by executing again', async () => {
    const { text } = await sh(
      'sh -c "grep -E ^Cap[EPA] /proc/self/status"; mount -t tmpfs x /tmp; chown 0 /tmp && echo chowned',
    );
    assert.match(text, /CapPrm:\t0000000000000021\nCapEff:\t0000000000000021\nCapAmb:\t0000000000000021\n/);
    assert.match(text, /mount: .*(permission denied|must be superuser)/i);
    assert.match(text, /chowned/);
    assert.match((await sh('mount -t tmpfs x /tmp && echo mounted', 'all')).text, /^mounted/);
  });

  await t.test('may look at the kernel, not change it, whoever made the room', async () => {
    const { text } = await sh('cat /proc/sys/kernel/ostype; echo x > /proc/sys/kernel/core_pattern');
    assert.match(text, /^Linux\n.*core_pattern: Read-only file system/);
  });

  await t.test('leaves this process with its own files, name and powers', () => {
    assert.notEqual(execFileSync('hostname', { encoding: 'utf8' }), 'pod-1\n');
    mkdirSync(join(workspace, 'still-there'));
    assert.equal(
      execFileSync('sh', ['-c', 'echo $$ > /dev/null; cat /proc/self/status | grep CapAmb'], { encoding: 'utf8' }),
      'CapAmb:\t0000000000000000\n',
    );
  });

  await t.test('reports a program and a working directory that are not there', async () => {
    const child = container.start({
      argv: ['no-such-program'],
      env: {},
      workingDir: '/',
      capabilities: [],
      stdio: ['null', 'null', 'null'],
    });
    await assert.rejects(new Promise((_, reject) => child.once('error', reject)), /ENOENT/);
    const nowhere = {
      argv: ['true'],
      env: {},
      workingDir: '/nowhere',
      capabilities: [],
      stdio: ['null', 'null', 'null'],
    } as const;
    assert.throws(() => container.start(nowhere), /working directory `\/nowhere`/);
  });

  await t.test('hands a signal for process 1 to its program, more than once, and lives on', async () => {
    const child = container.start({
      argv: [
        'sh',
        '-c',
        'n=0; trap "n=\\$((n+1)); echo got \\$n" TERM; echo up; while [ $n -lt 2 ]; do sleep 0.02; done',
      ],
      env: { PATH: '/usr/bin:/bin' },
      workingDir: '/',
      capabilities: [],
      stdio: ['null', 'pipe', 'null'],
    });
    container.setMain(child);
    let text = '';
    const said = (what: string) =>
      new Promise<void>((resolve) => {
        const look = (): void => {
          if (text.includes(what)) resolve();
          else
            child.stdout?.once('data', (part) => {
              text += part;
              look();
            });
        };
        look();
      });
    await said('up');
    // The line with the program's number may arrive a moment after the program started: ask until it is heard.
    const first = setInterval(() => void sh('kill 1'), 30);
    await said('got 2');
    clearInterval(first);
    assert.equal((await sh('echo alive')).text, 'alive\n');
  });

  await t.test('ends as a whole, orphans too', async () => {
    const child = container.start({
      argv: ['sh', '-c', 'sleep 1000 & exec sleep 1000'],
      env: { PATH: '/usr/bin:/bin' },
      workingDir: '/',
      capabilities: [],
      stdio: ['null', 'null', 'null'],
    });
    const gone = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
    container.kill();
    await container.ended;
    assert.equal(await gone, 'SIGKILL');
  });
}
