import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Fault } from './errors.ts';
import * as frames from './frames.ts';
import { ClientUnderTest, rawFrame, ServerUnderTest } from './testing.ts';

/** Writes down what the reader says, with the pieces of DATA joined, since they depend on the cuts. */
class Recorder implements frames.FrameHandler {
  log: string[] = [];
  stopped = false;
  private data = '';

  frameBound(type: number): number | Fault {
    return type === frames.PING ? 64 : 1 << 20;
  }
  dataBegins(streamId: number, length: number, endStream: boolean): void {
    this.data = '';
    this.log.push(`data ${streamId} ${length} ${endStream}`);
  }
  dataPiece(piece: Buffer): void {
    assert.ok(piece.length > 0);
    this.data += piece.toString('hex');
  }
  dataEnds(padding: number): void {
    this.log.push(`ends ${padding} ${this.data}`);
  }
  frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    this.log.push(`frame ${type} ${flags} ${streamId} ${payload.toString('hex')}`);
  }
  unknownFrame(): void {
    this.log.push('unknown');
  }
  framingError(found: Fault): void {
    this.stopped = true;
    this.log.push(`error ${found.code}`);
  }
}

function read(bytes: Buffer, cuts: readonly number[], preface = false): string[] {
  const recorder = new Recorder();
  const reader = new frames.FrameReader(recorder, preface);
  let from = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const to = Math.min(cut, bytes.length);
    reader.read(bytes.subarray(from, to));
    from = to;
  }
  reader.read(bytes.subarray(from));
  return recorder.log;
}

const anyFrame = fc
  .record({
    type: fc.integer({ min: 0, max: 12 }),
    flags: fc.constantFrom(0, 1, 4, 5, 8, 9, 0x20, 0xff),
    streamId: fc.integer({ min: 0, max: 7 }),
    payload: fc.uint8Array({ maxLength: 60 }),
  })
  .map((frame) => rawFrame(frame.type, frame.flags, frame.streamId, frame.payload));

test('frames decode alike however the bytes were cut', () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 12 }), fc.array(fc.nat(600), { maxLength: 20 }), (sent, cuts) => {
      const bytes = Buffer.concat(sent);
      const whole = read(bytes, []);
      assert.deepEqual(read(bytes, cuts), whole);
      assert.deepEqual(
        read(
          bytes,
          Array.from({ length: bytes.length }, (_, i) => i),
        ),
        whole,
      );
    }),
    { numRuns: 500 },
  );
});

test('the preface may come byte by byte, and a wrong one is seen at its first wrong byte', () => {
  const hello = Buffer.concat([frames.PREFACE, rawFrame(frames.PING, 0, 0, Buffer.alloc(8))]);
  const cuts = Array.from({ length: hello.length }, (_, i) => i);
  assert.deepEqual(read(hello, cuts, true), ['frame 6 0 0 0000000000000000']);
  assert.deepEqual(read(Buffer.from('PRI * HTTP/1'), [], true), ['error PROTOCOL_ERROR']);
  assert.deepEqual(read(Buffer.from('G'), [], true), ['error PROTOCOL_ERROR']);
});

describe('padding', () => {
  test('is taken off and counted', () => {
    const frame = rawFrame(frames.DATA, frames.PADDED, 1, Buffer.from([2, 0xaa, 0xbb, 0, 0]));
    assert.deepEqual(read(frame, []), ['data 1 5 false', 'ends 3 aabb']);
  });
  test('may be all there is', () => {
    assert.deepEqual(read(rawFrame(frames.DATA, frames.PADDED, 1, Buffer.from([2, 0, 0])), []), [
      'data 1 3 false',
      'ends 3 ',
    ]);
    assert.deepEqual(read(rawFrame(frames.DATA, frames.PADDED, 1, Buffer.from([0])), []), [
      'data 1 1 false',
      'ends 1 ',
    ]);
  });
  test('must fit', () => {
    assert.deepEqual(read(rawFrame(frames.DATA, frames.PADDED, 1, Buffer.from([3, 0, 0])), []), [
      'data 1 3 false',
      'error PROTOCOL_ERROR',
    ]);
    assert.deepEqual(read(rawFrame(frames.DATA, frames.PADDED, 1), []), ['error FRAME_SIZE_ERROR']);
  });
});

test('DATA is handed on as it arrives: no copy, no waiting', () => {
  const pieces: Buffer[] = [];
  const recorder = new Recorder();
  recorder.dataPiece = (piece) => void pieces.push(piece);
  const reader = new frames.FrameReader(recorder, false);
  const frame = rawFrame(frames.DATA, 0, 1, Buffer.alloc(100_000));
  const first = frame.subarray(0, 40_000);
  reader.read(first);
  assert.equal(pieces.length, 1);
  assert.equal(pieces[0]?.buffer, first.buffer);
  const second = frame.subarray(40_000);
  reader.read(second);
  assert.equal(pieces[1]?.length, 60_009);
});

test('a frame that is too long is refused at its header, before anything of it is kept', () => {
  assert.deepEqual(read(rawFrame(frames.PING, 0, 0, Buffer.alloc(0), 65), []), ['error FRAME_SIZE_ERROR']);
});

test('headers of our own: HEADERS and CONTINUATION when the peer takes small frames', () => {
  const block = Buffer.from(Array.from({ length: 40 }, (_, i) => i));
  assert.deepEqual(read(frames.headersFrames(3, block, true, 16), []), [
    `frame 1 1 3 ${block.toString('hex', 0, 16)}`,
    `frame 9 0 3 ${block.toString('hex', 16, 32)}`,
    `frame 9 4 3 ${block.toString('hex', 32)}`,
  ]);
  assert.deepEqual(read(frames.headersFrames(3, block, false, 40), []), [`frame 1 4 3 ${block.toString('hex')}`]);
});

describe('any bytes', () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.array(anyFrame, { maxLength: 20 }).map((list) => Buffer.concat(list)),
  );
  test('to a server: nothing is thrown, and what is kept of them is bounded', () => {
    fc.assert(
      fc.property(fc.array(noise, { maxLength: 5 }), fc.boolean(), (list, hello) => {
        const server = new ServerUnderTest({ hello });
        for (const bytes of list) server.send(bytes);
        for (const { sink } of server.accepted) assert.ok(sink.bytes <= 2000);
        server.session.transportClosed();
        assert.equal(server.environment.liveTimers, 0);
        assert.equal(server.session.activeStreams, 0);
      }),
      { numRuns: 1500 },
    );
  });
  test('to a client: likewise', () => {
    fc.assert(
      fc.property(fc.array(noise, { maxLength: 5 }), (list) => {
        const client = new ClientUnderTest();
        const { sink } = client.open();
        for (const bytes of list) client.send(bytes);
        client.session.transportClosed();
        assert.equal(client.session.activeStreams, 0);
        assert.ok(sink.events.length > 0, 'the sink heard of its end');
        assert.ok(client.closed !== undefined);
      }),
      { numRuns: 1500 },
    );
  });
});
