import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Workload } from '../model/workload.ts';
import type { Json, Labels } from './read.ts';
import { ambientOf } from './testing.ts';

const UID = 'Kubernetes//Pod/shop/web-0';
const pod = (more: { metadata?: Json; spec?: Json; status?: Json } = {}): Json => ({
  kind: 'Pod',
  metadata: { name: 'web-0', namespace: 'shop', uid: 'u1', ...more.metadata },
  spec: { nodeName: 'n1', serviceAccountName: 'web', containers: [], ...more.spec },
  status: { podIP: '10.244.1.2', phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }], ...more.status },
});
const workloadOf = (objects: readonly Json[], uid = UID): Workload => {
  const found = ambientOf(objects).workloads.get(uid);
  assert.ok(found, `${uid} is missing`);
  return found;
};
const isLeftOut = (object: Json): boolean => ambientOf([object]).workloads.size === 0;

test('which pods count', () => {
  assert.ok(isLeftOut(pod({ status: { phase: 'Succeeded' } })));
  assert.ok(isLeftOut(pod({ status: { phase: 'Failed' } })));
  assert.ok(isLeftOut(pod({ status: { podIP: undefined } })));
  assert.ok(isLeftOut(pod({ status: { podIPs: [{ ip: '10.0.0.1' }, { ip: 'garbage' }] } })));
  assert.ok(!isLeftOut(pod({ status: { phase: 'Pending' } })));
});

test('healthy is ready and not being deleted', () => {
  assert.equal(workloadOf([pod()]).status, 'healthy');
  assert.equal(workloadOf([pod({ status: { conditions: [] } })]).status, 'unhealthy');
  assert.equal(workloadOf([pod({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } })]).status, 'unhealthy');
});

test('the tunnel is what the node agent or the workload says', () => {
  const tunnel = (annotations: Labels, labels: Labels = {}): readonly unknown[] => {
    const { tunnelProtocol, nativeTunnel } = workloadOf([pod({ metadata: { annotations, labels } })]);
    return [tunnelProtocol, nativeTunnel];
  };
  assert.deepEqual(tunnel({ 'ambient.istio.io/redirection': 'enabled' }), ['hbone', false]);
  assert.deepEqual(tunnel({ 'ambient.istio.io/redirection': 'pending' }), ['none', false]);
  assert.deepEqual(tunnel({}, { 'networking.istio.io/tunnel': 'other,http' }), ['hbone', true]);
  assert.deepEqual(tunnel({}, { 'security.istio.io/tlsMode': 'istio' }), ['none', false]);
});

test('network, locality, host network and all addresses', () => {
  const workload = workloadOf([
    { kind: 'Namespace', metadata: { name: 'istio-system', labels: { 'topology.istio.io/network': 'net' } } },
    {
      kind: 'Node',
      metadata: {
        name: 'n1',
        labels: {
          'topology.kubernetes.io/region': 'kr',
          'topology.kubernetes.io/zone': 'kr-a',
          'topology.istio.io/subzone': 'rack',
        },
      },
    },
    pod({ spec: { hostNetwork: true }, status: { podIPs: [{ ip: '10.244.1.2' }, { ip: 'FD00:0::1' }] } }),
  ]);
  assert.deepEqual(workload.addresses, ['10.244.1.2', 'fd00::1']);
  assert.deepEqual(workload.locality, { region: 'kr', zone: 'kr-a', subzone: 'rack' });
  assert.deepEqual([workload.network, workload.hostNetwork], ['net', true]);
});

const owned = (kind: string, name: string, labels: Labels = {}, generateName = 'x-'): Json =>
  pod({ metadata: { generateName, labels, ownerReferences: [{ kind, name, controller: true }] } });
