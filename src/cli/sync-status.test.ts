import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shortTable, verboseTable } from './commands/proxy-status.ts';
import { Failure } from './failure.ts';
import { type ProxySync, parseSyncStatus } from './sync-status.ts';
import { dataPlane, versionJson, versionLines, versionOf } from './versions.ts';

const ADDRESS = 'type.googleapis.com/istio.workload.Address';
const AUTHORIZATION = 'type.googleapis.com/istio.security.Authorization';
const type = (state: string, set: Record<string, string> = {}) => ({
  state,
  mode: 'wildcard',
  sentVersion: '1',
  ackedVersion: '1',
  sentAt: '2026-11-21T08:00:00.000Z',
  ackedAt: '2026-11-21T08:00:00.000Z',
  rejection: '',
  ...set,
});
const OURS = {
  controlPlane: 'istiod-1',
  pushVersion: 'x/1',
  proxies: [
    {
      proxy: 'ztunnel-a.istio-system',
      id: 'ztunnel~10.0.0.1~ztunnel-a.istio-system~cluster.local',
      clusterId: 'Kubernetes',
      version: '0.1.0',
      types: { [AUTHORIZATION]: type('synced'), [ADDRESS]: type('rejected', { rejection: 'bad address' }) },
    },
    {
      proxy: 'ztunnel-b.istio-system',
      clusterId: 'Kubernetes',
      version: '0.1.0',
      types: { [ADDRESS]: type('never', { ackedAt: '' }) },
    },
  ],
};

test('our control plane: columns as istioctl', () => {
  const proxies = parseSyncStatus(JSON.stringify(OURS), 'istiod-1');
  assert.equal(
    shortTable(proxies),
    [
      'NAME                       CLUSTER        ISTIOD       VERSION     SUBSCRIBED TYPES',
      'ztunnel-a.istio-system     Kubernetes     istiod-1     0.1.0       2 (WADS,WDS)',
      'ztunnel-b.istio-system     Kubernetes     istiod-1     0.1.0       1 (WDS)',
      '',
    ].join('\n'),
  );
  assert.equal(
    verboseTable(proxies, Date.parse('2026-11-21T08:00:05Z')),
    [
      'NAME                       CLUSTER        ISTIOD       VERSION     WADS            WDS',
      'ztunnel-a.istio-system     Kubernetes     istiod-1     0.1.0       SYNCED (5s)     ERROR (5s)',
      'ztunnel-b.istio-system     Kubernetes     istiod-1     0.1.0       IGNORED         NOT SENT',
      '',
    ].join('\n'),
  );
  assert.equal(proxies[0]?.types[1]?.rejection, 'bad address');
});

test('istiod: a pair of fields for each type', () => {
  const answer = [
    {
      cluster_id: 'c1',
      proxy: 'web-1.shop',
      istio_version: '1.29.0',
      cluster_sent: 'a',
      cluster_acked: 'a',
      listener_sent: 'b',
      listener_acked: 'a',
    },
  ];
  assert.deepEqual(parseSyncStatus(JSON.stringify(answer), 'istiod-x'), [
    {
      name: 'web-1.shop',
      cluster: 'c1',
      istiod: 'istiod-x',
      version: '1.29.0',
      types: [
        { type: 'CDS', state: 'SYNCED', ackedAt: undefined, rejection: undefined },
        { type: 'LDS', state: 'STALE', ackedAt: undefined, rejection: undefined },
      ],
    },
  ]);
});

test('istiod since 1.30: an entry for each type', () => {
  const entry = (sent: string, acked: string) => ({ sent, acked, sentTime: '2026-11-21T10:23:06.692341094Z' });
  const answer = [
    {
      proxy: 'ztunnel-a.istio-system',
      proxy_type: 'ztunnel',
      istio_version: '0.1.0',
      resources: { [AUTHORIZATION]: entry('v2', 'v1'), [ADDRESS]: entry('v2', 'v2'), 'x/y.Other': entry('', '') },
    },
  ];
  const [proxy] = parseSyncStatus(JSON.stringify(answer), 'istiod-x');
  assert.deepEqual(
    proxy?.types.map(({ type, state }) => [type, state]),
    [
      ['WADS', 'STALE'],
      ['WDS', 'SYNCED'],
      ['y.Other', 'NOT SENT'],
    ],
  );
});

for (const text of ['', '<html>', '7', '{}', '{"proxies": 7}'])
  test(`no list of proxies: ${text}`, () => assert.throws(() => parseSyncStatus(text, 'istiod-x'), Failure));

test('what is odd in a list does not hide the rest', () => {
  const proxies = parseSyncStatus(JSON.stringify({ proxies: [7, { proxy: 'a.b', types: { x: 7 } }] }), 'i');
  assert.deepEqual(
    proxies.map(({ name, types }) => [name, types[0]?.state]),
    [['a.b', 'STALE']],
  );
});

const proxy = (name: string, version: string): ProxySync => ({ name, cluster: '', istiod: '', version, types: [] });

test('versions: one line where all control planes agree, else one each', () => {
  const proxies = [proxy('a', '0.1.0'), proxy('b', '0.0.9'), proxy('c', '0.1.0'), proxy('d', '')];
  const same = { client: '0.1.0', mesh: { controlPlanes: [{ component: 'istiod-1', version: '0.1.0' }], proxies } };
  assert.equal(
    versionLines(same, true),
    'client version: 0.1.0\ncontrol plane version: 0.1.0\n' +
      'data plane version: 0.1.0 (2 proxies), 0.0.9 (1 proxies), unknown (1 proxies)\n',
  );
  const different = {
    client: '0.1.0',
    mesh: { controlPlanes: ['0.1.0', '0.0.9'].map((v, i) => ({ component: `istiod-${i}`, version: v })), proxies: [] },
  };
  assert.equal(
    versionLines(different, true),
    'client version: 0.1.0\nistiod-0 version: 0.1.0\nistiod-1 version: 0.0.9\ndata plane version: none\n',
  );
  assert.match(versionLines(same, false), /istiod-1 version: 0.1.0\n.*\n {2}a: 0.1.0\n/);
  assert.equal(versionLines({ client: '0.1.0', mesh: undefined }, true), 'client version: 0.1.0\n');
  assert.deepEqual(versionJson(same), {
    clientVersion: { version: '0.1.0' },
    meshVersion: [{ Component: 'istiod-1', Info: { version: '0.1.0' } }],
    dataPlaneVersion: proxies.map(({ name, version }) => ({ ID: name, IstioVersion: version })),
  });
  assert.equal(dataPlane([]), 'none');
});

test('the build behind a version is left out', () => {
  assert.equal(versionOf('1.29.0-62d826530e5ce85764e309170205b293efcbc80b-Clean\n'), '1.29.0');
  assert.equal(versionOf('1.30-alpha.1-62d8265-dirty-Modified'), '1.30-alpha.1');
  assert.equal(versionOf('0.1.0\n'), '0.1.0');
});
