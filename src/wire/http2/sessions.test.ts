// Both roles against random peers, without I/O: whatever comes, nothing is thrown, every exchange is told its end once,
// and what is held is bounded. And the lists of messages, there and back.

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { test } from 'node:test';
import fc from 'fast-check';
import type { HboneError } from '../hbone/errors.ts';
import * as frames from '../hbone/frames.ts';
import { encodeHeaders, type Field, HpackDecoder } from '../hbone/hpack.ts';
import { ManualEnvironment, ManualTransport, parseFrames, rawFrame } from '../hbone/testing.ts';
import type { Tunnel } from '../hbone/tunnel.ts';
import { Fields } from '../http1/index.ts';
import { HttpClientSession, HttpServerSession, type MessageSink, type ResponseHead, responseList } from './index.ts';
import { readRequest, readResponse, requestList } from './messages.ts';

const REQUEST: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':authority', 'shop.example.com'],
  [':path', '/'],
];

class Watched implements MessageSink {
  stream: Tunnel | undefined;
  bytes = 0;
  ends = 0;
  resets = 0;
  heads = 0;

  interim(): void {}
  head(_head: ResponseHead): void {
    this.heads++;
  }
  data(chunk: Buffer): void {
    assert.equal(this.ends + this.resets, 0, 'nothing after the end');
    this.bytes += chunk.length;
    this.stream?.consumed(chunk.length);
  }
  trailers(): void {
    assert.equal(this.ends, 0);
  }
  end(): void {
    assert.equal(this.resets, 0);
    this.ends++;
  }
  reset(_error: HboneError): void {
    this.resets++;
  }
  writable(): void {}
}

const lists = fc.oneof(
  fc.constant([...REQUEST]),
  fc.constant<Field[]>([[':status', '200']]),
  fc.constant<Field[]>([['x-trailer', '1']]),
  fc.array(
    fc.tuple(
      fc.constantFrom(':method', ':path', ':status', 'host', 'te', 'content-length', 'cookie', 'X', ''),
      fc.constantFrom('GET', '/', '200', '5', 'trailers', 'é'),
    ),
    { maxLength: 6 },
  ),
);
const streamId = fc.constantFrom(0, 1, 1, 1, 2, 3, 3, 5, 7);
const frame = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(streamId, lists, fc.constantFrom(0, 1, 4, 4, 5, 5)).map(headersFrame) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(streamId, fc.uint8Array({ maxLength: 40 }), fc.constantFrom(0, 0, 1, 8, 9))
      .map(([id, bytes, flags]) => rawFrame(frames.DATA, flags, id, bytes)),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.integer({ min: 0, max: 11 }), fc.nat({ max: 255 }), streamId, fc.uint8Array({ maxLength: 20 }))
      .map(([type, flags, id, bytes]) => rawFrame(type, flags, id, bytes)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)) },
);

function headersFrame([id, list, flags]: [number, readonly Field[], number]): Buffer {
  return rawFrame(frames.HEADERS, flags, id, encodeHeaders(list));
}

/** All bytes, cut anywhere. */
function* cut(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = Math.min(bytes.length, at + (sizes[i % sizes.length] ?? 1));
    yield bytes.subarray(at, end);
    at = end;
  }
}
const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 });

function settled(sinks: readonly Watched[]): void {
  for (const { ends, resets } of sinks) {
    assert.ok(ends <= 1 && resets <= 1, 'an end is told once');
    assert.ok(ends + resets > 0, 'every exchange is told its end');
  }
}

test('a server survives any client', () =>
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 30 }), sizes, fc.nat({ max: 3 }), (sent, at, answers) => {
      const environment = new ManualEnvironment();
      const transport = new ManualTransport();
      const sinks: Watched[] = [];
      let closes = 0;
      const session: HttpServerSession = new HttpServerSession({
        transport,
        environment,
        events: {
          onRequest(stream) {
            const sink = new Watched();
            sink.stream = stream;
            sinks.push(sink);
            if (answers === 1) session.sendResponse(stream, responseList(200, undefined, 0), true);
            if (answers >= 2) {
              session.sendResponse(stream, responseList(200, undefined, 'unknown'), false);
              stream.write(Buffer.from('body'));
              if (answers === 3) session.sendEnd(stream, undefined);
            }
            return sink;
          },
          onRefused() {},
          onClosed() {
            closes++;
          },
        },
      });
      const hello = Buffer.concat([frames.PREFACE, frames.settingsFrame([])]);
      for (const piece of cut(Buffer.concat([hello, ...sent]), at)) session.receive(piece);
      environment.turn();
      session.transportClosed();
      assert.equal(closes, 1);
      assert.equal(session.activeStreams, 0);
      parseFrames(transport.take()); // whole frames only
      // Who has answered in full needs to hear nothing.
      if (answers === 0 || answers === 2) settled(sinks);
    }),
    { numRuns: 400 },
  ));

test('a client survives any server', () =>
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 30 }), sizes, (sent, at) => {
      const environment = new ManualEnvironment();
      const transport = new ManualTransport();
      let closes = 0;
      const session = new HttpClientSession({
        transport,
        environment,
        events: {
          onClosed() {
            closes++;
          },
        },
      });
      const sinks = [1, 2, 3].map(() => {
        const sink = new Watched();
        const request = { method: 'GET', scheme: 'http', authority: 'a.example', target: '/' } as const;
        sink.stream = session.request(
          { ...request, fields: new Fields(), content: 'none', upgrade: undefined },
          true,
          sink,
        );
        return sink;
      });
      for (const piece of cut(Buffer.concat([frames.settingsFrame([]), ...sent]), at)) session.receive(piece);
      environment.turn();
      session.transportClosed();
      assert.equal(closes, 1);
      settled(sinks);
      for (const { heads } of sinks) assert.ok(heads <= 1);
    }),
    { numRuns: 400 },
  ));

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/).filter((text) => !RESERVED.has(text));
const RESERVED = new Set([
  'te',
  'host',
  'connection',
  'upgrade',
  'expect',
  'cookie',
  'keep-alive',
  'content-length',
  'trailer',
]);
const value = fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/);

test('a head is read as it was written, through our HPACK both ways', () =>
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 30 }), fc.nat({ max: 1e6 }), (pairs, length) => {
      const fields = new Fields();
      for (const [key, text] of pairs) fields.append(key.toUpperCase(), text);
      const decoder = new HpackDecoder();
      const decoded = (list: readonly Field[]): readonly Field[] => {
        const block = decoder.decode(encodeHeaders(list), 1 << 20);
        assert.equal(block.kind, 'fields');
        return block.kind === 'fields' ? block.fields : [];
      };
      const request = requestList({
        method: 'PUT',
        scheme: 'https',
        authority: 'a.example:8443',
        target: '/x?y',
        fields,
        content: length,
        upgrade: undefined,
      });
      const read = readRequest(decoded(request), length === 0);
      assert.equal(read.kind, 'request');
      if (read.kind !== 'request') return;
      const { head } = read;
      assert.deepEqual([head.method, head.authority, head.target], ['PUT', 'a.example:8443', '/x?y']);
      assert.equal(head.content, length === 0 ? 'none' : length);
      for (const key of new Set(pairs.map(([each]) => each))) assert.deepEqual(head.fields.all(key), fields.all(key));

      const response = readResponse(decoded(responseList(404, fields, length)));
      assert.equal(response.kind === 'response' && response.head.length, length);
    }),
    { numRuns: 100 },
  ));