const owners: readonly [string, Json, string][] = [
  ['no controller', pod(), 'web-0'],
  ['a Deployment', owned('ReplicaSet', 'web-5d4f9c', { 'pod-template-hash': '5d4f9c' }), 'web'],
  ['a bare ReplicaSet', owned('ReplicaSet', 'web'), 'web'],
  ['a Rollout', owned('ReplicaSet', 'web-77', { 'rollouts-pod-template-hash': '77' }), 'web'],
  ['a CronJob', owned('Job', 'nightly-29012345'), 'nightly'],
  ['a Job', owned('Job', 'once-1'), 'once-1'],
  ['a DeploymentConfig', owned('ReplicationController', 'web-1', { deploymentconfig: 'web' }), 'web'],
  ['a DaemonSet', owned('DaemonSet', 'agent'), 'agent'],
  ['a name that was not generated', owned('StatefulSet', 'db', {}, ''), 'web-0'],
  ['a label', pod({ metadata: { labels: { 'service.istio.io/workload-name': 'said' } } }), 'said'],
];
for (const [name, object, want] of owners)
  test(`workload name from ${name}`, () => assert.equal(workloadOf([object]).workloadName, want));

test('canonical name and revision, each label before the next', () => {
  const names = (labels: Labels): readonly string[] => {
    const { canonicalName, canonicalRevision } = workloadOf([pod({ metadata: { labels } })]);
    return [canonicalName, canonicalRevision];
  };
  const app = { app: 'c', version: '3' };
  const recommended = { ...app, 'app.kubernetes.io/name': 'b', 'app.kubernetes.io/version': '2' };
  const istio = { ...recommended, 'service.istio.io/canonical-name': 'a', 'service.istio.io/canonical-revision': '1' };
  assert.deepEqual(names({}), ['web-0', 'latest']);
  assert.deepEqual(names(app), ['c', '3']);
  assert.deepEqual(names(recommended), ['b', '2']);
  assert.deepEqual(names(istio), ['a', '1']);
});

const service = (spec: Json, name = 'web'): Json => ({ kind: 'Service', metadata: { name, namespace: 'shop' }, spec });
const portsOf = (objects: readonly Json[], uid = UID, key = 'shop/web.shop.svc.cluster.local') =>
  workloadOf(objects, uid)
    .services.get(key)
    ?.map(({ servicePort, targetPort }) => `${servicePort}>${targetPort}`);
const app = pod({
  metadata: { labels: { app: 'web' } },
  spec: {
    containers: [
      {
        ports: [
          { name: 'http', containerPort: 8080 },
          { name: 'dns', containerPort: 53, protocol: 'UDP' },
        ],
      },
    ],
    initContainers: [
      { restartPolicy: 'Always', ports: [{ name: 'beside', containerPort: 9000 }] },
      { ports: [{ name: 'before', containerPort: 9001 }] },
    ],
  },
});

test('ports of a service: numbers, names of the pod, and what the pod lacks left out', () => {
  const ports = [
    { name: 'a', port: 80, targetPort: 'http' },
    { name: 'b', port: 81, targetPort: 8081 },
    { name: 'c', port: 82 },
    { name: 'd', port: 83, targetPort: 'beside' },
    { name: 'e', port: 84, targetPort: 'before' },
    { name: 'f', port: 85, targetPort: 'dns' },
  ];
  assert.deepEqual(portsOf([app, service({ selector: { app: 'web' }, ports })]), [
    '80>8080',
    '81>8081',
    '82>82',
    '83>9000',
  ]);
});

test('membership: selector of the same namespace, never an empty one', () => {
  assert.equal(portsOf([app, service({ selector: { app: 'other' }, ports: [{ port: 80 }] })]), undefined);
  assert.equal(portsOf([app, service({ ports: [{ port: 80 }] })]), undefined);
  const elsewhere = { ...service({ selector: { app: 'web' }, ports: [] }), metadata: { name: 'web', namespace: 'b' } };
  assert.equal(workloadOf([app, elsewhere]).services.size, 0);
});

