import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ERROR_CODES, HboneError } from './errors.ts';
import * as frames from './frames.ts';
import {
  ClientUnderTest,
  connectFields,
  dataOf,
  headersOf,
  OK_FIELDS,
  rawFrame,
  SERVER_HELLO,
  type SeenFrame,
  ServerUnderTest,
  u32,
} from './testing.ts';

const typesOf = (seen: readonly SeenFrame[]): number[] => seen.map((frame) => frame.type);
const isEnd = (frame: SeenFrame | undefined): boolean => ((frame?.flags ?? 0) & frames.END_STREAM) !== 0;
const dataBytes = (seen: readonly SeenFrame[]): number =>
  seen.filter((frame) => frame.type === frames.DATA).reduce((sum, frame) => sum + frame.payload.length, 0);
const settings = (...entries: [number, number][]): Buffer => frames.settingsFrame(entries);

/** Lets two sessions talk until neither has anything to say. */
function converse(client: ClientUnderTest, server: ServerUnderTest): void {
  for (let quiet = false; !quiet; ) {
    client.environment.turn();
    server.environment.turn();
    const up = client.transport.take();
    const down = server.transport.take();
    quiet = up.length === 0 && down.length === 0;
    if (up.length > 0) server.session.receive(up);
    if (down.length > 0) client.session.receive(down);
  }
}

function pair(options: { answer?: boolean } = {}): { client: ClientUnderTest; server: ServerUnderTest } {
  const client = new ClientUnderTest({ hello: false });
  const server = new ServerUnderTest({ hello: false, ...options });
  converse(client, server);
  return { client, server };
}

describe('a tunnel from one end to the other', () => {
  test('request, answer, bytes both ways, half-close each way', () => {
    const { client, server } = pair();
    const { sink, stream } = client.open('10.0.0.9:8080', [['baggage', 'k8s.namespace.name=shop']]);
    converse(client, server);
    const accepted = server.first();
    assert.deepEqual(accepted.request, {
      authority: '10.0.0.9:8080',
      headers: [['baggage', 'k8s.namespace.name=shop']],
    });
    assert.deepEqual(sink.events, ['response 200']);
    stream.write(Buffer.from('question'));
    stream.end();
    converse(client, server);
    assert.equal(accepted.sink.text, 'question');
    assert.deepEqual(accepted.sink.events, ['end']);
    assert.deepEqual(sink.events, ['response 200']);
    accepted.stream.write(Buffer.from('answer'));
    converse(client, server);
    assert.equal(sink.text, 'answer');
    assert.equal(server.session.activeStreams, 1);
    accepted.stream.end();
    converse(client, server);
    assert.deepEqual(sink.events, ['response 200', 'end']);
    assert.equal(client.session.activeStreams, 0);
    assert.equal(server.session.activeStreams, 0);
  });

  test('a refusal: the status arrives, the tunnel is over on both sides, other tunnels live on', () => {
    const { client, server } = pair({ answer: false });
    const refused = client.open();
    const other = client.open();
    converse(client, server);
    server.accepted[0]?.stream.respond(401, [], true);
    server.accepted[1]?.stream.respond(200, [['baggage', 'x=y']]);
    converse(client, server);
    assert.deepEqual(refused.sink.events, ['response 401']);
    assert.equal(refused.stream.write(Buffer.from('into the void')), true);
    assert.deepEqual(other.sink.events, ['response 200 baggage=x=y']);
    assert.equal(client.session.activeStreams, 1);
    assert.equal(server.session.activeStreams, 1);
    assert.equal(client.closed, undefined);
  });

  test('bytes, and the end, that come before a sink is attached are kept for it', () => {
    const { client, server } = pair({ answer: false });
    const { stream } = client.open();
    stream.write(Buffer.from('ear'));
    stream.write(Buffer.from('ly'));
    stream.end();
    converse(client, server);
    const accepted = server.first();
    accepted.stream.attach(accepted.sink);
    assert.equal(accepted.sink.text, 'early');
    assert.deepEqual(accepted.sink.events, ['end']);
  });

  test('a reset that comes before a sink is attached is kept for it', () => {
    const { client, server } = pair({ answer: false });
    client.open().stream.reset('CONNECT_ERROR');
    converse(client, server);
    const accepted = server.first();
    accepted.stream.attach(accepted.sink);
    assert.deepEqual(accepted.sink.events, ['reset CONNECT_ERROR failure']);
  });

  test('what the server writes before its answer follows the answer', () => {
    const { client, server } = pair({ answer: false });
    const { sink } = client.open();
    converse(client, server);
    const { stream } = server.first();
    stream.write(Buffer.from('eager'));
    stream.respond(200, []);
    converse(client, server);
    assert.deepEqual(sink.events, ['response 200']);
    assert.equal(sink.text, 'eager');
  });

  test('an answer that ends the stream at once is the end of data', () => {
    const client = new ClientUnderTest();
    const { sink } = client.open();
    client.frames();
    client.send(headersOf(1, OK_FIELDS, frames.END_HEADERS | frames.END_STREAM));
    assert.deepEqual(sink.events, ['response 200', 'end']);
    assert.equal(client.session.activeStreams, 1);
  });

  test('interim answers are passed over', () => {
    const client = new ClientUnderTest();
    const { sink } = client.open();
    client.send(headersOf(1, [[':status', '103']]), headersOf(1, OK_FIELDS));
    assert.deepEqual(sink.events, ['response 200']);
  });
});

