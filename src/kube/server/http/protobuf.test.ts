import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KubeError } from '../../client/types.ts';
import { decodeProtobuf } from './protobuf.ts';

const varint = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]);
const number = (field: number, value: number): number[] => [...varint(field << 3), ...varint(value)];
const bytes = (field: number, value: string | number[]): number[] => {
  const content = typeof value === 'string' ? [...Buffer.from(value)] : value;
  return [...varint((field << 3) | 2), ...varint(content.length), ...content];
};
const enveloped = (apiVersion: string, kind: string, raw: number[]): Buffer =>
  Buffer.from([
    ...Buffer.from('k8s\0'),
    ...bytes(1, [...bytes(1, apiVersion), ...bytes(2, kind)]),
    ...bytes(2, raw),
    ...bytes(3, ''),
    ...bytes(4, ''),
  ]);

test('an object is as its JSON would have it: inlined parts, maps, quantities, zero values', () => {
  const container = [
    ...bytes(1, 'app'),
    ...bytes(2, 'echo:1'),
    ...bytes(8, bytes(1, [...bytes(1, 'cpu'), ...bytes(2, bytes(1, '100m'))])),
    ...bytes(14, ''),
  ];
  const probe = bytes(11, [
    ...bytes(1, bytes(2, [...bytes(1, '/'), ...bytes(2, [...number(1, 1), ...bytes(3, 'http')])])),
    ...number(2, 0),
    ...number(3, 5),
  ]);
  const volume = [...bytes(1, 'scratch'), ...bytes(2, bytes(2, []))];
  const pod = [
    ...bytes(1, [
      ...bytes(1, 'web'),
      ...bytes(2, ''),
      ...bytes(8, []),
      ...bytes(11, [...bytes(1, 'app'), ...bytes(2, 'web')]),
    ]),
    ...bytes(2, [
      ...bytes(1, volume),
      ...bytes(2, [...container, ...probe]),
      ...bytes(3, ''),
      ...number(4, 0),
      ...number(11, 0),
      ...number(21, 0),
    ]),
    ...bytes(3, []),
  ];
  assert.deepEqual(decodeProtobuf(enveloped('v1', 'Pod', pod)), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', labels: { app: 'web' } },
    spec: {
      volumes: [{ name: 'scratch', emptyDir: {} }],
      containers: [
        {
          name: 'app',
          image: 'echo:1',
          resources: { limits: { cpu: '100m' } },
          readinessProbe: { httpGet: { path: '/', port: 'http' }, timeoutSeconds: 5 },
        },
      ],
      terminationGracePeriodSeconds: 0, // a pointer: an explicit zero
      automountServiceAccountToken: false,
    },
  });
});

test('bytes are base64, times are RFC 3339, delete options have one shape in every group', () => {
  const secret = enveloped('v1', 'Secret', [
    ...bytes(1, bytes(8, number(1, 1_700_000_000))),
    ...bytes(2, [...bytes(1, 'key'), ...bytes(2, [255, 0])]),
  ]);
  assert.deepEqual(decodeProtobuf(secret), {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { creationTimestamp: '2023-11-14T22:13:20Z' },
    data: { key: '/wA=' },
  });
  assert.equal(decodeProtobuf(enveloped('policy/v1', 'DeleteOptions', number(1, 0)))?.gracePeriodSeconds, 0);
  assert.equal(decodeProtobuf(enveloped('example.com/v1', 'Widget', [])), undefined);
});

test('any bytes decode or are refused', () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom('Pod', 'Deployment', 'Secret'), (raw, kind) => {
      for (const body of [Buffer.from(raw), enveloped(kind === 'Deployment' ? 'apps/v1' : 'v1', kind, [...raw])])
        try {
          decodeProtobuf(body);
        } catch (error) {
          assert.ok(error instanceof KubeError, String(error));
        }
    }),
  ));
