// The verbs against the embedded API.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { GATEWAYS, NAMESPACES } from '../kube/client/resources.ts';
import type { KubeClient } from '../kube/client/types.ts';
import { EmbeddedApi } from '../kube/server/embedded.ts';
import { Failure } from './failure.ts';
import {
  type ApplyWish,
  applyWaypoint,
  deleteWaypoints,
  listWaypoints,
  waitProgrammed,
  waypointGateway,
  waypointLine,
} from './waypoints.ts';

async function start(t: TestContext, labels: Record<string, string> = {}): Promise<KubeClient> {
  const api = new EmbeddedApi({ path: ':memory:' });
  t.after(() => api.close());
  const kube = api.client('test');
  await kube.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels } });
  return kube;
}
const gateway = (name = 'waypoint', traffic?: string, revision?: string) =>
  waypointGateway({ name, namespace: 'shop', traffic, revision });
const PLAIN: ApplyWish = { enroll: false, overwrite: false, waitMs: undefined };
const ENROLL: ApplyWish = { ...PLAIN, enroll: true };
async function apply(kube: KubeClient, wish: ApplyWish, name?: string): Promise<string[]> {
  const said: string[] = [];
  await applyWaypoint(kube, gateway(name), wish, (line) => said.push(line));
  return said;
}
const labelOf = async (kube: KubeClient) =>
  (await kube.get(NAMESPACES, 'shop'))?.metadata?.labels?.['istio.io/use-waypoint'];
async function program(kube: KubeClient, name: string, status: 'True' | 'False', generation = 1): Promise<void> {
  const lastTransitionTime = '2026-01-01T00:00:00Z';
  const condition = {
    type: 'Programmed',
    status,
    reason: 'R',
    message: 'm',
    lastTransitionTime,
    observedGeneration: generation,
  };
  await kube.patch(GATEWAYS, name, 'shop', 'merge', { status: { conditions: [condition] } }, { subresource: 'status' });
}

test('apply makes the Gateway as istioctl would, and says so', async (t) => {
  const kube = await start(t);
  assert.deepEqual(await apply(kube, PLAIN), ['waypoint shop/waypoint applied']);
  const made = await kube.get(GATEWAYS, 'waypoint', 'shop');
  assert.deepEqual(
    made?.spec.listeners.map(({ name, port, protocol }) => [name, port, protocol]),
    [['mesh', 15008, 'HBONE']],
  );
  const managers = (made?.metadata?.managedFields ?? []).map((entry) => (entry as { manager: string }).manager);
  assert.deepEqual(managers, ['istioctl']);
  assert.equal(await labelOf(kube), undefined);
});

test('enrolment labels the namespace, warns outside ambient, and does not take it from another waypoint', async (t) => {
  const kube = await start(t);
  const said = await apply(kube, ENROLL);
  assert.match(said[0] ?? '', /^warning: namespace shop is not in the ambient mesh/);
  assert.equal(said.at(-1), 'namespace shop labeled with "istio.io/use-waypoint: waypoint"');
  assert.equal(await labelOf(kube), 'waypoint');
  await apply(kube, ENROLL); // the same again is no change
  await assert.rejects(
    apply(kube, ENROLL, 'other'),
    (error) => error instanceof Failure && /--overwrite/.test(error.fix),
  );
  assert.equal(await kube.get(GATEWAYS, 'other', 'shop'), undefined, 'nothing was made');
  await apply(kube, { ...ENROLL, overwrite: true }, 'other');
  assert.equal(await labelOf(kube), 'other');
});

test('an ambient namespace gets no warning', async (t) => {
  const kube = await start(t, { 'istio.io/dataplane-mode': 'ambient' });
  assert.equal((await apply(kube, ENROLL)).length, 2);
});

test('a wait ends with the condition, and only with one for this generation', async (t) => {
  const kube = await start(t);
  await apply(kube, PLAIN);
  const named = [{ namespace: 'shop', name: 'waypoint' }];
  let now = 0;
  const late = waitProgrammed(kube, named, 1000, () => (now += 600));
  await assert.rejects(
    late,
    (error) => error instanceof Failure && /not programmed within 1 s: waypoint/.test(error.what),
  );
  await program(kube, 'waypoint', 'True', 0);
  now = 0;
  await assert.rejects(
    waitProgrammed(kube, named, 1000, () => (now += 600)),
    Failure,
  );
  const waiting = waitProgrammed(kube, named, 60_000);
  await program(kube, 'waypoint', 'True');
  await waiting;
});

test('lines as istioctl lists them', async (t) => {
  const kube = await start(t);
  await kube.create(GATEWAYS, gateway('b', 'all', 'r1'));
  await kube.create(GATEWAYS, gateway('a'));
  await kube.create(GATEWAYS, { ...gateway('c'), spec: { ...gateway().spec, gatewayClassName: 'istio' } });
  await program(kube, 'b', 'True');
  const lines = (await listWaypoints(kube, undefined)).map(waypointLine);
  assert.deepEqual(
    lines.map(({ name, revision, traffic, programmed }) => [name, revision, traffic, programmed]),
    [
      ['a', 'default', 'none', 'Unknown'],
      ['b', 'r1', 'all', 'True'],
    ],
  );
  assert.deepEqual(await listWaypoints(kube, 'other'), []);
});

test('delete takes waypoints only, and all or none', async (t) => {
  const kube = await start(t);
  await kube.create(GATEWAYS, gateway('a'));
  await kube.create(GATEWAYS, { ...gateway('edge'), spec: { ...gateway().spec, gatewayClassName: 'istio' } });
  const remove = (...names: string[]) => deleteWaypoints(kube, 'shop', names, () => {});
  await assert.rejects(remove('a', 'edge'), (error) => error instanceof Failure && /is no waypoint/.test(error.what));
  await assert.rejects(
    remove('a', 'gone'),
    (error) => error instanceof Failure && /there is no waypoint/.test(error.what),
  );
  assert.notEqual(await kube.get(GATEWAYS, 'a', 'shop'), undefined);
  await remove('a');
  assert.equal(await kube.get(GATEWAYS, 'a', 'shop'), undefined);
});

test('names and kinds of traffic that cannot be', () => {
  assert.throws(
    () => gateway('none'),
    (error) => error instanceof Failure && error.exitCode === 2,
  );
  assert.throws(
    () => gateway('w', 'service/reviews'),
    (error) => error instanceof Failure && /label the object/.test(error.fix),
  );
});
