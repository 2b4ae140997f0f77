import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ambient } from './ambient.ts';
import type { Json, Labels } from './read.ts';
import type { StatusReport } from './status/report.ts';
import { ambientOf } from './testing.ts';

const namespace = (name: string, labels: Labels = {}, annotations: Labels = {}): Json => ({
  kind: 'Namespace',
  metadata: { name, labels, annotations },
});
const gateway = (
  name: string,
  labels: Labels = {},
  more: { namespace?: string; allowed?: Json; addresses?: Json[] } = {},
): Json => ({
  kind: 'Gateway',
  metadata: { name, namespace: more.namespace ?? 'shop', labels },
  spec: {
    gatewayClassName: 'istio-waypoint',
    listeners: [
      {
        name: 'mesh',
        port: 15008,
        protocol: 'HBONE',
        ...(more.allowed && { allowedRoutes: { namespaces: more.allowed } }),
      },
    ],
  },
  status: { addresses: more.addresses ?? [{ type: 'IPAddress', value: '10.96.0.50' }] },
});
const service = (labels: Labels = {}, annotations: Labels = {}): Json => ({
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop', labels, annotations },
  spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
});
const pod = (labels: Labels = {}): Json => ({
  kind: 'Pod',
  metadata: { name: 'web-0', namespace: 'shop', labels },
  spec: { serviceAccountName: 'web' },
  status: { podIP: '10.244.1.2' },
});
const USE = { 'istio.io/use-waypoint': 'wp' };

interface Case {
  readonly name: string;
  readonly objects: readonly Json[];
  /** Waypoint of service and pod, as text. */
  readonly want: readonly [string, string];
  /** Reason on the service; undefined: no condition. */
  readonly reason?: string;
}
const AT = '10.96.0.50:15008';
const cases: readonly Case[] = [
  { name: 'nobody asked', objects: [namespace('shop'), gateway('wp')], want: ['', ''] },
  {
    name: 'the namespace asks: services are bound, pods are not (a service waypoint)',
    objects: [namespace('shop', USE), gateway('wp')],
    want: [AT, ''],
    reason: 'WaypointAccepted',
  },
  {
    name: 'a waypoint for all binds both',
    objects: [namespace('shop', USE), gateway('wp', { 'istio.io/waypoint-for': 'all' })],
    want: [AT, AT],
    reason: 'WaypointAccepted',
  },
  {
    name: 'a workload waypoint does not take a service',
    objects: [namespace('shop', USE), gateway('wp', { 'istio.io/waypoint-for': 'workload' })],
    want: ['', AT],
    reason: 'UnsupportedTrafficType',
  },
  {
    name: 'an object opts out with none',
    objects: [namespace('shop', USE), gateway('wp'), service({ 'istio.io/use-waypoint': 'none' })],
    want: ['', ''],
  },
  {
    name: 'a missing waypoint of the object is not replaced by that of the namespace',
    objects: [namespace('shop', USE), gateway('wp'), service({ 'istio.io/use-waypoint': 'other' })],
    want: ['', ''],
    reason: 'WaypointIsNotReady',
  },
  {
    name: 'a Gateway without address is not ready',
    objects: [namespace('shop', USE), gateway('wp', {}, { addresses: [] })],
    want: ['', ''],
    reason: 'WaypointIsNotReady',
  },
  {
    name: 'another namespace must be admitted',
    objects: [
      namespace('shop', { ...USE, 'istio.io/use-waypoint-namespace': 'infra' }),
      gateway('wp', {}, { namespace: 'infra' }),
    ],
    want: ['', ''],
    reason: 'AttachmentDenied',
  },
  {
    name: 'admitted by All',
    objects: [
      namespace('shop', { ...USE, 'istio.io/use-waypoint-namespace': 'infra' }),
      gateway('wp', {}, { namespace: 'infra', allowed: { from: 'All' } }),
    ],
    want: [AT, ''],
    reason: 'WaypointAccepted',
  },
  {
    name: 'admitted by a selector on the namespace of the object',
    objects: [
      namespace('shop', { ...USE, 'istio.io/use-waypoint-namespace': 'infra', team: 'a' }),
      gateway(
        'wp',
        {},
        { namespace: 'infra', allowed: { from: 'Selector', selector: { matchLabels: { team: 'a' } } } },
      ),
    ],
    want: [AT, ''],
    reason: 'WaypointAccepted',
  },
  {
    name: 'a selector that cannot be read admits nobody',
    objects: [
      namespace('shop', { ...USE, 'istio.io/use-waypoint-namespace': 'infra' }),
      gateway(
        'wp',
        {},
        {
          namespace: 'infra',
          allowed: { from: 'Selector', selector: { matchExpressions: [{ key: 'team', operator: 'Near' }] } },
        },
      ),
    ],
    want: ['', ''],
    reason: 'AttachmentDenied',
  },
  {
    name: 'the namespace label counts only beside its own use-waypoint',
    objects: [namespace('shop'), gateway('wp'), service({ ...USE, 'istio.io/use-waypoint-namespace': 'shop' })],
    want: [AT, ''],
    reason: 'WaypointAccepted',
  },
  {
    name: 'host names before addresses',
    objects: [
      namespace('shop', USE),
      gateway(
        'wp',
        {},
        {
          addresses: [
            { type: 'IPAddress', value: '10.96.0.50' },
            { type: 'Hostname', value: 'wp.shop.svc.cluster.local' },
          ],
        },
      ),
    ],
    want: ['shop/wp.shop.svc.cluster.local:15008', ''],
    reason: 'WaypointAccepted',
  },
  {
    name: 'the parts of a waypoint have none themselves',
    objects: [
      namespace('shop', USE),
      gateway('wp'),
      service({ 'gateway.istio.io/managed': 'istio.io-mesh-controller' }),
    ],
    want: ['', ''],
  },
];