describe('what leaves in one turn leaves in one write', () => {
  test('frames of all tunnels, headers included; the end rides on the last DATA', () => {
    const client = new ClientUnderTest();
    client.transport.writes = 0;
    const tunnels = [client.open(), client.open(), client.open()];
    for (const { stream } of tunnels) stream.write(Buffer.from('hi'));
    tunnels[2]?.stream.end();
    const seen = client.frames();
    assert.equal(client.transport.writes, 1);
    assert.deepEqual(typesOf(seen), [1, 1, 1, 0, 0, 0]);
    assert.ok(isEnd(seen[5]) && !isEnd(seen[4]));
  });

  test('a lone frame leaves at once; a second one in the turn waits for its end, and so do those of busy turns', () => {
    const client = new ClientUnderTest();
    const { environment, transport } = client;
    environment.turn();
    environment.offerSoon();
    const { stream } = client.open();
    const other = client.open().stream; // two frames: the next turn may be busy as well
    environment.event();
    environment.turn();
    transport.writes = 0;
    stream.write(Buffer.from('a'));
    environment.event();
    assert.equal(transport.writes, 0, 'still cautious');
    environment.turn();
    assert.equal(transport.writes, 1);
    transport.slow = true;
    stream.write(Buffer.from('b'));
    environment.event();
    assert.equal(transport.writes, 2, 'calm: at once');
    stream.write(Buffer.from('c'));
    other.write(Buffer.from('d'));
    environment.event();
    assert.equal(transport.writes, 2, 'the transport is busy with the first');
    environment.turn();
    assert.equal(transport.writes, 3);
    transport.release();
    transport.slow = false;
    stream.write(Buffer.from('e'));
    environment.event();
    assert.equal(transport.writes, 3, 'the last turn was busy');
    environment.turn();
    assert.equal(transport.writes, 4);
    assert.equal(dataBytes(client.frames()), 5);
  });

  test('a turn larger than any block leaves in several writes, in order', () => {
    const client = new ClientUnderTest({
      hello: Buffer.concat([
        settings([frames.INITIAL_WINDOW_SIZE, 8 << 20], [frames.MAX_FRAME_SIZE, 1 << 20]),
        frames.windowUpdateFrame(0, 8 << 20),
        frames.settingsAckFrame(),
      ]),
    });
    const streams = [1, 2, 3, 4].map(() => client.open().stream);
    client.frames();
    const body = Buffer.alloc(400_000);
    const sizes = [100, 200_000, 250_000, 400_000];
    for (const [i, size] of sizes.entries()) {
      body.fill(i + 1);
      streams[i]?.write(body.subarray(0, size));
      body.fill(0xee); // it was lent
    }
    const seen: SeenFrame[] = [];
    for (let turn = 0; turn < 8; turn++) seen.push(...client.frames());
    const data = seen.filter(({ type }) => type === frames.DATA);
    assert.deepEqual(
      data.map(({ payload }) => payload.length),
      sizes,
    );
    for (const [i, { payload }] of data.entries()) assert.ok(payload.every((byte) => byte === i + 1));
  });

  test('large turns leave in one write too', () => {
    const client = new ClientUnderTest({
      hello: Buffer.concat([
        settings([frames.INITIAL_WINDOW_SIZE, 1 << 20], [frames.MAX_FRAME_SIZE, 1 << 20]),
        frames.settingsAckFrame(),
      ]),
    });
    const { stream } = client.open();
    client.frames();
    client.transport.writes = 0;
    stream.write(Buffer.alloc(3000, 1));
    stream.write(Buffer.alloc(30_000, 2));
    stream.write(Buffer.alloc(10, 3));
    stream.end();
    const seen = client.frames();
    assert.equal(client.transport.writes, 1);
    assert.deepEqual(
      seen.map((frame) => frame.payload.length),
      [3000, 30_000, 10],
    );
    assert.deepEqual(
      seen.map((frame) => frame.payload[0]),
      [1, 2, 3],
    );
    assert.ok(isEnd(seen[2]));
  });
});

