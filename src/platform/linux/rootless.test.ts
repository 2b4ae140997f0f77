// The same tests as an ordinary user inside a user namespace: nothing of the platform may need real root.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { runInUserNamespace } from './testing.ts';

const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] as const;

/**
 * How to stop being root. Where nobody may not read this folder, root itself enters the user namespace: there it has no
 * more power over the machine than anybody else has.
 */
function becomingOrdinary(file: string): readonly string[] {
  if (process.getuid?.() !== 0) return [];
  const [program, ...args] = [...NOBODY, process.execPath, '--check', file] as [string, ...string[]];
  return spawnSync(program, args).status === 0 ? NOBODY : [];
}

const files = ['netns', 'sockets', 'seqpacket', 'links', 'nft'].map((name) =>
  join(import.meta.dirname, `${name}.test.ts`),
);

test('namespaces, sockets, interfaces and rules work without root', () =>
  runInUserNamespace(becomingOrdinary(files[0] as string), files));
