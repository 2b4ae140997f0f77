import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ManualClock } from '../platform/clock.ts';
import { Netns, sameNetns } from '../platform/linux/netns.ts';
import { namespacedTests } from '../platform/linux/testing.ts';
import { NetnsResolver, podProcesses } from './netns-resolver.ts';
import { findKubeletUid } from './probes.ts';

const folder = mkdtempSync(join(tmpdir(), 'ambit-resolver-'));
after(() => rmSync(folder, { recursive: true }));
const UID = '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0';

/** A /proc of made-up processes; `netns` is what their `ns/net` leads to. */
function makeProc(
  name: string,
  processes: Record<string, { cgroup: string; started: number; netns?: string; comm?: string; uid?: number }>,
): string {
  const proc = join(folder, name);
  for (const [pid, { cgroup, started, netns, comm = 'app', uid = 0 }] of Object.entries(processes)) {
    mkdirSync(join(proc, pid, 'ns'), { recursive: true });
    writeFileSync(join(proc, pid, 'cgroup'), `0::${cgroup}\n`);
    const rest = Array.from({ length: 50 }, (_, i) => (i === 19 ? started : i));
    writeFileSync(join(proc, pid, 'stat'), `${pid} (evil) name (${comm}) ${rest.join(' ')}`);
    writeFileSync(join(proc, pid, 'comm'), `${comm}\n`);
    writeFileSync(join(proc, pid, 'status'), `Name:\t${comm}\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n`);
    if (netns !== undefined) symlinkSync(netns, join(proc, pid, 'ns/net'));
  }
  mkdirSync(join(proc, 'sys'), { recursive: true });
  return proc;
}

test('processes of a pod are found by each way of writing its uid, oldest first', () => {
  const under = UID.replaceAll('-', '_');
  const proc = makeProc('cgroups', {
    30: {
      cgroup: `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${under}.slice/cri-1.scope`,
      started: 300,
    },
    20: { cgroup: `/kubepods/besteffort/pod${UID}/abc`, started: 400 },
    10: { cgroup: `/kubepods/pod${UID.replaceAll('-', '')}/abc`, started: 500 },
    40: { cgroup: '/system.slice/podman.service', started: 1 },
  });
  assert.deepEqual([...podProcesses(proc)], [[UID.replaceAll('-', ''), [30, 20, 10]]]);
});

test('the kubelet`s user is found by the names it goes by', () => {
  const processes = (comm: string) => ({
    5: { cgroup: '/', started: 1 },
    7: { cgroup: '/', started: 2, comm, uid: 1234 },
  });
  for (const comm of ['kubelet', 'kubelite', 'k3s-server'])
    assert.equal(findKubeletUid(makeProc(`kubelet-${comm}`, processes(comm))), 1234);
  assert.equal(findKubeletUid(makeProc('no-kubelet', processes('kubelet-proxy'))), undefined);
});

namespacedTests(import.meta.url, () => {
  const resolver = (proc: string, host: Netns, clock = new ManualClock()): NetnsResolver =>
    new NetnsResolver({ folders: [join(folder, 'nowhere'), join(folder, 'netns')], proc, host, clock });

  test('a name tells the namespace; what is no namespace, or no uid, tells nothing', () => {
    using host = Netns.current();
    const path = join(folder, 'netns', `pod-${UID}`);
    using made = Netns.createAt(path);
    const found = resolver(join(folder, 'cgroups'), host).find(UID);
    assert.ok(found && sameNetns(found.identity, made.identity));
    found.close();
    Netns.remove(path);
    const empty = makeProc('empty', {});
    assert.equal(resolver(empty, host).find(UID), undefined);
    writeFileSync(path, '');
    assert.equal(resolver(empty, host).find(UID), undefined);
    assert.equal(resolver(empty, host).find('../../etc/passwd'), undefined);
  });

  test('otherwise a process of the pod does, unless it lives in the node`s own namespace', async () => {
    using host = Netns.current();
    using pod = Netns.create();
    const child: ChildProcess = pod.run(() => spawn('sleep', ['1000'], { stdio: 'ignore' }));
    const exited = once(child, 'exit');
    try {
      const cgroup = `/kubepods/pod${UID}/main`;
      const proc = makeProc('processes', {
        11: { cgroup, started: 1, netns: '/proc/self/ns/net' },
        12: { cgroup, started: 2, netns: '/proc/0/ns/net' },
        13: { cgroup, started: 3, netns: `/proc/${child.pid}/ns/net` },
      });
      const clock = new ManualClock();
      const finder = resolver(proc, host, clock);
      const found = finder.find(UID);
      assert.ok(found && sameNetns(found.identity, pod.identity));
      found.close();
      rmSync(join(proc, '13'), { recursive: true });
      assert.equal(finder.find(UID), undefined, 'the process has ended');
      assert.equal(finder.find(UID.replace('0', '1')), undefined);
      mkdirSync(join(proc, '14', 'ns'), { recursive: true });
      writeFileSync(join(proc, '14', 'cgroup'), `0::${cgroup}\n`);
      writeFileSync(join(proc, '14', 'stat'), '14 (x) S');
      symlinkSync(`/proc/${child.pid}/ns/net`, join(proc, '14', 'ns/net'));
      assert.equal(finder.find(UID), undefined, 'one look at all processes serves a second');
      clock.advance(1000);
      const later = finder.find(UID);
      assert.ok(later);
      later.close();
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
  });
});