const show = (address: { destination: Json; hbonePort: number } | undefined): string => {
  if (address === undefined) return '';
  const { kind, ip, namespace: of, hostname } = address.destination;
  return `${kind === 'address' ? String(ip) : `${String(of)}/${String(hostname)}`}:${address.hbonePort}`;
};
/** What is reported on the objects that are bound; the Gateways' own status is another subject. */
const onObjects = (ambient: Ambient): readonly StatusReport[] =>
  [...ambient.reports.values()].filter(({ kind }) => kind !== 'Gateway');
const only = <T>(items: Iterable<T>): T => {
  const [item, ...rest] = items;
  assert.ok(item !== undefined && rest.length === 0);
  return item;
};

for (const { name, objects, want, reason } of cases)
  test(name, () => {
    const withService = objects.some(({ kind }) => kind === 'Service') ? objects : [...objects, service()];
    const ambient = ambientOf([...withService, pod()]);
    const got = [show(only(ambient.services.values()).waypoint), show(only(ambient.workloads.values()).waypoint)];
    assert.deepEqual(got, want);
    assert.deepEqual(
      onObjects(ambient).map(({ wanted }) => wanted.map((condition) => condition.reason)),
      reason === undefined ? [] : [[reason]],
    );
  });

test('a pod that asks for a waypoint of services gets none, and one that is an instance gets its tunnel', () => {
  const binding = { 'ambient.istio.io/waypoint-inbound-binding': 'PROXY/15088' };
  const wp = gateway('wp', { 'istio.io/waypoint-for': 'all' });
  const ambient = ambientOf([
    namespace('shop', USE),
    { ...wp, metadata: { ...(wp.metadata as Json), annotations: binding } },
    pod({ 'gateway.networking.k8s.io/gateway-name': 'wp' }),
  ]);
  const workload = only(ambient.workloads.values());
  assert.equal(workload.waypoint, undefined);
  assert.deepEqual(workload.applicationTunnel, { protocol: 'proxy', port: 15088 });
});

test('waypoint-for of the class counts where the Gateway says nothing', () => {
  const cls = {
    kind: 'GatewayClass',
    metadata: { name: 'istio-waypoint', labels: { 'istio.io/waypoint-for': 'all' } },
    spec: {},
  };
  const ambient = ambientOf([namespace('shop', USE), gateway('wp'), cls, pod()]);
  assert.equal(show(only(ambient.workloads.values()).waypoint), AT);
});

