// Peers that break rules or wear us out, at frame level: each is refused or bounded, and told why with the code that
// RFC 9113 names. In the order of the RFC, then the floods.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ERROR_CODES, type ErrorCode } from './errors.ts';
import * as frames from './frames.ts';
import { encodeHeaders, type Field } from './hpack.ts';
import {
  ClientUnderTest,
  connectFields,
  dataOf,
  headersOf,
  OK_FIELDS,
  rawFrame,
  type SeenFrame,
  ServerUnderTest,
  u32,
} from './testing.ts';

const open1 = headersOf(1, connectFields());
const END = frames.END_STREAM;
const HEAD = frames.END_HEADERS;
const ping = rawFrame(frames.PING, 0, 0, Buffer.alloc(8));
const settings = (...entries: [number, number][]): Buffer => frames.settingsFrame(entries);

type Case = readonly [name: string, bytes: readonly Buffer[], code: ErrorCode];

describe('a client that breaks a rule of the connection gets GOAWAY and the end', () => {
  const cases: readonly Case[] = [
    ['DATA on stream 0', [dataOf(0, 'x')], 'PROTOCOL_ERROR'],
    ['DATA on a stream never opened', [dataOf(1, 'x')], 'PROTOCOL_ERROR'],
    ['DATA on a stream of the server`s numbering', [open1, dataOf(2, 'x')], 'PROTOCOL_ERROR'],
    [
      'DATA larger than the frame size',
      [open1, rawFrame(frames.DATA, 0, 1, undefined, (1 << 20) + 1)],
      'FRAME_SIZE_ERROR',
    ],
    [
      'padding longer than the frame',
      [open1, rawFrame(frames.DATA, frames.PADDED, 1, Buffer.from([9, 0]))],
      'PROTOCOL_ERROR',
    ],
    ['HEADERS on stream 0', [headersOf(0, connectFields())], 'PROTOCOL_ERROR'],
    ['HEADERS on an even stream', [headersOf(2, connectFields())], 'PROTOCOL_ERROR'],
    [
      'HEADERS on a lower stream than before',
      [headersOf(5, connectFields()), headersOf(3, connectFields())],
      'STREAM_CLOSED',
    ],
    [
      'HEADERS shorter than their padding',
      [rawFrame(frames.HEADERS, HEAD | frames.PADDED, 1, Buffer.from([200, 0x82]))],
      'PROTOCOL_ERROR',
    ],
    [
      'HEADERS too short for their priority',
      [rawFrame(frames.HEADERS, HEAD | frames.PRIORITY_FLAG, 1, Buffer.from([0, 0]))],
      'PROTOCOL_ERROR',
    ],
    [
      'HEADERS larger than any list may be',
      [rawFrame(frames.HEADERS, HEAD, 1, undefined, (64 << 10) + 1000)],
      'FRAME_SIZE_ERROR',
    ],
    ['HPACK that refers to nothing', [rawFrame(frames.HEADERS, HEAD, 1, Buffer.from([0xbe]))], 'COMPRESSION_ERROR'],
    ['HPACK cut short', [rawFrame(frames.HEADERS, HEAD, 1, Buffer.from([0x40, 0x05, 0x61]))], 'COMPRESSION_ERROR'],
    [
      'HPACK in the trailers of a tunnel',
      [open1, rawFrame(frames.HEADERS, HEAD | END, 1, Buffer.from([0xff]))],
      'COMPRESSION_ERROR',
    ],
    ['CONTINUATION without HEADERS', [rawFrame(frames.CONTINUATION, HEAD, 1)], 'PROTOCOL_ERROR'],
    [
      'CONTINUATION of another stream',
      [rawFrame(frames.HEADERS, 0, 1), rawFrame(frames.CONTINUATION, HEAD, 3)],
      'PROTOCOL_ERROR',
    ],
    ['another frame inside a header block', [rawFrame(frames.HEADERS, 0, 1), ping], 'PROTOCOL_ERROR'],
    [
      'a frame of unknown type inside a header block',
      [rawFrame(frames.HEADERS, 0, 1), rawFrame(0xee, 0, 1)],
      'PROTOCOL_ERROR',
    ],
    ['PRIORITY on stream 0', [rawFrame(frames.PRIORITY, 0, 0, Buffer.alloc(5))], 'PROTOCOL_ERROR'],
    ['RST_STREAM on stream 0', [frames.resetFrame(0, 'CANCEL')], 'PROTOCOL_ERROR'],
    ['RST_STREAM on a stream never opened', [frames.resetFrame(7, 'CANCEL')], 'PROTOCOL_ERROR'],
    ['RST_STREAM of a wrong size', [open1, rawFrame(frames.RST_STREAM, 0, 1, Buffer.alloc(3))], 'FRAME_SIZE_ERROR'],
    ['SETTINGS on a stream', [rawFrame(frames.SETTINGS, 0, 1)], 'PROTOCOL_ERROR'],
    ['SETTINGS of a wrong size', [rawFrame(frames.SETTINGS, 0, 0, Buffer.alloc(7))], 'FRAME_SIZE_ERROR'],
    [
      'SETTINGS acknowledged with a payload',
      [rawFrame(frames.SETTINGS, frames.ACK, 0, Buffer.alloc(6))],
      'FRAME_SIZE_ERROR',
    ],
    ['SETTINGS acknowledged that were never sent', [frames.settingsAckFrame()], 'PROTOCOL_ERROR'],
    ['ENABLE_PUSH of 2', [settings([frames.ENABLE_PUSH, 2])], 'PROTOCOL_ERROR'],
    ['INITIAL_WINDOW_SIZE beyond 2^31-1', [settings([frames.INITIAL_WINDOW_SIZE, 0x8000_0000])], 'FLOW_CONTROL_ERROR'],
    [
      'INITIAL_WINDOW_SIZE that makes a window overflow',
      [open1, frames.windowUpdateFrame(1, 0x7fff_0000), settings([frames.INITIAL_WINDOW_SIZE, 0x7fff_ffff])],
      'FLOW_CONTROL_ERROR',
    ],
    ['MAX_FRAME_SIZE too small', [settings([frames.MAX_FRAME_SIZE, 16_383])], 'PROTOCOL_ERROR'],
    ['MAX_FRAME_SIZE too large', [settings([frames.MAX_FRAME_SIZE, 1 << 24])], 'PROTOCOL_ERROR'],
    ['ENABLE_CONNECT_PROTOCOL of 2', [settings([frames.ENABLE_CONNECT_PROTOCOL, 2])], 'PROTOCOL_ERROR'],
    ['PUSH_PROMISE', [open1, rawFrame(frames.PUSH_PROMISE, HEAD, 1, u32(2))], 'PROTOCOL_ERROR'],
    ['PING on a stream', [rawFrame(frames.PING, 0, 1, Buffer.alloc(8))], 'PROTOCOL_ERROR'],
    ['PING of a wrong size', [rawFrame(frames.PING, 0, 0, Buffer.alloc(7))], 'FRAME_SIZE_ERROR'],
    ['GOAWAY on a stream', [rawFrame(frames.GOAWAY, 0, 1, Buffer.alloc(8))], 'PROTOCOL_ERROR'],
    ['GOAWAY of a wrong size', [rawFrame(frames.GOAWAY, 0, 0, Buffer.alloc(7))], 'FRAME_SIZE_ERROR'],
    ['WINDOW_UPDATE of 0 for the connection', [frames.windowUpdateFrame(0, 0)], 'PROTOCOL_ERROR'],
    ['WINDOW_UPDATE on a stream never opened', [frames.windowUpdateFrame(9, 1)], 'PROTOCOL_ERROR'],
    ['WINDOW_UPDATE of a wrong size', [rawFrame(frames.WINDOW_UPDATE, 0, 0, Buffer.alloc(5))], 'FRAME_SIZE_ERROR'],
    [
      'WINDOW_UPDATE beyond 2^31-1 for the connection',
      [frames.windowUpdateFrame(0, 0x7fff_ffff)],
      'FLOW_CONTROL_ERROR',
    ],
    ['a frame of unknown type that is too long', [rawFrame(0xee, 0, 0, undefined, (1 << 20) + 1)], 'FRAME_SIZE_ERROR'],
  ];
  for (const [name, bytes, code] of cases)
    test(name, () => {
      const server = new ServerUnderTest();
      const seen = server.send(...bytes);
      assert.equal(server.goaway(seen), ERROR_CODES[code]);
      assert.equal(server.closed?.error?.code, code);
      assert.equal(server.closed?.error?.source, 'peer');
      assert.ok(server.transport.ended);
      assert.equal(server.session.activeStreams, 0);
      assert.deepEqual(server.send(ping), [], 'nothing is answered any more');
    });

  test('more data than the connection window', () => {
    const server = new ServerUnderTest({ answer: false });
    const seen: SeenFrame[] = [];
    for (let id = 1; id < 9; id += 2) {
      seen.push(...server.send(headersOf(id, connectFields())));
      for (let i = 0; i < 4; i++) seen.push(...server.send(dataOf(id, Buffer.alloc(1 << 20))));
    }
    assert.deepEqual(seen, [], '16 MiB are within the windows');
    assert.equal(
      server.goaway(server.send(headersOf(9, connectFields()), dataOf(9, 'x'))),
      ERROR_CODES.FLOW_CONTROL_ERROR,
    );
  });
});

