// Which single resources are refused or read with a warning, rule by rule.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { cidr, ip } from '../../model/testing/builders.ts';
import { AuthorizationSchema } from '../gen/istio/security/authorization_pb.ts';
import { ServiceSchema, WorkloadSchema } from '../gen/istio/workload/workload_pb.ts';
import { decodePolicy } from './policy.ts';
import { decodeService } from './service.ts';
import { decodeWorkload } from './workload.ts';

const workload = (init: MessageInitShape<typeof WorkloadSchema>) =>
  decodeWorkload(create(WorkloadSchema, { uid: 'w', ...init }));
const service = (init: MessageInitShape<typeof ServiceSchema>) =>
  decodeService(create(ServiceSchema, { namespace: 'shop', hostname: 'h', ...init }));
const policy = (init: MessageInitShape<typeof AuthorizationSchema>) =>
  decodePolicy('shop/p', create(AuthorizationSchema, init));
const accepted = <T>(result: { ok: true; value: { value: T } } | { ok: false; error: string }): T => {
  assert.ok(result.ok, result.ok ? '' : result.error);
  return result.value.value;
};
/** An enum number from a newer peer. */
const UNKNOWN = 99 as never;

const refused: readonly [string, { readonly ok: boolean; readonly error?: string }, RegExp][] = [
  ['workload: address of 5 bytes', workload({ addresses: [new Uint8Array(5)] }), /addresses is an address of 5 bytes/],
  ['workload: legacy tunnel protocol', workload({ tunnelProtocol: 2 }), /LEGACY_ISTIO_MTLS/],
  ['workload: unknown tunnel protocol', workload({ tunnelProtocol: UNKNOWN }), /tunnel_protocol has unknown value 99/],
  ['workload: unknown status', workload({ status: UNKNOWN }), /status has unknown value/],
  ['workload: unknown network mode', workload({ networkMode: UNKNOWN }), /network_mode has unknown value/],
  [
    'workload: unknown application tunnel',
    workload({ applicationTunnel: { protocol: UNKNOWN } }),
    /application_tunnel/,
  ],
  [
    'workload: waypoint without destination',
    workload({ waypoint: { hboneMtlsPort: 15008 } }),
    /waypoint has no destination/,
  ],
  ['workload: gateway without destination', workload({ networkGateway: {} }), /network_gateway has no destination/],
  [
    'workload: service key without slash',
    workload({ services: { 'a.b': {} } }),
    /`a\.b` is not <namespace>\/<hostname>/,
  ],
  ['workload: service key like a uid', workload({ services: { 'a/b/c': {} } }), /`a\/b\/c` is not/],
  ['workload: no uid', workload({ uid: '' }), /uid is empty/],
  ['service: address of 3 bytes', service({ addresses: [{ address: new Uint8Array(3) }] }), /address of 3 bytes/],
  [
    'service: prefix too long',
    service({ addresses: [{ address: new Uint8Array(4), length: 33 }] }),
    /prefix length 33/,
  ],
  ['service: unknown load-balancing mode', service({ loadBalancing: { mode: UNKNOWN } }), /load_balancing.mode/],
  ['service: unspecified scope', service({ loadBalancing: { routingPreference: [0] } }), /unspecified scope/],
  ['service: unknown scope', service({ loadBalancing: { routingPreference: [UNKNOWN] } }), /unknown value 99/],
  ['service: unknown health policy', service({ loadBalancing: { healthPolicy: UNKNOWN } }), /health_policy/],
  ['service: unknown families', service({ ipFamilies: UNKNOWN }), /ip_families/],
  ['service: waypoint without destination', service({ waypoint: {} }), /waypoint has no destination/],
  [
    'service: weighted waypoint without destination',
    service({ weightedWaypoints: [{ weight: 1 }] }),
    /entry without destination/,
  ],
  ['service: no hostname', service({ hostname: '' }), /hostname is empty/],
  ['policy: unknown scope', policy({ scope: UNKNOWN }), /scope has unknown value/],
  ['policy: unknown action', policy({ action: UNKNOWN }), /action has unknown value/],
];
for (const [name, result, reason] of refused)
  test(`refused: ${name}`, () => {
    assert.equal(result.ok, false);
    assert.match(result.error ?? '', reason);
  });

test('empty fields stand for their defaults', () => {
  const w = accepted(workload({}));
  assert.deepEqual(
    [w.trustDomain, w.serviceAccount, w.clusterId, w.capacity],
    ['cluster.local', 'default', 'Kubernetes', 1],
  );
  assert.equal(accepted(workload({ capacity: 0 })).capacity, 0, 'a capacity of 0 is not an absent one');
});
test('unknown numbers that do not matter: workload type, visibility, application protocol', () => {
  assert.equal(accepted(workload({ workloadType: UNKNOWN })).workloadType, 'deployment');
  assert.equal(accepted(service({ visibility: UNKNOWN })).visibility, 'public');
  assert.equal(
    accepted(service({ ports: [{ servicePort: 1, appProtocol: UNKNOWN }] })).ports[0]?.appProtocol,
    'unknown',
  );
});
test('ports count with 16 bits', () => {
  assert.equal(accepted(service({ ports: [{ servicePort: 65536 + 80 }] })).ports[0]?.servicePort, 80);
});
test('v4-mapped addresses and ranges are IPv4', () => {
  const mapped = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 0, 0]);
  assert.deepEqual(accepted(workload({ addresses: [mapped] })).addresses, [ip('10.1.0.0')]);
  const { vips, cidrVips } = accepted(
    service({
      addresses: [
        { address: mapped, length: 112 },
        { address: mapped, length: 128 },
      ],
    }),
  );
  assert.deepEqual(cidrVips, [{ network: '', range: cidr('10.1.0.0/16') }]);
  assert.deepEqual(vips, [{ network: '', ip: ip('10.1.0.0') }]);
});
test('subject names that are no SPIFFE ids are ignored with a warning', () => {
  const result = service({ subjectAltNames: ['spiffe://td/ns/a/sa/b', 'spiffe://td/b', 'example.com'] });
  assert.ok(result.ok);
  assert.deepEqual(result.value.value.subjectAltNames, [{ trustDomain: 'td', namespace: 'a', serviceAccount: 'b' }]);
  assert.equal(result.value.warnings.length, 2);
});

const unreadable = { principals: [{}], destinationPorts: [80] };
const firstMatch = (action: 0 | 1, match: MessageInitShape<typeof AuthorizationSchema>['rules']) => {
  const result = policy({ action, rules: match ?? [] });
  assert.ok(result.ok);
  return { match: result.value.value.anyRule[0]?.everyClause[0]?.anyMatch[0], warnings: result.value.warnings };
};
test('DENY: an unreadable entry is left out with a warning, so that the rest denies more', () => {
  const { match, warnings } = firstMatch(1, [{ clauses: [{ matches: [unreadable] }] }]);
  assert.deepEqual([match?.principals, match?.destinationPorts], [[], [{ kind: 'port', port: 80 }]]);
  assert.equal(warnings.length, 1);
});
test('ALLOW: a match with an unreadable entry matches nothing, instead of more than was written', () => {
  const { match, warnings } = firstMatch(0, [{ clauses: [{ matches: [unreadable] }] }]);
  assert.ok(match && Object.values(match).every((list) => list.length === 0));
  assert.equal(warnings.length, 1);
  const range = { notSourceIps: [{ address: new Uint8Array(4), length: 40 }], destinationPorts: [80] };
  assert.equal(firstMatch(0, [{ clauses: [{ matches: [range] }] }]).match?.destinationPorts.length, 0);
});
