import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ip, parseIp } from '../../model/ip.ts';
import { decodeHeader, decodeMessage } from './decode.ts';
import { encodeMessage } from './encode.ts';
import { CLASS_IN, type DnsRecord, type Message, TYPE, typeName } from './message.ts';
import { canonicalName, labelsOf, readName } from './name.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
const ip = (text: string): Ip => {
  const parsed = parseIp(text);
  assert.ok(parsed.ok);
  return parsed.value;
};
const decoded = (bytes: Uint8Array): Message => {
  const got = decodeMessage(bytes);
  assert.ok(got.ok, got.ok ? '' : got.error);
  return got.value;
};

// What `dig +bufsize=1232 Example.org A` sends, and an answer to it with a compressed CNAME chain.
const QUERY = hex('1a2b 0120 0001 0000 0000 0001 07 4578616d706c65 03 6f7267 00 0001 0001 00 0029 04d0 0000 0000 0000');
const ANSWER = hex(
  `1a2b 8180 0001 0002 0000 0001 07 4578616d706c65 03 6f7267 00 0001 0001
   c00c 0005 0001 0000003c 0006 03 777777 c00c
   c029 0001 0001 0000003c 0004 c0000201
   00 0029 04d0 0000 8000 0000`,
);

test('a query of dig is read', () =>
  assert.deepEqual(decoded(QUERY), {
    id: 0x1a2b,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: true,
    checkingDisabled: false,
    rcode: 0,
    questions: [{ name: 'Example.org', type: TYPE.A, class: CLASS_IN }],
    answers: [],
    authorities: [],
    additionals: [],
    edns: { payloadBytes: 1232, version: 0, dnssecOk: false },
  }));

test('a compressed answer is read, and written back to the same bytes', () => {
  const answer = decoded(ANSWER);
  assert.deepEqual(answer.answers, [
    { name: 'Example.org', ttl: 60, class: 1, type: 'CNAME', target: 'www.Example.org' },
    { name: 'www.Example.org', ttl: 60, class: 1, type: 'A', address: '192.0.2.1' },
  ]);
  assert.equal(answer.edns?.dnssecOk, true);
  assert.deepEqual(Buffer.from(encodeMessage(answer)).toString('hex'), Buffer.from(ANSWER).toString('hex'));
});

const bad: { name: string; bytes: Uint8Array; why: RegExp }[] = [
  { name: 'shorter than a header', bytes: hex('1a2b'), why: /shorter than its header/ },
  {
    name: 'a pointer to itself',
    bytes: hex('0000 0000 0001 0000 0000 0000 c00c 0001 0001'),
    why: /does not lead back/,
  },
  {
    name: 'pointers in a circle',
    bytes: hex('0000 0000 0001 0000 0000 0000 0161 c00e 0001 0001'),
    why: /does not lead back/,
  },
  { name: 'a label type of RFC 2673', bytes: hex('0000 0000 0001 0000 0000 0000 41 00 0001 0001'), why: /label type/ },
  { name: 'a question that ends early', bytes: QUERY.subarray(0, 20), why: /runs past the end/ },
  { name: 'fewer records than counted', bytes: hex('0000 0000 0000 ffff 0000 0000'), why: /past the end|ends early/ },
  { name: 'bytes after the end', bytes: Uint8Array.of(...QUERY, 0), why: /after the last record/ },
  {
    name: 'an address of 3 bytes',
    bytes: hex('0000 8000 0000 0001 0000 0000 00 0001 0001 00000000 0003 010203'),
    why: /wrong length/,
  },
  {
    name: 'a record beyond the end',
    bytes: hex('0000 8000 0000 0001 0000 0000 00 0001 0001 00000000 0009 010203'),
    why: /past the end/,
  },
  {
    name: 'two EDNS records',
    bytes: hex('0000 0000 0000 0000 0000 0002 000029 0200 00000000 0000 000029 0200 00000000 0000'),
    why: /misplaced EDNS/,
  },
  {
    name: 'EDNS among the answers',
    bytes: hex('0000 0000 0000 0001 0000 0000 000029 0200 00000000 0000'),
    why: /misplaced EDNS/,
  },
];
for (const c of bad)
  test(`refused: ${c.name}`, () => {
    const got = decodeMessage(c.bytes);
    assert.match(got.ok ? 'accepted' : got.error, c.why);
  });

test('a name of 255 bytes is read, one more is not', () => {
  const label = [63, ...Array<number>(63).fill(97)];
  const fits = Uint8Array.of(...label, ...label, ...label, 61, ...Array<number>(61).fill(98), 0);
  assert.equal(fits.length, 255);
  assert.equal(readName(fits, 0).next, 255);
  assert.throws(
    () => readName(Uint8Array.of(...label, ...label, ...label, 62, ...Array<number>(62).fill(98), 0), 0),
    /255/,
  );
});

const labelBytes = fc.uint8Array({ minLength: 1, maxLength: 10 });
test('names: bytes to text to bytes is exact, whatever the labels hold', () =>
  fc.assert(
    fc.property(fc.array(labelBytes, { maxLength: 5 }), (labels) => {
      const bytes = Uint8Array.of(...labels.flatMap((l) => [l.length, ...l]), 0);
      const { name } = readName(bytes, 0);
      const back = labelsOf(name);
      assert.ok(back.ok, name);
      assert.deepEqual(back.value, labels);
      assert.match(name, /^[!-~]*$/);
    }),
  ));