describe('what does not begin as HTTP/2 is dropped at once', () => {
  const cases: readonly [name: string, bytes: Buffer][] = [
    ['plain HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['a preface with a wrong end', Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n')],
    ['no SETTINGS after the preface', Buffer.concat([frames.PREFACE, ping])],
    ['an acknowledgement instead of SETTINGS', Buffer.concat([frames.PREFACE, frames.settingsAckFrame()])],
    ['zeros', Buffer.alloc(100)],
  ];
  for (const [name, bytes] of cases)
    test(name, () => {
      const server = new ServerUnderTest({ hello: false });
      const seen = server.send(bytes);
      assert.equal(server.goaway(seen), ERROR_CODES.PROTOCOL_ERROR);
      assert.ok(server.transport.ended);
    });
});

describe('a client that breaks a rule of one stream loses that stream only', () => {
  const cases: readonly Case[] = [
    [
      'more data than the stream window',
      [open1, ...Array<Buffer>(5).fill(dataOf(1, Buffer.alloc(1 << 20)))],
      'FLOW_CONTROL_ERROR',
    ],
    ['WINDOW_UPDATE of 0', [open1, frames.windowUpdateFrame(1, 0)], 'PROTOCOL_ERROR'],
    ['WINDOW_UPDATE beyond 2^31-1', [open1, frames.windowUpdateFrame(1, 0x7fff_ffff)], 'FLOW_CONTROL_ERROR'],
    ['PRIORITY of a wrong size', [open1, rawFrame(frames.PRIORITY, 0, 1, Buffer.alloc(4))], 'FRAME_SIZE_ERROR'],
    ['HEADERS inside a tunnel', [open1, headersOf(1, [['x', 'y']], HEAD | END)], 'PROTOCOL_ERROR'],
    ['DATA after the end', [open1, dataOf(1, 'x', END), dataOf(1, 'y')], 'STREAM_CLOSED'],
  ];
  for (const [name, bytes, code] of cases)
    test(name, () => {
      const server = new ServerUnderTest();
      for (const chunk of bytes) {
        server.session.receive(chunk);
        for (const { sink } of server.accepted) sink.hold = true;
      }
      const seen = server.frames();
      const reset = seen.find((frame) => frame.type === frames.RST_STREAM);
      assert.deepEqual([reset?.streamId, reset?.payload.readUInt32BE(0)], [1, ERROR_CODES[code]]);
      assert.match(server.first().sink.events.at(-1) ?? '', new RegExp(`^reset ${code}`));
      assert.equal(server.session.activeStreams, 0);
      assert.equal(server.closed, undefined);
      server.send(headersOf(3, connectFields()), dataOf(3, 'alive'));
      assert.equal(server.accepted[1]?.sink.text, 'alive');
    });

  test('DATA on a tunnel that both sides ended', () => {
    const server = new ServerUnderTest();
    server.send(open1, dataOf(1, '', END));
    server.first().stream.end();
    const [end, ...rest] = server.send(dataOf(1, 'x'));
    assert.equal(end?.type, frames.DATA);
    assert.deepEqual(
      rest.map((frame) => [frame.type, frame.payload.readUInt32BE(0)]),
      [[frames.RST_STREAM, ERROR_CODES.STREAM_CLOSED]],
    );
    assert.equal(server.closed, undefined);
  });
});