const CANARY = { ...USE, 'istio.io/use-waypoint-canary': 'next' };
const weight = (value: string): Labels => ({ 'istio.io/use-waypoint-canary-weight': value });
const next = gateway('next', {}, { addresses: [{ type: 'IPAddress', value: '10.96.0.60' }] });
const canaries: readonly [string, readonly Json[], readonly number[], RegExp][] = [
  ['shares the weight', [service(CANARY, weight('20')), next], [80, 20], /^bound to waypoint shop\/wp$/],
  ['without a weight it gets nothing', [service(CANARY), next], [100, 0], /^bound to waypoint shop\/wp$/],
  ['a bad weight', [service(CANARY, weight('101')), next], [], /CanaryInvalidWeight/],
  [
    'the same waypoint twice',
    [service({ ...CANARY, 'istio.io/use-waypoint-canary': 'wp' })],
    [],
    /CanarySameAsPrimary/,
  ],
  ['a canary that is not there', [service(CANARY, weight('20'))], [], /next does not exist/],
];
for (const [name, objects, weights, message] of canaries)
  test(`canary: ${name}`, () => {
    const ambient = ambientOf([namespace('shop'), gateway('wp'), ...objects]);
    const { weightedWaypoints, waypoint } = only(ambient.services.values());
    assert.deepEqual(
      weightedWaypoints.map((weighted) => weighted.weight),
      weights,
    );
    assert.equal(show(waypoint), AT);
    const [condition] = only(onObjects(ambient)).wanted;
    assert.equal(condition?.status, 'True');
    assert.match(condition?.message ?? '', message);
  });

test('a canary of the namespace counts only where the waypoint comes from there too', () => {
  const space = namespace('shop', CANARY, weight('10'));
  const inherited = ambientOf([space, gateway('wp'), next, service()]);
  assert.deepEqual(
    only(inherited.services.values()).weightedWaypoints.map((weighted) => weighted.weight),
    [90, 10],
  );
  const own = ambientOf([space, gateway('wp'), next, service(USE)]);
  assert.deepEqual(only(own.services.values()).weightedWaypoints, []);
});

test('the ingress label is told apart: set, set to false, not there', () => {
  const at = (labels: Labels) => {
    const ambient = ambientOf([namespace('shop'), gateway('wp'), service({ ...USE, ...labels })]);
    return [only(ambient.services.values()).ingressUseWaypoint, only(onObjects(ambient)).wanted[0]?.message];
  };
  assert.deepEqual(at({}), [false, 'bound to waypoint shop/wp']);
  assert.deepEqual(at({ 'istio.io/ingress-use-waypoint': 't' })[0], true);
  assert.match(String(at({ 'istio.io/ingress-use-waypoint': 'no' })[1]), /does not go through it/);
});

test('with waypoints let in by policy, workloads behind one list its policy', () => {
  const instance = {
    ...pod({ 'gateway.networking.k8s.io/gateway-name': 'wp' }),
    metadata: { name: 'wp-0', namespace: 'shop', labels: { 'gateway.networking.k8s.io/gateway-name': 'wp' } },
    status: { podIP: '10.244.1.9' },
  };
  const selecting = {
    ...service(USE),
    spec: { selector: { app: 'web' }, clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
  };
  const objects = [namespace('shop'), gateway('wp'), selecting, pod({ app: 'web' }), instance];
  const on = ambientOf(objects, { autoAllowWaypoints: true });
  const key = 'shop/istio_allow_waypoint_shop_wp';
  assert.deepEqual(on.policies.get(key)?.anyRule[0]?.everyClause[0]?.anyMatch[0]?.principals, [
    { kind: 'exact', value: 'cluster.local/ns/shop/sa/web' },
  ]);
  assert.deepEqual(on.workloads.get('Kubernetes//Pod/shop/web-0')?.authorizationPolicies, [key]);
  assert.equal(ambientOf(objects).policies.size, 0, 'off unless asked for');
});
