import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeStatusMessage, statusOfHeaders, statusOfTrailers } from './status.ts';

test('trailers name the status and decode its message', () =>
  assert.deepEqual(statusOfTrailers({ 'grpc-status': '16', 'grpc-message': 'no%20token %E2%9C%93' }), {
    name: 'Unauthenticated',
    message: 'no token ✓',
  }));
test('success has no message', () =>
  assert.deepEqual(statusOfTrailers({ 'grpc-status': '0' }), { name: 'OK', message: '' }));
test('no grpc-status: no status', () => assert.equal(statusOfTrailers({}), undefined));
test('a number beyond the known ones is Unknown', () =>
  assert.deepEqual(statusOfTrailers({ 'grpc-status': '17' }), { name: 'Unknown', message: 'grpc-status 17' }));
test('a message with broken encoding is shown as it came', () =>
  assert.equal(decodeStatusMessage('50% sure'), '50% sure'));

const grpc = { ':status': 200, 'content-type': 'application/grpc' };
const headers: { name: string; headers: Record<string, string | number>; wanted: string | undefined }[] = [
  { name: 'an ordinary answer', headers: grpc, wanted: undefined },
  { name: '+proto', headers: { ...grpc, 'content-type': 'application/grpc+proto' }, wanted: undefined },
  { name: 'headers that are the whole answer', headers: { ...grpc, 'grpc-status': '7' }, wanted: 'PermissionDenied' },
  { name: 'a page instead of gRPC', headers: { ':status': 200, 'content-type': 'text/html' }, wanted: 'Unknown' },
  { name: 'HTTP 503', headers: { ':status': 503 }, wanted: 'Unavailable' },
  { name: 'HTTP 401', headers: { ':status': 401 }, wanted: 'Unauthenticated' },
  { name: 'HTTP 404', headers: { ':status': 404 }, wanted: 'Unimplemented' },
];
for (const c of headers) test(`headers: ${c.name}`, () => assert.equal(statusOfHeaders(c.headers)?.name, c.wanted));

test('any headers are read without throwing', () =>
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('grpc-status', 'grpc-message', ':status', 'content-type'), fc.string()),
      (h) => {
        statusOfHeaders(h);
        assert.ok((statusOfTrailers(h)?.message.length ?? 0) <= 1000);
      },
    ),
  ));