describe('sending obeys the peer', () => {
  test('its frame size, its stream window and its connection window', () => {
    const client = new ClientUnderTest();
    const { sink, stream } = client.open();
    assert.equal(stream.write(Buffer.alloc(100_000)), false);
    const first = client.frames();
    assert.equal(dataBytes(first), 65_535);
    assert.ok(first.every((frame) => frame.payload.length <= 16_384));
    assert.equal(dataBytes(client.send(frames.windowUpdateFrame(1, 10_000))), 0, 'the connection has no window');
    assert.equal(dataBytes(client.send(frames.windowUpdateFrame(0, 4_000))), 4_000);
    assert.equal(sink.writables, 0);
    assert.equal(dataBytes(client.send(frames.windowUpdateFrame(0, 1 << 20))), 6_000);
    assert.equal(dataBytes(client.send(frames.windowUpdateFrame(1, 1 << 20))), 100_000 - 75_535);
    assert.equal(sink.writables, 1);
    assert.equal(stream.write(Buffer.alloc(10)), true);
  });

  test('the end waits for what is pending', () => {
    const client = new ClientUnderTest();
    const { stream } = client.open();
    stream.write(Buffer.alloc(65_540));
    stream.end();
    assert.ok(!client.frames().some((frame) => frame.type === frames.DATA && isEnd(frame)));
    client.session.receive(frames.windowUpdateFrame(0, 100));
    const rest = client.send(frames.windowUpdateFrame(1, 100));
    assert.equal(dataBytes(rest), 5);
    assert.ok(isEnd(rest.at(-1)));
  });

  test('a smaller initial window makes windows negative, which must be paid back first', () => {
    const client = new ClientUnderTest();
    const { stream } = client.open();
    stream.write(Buffer.alloc(60_000));
    client.frames();
    client.send(settings([frames.INITIAL_WINDOW_SIZE, 10_000]));
    stream.write(Buffer.alloc(100));
    assert.equal(dataBytes(client.send(frames.windowUpdateFrame(1, 50_000))), 0);
    assert.equal(dataBytes(client.send(frames.windowUpdateFrame(1, 60))), 60);
  });

  test('a larger initial window wakes those who wait', () => {
    const client = new ClientUnderTest({
      hello: Buffer.concat([settings([frames.INITIAL_WINDOW_SIZE, 0]), frames.settingsAckFrame()]),
    });
    const { sink, stream } = client.open();
    assert.equal(stream.write(Buffer.from('x')), false);
    assert.equal(dataBytes(client.frames()), 0);
    assert.equal(dataBytes(client.send(settings([frames.INITIAL_WINDOW_SIZE, 5]))), 1);
    assert.equal(sink.writables, 1);
  });

  test('a full transport stops producers and its drain wakes them, each in turn', () => {
    const client = new ClientUnderTest({
      hello: Buffer.concat([
        settings([frames.INITIAL_WINDOW_SIZE, 1 << 30]),
        frames.windowUpdateFrame(0, 1 << 30),
        frames.settingsAckFrame(),
      ]),
    });
    const a = client.open();
    const b = client.open();
    client.frames();
    client.transport.full = true;
    assert.equal(a.stream.write(Buffer.alloc(300_000)), false);
    client.environment.turn();
    assert.equal(b.stream.write(Buffer.alloc(16_000)), false, 'the transport is full');
    const queued = client.transport.writableLength;
    assert.ok(queued < 300_000, `${queued} bytes are with the transport`);
    client.environment.turn();
    assert.equal(client.transport.writableLength, queued, 'nothing more goes to a full transport');
    client.transport.full = false;
    client.transport.take();
    client.session.transportDrained();
    for (let i = 0; i < 5; i++) client.environment.turn();
    assert.equal(a.sink.writables, 1);
    assert.equal(b.sink.writables, 1);
  });

  test('a producer that does not stop is cut off at the send buffer', () => {
    const server = new ServerUnderTest();
    server.send(headersOf(1, connectFields()));
    const { stream, sink } = server.first();
    let written = 0;
    while (sink.events.length === 0 && written < 10_000_000) {
      stream.write(Buffer.alloc(16_384));
      written += 16_384;
    }
    assert.ok(written <= 65_535 + 400 * 1024 + 2 * 16_384, `${written} bytes were taken`);
    assert.deepEqual(sink.events, ['reset INTERNAL_ERROR failure']);
    assert.equal(
      server
        .frames()
        .find((frame) => frame.type === frames.RST_STREAM)
        ?.payload.readUInt32BE(0),
      ERROR_CODES.INTERNAL_ERROR,
    );
  });
});

