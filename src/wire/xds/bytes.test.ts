// The hand-written readers and writers against the library: random messages of the schemas as they are now, so that a
// field that was added to a schema and not to its reader fails here.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '../gen/envoy/service/discovery/v3/discovery_pb.ts';
import { StatusSchema } from '../gen/google/rpc/status_pb.ts';
import { AuthorizationSchema } from '../gen/istio/security/authorization_pb.ts';
import { AddressSchema } from '../gen/istio/workload/workload_pb.ts';
import { ProtoError } from '../protobuf/reader.ts';
import { messageOf, plain } from '../protobuf/testing/messages.ts';
import { readAddressBytes } from './address-bytes.ts';
import { readAuthorizationBytes } from './authorization-bytes.ts';
import { readDeltaResponse, writeDeltaRequest } from './discovery-bytes.ts';

const LIMIT = { numRuns: 300 };

function holdEqual<D extends DescMessage>(schema: D, read: (bytes: Uint8Array) => unknown): void {
  const arbitrary: fc.Arbitrary<MessageShape<D>> = messageOf(schema);
  test(`${schema.name}: random messages are read as the library reads them`, () =>
    fc.assert(
      fc.property(arbitrary, (message) => {
        const bytes = toBinary(schema, message);
        assert.deepEqual(plain(read(bytes)), plain(fromBinary(schema, bytes)));
      }),
      LIMIT,
    ));
  test(`${schema.name}: changed bytes are refused, or read as the library reads them`, () =>
    fc.assert(
      fc.property(
        arbitrary,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
        (message, changes) => {
          const bytes = toBinary(schema, message);
          for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
          let got: unknown;
          try {
            got = read(bytes);
          } catch (error) {
            assert.ok(error instanceof ProtoError, String(error));
            return;
          }
          assert.deepEqual(plain(got), plain(fromBinary(schema, bytes, { readUnknownFields: false })));
        },
      ),
      LIMIT,
    ));
}
holdEqual(AddressSchema, readAddressBytes);
holdEqual(AuthorizationSchema, readAuthorizationBytes);

test('any bytes are read or refused', () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      for (const read of [readAddressBytes, readAuthorizationBytes, readDeltaResponse])
        try {
          read(bytes);
        } catch (error) {
          assert.ok(error instanceof ProtoError);
        }
    }),
  ));

test('delta responses are read as the library reads them', () =>
  fc.assert(
    fc.property(messageOf(DeltaDiscoveryResponseSchema), (message) => {
      const got = readDeltaResponse(toBinary(DeltaDiscoveryResponseSchema, message));
      const resources = [...got.resources()].map(({ name, version, aliases, resource }) => [
        name,
        version,
        [...aliases],
        resource && [...resource.value],
      ]);
      assert.deepEqual(
        [got.typeUrl, got.nonce, got.removedResources, got.resourceCount, resources],
        [
          message.typeUrl,
          message.nonce,
          message.removedResources,
          message.resources.length,
          message.resources.map(({ name, version, aliases, resource }) => [
            name,
            version,
            aliases,
            resource && [...resource.value],
          ]),
        ],
      );
    }),
    LIMIT,
  ));

for (const file of ['delta-response-address.bin', 'delta-response-authorization.bin'])
  test(`istiod's recorded ${file} is read as the library reads it`, () => {
    const bytes = readFileSync(new URL(`./testdata/${file}`, import.meta.url));
    const wanted = fromBinary(DeltaDiscoveryResponseSchema, bytes);
    const got = readDeltaResponse(bytes);
    assert.ok(got.resourceCount > 0);
    assert.deepEqual([got.typeUrl, got.nonce], [wanted.typeUrl, wanted.nonce]);
    for (const [i, { name, version, resource }] of [...got.resources()].entries()) {
      const theirs = wanted.resources[i];
      assert.deepEqual([name, version], [theirs?.name, theirs?.version]);
      assert.ok(resource && theirs?.resource);
      const [schema, read] = file.includes('address')
        ? ([AddressSchema, readAddressBytes] as const)
        : ([AuthorizationSchema, readAuthorizationBytes] as const);
      assert.deepEqual(
        plain(read(resource.value)),
        plain(fromBinary(schema as DescMessage, theirs.resource.value, { readUnknownFields: false })),
      );
    }
  });

test('a resource whose bytes are none is one without content, under the name that was read', () => {
  const good = create(DeltaDiscoveryResponseSchema, {
    typeUrl: 't',
    resources: [{ name: 'a', resource: create(AnySchema, { value: Uint8Array.of(1) }) }],
  });
  const bytes = Buffer.concat([toBinary(DeltaDiscoveryResponseSchema, good), Buffer.from('12051a01620aff', 'hex')]);
  assert.deepEqual(
    [...readDeltaResponse(bytes).resources()].map(({ name, resource }) => [name, resource && [...resource.value]]),
    [
      ['a', [1]],
      ['b', undefined],
    ],
  );
});

const name = fc.string({ unit: 'grapheme', maxLength: 10 });
test('delta requests are read by the library as they were meant', () =>
  fc.assert(
    fc.property(
      fc.record(
        {
          node: fc.record({ id: name, metadata: fc.dictionary(name, fc.jsonValue()) }),
          typeUrl: name,
          resourceNamesSubscribe: fc.array(name),
          resourceNamesUnsubscribe: fc.array(name),
          initialResourceVersions: fc.dictionary(name, name),
          responseNonce: name,
          errorDetail: fc.record({ message: name }),
        },
        { requiredKeys: ['typeUrl'], noNullPrototype: true },
      ),
      (request) => {
        const { initialResourceVersions: versions, ...rest } = request;
        const bytes = writeDeltaRequest({
          ...(rest as Parameters<typeof writeDeltaRequest>[0]),
          ...(versions && { initialResourceVersions: Object.entries(versions) }),
        });
        const got = fromBinary(DeltaDiscoveryRequestSchema, bytes);
        const { node, errorDetail } = request;
        assert.equal(got.node?.id, node?.id);
        assert.equal(JSON.stringify(got.node?.metadata), JSON.stringify(node?.metadata)); // JSON text does not know -0.
        assert.deepEqual(plain(got.errorDetail), plain(errorDetail && create(StatusSchema, errorDetail)));
        assert.deepEqual(
          plain([
            got.typeUrl,
            got.resourceNamesSubscribe,
            got.resourceNamesUnsubscribe,
            got.initialResourceVersions,
            got.responseNonce,
          ]),
          plain([
            request.typeUrl,
            request.resourceNamesSubscribe ?? [],
            request.resourceNamesUnsubscribe ?? [],
            versions ?? {},
            request.responseNonce ?? '',
          ]),
        );
      },
    ),
  ));
