// Discovery resources: what istiod sent in a recorded session is read in full, any resource survives the round trip,
// and malformed ones are refused alone and with a reason.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { create, fromBinary, fromJson, type JsonObject, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { ipBytes } from '../../model/ip.ts';
import { somePolicy, someService, someWorkload } from '../../model/testing/arbitrary.ts';
import { ip } from '../../model/testing/builders.ts';
import { DeltaDiscoveryResponseSchema, ResourceSchema } from '../gen/envoy/service/discovery/v3/discovery_pb.ts';
import { AuthorizationSchema } from '../gen/istio/security/authorization_pb.ts';
import { AddressSchema, ServiceSchema, WorkloadSchema } from '../gen/istio/workload/workload_pb.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, policyName, serviceName, workloadName } from './names.ts';
import {
  addressVersion,
  decodeAddress,
  decodeAddresses,
  decodeAuthorization,
  decodeAuthorizations,
  encodeBareWorkload,
  encodePolicy,
  encodeService,
  encodeWorkload,
  rejectionText,
} from './resources.ts';

const recorded = (name: string): Buffer => readFileSync(join(import.meta.dirname, 'testdata', name));
const response = (name: string) => fromBinary(DeltaDiscoveryResponseSchema, recorded(`delta-response-${name}.bin`));
/** The recording holds each address as base64 of its text; the JSON form of protobuf wants base64 of its bytes. */
const asBytes = (key: string, value: unknown): unknown => {
  const convert = (text: string) => Buffer.from(ipBytes(ip(Buffer.from(text, 'base64').toString()))).toString('base64');
  if (key === 'address' && typeof value === 'string') return convert(value);
  return key === 'addresses' ? (value as unknown[]).map((a) => (typeof a === 'string' ? convert(a) : a)) : value;
};
const ambient = JSON.parse(recorded('ambient.json').toString(), asBytes) as Record<
  'workloads' | 'services' | 'policies',
  JsonObject[]
>;
const byKey = <T>(list: readonly T[], key: (item: T) => string): T[] =>
  [...list].sort((a, b) => key(a).localeCompare(key(b)));

test("istiod's address response holds the workloads and services that it derived", () => {
  const { resources, typeUrl } = response('address');
  assert.equal(typeUrl, ADDRESS_TYPE);
  const { accepted, rejected, warnings } = decodeAddresses(resources);
  assert.deepEqual({ rejected, warnings }, { rejected: [], warnings: [] });
  const workloads = accepted.flatMap(({ value }) => (value.kind === 'workload' ? [value.workload] : []));
  const services = accepted.flatMap(({ value }) => (value.kind === 'service' ? [value.service] : []));
  assert.deepEqual(
    accepted.map((a) => a.name).sort(),
    [...workloads.map(workloadName), ...services.map(serviceName)].sort(),
  );
  const read = (bytes: Uint8Array) => {
    const decoded = decodeAddress(bytes);
    assert.ok(decoded.ok);
    return decoded.value.value;
  };
  const wantedWorkloads = ambient.workloads.map((json) => {
    const value = fromJson(WorkloadSchema, json);
    const address = read(toBinary(AddressSchema, create(AddressSchema, { type: { case: 'workload', value } })));
    assert.ok(address.kind === 'workload');
    return address.workload;
  });
  const wantedServices = ambient.services.map((json) => {
    const value = fromJson(ServiceSchema, json);
    const address = read(toBinary(AddressSchema, create(AddressSchema, { type: { case: 'service', value } })));
    assert.ok(address.kind === 'service');
    return address.service;
  });
  assert.deepEqual(byKey(workloads, workloadName), byKey(wantedWorkloads, workloadName));
  assert.deepEqual(byKey(services, serviceName), byKey(wantedServices, serviceName));
});

test('one recorded workload, field by field', () => {
  const { accepted } = decodeAddresses(response('address').resources);
  const found = accepted.find(({ name }) => name === 'Kubernetes//Pod/ecommerce/order-service-0')?.value;
  assert.ok(found?.kind === 'workload');
  const mapping = (servicePort: number) => [{ servicePort, targetPort: 8080, appProtocol: 'unknown' as const }];
  assert.deepEqual(found.workload, {
    uid: 'Kubernetes//Pod/ecommerce/order-service-0',
    name: 'order-service-0',
    namespace: 'ecommerce',
    addresses: [ip('10.244.1.4')],
    hostname: '',
    network: '',
    tunnelProtocol: 'hbone',
    trustDomain: 'cluster.local',
    serviceAccount: 'order-service',
    waypoint: undefined,
    networkGateway: undefined,
    node: 'node-1',
    canonicalName: 'order-service',
    canonicalRevision: 'v1',
    workloadType: 'pod',
    workloadName: 'order-service-0',
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: new Map([
      ['ecommerce/headless.ecommerce.svc.cluster.local', mapping(8080)],
      ['ecommerce/order-service.ecommerce.svc.cluster.local', mapping(80)],
    ]),
    authorizationPolicies: ['istio-system/istio_converted_static_strict'],
    status: 'healthy',
    clusterId: 'Kubernetes',
    locality: { region: 'kr', zone: 'kr-a', subzone: '' },
    hostNetwork: false,
    capacity: 1,
  });
});