const slice = (endpoints: readonly Json[], more: Json = {}): Json => ({
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [
    { name: 'http', port: 8080, protocol: 'TCP' },
    { name: 'unknown', port: 1, protocol: 'TCP' },
    { name: 'dns', port: 53, protocol: 'UDP' },
  ],
  endpoints,
  ...more,
});
const named = service({
  ports: [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'dns', port: 53, protocol: 'UDP' },
  ],
});

test('a service without selector has the pods that its slices name by uid', () => {
  const target = { kind: 'Pod', namespace: 'shop', name: 'web-0', uid: 'u1' };
  const endpoint = { addresses: ['10.244.1.2'], targetRef: target };
  assert.deepEqual(portsOf([app, named, slice([endpoint])]), ['80>8080', '53>53']);
  const stale = { addresses: ['10.244.1.2'], targetRef: { ...target, uid: 'u0' } };
  assert.equal(portsOf([app, named, slice([stale])]), undefined);
});

test('addresses written by hand are workloads that nothing is known of', () => {
  const objects = [
    named,
    slice([
      { addresses: ['192.0.2.1'] },
      { addresses: ['192.0.2.2'], conditions: { ready: false } },
      { addresses: ['192.0.2.1'] },
      { addresses: ['garbage'] },
    ]),
  ];
  const found = [...ambientOf(objects).workloads.values()].map(({ uid, status, hostNetwork, services }) => [
    uid,
    status,
    hostNetwork,
    [...services.values()].flat().map(({ servicePort, targetPort }) => `${servicePort}>${targetPort}`),
  ]);
  const at = (ip: string): string => `Kubernetes/discovery.k8s.io/EndpointSlice/shop/web-1/${ip}`;
  assert.deepEqual(found, [
    [at('192.0.2.1'), 'healthy', true, ['80>8080']],
    [at('192.0.2.2'), 'unhealthy', true, ['80>8080']],
  ]);
  assert.equal(ambientOf([named, slice([{ addresses: ['x.example'] }], { addressType: 'FQDN' })]).workloads.size, 0);
  assert.equal(ambientOf([slice([{ addresses: ['192.0.2.1'] }])]).workloads.size, 0, 'no such service');
});

const serviceEntry = (spec: Json, metadata: Json = {}): Json => ({
  kind: 'ServiceEntry',
  metadata: { name: 'db', namespace: 'shop', ...metadata },
  spec: { hosts: ['db.example'], ports: [{ number: 5432, name: 'pg', protocol: 'TCP' }], ...spec },
});
const workloadEntry = (spec: Json, labels: Labels = {}): Json => ({
  kind: 'WorkloadEntry',
  metadata: { name: 'vm', namespace: 'shop', labels },
  spec,
});
const VM = 'Kubernetes/networking.istio.io/WorkloadEntry/shop/vm';

test('a WorkloadEntry: address or name, labels of both places, weight, locality, network', () => {
  const workload = workloadOf(
    [
      workloadEntry(
        {
          address: 'vm.example',
          labels: { app: 'db' },
          weight: 3,
          network: 'n2',
          locality: 'r/z/s',
          serviceAccount: 'sa',
        },
        { app: 'overruled', 'networking.istio.io/tunnel': 'http' },
      ),
      serviceEntry({ workloadSelector: { labels: { app: 'db' } }, resolution: 'STATIC' }),
      service({ selector: { app: 'db' }, ports: [{ name: 'pg', port: 80, targetPort: 'pg' }] }),
    ],
    VM,
  );
  assert.deepEqual([workload.hostname, workload.addresses], ['vm.example', []]);
  assert.deepEqual([workload.capacity, workload.network, workload.serviceAccount], [3, 'n2', 'sa']);
  assert.deepEqual(workload.locality, { region: 'r', zone: 'z', subzone: 's' });
  assert.deepEqual([workload.tunnelProtocol, workload.nativeTunnel], ['hbone', true]);
  assert.deepEqual(
    [...workload.services].map(([key, ports]) => [key, ports.map((p) => `${p.servicePort}>${p.targetPort}`)]),
    [
      ['shop/db.example', ['5432>5432']],
      ['shop/web.shop.svc.cluster.local', []],
    ],
  );
});