describe('receiving grants windows', () => {
  test('as Istio sets them: 4 MiB a stream, 16 MiB a connection, frames of 1 MiB, 200 streams', () => {
    const server = new ServerUnderTest({ hello: false });
    const [first, second] = server.frames();
    assert.equal(first?.type, frames.SETTINGS);
    const values = new Map<number, number>();
    for (let at = 0; at < (first?.payload.length ?? 0); at += 6)
      values.set(first?.payload.readUInt16BE(at) ?? 0, first?.payload.readUInt32BE(at + 2) ?? 0);
    assert.deepEqual(
      [...values],
      [
        [frames.MAX_CONCURRENT_STREAMS, 200],
        [frames.INITIAL_WINDOW_SIZE, 4 << 20],
        [frames.MAX_FRAME_SIZE, 1 << 20],
        [frames.MAX_HEADER_LIST_SIZE, 64 << 10],
      ],
    );
    assert.equal(second?.payload.readUInt32BE(0), (16 << 20) - 65_535);
  });

  test('credit returns in lumps of half a window, and only for what was consumed', () => {
    const server = new ServerUnderTest();
    server.send(headersOf(1, connectFields()));
    const { stream, sink } = server.first();
    sink.hold = true;
    const mebibyte = dataOf(1, Buffer.alloc(1 << 20));
    for (let i = 0; i < 4; i++) assert.deepEqual(server.send(mebibyte), []);
    stream.consumed((2 << 20) - 1);
    assert.deepEqual(server.frames(), []);
    stream.consumed(1);
    const [update] = server.frames();
    assert.equal(update?.streamId, 1);
    assert.equal(update?.payload.readUInt32BE(0), 2 << 20);
  });

  test('the connection window comes back when a tunnel is reset with bytes unread', () => {
    const server = new ServerUnderTest();
    const mebibyte = Buffer.alloc(1 << 20);
    const seen: SeenFrame[] = [];
    for (let id = 1; id < 40; id += 2) {
      server.send(headersOf(id, connectFields()));
      const { stream, sink } = server.accepted.at(-1) ?? server.first();
      sink.hold = true;
      seen.push(...server.send(dataOf(id, mebibyte)));
      if (id % 4 === 1) stream.reset();
      else seen.push(...server.send(frames.resetFrame(id, 'CANCEL')));
      stream.consumed(1 << 20); // too late to count twice
      seen.push(...server.frames());
    }
    const updates = seen.filter((frame) => frame.type === frames.WINDOW_UPDATE && frame.streamId === 0);
    const returned = updates.reduce((sum, frame) => sum + frame.payload.readUInt32BE(0), 0);
    assert.equal(returned, 16 << 20, '20 MiB were unread: two lumps of 8 MiB came back');
  });

  test('padding is given back without anybody`s doing', () => {
    const server = new ServerUnderTest();
    server.send(headersOf(1, connectFields()));
    server.first().sink.hold = true;
    const padded = rawFrame(frames.DATA, frames.PADDED, 1, Buffer.concat([Buffer.from([255]), Buffer.alloc(255)]));
    let updates = 0;
    for (let i = 0; i < 8193; i++)
      updates += server.send(padded).filter((frame) => frame.type === frames.WINDOW_UPDATE).length;
    assert.equal(updates, 1);
  });

  test('a sink that holds many small pieces gets the rest in blocks, in order, the end last', () => {
    const server = new ServerUnderTest();
    server.send(headersOf(1, connectFields()));
    const { stream, sink } = server.first();
    sink.hold = true;
    let sent = '';
    for (let i = 0; i < 20_000; i++) {
      const text = String(i % 10);
      sent += text;
      server.session.receive(dataOf(1, text));
    }
    server.send(dataOf(1, '', frames.END_STREAM));
    assert.equal(sink.pieces, 256);
    assert.deepEqual(sink.events, []);
    stream.consumed(256);
    assert.equal(sink.text, sent);
    assert.ok(sink.pieces < 256 + 10);
    assert.deepEqual(sink.events, ['end']);
  });
});

