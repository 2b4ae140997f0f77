import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json, Labels } from './read.ts';
import type { StatusReport } from './status/report.ts';
import { ambientOf } from './testing.ts';

const space = (labels: Labels = {}): Json => ({ kind: 'Namespace', metadata: { name: 'shop', labels } });
const gateway: Json = {
  kind: 'Gateway',
  metadata: { name: 'wp', namespace: 'shop' },
  spec: { gatewayClassName: 'istio-waypoint' },
  status: { addresses: [{ type: 'IPAddress', value: '10.96.0.50' }] },
};
const bare: Json = { kind: 'Gateway', metadata: { name: 'bare', namespace: 'shop' }, spec: {} };
const service = (name: string, labels: Labels = {}): Json => ({
  kind: 'Service',
  metadata: { name, namespace: 'shop', labels },
  spec: {},
});
const USE = { 'istio.io/use-waypoint': 'wp' };
const policy = (spec: Json, metadata: Json = {}, status: Json = {}): Json => ({
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace: 'shop', generation: 3, ...metadata },
  spec,
  status,
});
const reportsOf = (objects: readonly Json[], mesh?: Json): readonly StatusReport[] =>
  [...ambientOf(objects, {}, mesh).reports.values()].filter(({ kind }) => kind !== 'Gateway');
const brief = (reports: readonly StatusReport[]): readonly string[] =>
  reports
    .map(({ manager, wanted }) => `${manager}: ${wanted.map((w) => `${w.type}=${w.status} ${w.reason}`).join(', ')}`)
    .sort();

test('a policy without targetRefs answers for ztunnel', () => {
  assert.deepEqual(brief(reportsOf([policy({ rules: [{}] })])), [
    'istio-ambient-ztunnel-policy: ZtunnelAccepted=True Accepted',
  ]);
  assert.deepEqual(brief(reportsOf([policy({ action: 'CUSTOM', rules: [{}] })])), [
    'istio-ambient-ztunnel-policy: ZtunnelAccepted=False UnsupportedValue',
  ]);
  const http = policy({ rules: [{ to: [{ operation: { methods: ['GET'] } }] }] });
  assert.deepEqual(brief(reportsOf([http])), ['istio-ambient-ztunnel-policy: ZtunnelAccepted=True UnsupportedValue']);
  assert.equal(reportsOf([http])[0]?.wanted[0]?.observedGeneration, 3);
});

const ref = (kind: string, name: string, more: Json = {}): Json => ({ kind, name, ...more });
const bound = service('bound', USE);
const loose = service('loose');
const external: Json = {
  kind: 'ServiceEntry',
  metadata: { name: 'ext', namespace: 'shop', labels: USE },
  spec: { hosts: ['x.example'], resolution: 'STATIC' },
};
const mesh: Json = {
  kind: 'GatewayClass',
  metadata: { name: 'istio-waypoint' },
  spec: { controllerName: 'istio.io/mesh-controller' },
};
const edge: Json = {
  kind: 'GatewayClass',
  metadata: { name: 'istio' },
  spec: { controllerName: 'istio.io/gateway-controller' },
};
const targets: readonly [string, readonly Json[], string, string?][] = [
  ['a bound Service', [ref('Service', 'bound')], 'True Accepted'],
  ['a bound ServiceEntry', [ref('ServiceEntry', 'ext')], 'True Accepted'],
  ['a waypoint', [ref('Gateway', 'wp')], 'True Accepted'],
  ['a Gateway without address', [ref('Gateway', 'bare')], 'False AncestorNotBound'],
  ['a Service without waypoint', [ref('Service', 'loose')], 'False AncestorNotBound'],
  ['a missing Service', [ref('Service', 'gone')], 'False TargetNotFound'],
  ['a missing Gateway', [ref('Gateway', 'gone')], 'False TargetNotFound'],
  ['another namespace', [ref('Service', 'bound', { namespace: 'other' })], 'False TargetNotFound'],
  ['a kind that is no target', [ref('Pod', 'x')], 'False Invalid'],
  ['a class, outside the root namespace', [ref('GatewayClass', 'istio-waypoint')], 'False Invalid'],
  ['a class', [ref('GatewayClass', 'istio-waypoint')], 'True Accepted', 'istio-system'],
  ['a class of another controller', [ref('GatewayClass', 'istio')], 'False Invalid', 'istio-system'],
  ['a missing class', [ref('GatewayClass', 'gone')], 'False TargetNotFound', 'istio-system'],
  ['several, all bound', [ref('Service', 'bound'), ref('Gateway', 'wp')], 'True Accepted'],
  ['several, some bound', [ref('Service', 'bound'), ref('Service', 'loose')], 'True PartiallyInvalid'],
  ['several, none bound', [ref('Service', 'gone'), ref('Service', 'loose')], 'False Invalid'],
];
for (const [name, targetRefs, want, namespace = 'shop'] of targets)
  test(`targetRef: ${name}`, () => {
    const objects = [space(), gateway, bare, bound, loose, external, mesh, edge, policy({ targetRefs }, { namespace })];
    const reports = reportsOf(objects).filter(({ kind }) => kind === 'AuthorizationPolicy');
    assert.deepEqual(brief(reports), [`istio-ambient-waypoint-policy: WaypointAccepted=${want}`]);
    if (want.endsWith('PartiallyInvalid'))
      assert.match(reports[0]?.wanted[0]?.message ?? '', /Service\.core:shop\/loose/);
  });

