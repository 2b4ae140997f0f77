// The cluster that was recorded from a real istiod: our derivation must give the same workloads, services and policies,
// to the byte, and write the same conditions.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { DeltaDiscoveryResponseSchema } from '../wire/gen/envoy/service/discovery/v3/discovery_pb.ts';
import {
  addressVersion,
  decodeAddresses,
  decodeAuthorizations,
  encodePolicy,
  encodeService,
  encodeWorkload,
} from '../wire/xds/resources.ts';
import type { Ambient } from './ambient.ts';
import { BUILT_IN_CLASSES } from './names.ts';
import { type Json, list, record, text } from './read.ts';
import { ambientOf, keyOf } from './testing.ts';

const read = (path: string): Buffer => readFileSync(new URL(path, import.meta.url));
const response = (type: 'address' | 'authorization') =>
  fromBinary(DeltaDiscoveryResponseSchema, read(`../wire/xds/testdata/delta-response-${type}.bin`)).resources;

/** What the API server had of its own in that cluster. */
const OWN_OBJECTS: readonly Json[] = [
  { kind: 'Namespace', metadata: { name: 'default' } },
  {
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default' },
    spec: {
      clusterIP: '10.96.0.1',
      ipFamilies: ['IPv4'],
      ports: [{ name: 'https', port: 443, targetPort: 6444, protocol: 'TCP' }],
    },
  },
  {
    kind: 'EndpointSlice',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['192.0.2.2'], conditions: { ready: true } }],
    ports: [{ name: 'https', port: 6444, protocol: 'TCP' }],
  },
];

/** The recorded objects with their statuses, and the defaults that the API server fills in. */
function recorded(): readonly Json[] {
  const cluster = record(JSON.parse(read('testdata/cluster.json').toString()));
  const objects = (cluster.objects as Json[]).map((object) => {
    if (object.kind !== 'Service') return object;
    return { ...object, spec: { ...record(object.spec), ipFamilies: ['IPv4'] } };
  });
  for (const [kind, namespace, name, status] of cluster.statuses as [string, string, string, Json][]) {
    const at = objects.findIndex(
      (object) => text(object.kind).toLowerCase() === kind && keyOf(object) === `${namespace}/${name}`,
    );
    objects[at] = { ...objects[at], status };
  }
  const classes = Object.entries(BUILT_IN_CLASSES).map(([name, controllerName]) => ({
    kind: 'GatewayClass',
    metadata: { name },
    spec: { controllerName },
  }));
  return [...objects.filter(({ kind }) => kind !== 'ServiceAccount'), ...OWN_OBJECTS, ...classes];
}

function encoded(ambient: Ambient): Map<string, Uint8Array> {
  const all = new Map<string, Uint8Array>();
  for (const [key, workload] of ambient.workloads.entries()) all.set(key, encodeWorkload(workload));
  for (const [key, service] of ambient.services.entries()) all.set(key, encodeService(service));
  return all;
}

test('every workload and service of the recording, equal field by field and in its version', () => {
  const ambient = ambientOf(recorded());
  const want = decodeAddresses(response('address'));
  assert.deepEqual(want.rejected, []);
  const got = encoded(ambient);
  const decoded = decodeAddresses(
    [...got].map(([name, value]) => ({ name, version: '', resource: { value } })) as unknown as ReturnType<
      typeof response
    >,
  );
  const byName = new Map(decoded.accepted.map((item) => [item.name, item.value]));
  assert.deepEqual([...byName.keys()].sort(), want.accepted.map(({ name }) => name).sort());
  let withWaypoint = 0;
  for (const { name, value, version } of want.accepted) {
    assert.deepEqual(byName.get(name), value, name);
    const hasWaypoint = value.kind === 'service' ? value.service.waypoint : value.workload.waypoint;
    // Go writes the members of a oneof after all other fields, protobuf-es by number: the same message, other bytes.
    if (hasWaypoint === undefined) assert.equal(addressVersion(got.get(name) as Uint8Array), version, name);
    else withWaypoint++;
  }
  assert.ok(want.accepted.length > withWaypoint + 10, 'most versions were compared');
});

test('every policy of the recording, equal to the byte', () => {
  const ambient = ambientOf(recorded());
  const want = response('authorization');
  assert.deepEqual([...ambient.policies.keys()].sort(), want.map(({ name }) => name).sort());
  const got = decodeAuthorizations(want);
  for (const { name, value } of got.accepted) assert.deepEqual(ambient.policies.get(name), value, name);
  for (const { name, resource } of want) {
    const policy = ambient.policies.get(name);
    assert.ok(policy);
    assert.equal(
      Buffer.from(encodePolicy(policy)).toString('hex'),
      Buffer.from(resource?.value ?? []).toString('hex'),
      name,
    );
  }
});

test('the conditions of the recording, by type, status and reason', () => {
  const ambient = ambientOf(recorded());
  const want = record(JSON.parse(read('testdata/status.json').toString()));
  const plural: Readonly<Record<string, string>> = {
    Service: 'services',
    ServiceEntry: 'serviceentries',
    AuthorizationPolicy: 'authorizationpolicies',
    GatewayClass: 'gatewayclasses',
    Gateway: 'gateways',
  };
  const byType = (a: { type?: unknown }, b: { type?: unknown }): number => (String(a.type) < String(b.type) ? -1 : 1);
  const got = [...ambient.reports.values()].map(({ kind, namespace, name, wanted }) => [
    `${plural[kind]}/${namespace}/${name}`,
    wanted.map(({ reason, status, type }) => ({ reason, status, type })).sort(byType),
  ]);
  const recordedNow = Object.entries(want).map(([key, conditions]) => [key, list(conditions).map(record).sort(byType)]);
  assert.deepEqual(Object.fromEntries(got), Object.fromEntries(recordedNow));
});