describe('how resets read', () => {
  const cases: readonly [code: keyof typeof ERROR_CODES, reads: string][] = [
    ['NO_ERROR', 'end'],
    ['CANCEL', 'end'],
    ['STREAM_CLOSED', 'brokenPipe'],
    ['CONNECT_ERROR', 'failure'],
    ['INTERNAL_ERROR', 'failure'],
    ['REFUSED_STREAM', 'failure'],
  ];
  for (const [code, reads] of cases)
    test(`${code} is ${reads}`, () => {
      const client = new ClientUnderTest();
      const { sink } = client.open();
      client.send(headersOf(1, OK_FIELDS), frames.resetFrame(1, code));
      assert.deepEqual(sink.events, ['response 200', `reset ${code} ${reads}`]);
      assert.equal(sink.resetWith?.retriable, code === 'REFUSED_STREAM');
      assert.equal(client.session.activeStreams, 0);
    });

  test('an unknown code is an internal error', () => {
    const client = new ClientUnderTest();
    const { sink } = client.open();
    client.send(rawFrame(frames.RST_STREAM, 0, 1, u32(0x1234)));
    assert.deepEqual(sink.events, ['reset INTERNAL_ERROR failure']);
  });

  test('our own reset is told to the peer once, to the sink never, and late frames are dropped', () => {
    const client = new ClientUnderTest();
    const { sink, stream } = client.open();
    client.send(headersOf(1, OK_FIELDS));
    stream.reset('CANCEL');
    stream.reset('INTERNAL_ERROR');
    assert.deepEqual(
      client.frames().map((frame) => [frame.type, frame.payload.readUInt32BE(0)]),
      [[frames.RST_STREAM, ERROR_CODES.CANCEL]],
    );
    assert.deepEqual(
      client.send(dataOf(1, 'late'), frames.windowUpdateFrame(1, 5), frames.resetFrame(1, 'CANCEL')),
      [],
    );
    assert.deepEqual(sink.events, ['response 200']);
    assert.equal(client.closed, undefined);
  });

  test('the transport going away resets what lived, as a broken pipe', () => {
    const client = new ClientUnderTest();
    const { sink } = client.open();
    client.session.transportClosed(new Error('ECONNRESET'));
    assert.deepEqual(sink.events, ['reset STREAM_CLOSED brokenPipe']);
    assert.equal(client.closed?.error?.source, 'transport');
    assert.equal(client.session.capacity, 0);
    assert.throws(() => client.open(), HboneError);
  });

  test('an idle connection that the peer closes is no error', () => {
    const client = new ClientUnderTest();
    client.session.transportClosed();
    assert.deepEqual(client.closed, { error: undefined });
    assert.equal(client.environment.liveTimers, 0);
  });
});

