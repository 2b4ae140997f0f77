import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeMessage, MessageReader } from './framing.ts';

const join = (parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);
/** Cuts bytes at the given places (taken modulo the length). */
const cutAt = (bytes: Uint8Array, places: readonly number[]): Uint8Array[] => {
  const at = [0, ...places.map((p) => p % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
};

test('messages come out as they went in, however the bytes were cut', () =>
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), fc.array(fc.nat()), (messages, places) => {
      const reader = new MessageReader(40);
      const out: Uint8Array[] = [];
      for (const chunk of cutAt(join(messages.map(encodeMessage)), places)) {
        const got = reader.push(chunk);
        assert.ok(got.ok);
        out.push(...got.value);
      }
      assert.deepEqual(
        out.map((m) => [...m]),
        messages.map((m) => [...m]),
      );
      assert.equal(reader.pendingBytes, 0);
    }),
  ));

test('any bytes: messages or an error, nothing thrown, no more held than was sent', () =>
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 30 })), (chunks) => {
      const reader = new MessageReader(1000);
      let sent = 0;
      for (const chunk of chunks) {
        sent += chunk.length;
        if (!reader.push(chunk).ok) return;
        assert.ok(reader.pendingBytes <= sent);
      }
    }),
  ));

test('a message over the bound is refused at its prefix', () => {
  const reader = new MessageReader(10);
  assert.deepEqual(reader.push(Uint8Array.of(0, 0, 0, 0, 11)), {
    ok: false,
    error: 'a message of 11 bytes; at most 10 are accepted',
  });
});

test('a compressed message is refused', () => {
  const got = new MessageReader(10).push(Uint8Array.of(1, 0, 0, 0, 1, 7));
  assert.equal(got.ok, false);
});

test('a message that was cut off shows in pendingBytes', () => {
  const reader = new MessageReader(10);
  reader.push(Uint8Array.of(0, 0, 0, 0, 3, 1));
  assert.equal(reader.pendingBytes, 6);
});