describe('requests', () => {
  const malformed: readonly [name: string, fields: readonly Field[]][] = [
    ['no method', [[':authority', 'a:1']]],
    ['no authority', [[':method', 'CONNECT']]],
    ['a path', [...connectFields(), [':path', '/']]],
    ['a scheme', [...connectFields(), [':scheme', 'http']]],
    ['extended CONNECT, which is not on offer', [...connectFields(), [':protocol', 'websocket']]],
    ['an unknown pseudo-header field', [...connectFields(), [':x', 'y']]],
    ['a pseudo-header field twice', [...connectFields(), [':method', 'CONNECT']]],
    ['a pseudo-header field of responses', [...connectFields(), [':status', '200']]],
    [
      'a pseudo-header field after others',
      [
        [':method', 'CONNECT'],
        ['a', 'b'],
        [':authority', 'a:1'],
      ],
    ],
    ['a name with capitals', [...connectFields(), ['Baggage', 'x']]],
    ['a name with a space', [...connectFields(), ['a b', 'x']]],
    ['an empty name', [...connectFields(), ['', 'x']]],
    ['a connection field', [...connectFields(), ['connection', 'close']]],
    ['a transfer coding', [...connectFields(), ['transfer-encoding', 'chunked']]],
    ['te other than trailers', [...connectFields(), ['te', 'gzip']]],
    ['a value with a space before it', [...connectFields(), ['a', ' b']]],
    [
      'a GET without a path',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':authority', 'a'],
      ],
    ],
  ];
  for (const [name, fields] of malformed)
    test(`malformed: ${name}`, () => {
      const server = new ServerUnderTest();
      const seen = server.send(headersOf(1, fields));
      assert.deepEqual(
        seen.map((frame) => [frame.type, frame.payload.readUInt32BE(0)]),
        [[frames.RST_STREAM, ERROR_CODES.PROTOCOL_ERROR]],
      );
      assert.equal(server.accepted.length, 0);
      assert.equal(server.closed, undefined);
    });

  test('malformed: a line break in a value, which our encoder would not write', () => {
    const server = new ServerUnderTest();
    const block = Buffer.concat([encodeHeaders(connectFields()), Buffer.from([0x00, 1, 0x61, 3, 0x62, 0x0a, 0x63])]);
    const [reset] = server.send(rawFrame(frames.HEADERS, HEAD, 1, block));
    assert.equal(reset?.payload.readUInt32BE(0), ERROR_CODES.PROTOCOL_ERROR);
  });

  const refused: readonly [name: string, fields: readonly Field[], status: string][] = [
    [
      'another method',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'a'],
      ],
      '400',
    ],
    ['an authority with user information', connectFields('me@10.0.0.1:80'), '400'],
    ['an authority with a space', connectFields('10.0.0.1 :80'), '400'],
    [
      'a list that is too large',
      [...connectFields(), ...Array.from({ length: 700 }, (_, i): Field => [`x${i}`, 'y'.repeat(64)])],
      '431',
    ],
  ];
  for (const [name, fields, status] of refused)
    test(`refused: ${name}: ${status}`, () => {
      const server = new ServerUnderTest();
      const seen = server.send(headersOf(1, fields));
      assert.equal(server.statusOf(seen, 1), status);
      assert.equal(server.accepted.length, 0);
      assert.equal(server.session.activeStreams, 0);
      server.send(headersOf(3, connectFields()));
      assert.equal(server.accepted.length, 1);
    });

  test('more streams than advertised are refused, and may be tried again', () => {
    const server = new ServerUnderTest({ answer: false });
    let refusedCode: number | undefined;
    for (let i = 0; i <= 200; i++)
      for (const frame of server.send(headersOf(2 * i + 1, connectFields())))
        if (frame.type === frames.RST_STREAM) refusedCode = frame.payload.readUInt32BE(0);
    assert.equal(server.session.activeStreams, 200);
    assert.equal(refusedCode, ERROR_CODES.REFUSED_STREAM);
    assert.equal(server.closed, undefined);
  });
});