describe('capacity', () => {
  test('is the pool`s limit until SETTINGS, then the smaller one, less what is open', () => {
    const client = new ClientUnderTest({ hello: false, limits: { maxConcurrentStreams: 100 } });
    client.environment.turn();
    client.transport.take();
    assert.equal(client.session.capacity, 100);
    assert.equal(client.session.state, 'opening');
    client.send(settings([frames.MAX_CONCURRENT_STREAMS, 2]));
    assert.equal(client.session.state, 'open');
    assert.equal(client.session.streamLimit, 2);
    client.open();
    const second = client.open();
    assert.equal(client.session.capacity, 0);
    assert.throws(
      () => client.open(),
      (error) => error instanceof HboneError && error.retriable,
    );
    second.stream.reset();
    assert.equal(client.session.capacity, 1);
  });
});

describe('going away', () => {
  test('a draining server announces it, takes what is in flight, then names its last stream and ends', () => {
    const { client, server } = pair();
    const early = client.open();
    converse(client, server);
    server.session.drain();
    server.session.drain();
    server.environment.turn();
    const announcement = server.transport.take();
    const inFlight = client.open();
    converse(client, server); // the open reaches the server, which is still willing
    client.session.receive(announcement);
    assert.equal(client.session.state, 'draining');
    assert.equal(client.session.capacity, 0);
    converse(client, server);
    assert.deepEqual(inFlight.sink.events, ['response 200']);
    assert.deepEqual(early.sink.events, ['response 200']);
    assert.equal(server.transport.ended, false);
    for (const { stream } of [early, inFlight]) stream.end();
    converse(client, server);
    for (const { stream } of server.accepted) stream.end();
    converse(client, server);
    assert.deepEqual(early.sink.events, ['response 200', 'end']);
    assert.deepEqual(server.closed, { error: undefined });
    assert.ok(server.transport.ended);
    assert.deepEqual(client.closed, { error: undefined });
  });

  test('streams above the last id were not taken: safe to try again elsewhere', () => {
    const client = new ClientUnderTest();
    const kept = client.open();
    const lost = client.open();
    client.send(frames.goawayFrame(1, 'NO_ERROR', ''));
    assert.deepEqual(kept.sink.events, []);
    assert.equal(lost.sink.resetWith?.retriable, true);
    client.send(headersOf(1, OK_FIELDS), dataOf(1, 'on we go'));
    assert.equal(kept.sink.text, 'on we go');
    assert.deepEqual(client.states, ['open', 'draining']);
  });

  test('a draining client lets its tunnels finish', () => {
    const client = new ClientUnderTest();
    const { stream } = client.open();
    client.session.drain();
    client.session.drain();
    assert.equal(client.frames().filter((frame) => frame.type === frames.GOAWAY).length, 1);
    client.send(headersOf(1, OK_FIELDS), dataOf(1, '', frames.END_STREAM));
    assert.equal(client.closed, undefined);
    stream.end();
    assert.deepEqual(client.closed, { error: undefined });
    client.frames();
    assert.ok(client.transport.ended);
  });

  test('a connection that was ended but does not close is cut', () => {
    const client = new ClientUnderTest();
    client.session.drain();
    assert.equal(client.transport.destroyed, false);
    client.environment.advance(1_000);
    assert.ok(client.transport.destroyed);
  });

  test('an abrupt end tells the peer why, and resets what lived', () => {
    const { client, server } = pair();
    const { sink } = client.open();
    converse(client, server);
    server.session.abort(new HboneError('INTERNAL_ERROR', 'us', 'certificate revoked'));
    assert.deepEqual(server.first().sink.events, ['reset INTERNAL_ERROR failure']);
    const seen = server.frames();
    assert.equal(server.goaway(seen), ERROR_CODES.INTERNAL_ERROR);
    assert.match(String(seen.at(-1)?.payload), /certificate revoked/);
    assert.ok(server.transport.ended);
    client.send(rawFrame(frames.GOAWAY, 0, 0, Buffer.concat([u32(1), u32(ERROR_CODES.INTERNAL_ERROR)])));
    client.session.transportClosed();
    assert.deepEqual(sink.events, ['response 200', 'reset STREAM_CLOSED brokenPipe']);
  });
});

