// The same tests as an ordinary user inside a user namespace: nothing of the platform may need real root.

import { join } from 'node:path';
import { test } from 'node:test';
import { runAsOrdinaryUser } from './testing.ts';

const names = ['netns', 'sockets', 'seqpacket', 'links', 'nft', 'container'];

test('namespaces, sockets, interfaces and rules work without root', () =>
  runAsOrdinaryUser(names.map((name) => join(import.meta.dirname, `${name}.test.ts`))));