test('ports of an entry by name, else targetPort, else the service port', () => {
  const selecting = { workloadSelector: { labels: { app: 'db' } }, resolution: 'STATIC' };
  const entry = (ports: Json): Json => workloadEntry({ address: '10.1.1.1', labels: { app: 'db' }, ports });
  const at = (ports: Json, more: Json = {}) =>
    portsOf([entry(ports), serviceEntry({ ...selecting, ...more })], VM, 'shop/db.example');
  assert.deepEqual(at({ pg: 1 }), ['5432>1']);
  assert.deepEqual(at({}, { ports: [{ number: 5432, name: 'pg', targetPort: 2 }] }), ['5432>2']);
  assert.deepEqual(at({}), ['5432>5432']);
});

test('a ServiceEntry may select pods, and prefers their port of the same name', () => {
  const spec = {
    workloadSelector: { labels: { app: 'web' } },
    resolution: 'STATIC',
    ports: [{ number: 80, name: 'http' }],
  };
  assert.deepEqual(portsOf([app, serviceEntry(spec)], UID, 'shop/db.example'), ['80>8080']);
});

test('inline endpoints, implicit ones by DNS, and none beside a selector', () => {
  const uids = (spec: Json): readonly string[] => [...ambientOf([serviceEntry(spec)]).workloads.keys()];
  const prefix = 'Kubernetes/networking.istio.io/ServiceEntry/shop/db';
  assert.deepEqual(uids({ resolution: 'STATIC', endpoints: [{ address: '10.1.1.1' }] }), [`${prefix}/10.1.1.1`]);
  assert.deepEqual(uids({ resolution: 'DNS' }), [`${prefix}/db.example`]);
  assert.deepEqual(uids({ resolution: 'STATIC' }), []);
  const both = { workloadSelector: { labels: { a: 'b' } }, endpoints: [{ address: '10.1.1.1' }] };
  assert.deepEqual(uids({ resolution: 'STATIC', ...both }), []);
  const dns = ambientOf([serviceEntry({ resolution: 'DNS' })]).workloads.get(`${prefix}/db.example`);
  assert.deepEqual([dns?.hostname, dns?.addresses], ['db.example', []]);
});

test('a ServiceEntry whose host another object won has no workloads either', () => {
  const old = serviceEntry({ resolution: 'DNS' }, { name: 'old', creationTimestamp: '2026-01-01T00:00:00Z' });
  const young = serviceEntry({ resolution: 'DNS' }, { creationTimestamp: '2026-02-01T00:00:00Z' });
  assert.deepEqual(
    [...ambientOf([young, old]).workloads.values()].map(({ name }) => name),
    ['old'],
  );
});

test('policies by selector: own and root namespace, sorted, converted ones last', () => {
  const policy = (name: string, namespace: string, matchLabels: Labels | undefined): Json => ({
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace },
    spec: matchLabels === undefined ? {} : { selector: { matchLabels } },
  });
  const objects = [
    app,
    policy('z', 'shop', { app: 'web' }),
    policy('a', 'istio-system', { app: 'web' }),
    policy('b', 'other', { app: 'web' }),
    policy('c', 'shop', { app: 'other' }),
    policy('d', 'shop', undefined),
    policy('e', 'shop', {}),
    { kind: 'PeerAuthentication', metadata: { name: 'p', namespace: 'shop' }, spec: { mtls: { mode: 'STRICT' } } },
  ];
  assert.deepEqual(workloadOf(objects).authorizationPolicies, [
    'istio-system/a',
    'shop/e',
    'shop/z',
    'istio-system/istio_converted_static_strict',
  ]);
  assert.deepEqual(
    workloadOf([pod(), policy('z', 'shop', { app: 'web' })]).authorizationPolicies,
    [],
    'a pod without labels',
  );
});