describe('a server that breaks a rule', () => {
  const ofConnection: readonly Case[] = [
    ['SETTINGS that enable push', [settings([frames.ENABLE_PUSH, 1])], 'PROTOCOL_ERROR'],
    ['PUSH_PROMISE', [rawFrame(frames.PUSH_PROMISE, HEAD, 1, u32(2))], 'PROTOCOL_ERROR'],
    ['HEADERS on a stream never opened', [headersOf(3, OK_FIELDS)], 'PROTOCOL_ERROR'],
    ['HEADERS on an even stream', [headersOf(2, OK_FIELDS)], 'PROTOCOL_ERROR'],
    ['DATA on a stream never opened', [dataOf(3, 'x')], 'PROTOCOL_ERROR'],
    [
      'GOAWAY that raises its last stream',
      [frames.goawayFrame(1, 'NO_ERROR', ''), frames.goawayFrame(3, 'NO_ERROR', '')],
      'PROTOCOL_ERROR',
    ],
    ['HPACK that refers to nothing', [rawFrame(frames.HEADERS, HEAD, 1, Buffer.from([0xbe]))], 'COMPRESSION_ERROR'],
    [
      'a response head larger than any list may be',
      [rawFrame(frames.HEADERS, HEAD, 1, undefined, (16 << 10) + 1000)],
      'FRAME_SIZE_ERROR',
    ],
  ];
  for (const [name, bytes, code] of ofConnection)
    test(`of the connection: ${name}`, () => {
      const client = new ClientUnderTest();
      const { sink } = client.open();
      client.frames();
      assert.equal(client.goaway(client.send(...bytes)), ERROR_CODES[code]);
      assert.deepEqual(sink.events, [`reset ${code} failure`]);
      assert.equal(client.closed?.error?.code, code);
    });

  test('of the connection: no SETTINGS first', () => {
    const client = new ClientUnderTest({ hello: false });
    client.environment.turn();
    client.transport.take();
    assert.equal(client.goaway(client.send(ping)), ERROR_CODES.PROTOCOL_ERROR);
  });

  const ofStream: readonly Case[] = [
    ['DATA before the response', [dataOf(1, 'x')], 'PROTOCOL_ERROR'],
    ['no status', [headersOf(1, [['a', 'b']])], 'PROTOCOL_ERROR'],
    ['a status that is none', [headersOf(1, [[':status', '20']])], 'PROTOCOL_ERROR'],
    [
      'two statuses',
      [
        headersOf(1, [
          [':status', '200'],
          [':status', '200'],
        ]),
      ],
      'PROTOCOL_ERROR',
    ],
    [
      'a pseudo-header field of requests',
      [
        headersOf(1, [
          [':status', '200'],
          [':path', '/'],
        ]),
      ],
      'PROTOCOL_ERROR',
    ],
    ['101', [headersOf(1, [[':status', '101']])], 'PROTOCOL_ERROR'],
    ['an interim response that ends the stream', [headersOf(1, [[':status', '103']], HEAD | END)], 'PROTOCOL_ERROR'],
    ['HEADERS inside the tunnel', [headersOf(1, OK_FIELDS), headersOf(1, [['a', 'b']], HEAD | END)], 'PROTOCOL_ERROR'],
    [
      'more data than the stream window',
      [headersOf(1, OK_FIELDS), ...Array<Buffer>(5).fill(dataOf(1, Buffer.alloc(1 << 20)))],
      'FLOW_CONTROL_ERROR',
    ],
    ['DATA after the end', [headersOf(1, OK_FIELDS, HEAD | END), dataOf(1, 'x')], 'STREAM_CLOSED'],
  ];
  for (const [name, bytes, code] of ofStream)
    test(`of a stream: ${name}`, () => {
      const client = new ClientUnderTest();
      const { sink } = client.open();
      sink.hold = true;
      const other = client.open();
      client.frames();
      const reset = client.send(...bytes).find((frame) => frame.type === frames.RST_STREAM);
      assert.deepEqual([reset?.streamId, reset?.payload.readUInt32BE(0)], [1, ERROR_CODES[code]]);
      assert.match(sink.events.at(-1) ?? '', new RegExp(`^reset ${code}`));
      client.send(headersOf(3, OK_FIELDS), dataOf(3, 'alive'));
      assert.equal(other.sink.text, 'alive');
      assert.equal(client.closed, undefined);
    });
});