test('what the object already says is not reported', () => {
  const [report] = reportsOf([policy({ rules: [{}] })]);
  const said = {
    conditions: [{ ...report?.wanted[0], lastTransitionTime: '2026-01-01T00:00:00Z' }, { type: 'Other' }],
  };
  assert.deepEqual(reportsOf([policy({ rules: [{}] }, {}, said)]), []);
  assert.equal(reportsOf([policy({ rules: [{}] }, { generation: 4 }, said)]).length, 1, 'another generation');
});

test('a condition that no longer applies is let go of', () => {
  const said = {
    conditions: [{ type: 'istio.io/WaypointBound', status: 'True', reason: 'WaypointAccepted', message: 'x' }],
  };
  const [report, ...rest] = reportsOf([space(), gateway, { ...loose, status: said }]);
  assert.deepEqual([report?.wanted, rest], [[], []]);
  const moved = policy(
    { targetRefs: [ref('Gateway', 'wp')] },
    {},
    { conditions: [{ type: 'ZtunnelAccepted', status: 'True' }] },
  );
  assert.deepEqual(brief(reportsOf([gateway, moved])), [
    'istio-ambient-waypoint-policy: WaypointAccepted=True Accepted',
    'istio-ambient-ztunnel-policy: ',
  ]);
});

const entry = (spec: Json, metadata: Json = {}): Json => ({
  kind: 'ServiceEntry',
  metadata: { name: 'ext', namespace: 'shop', ...metadata },
  spec: { hosts: ['*.x.example'], resolution: 'DYNAMIC_DNS', ...spec },
});
test('a ServiceEntry says what it misses without a waypoint', () => {
  assert.deepEqual(brief(reportsOf([entry({})])), [
    'istio-ambient-service: istio.io/WaypointMissing=True NoWaypointForWildcardService',
  ]);
  const annotations = { 'ambient.istio.io/connect-strategy': 'RACE_FIRST_TCP_CONNECT' };
  assert.deepEqual(brief(reportsOf([entry({ hosts: ['x.example'], resolution: 'DNS' }, { annotations })])), [
    'istio-ambient-service: istio.io/WaypointMissing=True NoWaypointForRacingConnectStrategy',
  ]);
  assert.deepEqual(brief(reportsOf([space(), gateway, entry({}, { labels: USE })])), [
    'istio-ambient-service: istio.io/WaypointBound=True WaypointAccepted',
  ]);
});

test('visibility is reported where the mesh configures it', () => {
  const visibility = (value: string): Json => ({ serviceEntryVisibility: { defaultVisibility: value } });
  const plain = entry({ hosts: ['x.example'], resolution: 'STATIC' });
  assert.deepEqual(brief(reportsOf([plain])), []);
  assert.deepEqual(brief(reportsOf([plain], visibility('PUBLIC'))), [
    'istio-ambient-service: istio.io/VisibilityApplied=True Public',
  ]);
  assert.deepEqual(brief(reportsOf([plain], visibility('NAMESPACE'))), [
    'istio-ambient-service: istio.io/VisibilityApplied=True Namespace',
  ]);
});

test('a ServiceEntry of one namespace may not use a waypoint of another', () => {
  const labels = { ...USE, 'istio.io/use-waypoint-namespace': 'infra' };
  const open = { allowedRoutes: { namespaces: { from: 'All' } }, port: 15008, protocol: 'HBONE' };
  const infra = { ...gateway, metadata: { name: 'wp', namespace: 'infra' }, spec: { listeners: [open] } };
  const plain = entry({ hosts: ['x.example'], resolution: 'STATIC' }, { labels });
  const reports = reportsOf([space(), infra, plain], { serviceEntryVisibility: { defaultVisibility: 'NAMESPACE' } });
  assert.equal(reports[0]?.wanted[0]?.reason, 'CrossNamespaceWaypointForbidden');
});

test('a WorkloadEntry that asks for a waypoint hears of it', () => {
  const vm = {
    kind: 'WorkloadEntry',
    metadata: { name: 'vm', namespace: 'shop', labels: USE },
    spec: { address: '10.0.0.1' },
  };
  assert.deepEqual(brief(reportsOf([space(), gateway, vm])), [
    'istio-ambient-workloadentry: istio.io/WaypointBound=False UnsupportedTrafficType',
  ]);
});
