import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Seldom } from './seldom.ts';

test('once a minute for each subject, with how many there were', () => {
  let now = 0;
  const said: string[] = [];
  const seldom = new Seldom(() => now);
  const warn = (subject: string): void => seldom.warn(subject, (unsaid) => void said.push(`${subject} ${unsaid}`));
  for (const subject of ['a', 'a', 'b', 'a']) warn(subject);
  now = 60_000;
  warn('a');
  warn('a');
  assert.deepEqual(said, ['a 0', 'b 0', 'a 2']);
});