describe('floods are cut off with ENHANCE_YOUR_CALM', () => {
  /** Sends `frame(i)` until the session ends; returns how many it took. */
  function flood(server: ServerUnderTest, frame: (i: number) => Buffer, most: number): number {
    for (let i = 0; i < most; i++) {
      server.session.receive(frame(i));
      if (i % 64 === 0) server.environment.turn();
      if (server.closed !== undefined) return i;
    }
    return most;
  }
  const cases: readonly [name: string, frame: (i: number) => Buffer, most: number][] = [
    ['PING', () => ping, 1_001],
    ['SETTINGS', () => settings([frames.INITIAL_WINDOW_SIZE, 70_000]), 1_001],
    ['empty DATA', () => dataOf(1, ''), 10_001],
    ['WINDOW_UPDATE', () => frames.windowUpdateFrame(1, 1), 20_001],
    ['WINDOW_UPDATE for streams that are over', () => frames.windowUpdateFrame(3, 1), 20_001],
    ['PRIORITY', () => rawFrame(frames.PRIORITY, 0, 1, Buffer.alloc(5)), 10_001],
    ['RST_STREAM for streams that are over', () => frames.resetFrame(3, 'CANCEL'), 10_001],
    ['frames of unknown types', () => rawFrame(0xee, 0, 0, Buffer.alloc(3)), 10_001],
    ['PING acknowledgements nobody asked for', () => frames.pingFrame(Buffer.alloc(8), true), 10_001],
    [
      'rapid reset: streams opened and reset (CVE-2023-44487)',
      (i) => Buffer.concat([headersOf(2 * i + 5, connectFields()), frames.resetFrame(2 * i + 5, 'CANCEL')]),
      501,
    ],
    [
      'streams that we are made to reset (CVE-2025-8671)',
      (i) => Buffer.concat([headersOf(2 * i + 5, connectFields()), frames.windowUpdateFrame(2 * i + 5, 0)]),
      501,
    ],
    ['malformed requests', (i) => headersOf(2 * i + 5, [[':method', 'CONNECT']]), 501],
    [
      'requests of other methods',
      (i) =>
        headersOf(2 * i + 5, [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':path', '/'],
        ]),
      501,
    ],
  ];
  for (const [name, frame, most] of cases)
    test(name, () => {
      const server = new ServerUnderTest({ answer: false });
      server.send(open1, headersOf(3, connectFields()), frames.resetFrame(3, 'CANCEL'));
      const taken = flood(server, frame, most + 1);
      assert.ok(taken <= most && taken > 100, `${taken} were taken`);
      assert.equal(server.closed?.error?.code, 'ENHANCE_YOUR_CALM');
    });

  test('an ordinary pace of the same is fine: 40 tunnels given up and 40 PINGs a second, for a minute', () => {
    const server = new ServerUnderTest({ answer: false });
    for (let i = 0; i < 2_400; i++) {
      const given = [headersOf(2 * i + 1, connectFields()), frames.resetFrame(2 * i + 1, 'CANCEL'), ping];
      for (const frame of server.send(...given))
        if (frame.type === frames.PING && frame.flags === 0) server.send(frames.pingFrame(frame.payload, true));
      server.environment.advance(25);
    }
    assert.equal(server.closed, undefined);
    assert.equal(server.accepted.length, 2_400);
  });

  test('WINDOW_UPDATEs that answer our DATA are no flood, however many', () => {
    const server = new ServerUnderTest();
    server.send(open1);
    const { stream } = server.first();
    for (let i = 0; i < 50_000; i++) {
      stream.write(Buffer.from('x'));
      server.environment.turn();
      server.session.receive(frames.windowUpdateFrame(1, 1));
      server.session.receive(frames.windowUpdateFrame(0, 1));
    }
    assert.equal(server.closed, undefined);
  });

  test('CONTINUATION: too many frames of one block', () => {
    const server = new ServerUnderTest();
    server.session.receive(rawFrame(frames.HEADERS, 0, 1, Buffer.from([0x82])));
    const taken = flood(server, () => rawFrame(frames.CONTINUATION, 0, 1), 100);
    assert.equal(taken, 15);
    assert.equal(server.closed?.error?.code, 'ENHANCE_YOUR_CALM');
  });

  test('CONTINUATION: a block beyond the list limit', () => {
    const server = new ServerUnderTest();
    server.session.receive(rawFrame(frames.HEADERS, 0, 1, Buffer.alloc(60_000, 0x82)));
    server.session.receive(rawFrame(frames.CONTINUATION, 0, 1, undefined, 6_000));
    assert.equal(server.closed?.error?.code, 'FRAME_SIZE_ERROR');
  });

  test('CONTINUATION: a block in reasonable parts is read', () => {
    const server = new ServerUnderTest();
    const block = encodeHeaders(connectFields('host.example:443'));
    server.session.receive(rawFrame(frames.HEADERS, 0, 1, block.subarray(0, 3)));
    server.session.receive(rawFrame(frames.CONTINUATION, 0, 1, block.subarray(3, 8)));
    server.session.receive(rawFrame(frames.CONTINUATION, HEAD, 1, block.subarray(8)));
    assert.equal(server.first().request.authority, 'host.example:443');
  });

  test('a peer that asks and does not read: answers do not pile up', () => {
    const server = new ServerUnderTest({ limits: { sendBufferBytes: 1 << 10 } });
    server.transport.full = true;
    for (let i = 0; i < 20_000 && server.closed === undefined; i++) {
      server.environment.advance(10);
      server.session.receive(ping);
      server.environment.turn();
    }
    assert.ok(server.transport.writableLength < 80 << 10);
    assert.ok(server.closed !== undefined);
  });
});
