import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeAtomically } from './atomic-files.ts';
import { hostnameOf, hostsFile, resolvConf } from './files.ts';
import { powersOf } from './security.ts';
import type { ContainerSpec, Pod, PodSpec, VolumeSpec } from './types.ts';
import { filesOf, tokenWishes, type VolumeInput } from './volume-files.ts';
import { nodeFolders } from './volumes.ts';

const pod = (spec: Partial<PodSpec> = {}, name = 'web-0'): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels: { app: 'web' } },
  spec: { containers: [{ name: 'app' }], ...spec },
});

test('a pod is called by its name, by its hostname, or by its node', () => {
  assert.equal(hostnameOf(pod(), 'node-1'), 'web-0');
  assert.equal(hostnameOf(pod({ hostname: 'db' }), 'node-1'), 'db');
  assert.equal(hostnameOf(pod({ hostNetwork: true }), 'node-1'), 'node-1');
  assert.equal(hostnameOf(pod({}, `${'a'.repeat(62)}-b`), 'node-1'), 'a'.repeat(62));
  assert.equal(
    hostnameOf(pod({ hostname: 'db', subdomain: 'dbs', setHostnameAsFQDN: true }), 'n'),
    'db.dbs.shop.svc.cluster.local',
  );
});

test('hosts has the pod, its full name in a subdomain, and aliases', () => {
  assert.match(hostsFile(pod(), 'web-0', '10.1.1.1'), /^10\.1\.1\.1\tweb-0$/m);
  assert.match(
    hostsFile(pod({ subdomain: 'web' }), 'web-0', '10.1.1.1'),
    /^10\.1\.1\.1\tweb-0\.web\.shop\.svc\.cluster\.local\tweb-0$/m,
  );
  assert.match(
    hostsFile(pod({ hostAliases: [{ ip: '1.2.3.4', hostnames: ['a', 'b'] }] }), 'x', ''),
    /^1\.2\.3\.4\ta\tb$/m,
  );
});

