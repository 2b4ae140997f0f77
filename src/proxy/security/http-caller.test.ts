// The gRPC call against answers that are none.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeMessage } from '../../wire/grpc/framing.ts';
import { ProtoError } from '../../wire/protobuf/reader.ts';
import { decodeCheck } from './authorizer/check-bytes.ts';
import { callGrpc, type HttpCallAnswer } from './http-caller.ts';
import { decodeRateLimit } from './limits/ratelimit-bytes.ts';
import { fieldsOf } from './testing.ts';

const GRPC = { 'content-type': 'application/grpc' };
const good: HttpCallAnswer = {
  status: 200,
  fields: fieldsOf(GRPC),
  trailers: fieldsOf({ 'grpc-status': '0' }),
  body: encodeMessage(Uint8Array.of(1, 2)),
};
const call = (answer: Partial<HttpCallAnswer>, timeoutMs = 100) => {
  const headers: string[] = [];
  const caller = {
    call: async (request: { readonly headers: readonly { readonly name: string; readonly value: string }[] }) => {
      headers.push(...request.headers.map(({ name, value }) => `${name}: ${value}`));
      return { ...good, ...answer };
    },
  };
  const asked = {
    host: 'h',
    port: 1,
    method: '/a/b',
    headers: [],
    message: Uint8Array.of(7),
    timeoutMs,
    maxAnswerBytes: 100,
  };
  return { headers, answer: callGrpc(caller, asked) };
};

test('one message and OK; the deadline goes along', async () => {
  assert.deepEqual([...(await call({}).answer)], [1, 2]);
  const told = async (timeoutMs: number): Promise<string | undefined> => {
    const made = call({}, timeoutMs);
    await made.answer;
    return made.headers.find((line) => line.startsWith('grpc-timeout'));
  };
  assert.deepEqual(
    [await told(0.5), await told(600_000), await told(200_000_000)],
    ['grpc-timeout: 1m', 'grpc-timeout: 600000m', 'grpc-timeout: 200000S'],
  );
});

const failures: [string, Partial<HttpCallAnswer>, RegExp][] = [
  [
    'a status in the trailers',
    { trailers: fieldsOf({ 'grpc-status': '7', 'grpc-message': 'no' }) },
    /PermissionDenied: no/,
  ],
  [
    'a status in the headers',
    { fields: fieldsOf({ ...GRPC, 'grpc-status': '14' }), trailers: undefined },
    /Unavailable/,
  ],
  ['no trailers', { trailers: undefined }, /without a status/],
  ['trailers without a status', { trailers: fieldsOf({}) }, /no status/],
  ['a web page', { fields: fieldsOf({ 'content-type': 'text/html' }) }, /not gRPC/],
  ['an HTTP error', { status: 503, fields: fieldsOf({}) }, /Unavailable: HTTP status 503/],
  ['no message', { body: new Uint8Array(0) }, /not one whole message/],
  ['two messages', { body: Buffer.concat([good.body, good.body]) }, /not one whole message/],
  ['half a message', { body: good.body.subarray(0, 6) }, /not one whole message/],
  ['a compressed message', { body: Uint8Array.of(1, 0, 0, 0, 0) }, /compressed/],
  ['a message over the bound', { body: encodeMessage(new Uint8Array(101)) }, /at most 100/],
];
for (const [name, answer, wanted] of failures) test(`gRPC: ${name}`, () => assert.rejects(call(answer).answer, wanted));

for (const [name, decode] of [
  ['CheckResponse', decodeCheck],
  ['RateLimitResponse', decodeRateLimit],
] as const)
  test(`${name}: any bytes are read or refused`, () =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof ProtoError);
        }
      }),
    ));

test('CheckResponse: an empty one allows, any other status refuses', () => {
  assert.equal(decodeCheck(new Uint8Array(0)).kind, 'ok');
  assert.deepEqual(decodeCheck(Uint8Array.of(0x0a, 2, 8, 16)), { kind: 'denied', status: 403, headers: [], body: '' });
  const negative = Uint8Array.of(0x0a, 11, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1);
  assert.equal(decodeCheck(negative).kind, 'denied');
});
