// `ambit.dev/waypoint-policy: required`: without its waypoint a service refuses connections, by the decision that every
// node proxy makes, and its status says so.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IndexedWorld } from '../model/indexed-world.ts';
import type { Ip } from '../model/ip.ts';
import { decideOutbound } from '../model/outbound.ts';
import type { Json, Labels } from './read.ts';
import { ambientOf } from './testing.ts';

const REQUIRED = { 'ambit.dev/waypoint-policy': 'required' };
const USE = { 'istio.io/use-waypoint': 'wp' };
const space = (labels: Labels = {}, annotations: Labels = {}): Json => ({
  kind: 'Namespace',
  metadata: { name: 'shop', labels, annotations },
});
const service = (labels: Labels = {}, annotations: Labels = {}): Json => ({
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop', labels, annotations },
  spec: { clusterIP: '10.96.0.1', selector: { app: 'web' }, ports: [{ port: 80 }] },
});
const pod = (name: string, ip: string, labels: Labels = {}, annotations: Labels = {}): Json => ({
  kind: 'Pod',
  metadata: { name, namespace: 'shop', uid: name, labels, annotations },
  spec: { serviceAccountName: name },
  status: { phase: 'Running', podIP: ip, conditions: [{ type: 'Ready', status: 'True' }] },
});
const gateway = (labels: Labels, addresses: readonly Json[], allowed: string = 'Same', namespace = 'shop'): Json => ({
  kind: 'Gateway',
  metadata: { name: 'wp', namespace, labels },
  spec: {
    gatewayClassName: 'istio-waypoint',
    listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE', allowedRoutes: { namespaces: { from: allowed } } }],
  },
  status: { addresses },
});
const AT = [{ type: 'IPAddress', value: '10.244.1.9' }];

/** What becomes of a connection to the service, and of one to its pod; and what the service's status says. */
function outcome(objects: readonly Json[]) {
  const ambient = ambientOf([
    pod('client', '10.244.1.1'),
    ...(objects.some((object) => object.kind === 'Pod') ? [] : [pod('web', '10.244.1.2', { app: 'web' })]),
    ...objects,
  ]);
  const world = new IndexedWorld('');
  world.applyAddresses(
    [
      ...[...ambient.services.values()].map((each) => ({ kind: 'service', service: each }) as const),
      ...[...ambient.workloads.values()].map((each) => ({ kind: 'workload', workload: each }) as const),
    ],
    [],
  );
  const client = world.workloadAt('', '10.244.1.1' as Ip);
  assert.ok(client);
  const decide = (ip: string): string => {
    const dial = { client: { ip: '10.244.1.1' as Ip, port: 40_000 }, destination: { ip: ip as Ip, port: 80 } };
    const route = decideOutbound(world, client, dial, () => 0);
    return route.kind === 'reject' ? route.why : route.kind;
  };
  const report = [...ambient.reports.values()].find(({ kind }) => kind === 'Service');
  return { service: decide('10.96.0.1'), pod: decide('10.244.1.2'), message: report?.wanted[0]?.message ?? '' };
}

test('by default an absent waypoint leaves the way open, and the status says that', () => {
  const got = outcome([space(), service(USE)]);
  assert.deepEqual([got.service, got.pod], ['plain', 'plain']);
  assert.match(got.message, /traffic goes direct/);
});

const closed: readonly [string, readonly Json[]][] = [
  ['absent', [space(), service(USE, REQUIRED)]],
  ['absent, the namespace insists', [space({}, REQUIRED), service(USE)]],
  ['absent, the namespace asks and insists', [space(USE, REQUIRED), service()]],
  ['without address', [space(), service(USE, REQUIRED), gateway({}, [])]],
  ['for other traffic', [space(), service(USE, REQUIRED), gateway({ 'istio.io/waypoint-for': 'workload' }, AT)]],
  [
    'of another namespace that does not admit this one',
    [
      space(),
      service({ ...USE, 'istio.io/use-waypoint-namespace': 'infra' }, REQUIRED),
      gateway({}, AT, 'Same', 'infra'),
    ],
  ],
];
for (const [name, objects] of closed)
  test(`a service that insists refuses: its waypoint is ${name}`, () => {
    const got = outcome(objects);
    assert.deepEqual([got.service, got.pod], ['unknownWaypoint', 'plain']);
    assert.match(got.message, /connections are refused: annotation ambit.dev\/waypoint-policy is required/);
  });

test('the object decides before its namespace; other words insist on nothing; no waypoint asked for is none', () => {
  const optional = { 'ambit.dev/waypoint-policy': 'optional' };
  assert.equal(outcome([space({}, REQUIRED), service(USE, optional)]).service, 'plain');
  assert.equal(outcome([space({}, { 'ambit.dev/waypoint-policy': 'yes' }), service(USE)]).service, 'plain');
  assert.equal(outcome([space({}, REQUIRED), service()]).service, 'plain');
  assert.equal(outcome([space(USE, REQUIRED), service({ 'istio.io/use-waypoint': 'none' })]).service, 'plain');
});

test('with its waypoint it goes there, and says what would be without', () => {
  const got = outcome([space(), service(USE, REQUIRED), gateway({}, AT), pod('wp', '10.244.1.9')]);
  assert.equal(got.service, 'hbone');
  assert.match(got.message, /^bound to waypoint shop\/wp; connections are refused without it/);
});

test('a Service that happens to have the name of the missing waypoint is not taken for it', () => {
  const namesake: Json = {
    kind: 'Service',
    metadata: { name: 'wp', namespace: 'shop' },
    spec: { clusterIP: '10.96.0.2', selector: { app: 'web' }, ports: [{ port: 15008 }] },
  };
  assert.equal(outcome([space(), namesake, service(USE, REQUIRED)]).service, 'unknownWaypoint');
});

test('a pod insists by its own label alone: what a missing waypoint of the namespace would take nobody knows', () => {
  const web = (labels: Labels, annotations: Labels = {}) =>
    pod('web', '10.244.1.2', { app: 'web', ...labels }, annotations);
  assert.equal(outcome([space(), service(), web(USE, REQUIRED)]).pod, 'unknownWaypoint');
  assert.equal(outcome([space({}, REQUIRED), service(), web(USE)]).pod, 'unknownWaypoint');
  assert.equal(outcome([space(USE, REQUIRED), service(), web({})]).pod, 'plain');
  assert.equal(outcome([space(), service(), web(USE)]).pod, 'plain');
});