for (const [name, spec, wanted] of [
  [
    'ClusterFirst',
    {},
    'search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n',
  ],
  ['Default', { dnsPolicy: 'Default' }, 'nameserver 172.31.0.1\n'],
  ['a host-network pod', { hostNetwork: true }, 'nameserver 172.31.0.1\n'],
  [
    'a host-network pod that wants the cluster',
    { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' },
    'search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n',
  ],
  [
    'None',
    {
      dnsPolicy: 'None',
      dnsConfig: {
        nameservers: ['9.9.9.9'],
        searches: ['x'],
        options: [{ name: 'ndots', value: '1' }, { name: 'rotate' }],
      },
    },
    'search x\nnameserver 9.9.9.9\noptions ndots:1 rotate\n',
  ],
] as [string, Partial<PodSpec>, string][])
  test(`resolv.conf for ${name}`, () => assert.equal(resolvConf(pod(spec)), wanted));

const powers = (own: ContainerSpec['securityContext'], spec?: PodSpec, system = false) =>
  powersOf({ name: 'app', ...(own !== undefined && { securityContext: own }) }, spec, system);

test('a container has the usual capabilities; it may give some up and have a few more', () => {
  const { capabilities } = powers(undefined);
  assert.ok(
    capabilities.includes('NET_BIND_SERVICE') &&
      !capabilities.includes('SYS_ADMIN') &&
      !capabilities.includes('NET_ADMIN'),
  );
  assert.deepEqual(powers({ capabilities: { drop: ['ALL'], add: ['CAP_NET_BIND_SERVICE'] } }).capabilities, [
    'NET_BIND_SERVICE',
  ]);
  assert.ok(powers({ capabilities: { add: ['NET_ADMIN'] } }).capabilities.includes('NET_ADMIN'));
});

test('power over the machine is for the parts of the mesh only, and who is refused is told', () => {
  const user = powers({ privileged: true, capabilities: { add: ['SYS_ADMIN'] } });
  assert.equal(user.capabilities.includes('SYS_ADMIN'), false);
  assert.deepEqual(user.refused, ['privileged', 'SYS_ADMIN']);
  assert.deepEqual(powers({ privileged: true }, undefined, true), { capabilities: 'all', refused: [] });
  assert.ok(
    powers({ capabilities: { drop: ['ALL'], add: ['SYS_ADMIN'] } }, undefined, true).capabilities.includes('SYS_ADMIN'),
  );
});

test('who is not root has no power at all', () => {
  assert.deepEqual(powers({ runAsUser: 1000 }).capabilities, []);
  assert.deepEqual(powers(undefined, { containers: [], securityContext: { runAsUser: 1000 } }).capabilities, []);
  assert.deepEqual(powers({ runAsUser: 1000, capabilities: { add: ['NET_BIND_SERVICE'] } }).capabilities, [
    'NET_BIND_SERVICE',
  ]);
});

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const input: VolumeInput = {
  pod: pod(),
  place: { nodeName: 'node-1', hostIp: '', podIp: '', allocatable: {} },
  objects: {
    configMap: (name) =>
      name === 'cm'
        ? { apiVersion: 'v1', kind: 'ConfigMap', data: { a: '1', b: '2' }, binaryData: { c: base64('3') } }
        : undefined,
    secret: (name) => (name === 's' ? { apiVersion: 'v1', kind: 'Secret', data: { key: base64('hush') } } : undefined),
  },
  token: ({ audience }) => `token for ${audience}`,
};
const contents = (volume: Omit<VolumeSpec, 'name'>): Record<string, string> =>
  Object.fromEntries(
    [...filesOf({ name: 'v', ...volume }, input)].map(([path, { data, mode }]) => [
      path,
      `${data} ${mode.toString(8)}`,
    ]),
  );

test('a ConfigMap is a file a key, text or not', () =>
  assert.deepEqual(contents({ configMap: { name: 'cm' } }), { a: '1 644', b: '2 644', c: '3 644' }));
test('items choose keys, paths and modes', () =>
  assert.deepEqual(
    contents({
      configMap: {
        name: 'cm',
        defaultMode: 0o400,
        items: [
          { key: 'a', path: 'x/y' },
          { key: 'b', path: 'z', mode: 0o755 },
        ],
      },
    }),
    { 'x/y': '1 400', z: '2 755' },
  ));
test('a projection joins sources', () =>
  assert.deepEqual(
    contents({
      projected: {
        sources: [
          { secret: { name: 's' } },
          { configMap: { name: 'none', optional: true } },
          { downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
          { serviceAccountToken: { path: 'token', audience: 'istio-ca' } },
        ],
      },
    }),
    { key: 'hush 644', labels: 'app="web" 644', token: 'token for istio-ca 644' },
  ));

for (const [name, volume, words] of [
  ['a missing ConfigMap', { configMap: { name: 'none' } }, /configmap "none" not found/],
  ['a missing key', { configMap: { name: 'cm', items: [{ key: 'z', path: 'z' }] } }, /non-existent config key: z/],
  ['a path out of the volume', { configMap: { name: 'cm', items: [{ key: 'a', path: '../a' }] } }, /leads out of it/],
  ['an absolute path', { secret: { secretName: 's', items: [{ key: 'key', path: '/a' }] } }, /leads out of it/],
] as [string, Omit<VolumeSpec, 'name'>, RegExp][])
  test(`${name} fails the mount with its name`, () =>
    assert.throws(() => contents(volume), { reason: 'FailedMount', message: words }));

test('tokens live ten minutes at least', () =>
  assert.deepEqual(
    tokenWishes([
      {
        name: 'v',
        projected: {
          sources: [
            { serviceAccountToken: { path: 't', expirationSeconds: 60 } },
            { serviceAccountToken: { path: 'u', audience: 'x' } },
          ],
        },
      },
    ]),
    [
      { audience: '', expirationSeconds: 600 },
      { audience: 'x', expirationSeconds: 3600 },
    ],
  ));

test('files of a volume change all at once, and what is gone is gone', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-files-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (text: string) => ({ data: Buffer.from(text), mode: 0o640 });
  writeAtomically(
    folder,
    new Map([
      ['a', file('1')],
      ['d/b', file('2')],
    ]),
  );
  assert.equal(readFileSync(join(folder, 'd/b'), 'utf8'), '2');
  assert.equal(statSync(join(folder, 'a')).mode & 0o777, 0o640);
  writeAtomically(folder, new Map([['a', file('3')]]));
  assert.equal(readFileSync(join(folder, 'a'), 'utf8'), '3');
  assert.deepEqual(
    readdirSync(folder).filter((name) => !name.startsWith('..')),
    ['a'],
  );
  assert.equal(
    readdirSync(folder).filter((name) => name.startsWith('..')).length,
    2,
    'one generation and the link to it',
  );
});

test('a hostPath is a place of the node, never of the machine', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-node-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const folders = nodeFolders(folder);
  assert.equal(folders.hostPath('/var/run/ztunnel'), join(folder, 'ztunnel'));
  assert.equal(folders.hostPath('/var/run/istio-cni/x.sock'), join(folder, 'istio-cni/x.sock'));
  assert.equal(folders.hostPath('/etc/../etc/passwd'), join(folder, 'host/etc/passwd'));
  assert.equal(folders.hostPath('../../etc'), join(folder, 'host/etc'));
  assert.equal(folders.hostPath('/var/run/ztunnel/../../../etc'), join(folder, 'host/etc'));
});
