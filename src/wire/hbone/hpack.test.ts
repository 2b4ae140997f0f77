import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type DecodedBlock, encodeHeaders, type Field, HpackDecoder } from './hpack.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const MAX = 65_536;

function fieldsOf(block: DecodedBlock): Field[] {
  assert.equal(block.kind, 'fields');
  return (block as { fields: Field[] }).fields;
}

const GET: Field[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'www.example.com'],
];
const SECOND: Field[] = [...GET, ['cache-control', 'no-cache']];
const THIRD: Field[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/index.html'],
  [':authority', 'www.example.com'],
  ['custom-key', 'custom-value'],
];
const REDIRECT: Field[] = [
  [':status', '302'],
  ['cache-control', 'private'],
  ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
  ['location', 'https://www.example.com'],
];
const TEMPORARY: Field[] = [[':status', '307'], ...REDIRECT.slice(1)];
const COOKIE: Field[] = [
  [':status', '200'],
  ['cache-control', 'private'],
  ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
  ['location', 'https://www.example.com'],
  ['content-encoding', 'gzip'],
  ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'],
];
/** The examples of C.5 and C.6 want a table of 256 bytes. */
const TABLE_256 = '3fe101';

describe('RFC 7541 appendix C', () => {
  const cases: readonly [name: string, blocks: readonly (readonly [string, Field[]])[]][] = [
    [
      'C.2.1 literal with indexing',
      [['400a637573746f6d2d6b65790d637573746f6d2d686561646572', [['custom-key', 'custom-header']]]],
    ],
    ['C.2.2 literal without indexing', [['040c2f73616d706c652f70617468', [[':path', '/sample/path']]]]],
    ['C.2.3 literal never indexed', [['100870617373776f726406736563726574', [['password', 'secret']]]]],
    ['C.2.4 indexed', [['82', [[':method', 'GET']]]]],
    [
      'C.3 requests without Huffman coding',
      [
        ['828684410f7777772e6578616d706c652e636f6d', GET],
        ['828684be58086e6f2d6361636865', SECOND],
        ['828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565', THIRD],
      ],
    ],
    [
      'C.4 requests with Huffman coding',
      [
        ['828684418cf1e3c2e5f23a6ba0ab90f4ff', GET],
        ['828684be5886a8eb10649cbf', SECOND],
        ['828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf', THIRD],
      ],
    ],
    [
      'C.5 responses without Huffman coding, with eviction',
      [
        [
          `${TABLE_256}4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d`,
          REDIRECT,
        ],
        ['4803333037c1c0bf', TEMPORARY],
        [
          '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
          COOKIE,
        ],
      ],
    ],
    [
      'C.6 responses with Huffman coding, with eviction',
      [
        [
          `${TABLE_256}488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3`,
          REDIRECT,
        ],
        ['4883640effc1c0bf', TEMPORARY],
        [
          '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
          COOKIE,
        ],
      ],
    ],
  ];
  for (const [name, blocks] of cases)
    test(name, () => {
      const decoder = new HpackDecoder();
      for (const [bytes, want] of blocks) assert.deepEqual(fieldsOf(decoder.decode(hex(bytes), MAX)), want);
    });
});

describe('what is no header block', () => {
  const cases: readonly [name: string, bytes: string][] = [
    ['index 0', '80'],
    ['an index beyond the tables', 'ff00'],
    ['an empty dynamic table', 'be'],
    ['an integer without end', 'ff8080808080808080'],
    ['an integer beyond reason', 'ffffffffff7f'],
    ['a string longer than the block', '0003616263ff'],
    ['a name without a value', '0001 61'],
    ['a length without a string', '00'],
    ['Huffman code that ends in zeros', '0081 1c 00'],
    ['Huffman code padded with eight ones', '0082 1fff 00'],
    ['Huffman code with the end-of-string symbol', '0085 ffffffffff 00'],
    ['a table larger than offered', '3fe21f'],
    ['a table size after a field', '82 20'],
  ];
  for (const [name, bytes] of cases)
    test(name, () => assert.equal(new HpackDecoder().decode(hex(bytes), MAX).kind, 'broken'));
});

test('a table of the offered size is accepted, and a smaller one forgets', () => {
  const decoder = new HpackDecoder();
  assert.equal(decoder.decode(hex('3fe11f'), MAX).kind, 'fields');
  decoder.decode(hex('4001610162'), MAX);
  assert.deepEqual(fieldsOf(decoder.decode(hex('be'), MAX)), [['a', 'b']]);
  assert.equal(decoder.decode(hex('20 be'), MAX).kind, 'broken');
});

test('a field larger than the table empties it and is no error', () => {
  const decoder = new HpackDecoder();
  decoder.decode(hex('4001610162'), MAX);
  const large = Buffer.concat([hex('400161'), hex('7f812f'), Buffer.alloc(0x7f + 0x81 - 0x80 + (0x2f << 7), 0x62)]);
  assert.equal(decoder.decode(large, MAX).kind, 'fields');
  assert.equal(decoder.decode(hex('be'), MAX).kind, 'broken');
});

test('an oversize list is told apart, and the tables stay in step', () => {
  const decoder = new HpackDecoder();
  assert.equal(decoder.decode(hex('4001610162 4001630164'), 40).kind, 'oversize');
  assert.deepEqual(fieldsOf(decoder.decode(hex('be bf'), MAX)), [
    ['c', 'd'],
    ['a', 'b'],
  ]);
});

test('a small block that refers to one large entry a thousand times costs no more than the limit', () => {
  const decoder = new HpackDecoder();
  decoder.decode(Buffer.concat([hex('400161'), hex('7f811e'), Buffer.alloc(0x7f + 1 + (0x1e << 7), 0x62)]), MAX);
  assert.equal(decoder.decode(Buffer.alloc(16_000, 0xbe), MAX).kind, 'oversize');
});

const token = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9a-z]{1,30}$/);
const value = fc.string({
  unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)),
  maxLength: 300,
});

test('what is encoded is decoded, and the encoder leaves no state', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(token, value), { maxLength: 20 }), (fields) => {
      const decoder = new HpackDecoder();
      for (let i = 0; i < 2; i++) assert.deepEqual(fieldsOf(decoder.decode(encodeHeaders(fields), 1 << 20)), fields);
    }),
  );
});

test('text that no field may carry is not encoded', () => {
  for (const bad of ['a\r\nb', 'a\0', '\u20ac', '\x7f']) assert.throws(() => encodeHeaders([['x', bad]]));
});

test('any bytes: fields, or a refusal; nothing is thrown and the list keeps its limit', () => {
  const decoder = new HpackDecoder();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      const block = decoder.decode(Buffer.from(bytes), 2000);
      if (block.kind === 'fields')
        assert.ok(block.fields.reduce((sum, [name, text]) => sum + name.length + text.length + 32, 0) <= 2000);
    }),
    { numRuns: 3000 },
  );
});