describe('liveness', () => {
  test('a PING after 10 s, and 10 s after each answer', () => {
    const server = new ServerUnderTest();
    server.environment.advance(9_999);
    assert.deepEqual(server.frames(), []);
    server.environment.advance(1);
    const [ping] = server.frames();
    assert.equal(ping?.type, frames.PING);
    server.environment.advance(15_000);
    assert.deepEqual(server.send(frames.pingFrame(ping?.payload ?? Buffer.alloc(8), true)), []);
    server.environment.advance(9_999);
    assert.deepEqual(server.frames(), []);
    server.environment.advance(1);
    assert.equal(server.frames()[0]?.type, frames.PING);
    assert.equal(server.closed, undefined);
  });

  test('no answer for 20 s ends the connection, tunnels and all', () => {
    const client = new ClientUnderTest();
    const { sink } = client.open();
    client.environment.advance(10_000);
    client.environment.advance(19_999);
    assert.deepEqual(sink.events, []);
    client.environment.advance(1);
    assert.deepEqual(sink.events, ['reset NO_ERROR brokenPipe']);
    assert.match(client.closed?.error?.message ?? '', /no answer to PING/);
    assert.equal(client.goaway(client.frames()), ERROR_CODES.NO_ERROR);
    client.environment.advance(1_000);
    assert.ok(client.transport.destroyed);
    assert.equal(client.environment.liveTimers, 0);
  });

  test('a peer that never says hello is dropped the same way', () => {
    const server = new ServerUnderTest({ hello: false });
    server.environment.advance(30_000);
    assert.ok(server.closed !== undefined);
  });

  test('the peer`s PING is answered with its own bytes', () => {
    const client = new ClientUnderTest({ hello: SERVER_HELLO });
    const opaque = Buffer.from('8 bytes!');
    const [answer] = client.send(frames.pingFrame(opaque, false));
    assert.deepEqual([answer?.type, answer?.flags, answer?.payload], [frames.PING, frames.ACK, opaque]);
  });
});
