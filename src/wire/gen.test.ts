// The generated protobuf code is what proto/ generates, and it names the services and types that peers expect.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { contents, GENERATED, generate } from '../../scripts/proto.ts';
import { AggregatedDiscoveryService } from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import { AuthorizationSchema } from './gen/istio/security/authorization_pb.ts';
import { IstioCertificateService } from './gen/istio/v1/auth/citadel_pb.ts';
import { AddressSchema, WorkloadSchema } from './gen/istio/workload/workload_pb.ts';

test('generated code is current: `npm run proto` changes nothing', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ambit-proto-'));
  try {
    generate(dir);
    assert.deepEqual(contents(GENERATED), contents(dir));
    assert.ok(contents(dir).size >= 7);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('gRPC paths and type names are the ones that Istio uses', () => {
  assert.equal(AggregatedDiscoveryService.typeName, 'envoy.service.discovery.v3.AggregatedDiscoveryService');
  assert.equal(AggregatedDiscoveryService.method.deltaAggregatedResources.name, 'DeltaAggregatedResources');
  assert.equal(AggregatedDiscoveryService.method.deltaAggregatedResources.methodKind, 'bidi_streaming');
  assert.equal(IstioCertificateService.typeName, 'istio.v1.auth.IstioCertificateService');
  assert.equal(IstioCertificateService.method.createCertificate.name, 'CreateCertificate');
  assert.equal(AddressSchema.typeName, 'istio.workload.Address');
  assert.equal(WorkloadSchema.typeName, 'istio.workload.Workload');
  assert.equal(AuthorizationSchema.typeName, 'istio.security.Authorization');
});