test("istiod's version of an address is the hash of its bytes, and our bytes of a pod are istiod's", () => {
  for (const { name, version, resource } of response('address').resources) {
    assert.ok(resource);
    assert.equal(addressVersion(resource.value), version, name);
    const decoded = decodeAddress(resource.value);
    assert.ok(decoded.ok && decoded.value.value);
    if (decoded.value.value.kind === 'workload' && name.includes('//Pod/'))
      assert.equal(addressVersion(encodeWorkload(decoded.value.value.workload)), version, name);
  }
});

test("istiod's authorization response holds the policies that it derived", () => {
  const { resources, typeUrl } = response('authorization');
  assert.equal(typeUrl, AUTHORIZATION_TYPE);
  const { accepted, rejected, warnings } = decodeAuthorizations(resources);
  assert.deepEqual({ rejected, warnings }, { rejected: [], warnings: [] });
  assert.deepEqual(
    accepted.map((a) => a.name),
    accepted.map((a) => policyName(a.value)),
  );
  const sent = accepted.map(({ value }) =>
    toJson(AuthorizationSchema, fromBinary(AuthorizationSchema, encodePolicy(value))),
  );
  const wanted = ambient.policies.map((json) =>
    toJson(AuthorizationSchema, fromJson(AuthorizationSchema, ourNames(json))),
  );
  const name = (json: JsonValue): string => String((json as JsonObject).name);
  assert.deepEqual(byKey(sent, name), byKey(wanted, name));
});

/** istiod's schema calls the rules of a policy groups, and the clauses of a rule rules. */
function ourNames(json: JsonObject): JsonObject {
  const { groups, ...rest } = json as { groups: { rules: JsonValue[] }[] };
  return { ...rest, rules: groups.map(({ rules }) => ({ clauses: rules })) };
}

const RUNS = { numRuns: 300 };
test('workloads survive the wire', () =>
  fc.assert(
    fc.property(someWorkload, (workload) => {
      const decoded = decodeAddress(encodeWorkload(workload));
      assert.deepEqual(decoded, { ok: true, value: { value: { kind: 'workload', workload }, warnings: [] } });
    }),
    RUNS,
  ));
test('services survive the wire', () =>
  fc.assert(
    fc.property(someService, (service) => {
      const decoded = decodeAddress(encodeService(service));
      assert.deepEqual(decoded, { ok: true, value: { value: { kind: 'service', service }, warnings: [] } });
    }),
    RUNS,
  ));
test('policies survive the wire', () =>
  fc.assert(
    fc.property(somePolicy, (policy) => {
      const decoded = decodeAuthorization(policy.key, encodePolicy(policy));
      assert.deepEqual(decoded, { ok: true, value: { value: policy, warnings: [] } });
    }),
    RUNS,
  ));

test('equal workloads are equal bytes, however their services were collected', () => {
  const { accepted } = decodeAddresses(response('address').resources);
  const found = accepted.find(({ name }) => name === 'Kubernetes//Pod/ecommerce/order-service-0')?.value;
  assert.ok(found?.kind === 'workload');
  const turned = { ...found.workload, services: new Map([...found.workload.services].reverse()) };
  assert.deepEqual(encodeWorkload(turned), encodeWorkload(found.workload));
  const bare = fromBinary(WorkloadSchema, encodeBareWorkload(turned));
  assert.equal(bare.uid, turned.uid);
});

test('any bytes: no throw, a value or a reason', () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      for (const decoded of [decodeAddress(bytes), decodeAuthorization('a/b', bytes)])
        assert.ok(decoded.ok || decoded.error.length > 0);
    }),
    { numRuns: 1000 },
  ));
test('bytes cut or changed anywhere: no throw', () => {
  const whole = response('address').resources.flatMap((r) => (r.resource ? [r.resource.value] : []));
  fc.assert(
    fc.property(fc.constantFrom(...whole), fc.nat(300), fc.nat(300), fc.nat(255), (bytes, end, at, to) => {
      const bad = bytes.slice(0, end);
      if (at < bad.length) bad[at] = to;
      const decoded = decodeAddress(bad);
      assert.ok(decoded.ok || decoded.error.length > 0);
    }),
    { numRuns: 1000 },
  );
});

test('a bad resource is rejected alone', () => {
  const good = response('address').resources[0];
  assert.ok(good);
  const bad = (name: string, value: Uint8Array<ArrayBuffer>) =>
    create(ResourceSchema, { name, resource: { typeUrl: ADDRESS_TYPE, value } });
  const neither = toBinary(AddressSchema, create(AddressSchema));
  const decoded = decodeAddresses([
    bad('a', neither),
    good,
    create(ResourceSchema, { name: 'b' }),
    bad('c', new Uint8Array([0xff])),
  ]);
  assert.deepEqual(
    decoded.accepted.map((a) => a.name),
    [good.name],
  );
  assert.deepEqual(
    decoded.rejected.map((r) => r.name),
    ['a', 'b', 'c'],
  );
  assert.match(rejectionText(decoded.rejected), /^a: address is neither .*; b: resource is empty; c: not a protobuf/);
});
