import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNameservers } from './resolv-conf.ts';

for (const [name, text, wanted] of [
  [
    'servers in order, other lines left out',
    'search a.b\nnameserver 10.96.0.10\n nameserver\t::1\noptions ndots:5\n',
    ['10.96.0.10', '::1'],
  ],
  [
    'comments, typos, scopes and repetitions',
    '# nameserver 1.1.1.1\nnameserver x\nnameserver fe80::1%eth0\nnameserver 8.8.8.8 # a\nnameserver 8.8.8.8',
    ['8.8.8.8'],
  ],
  [
    'at most three',
    'nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4',
    ['1.1.1.1', '1.1.1.2', '1.1.1.3'],
  ],
  ['nothing', '', []],
] as const)
  test(`resolv.conf: ${name}`, () => assert.deepEqual(parseNameservers(text), wanted));