for (const name of ['a..b', '.a', 'a\\', 'a\\256', 'a b', 'ü', `${'a'.repeat(64)}.b`, `${'abcdefg.'.repeat(32)}x`])
  test(`\`${name.slice(0, 20)}\` is no name`, () => assert.equal(labelsOf(name).ok, false));
test('names are compared in lower case and without the final dot', () => {
  assert.equal(canonicalName('Foo.Bar.'), 'foo.bar');
  assert.equal(canonicalName('a\\.'), 'a\\.');
  assert.equal(canonicalName(''), '');
});
test('type names: rare ones share one', () => {
  assert.equal(typeName(28), 'AAAA');
  assert.equal(typeName(4711), 'UNKNOWN');
});

/** fast-check makes some records without a prototype; comparing is about their content. */
const plain = <T>(value: T): T => structuredClone(value);

const name = fc.array(fc.stringMatching(/^[a-zA-Z0-9_*-]{1,12}$/), { maxLength: 4 }).map((l) => l.join('.'));
const u16 = fc.integer({ min: 0, max: 65535 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const v4 = fc.ipV4().map(ip);
const v6 = fc
  .ipV6()
  .map(ip)
  .filter((a) => a.includes(':'));
const data: fc.Arbitrary<Record<string, unknown>> = fc.oneof(
  v4.map((address) => ({ type: 'A', address })),
  v6.map((address) => ({ type: 'AAAA', address })),
  fc.record({ type: fc.constantFrom('CNAME', 'NS', 'PTR'), target: name }),
  fc.record({ type: fc.constant('SRV'), priority: u16, weight: u16, port: u16, target: name }),
  fc.record({ type: fc.constant('TXT'), texts: fc.array(fc.uint8Array({ maxLength: 255 }), { maxLength: 3 }) }),
  fc.record({
    type: fc.constant('SOA'),
    primary: name,
    mailbox: name,
    serial: u32,
    refresh: u32,
    retry: u32,
    expire: u32,
    minimum: u32,
  }),
);
const record = fc
  .tuple(name, u32, u16, data)
  .map(([n, ttl, c, d]) => ({ name: n, ttl, class: c, ...d }) as unknown as DnsRecord);
const records = fc.array(record, { maxLength: 6 });
const message: fc.Arbitrary<Message> = fc.record({
  id: u16,
  response: fc.boolean(),
  opcode: fc.integer({ min: 0, max: 15 }),
  authoritative: fc.boolean(),
  truncated: fc.boolean(),
  recursionDesired: fc.boolean(),
  recursionAvailable: fc.boolean(),
  authenticData: fc.boolean(),
  checkingDisabled: fc.boolean(),
  rcode: fc.integer({ min: 0, max: 15 }),
  questions: fc.array(fc.record({ name, type: u16, class: u16 }), { maxLength: 1 }),
  answers: records,
  authorities: records,
  additionals: records,
  edns: fc.option(fc.record({ payloadBytes: u16, version: fc.integer({ min: 0, max: 255 }), dnssecOk: fc.boolean() }), {
    nil: undefined,
  }),
});

test('messages: bytes and back is exact', () =>
  fc.assert(fc.property(message, (m) => assert.deepEqual(decoded(encodeMessage(m)), plain(m)))));

test('an extended rcode travels in EDNS', () => {
  const edns = { payloadBytes: 512, version: 0, dnssecOk: false };
  const m = { ...decoded(ANSWER), rcode: 16, edns };
  assert.equal(decoded(encodeMessage(m)).rcode, 16);
});

test('a bounded message keeps to its bound, says that it was cut, and keeps the first records', () =>
  fc.assert(
    fc.property(message, fc.integer({ min: 0, max: 1500 }), (m, bound) => {
      const bytes = encodeMessage(m, bound);
      const limit = Math.max(512, bound);
      assert.ok(bytes.length <= limit);
      const got = decoded(bytes);
      assert.deepEqual(got.answers, plain(m.answers.slice(0, got.answers.length)));
      assert.equal(
        got.truncated,
        m.truncated || got.answers.length < m.answers.length || got.authorities.length < m.authorities.length,
      );
      assert.deepEqual(got.edns, plain(m.edns));
    }),
  ));

test('any bytes: a message or a reason, nothing thrown', () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      assert.equal(decodeHeader(bytes).ok, bytes.length >= 12);
      decodeMessage(bytes);
    }),
    { numRuns: 500 },
  ));

test('valid messages with a few bytes changed: a message or a reason, nothing thrown, names stay short', () =>
  fc.assert(
    fc.property(message, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), (m, changes) => {
      const bytes = encodeMessage(m).slice();
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      const got = decodeMessage(bytes);
      if (got.ok) for (const r of [...got.value.answers, ...got.value.questions]) assert.ok(r.name.length <= 4 * 255);
    }),
    { numRuns: 300 },
  ));
