// Any bytes, cut anywhere: no throw, bounded memory, the same events; and where Node's own parser accepts a message too,
// both read the same one.

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import http from 'node:http';
import { Duplex } from 'node:stream';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { HTTP1_LIMITS } from './limits.ts';
import { cutAt, everyByte, fieldList, RequestRecorder, ResponseRecorder } from './testing.ts';

const lines = (...all: string[]): string => [...all, '', ''].join('\r\n');

/** Messages that are whole or nearly so, to be put in a row and damaged. */
const SEEDS: readonly string[] = [
  lines('GET /a/b?c HTTP/1.1', 'Host: a.b:80', 'User-Agent: x', 'Accept: */*'),
  `${lines('POST / HTTP/1.1', 'Host: a', 'Content-Length: 5')}hello`,
  `${lines('POST / HTTP/1.1', 'Host: a', 'Transfer-Encoding: chunked')}5\r\nhello\r\na;x="y"\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n`,
  lines('OPTIONS * HTTP/1.1', 'Host: a', 'Connection: keep-alive, x-y', 'X-Y: z'),
  lines('GET http://b/c HTTP/1.1', 'Host: a'),
  lines('GET / HTTP/1.0', 'Connection: keep-alive'),
  `\r\n${lines('PUT /x HTTP/1.1', 'host:a', 'content-length:0')}`,
  `${lines('GET / HTTP/1.1', 'Host: a', 'Connection: Upgrade', 'Upgrade: x')}early`,
  lines('CONNECT a:1 HTTP/1.1', 'Host: a:1'),
];
const RESPONSE_SEEDS: readonly string[] = [
  `${lines('HTTP/1.1 200 OK', 'Content-Length: 5')}hello`,
  `${lines('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n`,
  `${lines('HTTP/1.1 100 Continue')}${lines('HTTP/1.1 204 No Content')}`,
  `${lines('HTTP/1.0 200')}until the end`,
  lines('HTTP/1.1 304 Not Modified', 'Content-Length: 5', 'ETag: "x"'),
];
const FRAGMENTS: readonly string[] = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  ' ',
  '\t',
  ':',
  '\0',
  '\xff',
  ',',
  ';',
  '0',
  'f',
  'Host: b\r\n',
  'Content-Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
  ' folded\r\n',
  'HTTP/1.1',
  '0\r\n\r\n',
  'Connection: close\r\n',
  'Expect: 100-continue\r\n',
];

interface Damage {
  readonly at: number;
  readonly remove: number;
  readonly insert: string;
}
const damage: fc.Arbitrary<Damage> = fc.record({
  at: fc.nat({ max: 400 }),
  remove: fc.nat({ max: 3 }),
  insert: fc.oneof(
    fc.constantFrom('', ...FRAGMENTS),
    fc.string({ unit: fc.nat({ max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 3 }),
  ),
});
function damaged(text: string, all: readonly Damage[]): string {
  let result = text;
  for (const { at, remove, insert } of all) {
    const place = at % (result.length + 1);
    result = result.slice(0, place) + insert + result.slice(place + remove);
  }
  return result;
}
const streamOf = (seeds: readonly string[]): fc.Arbitrary<Buffer> =>
  fc.oneof(
    {
      weight: 9,
      arbitrary: fc
        .tuple(fc.array(fc.constantFrom(...seeds), { minLength: 1, maxLength: 4 }), fc.array(damage, { maxLength: 3 }))
        .map(([parts, all]) => Buffer.from(damaged(parts.join(''), all), 'latin1')),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  );
const cuts = fc.array(fc.nat({ max: 1000 }), { maxLength: 8 });

describe('any bytes, however cut', () => {
  test('requests: the same events, nothing after a refusal, nothing left that is not bounded', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(streamOf(SEEDS), cuts, (bytes, at) => {
        const whole = new RequestRecorder().answering().send(bytes);
        whole.parser.receiveEnd();
        for (const pieces of [cutAt(bytes, at), everyByte(bytes)]) {
          const cut = new RequestRecorder().answering().send(...pieces);
          cut.parser.receiveEnd();
          // A request for another protocol: whether bytes came ahead of the answer is a matter of time.
          if (whole.heads.some((head) => head.upgrade !== undefined || head.method === 'CONNECT')) continue;
          assert.deepEqual(cut.events, whole.events);
        }
        const errors = whole.events.filter((event) => event.kind === 'error');
        assert.ok(errors.length <= 1);
        if (errors.length === 1) assert.equal(whole.events.at(-1)?.kind, 'error');
        assert.ok(whole.parser.heldBytes <= HTTP1_LIMITS.maxHeldBytes + bytes.length);
        const outcome = whole.refusal?.code ?? 'good';
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      }),
      { numRuns: 1500 },
    );
    assert.ok((seen.get('good') ?? 0) > 50 && seen.size > 12, `good and bad streams were tried: ${[...seen.keys()]}`);
  });

  test('responses: the same events, nothing after a refusal', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(
        streamOf(RESPONSE_SEEDS),
        cuts,
        fc.constantFrom('GET', 'HEAD', 'CONNECT'),
        fc.boolean(),
        (bytes, at, method, upgrade) => {
          const whole = new ResponseRecorder({ method, upgrade }).send(bytes);
          whole.parser.receiveEnd();
          for (const pieces of [cutAt(bytes, at), everyByte(bytes)]) {
            const cut = new ResponseRecorder({ method, upgrade }).send(...pieces);
            cut.parser.receiveEnd();
            assert.deepEqual(cut.events, whole.events);
          }
          if (whole.refusal !== undefined) assert.equal(whole.events.at(-1)?.kind, 'error');
          assert.equal(whole.parser.reusable, false, 'the connection has ended');
          seen.add(whole.refusal?.code ?? 'good');
        },
      ),
      { numRuns: 1000 },
    );
    assert.ok(seen.has('good') && seen.size > 8, `good and bad streams were tried: ${[...seen]}`);
  });

  test('a head in single bytes costs no more memory than its bound, and ends', () => {
    const recorder = new RequestRecorder({ maxHeadBytes: 4096 });
    let sent = 0;
    const byte = Buffer.from('A');
    while (recorder.parser.state !== 'over' && sent < 10_000) {
      recorder.send(byte);
      sent++;
      assert.equal(recorder.parser.heldBytes, 0);
    }
    assert.deepEqual([sent, recorder.refusal?.code], [4096, 'headTooLarge']);
  });
});

