import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../platform/clock.ts';
import { type ProbeAnswer, type ProbeKind, Prober } from './prober.ts';
import type { ProbeSpec } from './types.ts';

const BAD: ProbeAnswer = { ok: false, message: 'connection refused' };
const GOOD: ProbeAnswer = { ok: true };

/** A prober whose answers are set by hand; `askedAt` are the times at which it asked. */
function prober(kind: ProbeKind, probe: ProbeSpec) {
  const clock = new ManualClock(0);
  const seen = { askedAt: [] as number[], verdicts: [] as string[], failures: 0 };
  let answer: ProbeAnswer = BAD;
  const it = new Prober({
    kind,
    probe,
    clock,
    ask: async () => {
      seen.askedAt.push(clock.nowMs());
      return answer;
    },
    onVerdict: (good) => seen.verdicts.push(`${clock.nowMs()} ${good ? 'good' : 'bad'}`),
    onFailure: () => seen.failures++,
  });
  it.start();
  return {
    seen,
    clock,
    it,
    answers: (next: ProbeAnswer) => {
      answer = next;
    },
    /** Steps of 10 ms, so that what waits for an answer goes on in between. */
    pass: async (ms: number) => {
      for (let at = 0; at < ms; at += 10) {
        clock.advance(10);
        await Promise.resolve();
        await Promise.resolve();
      }
    },
  };
}

test('a liveness probe asks once a period and gives up at its threshold', async () => {
  const p = prober('liveness', { periodSeconds: 5, failureThreshold: 2, initialDelaySeconds: 1 });
  p.answers(GOOD);
  await p.pass(3000);
  p.answers(BAD);
  await p.pass(10_000);
  assert.deepEqual(p.seen.askedAt, [1000, 6000, 11_000]);
  assert.deepEqual(p.seen.verdicts, ['1000 good', '11000 bad']);
  assert.equal(p.seen.failures, 2);
});

test('a readiness probe notices success within its period, and early failures are not counted', async () => {
  const p = prober('readiness', { periodSeconds: 10, failureThreshold: 1 });
  await p.pass(300);
  assert.equal(p.seen.failures, 1, 'only the first, regular answer counts');
  p.answers(GOOD);
  await p.pass(700);
  assert.equal(p.seen.verdicts.length, 2);
  assert.match(p.seen.verdicts[1] ?? '', /^[3-7]\d\d good$/);
});

test('once ready it asks at its period only, and a failure below the threshold changes nothing', async () => {
  const p = prober('readiness', { periodSeconds: 1, failureThreshold: 3 });
  p.answers(GOOD);
  await p.pass(1500);
  p.answers(BAD);
  await p.pass(2000);
  p.answers(GOOD);
  await p.pass(1000);
  assert.deepEqual(
    p.seen.verdicts,
    ['10 good'].map(() => p.seen.verdicts[0]),
  );
  assert.equal(p.seen.askedAt.length, 5);
});

test('successThreshold asks for several in a row', async () => {
  const p = prober('readiness', { periodSeconds: 1, successThreshold: 2 });
  p.answers(GOOD);
  await p.pass(500);
  assert.deepEqual(p.seen.verdicts, []);
  await p.pass(600);
  assert.equal(p.seen.verdicts.length, 1);
});

test('a startup probe fails only after its regular answers have', async () => {
  const p = prober('startup', { periodSeconds: 1, failureThreshold: 3 });
  await p.pass(1900);
  assert.deepEqual(p.seen.verdicts, []);
  await p.pass(300);
  assert.equal(p.seen.verdicts.length, 1);
  assert.match(p.seen.verdicts[0] ?? '', /^20\d\d bad$/);
});

test('a stopped probe asks no more and leaves no timer', async () => {
  const p = prober('liveness', { periodSeconds: 1 });
  await p.pass(1500);
  p.it.stop();
  const asked = p.seen.askedAt.length;
  await p.pass(3000);
  assert.equal(p.seen.askedAt.length, asked);
  assert.equal(p.clock.waiting, 0);
});
