// The agent's tests once more as they run for an ordinary user: inside a user namespace, without root's powers outside.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runAsOrdinaryUser } from '../platform/linux/testing.ts';

const names = ['main', 'redirection', 'rules', 'agent', 'zds-server', 'cni', 'netns-resolver'];
const files = readdirSync(import.meta.dirname).filter((file) => names.some((name) => file === `${name}.test.ts`));

test('capture, enrolment and ZDS work without root', () =>
  runAsOrdinaryUser(files.map((file) => join(import.meta.dirname, file))));