interface Read {
  readonly method: string | undefined;
  readonly target: string | undefined;
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

/** What Node's parser makes of the first request: refused, still waiting for more, or read. */
class NodeParser {
  private told: (outcome: Read | 'refused') => void = () => {};
  private readonly server = http.createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 });

  constructor() {
    const take = (request: http.IncomingMessage): void => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('error', () => this.told('refused'));
      request.on('end', () =>
        this.told({
          method: request.method,
          target: request.url,
          fields: request.rawHeaders,
          body: Buffer.concat(pieces).toString('latin1'),
          trailers: request.rawTrailers,
        }),
      );
    };
    this.server
      .on('request', take)
      .on('checkContinue', take)
      .on('checkExpectation', take)
      .on('dropRequest', () => this.told('refused'));
    this.server.on('clientError', () => this.told('refused'));
  }

  async read(bytes: Buffer): Promise<Read | 'refused' | 'waiting'> {
    let outcome: Read | 'refused' | 'waiting' = 'waiting';
    this.told = (now) => {
      if (outcome === 'waiting') outcome = now;
    };
    const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    socket.on('error', () => {});
    this.server.emit('connection', socket);
    socket.push(bytes);
    for (let turn = 0; turn < 20 && outcome === 'waiting'; turn++) await new Promise(setImmediate);
    socket.destroy();
    await new Promise(setImmediate);
    return outcome;
  }

  close(): void {
    this.server.close();
  }
}

describe('against an independent parser', () => {
  const node = new NodeParser();
  after(() => node.close());

  test('where both accept a request, both read the same one', async () => {
    let both = 0;
    const stream = fc
      .tuple(fc.constantFrom(...SEEDS.slice(0, 7)), fc.array(damage, { maxLength: 2 }))
      .map(([seed, all]) => Buffer.from(damaged(seed, all), 'latin1'));
    await fc.assert(
      fc.asyncProperty(stream, async (bytes) => {
        const ours = new RequestRecorder().send(bytes);
        const theirs = await node.read(bytes);
        const [head] = ours.heads;
        const complete = ours.events.some((event) => event.kind === 'end');
        // Complete for us and still open for another reader would be a way to smuggle.
        if (complete && head?.upgrade === undefined) assert.notEqual(theirs, 'waiting');
        // What we alone accept has a method that Node does not know, or bytes behind it that are no request.
        if (complete && theirs === 'refused')
          assert.ok(!http.METHODS.includes(head?.method ?? '') || ours.parser.heldBytes > 0);
        if (typeof theirs === 'string' || head === undefined || !complete) return;
        both++;
        const end = ours.events.at(-1);
        const rewritten = head.form === 'absolute';
        assert.deepEqual(
          {
            method: head.method,
            path: rewritten ? undefined : head.path,
            fields: rewritten ? undefined : fieldList(head.fields).flat(),
            body: Buffer.concat(ours.pieces).toString('latin1'),
            trailers: end?.kind === 'end' ? (end.trailers ?? []).flat() : 'no end',
          },
          {
            method: theirs.method,
            path: rewritten ? undefined : theirs.target,
            fields: rewritten ? undefined : theirs.fields,
            body: theirs.body,
            trailers: theirs.trailers,
          },
        );
      }),
      { numRuns: 500 },
    );
    assert.ok(both > 100, `${both} accepted by both`);
  });
});
