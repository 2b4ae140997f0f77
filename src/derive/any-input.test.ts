// Objects of any shape: nothing throws, and what comes out can be put on the wire. A CRD may be lax, or not there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeProxy,
  decodeRoute,
  decodeServiceConfig,
  encodeProxy,
  encodeRoute,
  encodeServiceConfig,
} from '../wire/l7/resources.ts';
import { decodeAddress, encodePolicy, encodeService, encodeWorkload } from '../wire/xds/resources.ts';
import { allocate } from './allocate.ts';
import { deriveAmbient } from './ambient.ts';
import { INPUT_KINDS } from './inputs.ts';
import { parseMeshConfig } from './objects/mesh.ts';
import type { Json } from './read.ts';

/** Field names that parsers look for, so that random values land where they matter. */
const FIELDS = [
  ...['metadata', 'spec', 'status', 'name', 'namespace', 'uid', 'labels', 'annotations', 'creationTimestamp'],
  ...['ownerReferences', 'podIPs', 'podIP', 'conditions', 'phase', 'containers', 'ports', 'containerPort', 'port'],
  ...['targetPort', 'protocol', 'selector', 'matchLabels', 'matchExpressions', 'clusterIPs', 'addresses', 'endpoints'],
  ...['address', 'targetRef', 'hosts', 'resolution', 'workloadSelector', 'weight', 'locality', 'listeners', 'value'],
  ...['allowedRoutes', 'namespaces', 'from', 'to', 'when', 'source', 'operation', 'principals', 'ipBlocks', 'key'],
  ...[
    'parentRefs',
    'hostnames',
    'matches',
    'path',
    'headers',
    'filters',
    'backendRefs',
    'group',
    'sectionName',
    'retry',
  ],
  ...['timeouts', 'request', 'requestMirror', 'cors', 'validation', 'hostname', 'tls', 'http', 'route', 'destination'],
  ...['values', 'rules', 'action', 'targetRefs', 'mtls', 'mode', 'portLevelMtls', 'number', 'type', 'kind'],
];
const LABELS = [
  'istio.io/use-waypoint',
  'app',
  'kubernetes.io/service-name',
  'istio.io/rev',
  'topology.istio.io/network',
];
const leaf = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    1.5,
    80,
    99_999,
    '',
    'x',
    '10.0.0.1',
    '::1',
    '10.0.0.0/8',
    'STRICT',
    'DNS',
  ),
  fc.constantFrom(
    'True',
    'Ready',
    'Pod',
    'Selector',
    'ALLOW',
    'DENY',
    '__proto__',
    'constructor',
    'source.ip',
    '*',
    'In',
  ),
  fc.string(),
  fc.double(),
);
const { value: anything } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    leaf,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom(...FIELDS, ...LABELS, '80', 'x'), tie('value'), { maxKeys: 8 }),
  ),
}));
const plausible = fc.record({
  metadata: fc.oneof(
    anything,
    fc.record({
      name: fc.constantFrom('a', 'b'),
      namespace: fc.constantFrom('n', 'istio-system'),
      labels: fc.dictionary(fc.constantFrom(...LABELS), fc.oneof(anything, fc.constantFrom('a', 'b', 'none'))),
    }),
  ),
  spec: anything,
  status: anything,
  endpoints: anything,
  ports: anything,
  addressType: anything,
});
const objects = fc.array(
  fc.record({ kind: fc.constantFrom(...INPUT_KINDS), key: fc.constantFrom('n/a', 'n/b', 'a'), object: plausible }),
  { maxLength: 12 },
);

test('objects of any shape are taken in, and everything derived has a wire form', () => {
  fc.assert(
    fc.property(objects, anything, (some, mesh) => {
      const ambient = deriveAmbient();
      ambient.inputs.setMesh(mesh);
      for (const { kind, key, object } of some) ambient.inputs.set(kind, key, object as Json);
      ambient.graph.flush();
      for (const workload of ambient.workloads.values()) assert.ok(decodeAddress(encodeWorkload(workload)).ok);
      for (const service of ambient.services.values()) assert.ok(decodeAddress(encodeService(service)).ok);
      for (const policy of ambient.policies.values()) encodePolicy(policy);
      for (const { name, route } of ambient.routes.values()) assert.ok(decodeRoute(name, encodeRoute(route)).ok);
      for (const [name, config] of ambient.proxies.configs.entries())
        assert.ok(decodeProxy(name, encodeProxy(config)).ok);
      for (const { config } of ambient.proxies.services.values())
        assert.ok(decodeServiceConfig(config.key, encodeServiceConfig(config)).ok);
      allocate(ambient.serviceEntries.values());
      for (const { wanted } of ambient.reports.values())
        for (const { message } of wanted) assert.equal(typeof message, 'string');
    }),
    { numRuns: 120 },
  );
});

test('a mesh configuration of any shape gives one', () => {
  fc.assert(
    fc.property(anything, (value) => {
      const { mesh, problems } = parseMeshConfig(value);
      assert.ok(mesh.rootNamespace !== '' && mesh.trustDomain !== '' && Array.isArray(problems));
    }),
  );
});
