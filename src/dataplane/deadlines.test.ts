import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../platform/clock.ts';
import { Deadlines } from './deadlines.ts';

const entry = (log: string[], name: string) => ({ expired: () => void log.push(name) });

test('entries expire in order, each after its own time, with one timer', () => {
  const clock = new ManualClock();
  const deadlines = new Deadlines(clock, 1000);
  const log: string[] = [];
  deadlines.add(entry(log, 'a'));
  clock.advance(600);
  deadlines.add(entry(log, 'b'));
  assert.equal(clock.waiting, 1);
  clock.advance(399);
  assert.deepEqual(log, []);
  clock.advance(1);
  assert.deepEqual(log, ['a']);
  clock.advance(600);
  assert.deepEqual(log, ['a', 'b']);
  assert.equal(clock.waiting, 0);
});

test('a deleted entry does not expire, one added again starts anew', () => {
  const clock = new ManualClock();
  const deadlines = new Deadlines(clock, 1000);
  const log: string[] = [];
  const [gone, renewed] = [entry(log, 'gone'), entry(log, 'renewed')];
  deadlines.add(gone);
  deadlines.add(renewed);
  deadlines.delete(gone);
  clock.advance(900);
  deadlines.add(renewed);
  clock.advance(900);
  assert.deepEqual(log, []);
  clock.advance(100);
  assert.deepEqual(log, ['renewed']);
});

test('an entry added while others expire is kept for its whole time', () => {
  const clock = new ManualClock();
  const deadlines = new Deadlines(clock, 1000);
  const log: string[] = [];
  const late = entry(log, 'late');
  deadlines.add({ expired: () => deadlines.add(late) });
  clock.advance(1999);
  assert.deepEqual(log, []);
  clock.advance(1);
  assert.deepEqual(log, ['late']);
});

test('closing forgets everything and stops the timer', () => {
  const clock = new ManualClock();
  const deadlines = new Deadlines(clock, 1000);
  deadlines.add({ expired: () => assert.fail('expired') });
  deadlines.close();
  clock.advance(5000);
  assert.equal(clock.waiting, 0);
});
