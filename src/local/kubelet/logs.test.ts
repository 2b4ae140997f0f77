import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatLogLine, LineCutter, logTime, MAX_PART_BYTES, parseLogLine } from './log-line.ts';
import { ContainerLog, selectLines } from './logs.ts';

test('times have nine digits, as container runtimes write them', () =>
  assert.equal(logTime(1_777_885_687_123_456), '2026-05-04T09:08:07.123456000Z'));

test('a line is read as it was written', () =>
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }).filter((s) => !s.includes('\n')),
      fc.boolean(),
      (text, full) => {
        const line = formatLogLine('2026-05-04T09:08:07.123456000Z', 'stderr', full, text);
        assert.deepEqual(parseLogLine(line.slice(0, -1)), {
          at: '2026-05-04T09:08:07.123456000Z',
          stream: 'stderr',
          full,
          text,
        });
      },
    ),
  ));

test('lines come out alike however the bytes were cut', () =>
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'binary' }).map((s) => s.replaceAll('\n', ''))),
      fc.array(fc.nat(40)),
      (lines, cuts) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const seen: string[] = [];
        const cutter = new LineCutter((text) => seen.push(text));
        let at = 0;
        for (const cut of cuts) {
          cutter.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        cutter.push(bytes.subarray(at));
        cutter.end();
        assert.deepEqual(
          seen,
          lines.map((line) => Buffer.from(line).toString('utf8')),
        );
      },
    ),
  ));

test('an endless line is given in parts of bounded size', () => {
  const parts: { length: number; full: boolean }[] = [];
  const cutter = new LineCutter((text, full) => parts.push({ length: text.length, full }));
  cutter.push(Buffer.alloc(MAX_PART_BYTES * 2 + 5, 'x'));
  cutter.push(Buffer.from('\n'));
  assert.deepEqual(parts, [
    { length: MAX_PART_BYTES, full: false },
    { length: MAX_PART_BYTES, full: false },
    { length: 5, full: true },
  ]);
});

const folder = (t: { after: (f: () => void) => void }): string => {
  const path = mkdtempSync(join(tmpdir(), 'ambit-logs-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
};

test('a log is read back, followed, and turned over before it grows too large', (t) => {
  const log = new ContainerLog(join(folder(t), 'a', '0.log'), 400);
  log.push('stdout', Buffer.from('one\ntw'));
  log.push('stderr', Buffer.from('error\n'));
  const followed: string[] = [];
  let ended = false;
  log.follow(
    (line) => followed.push(line.text),
    () => {
      ended = true;
    },
  );
  log.push('stdout', Buffer.from('o\n'));
  assert.deepEqual(
    log.read().map((l) => l.text),
    ['one', 'error', 'two'],
  );
  for (let i = 0; i < 20; i++) log.push('stdout', Buffer.from(`line ${i}\n`));
  assert.equal(existsSync(`${log.file}.1`), true);
  assert.equal(log.read().at(-1)?.text, 'line 19');
  assert.ok(log.read().length < 20);
  log.push('stdout', Buffer.from('without end'));
  log.end();
  assert.equal(followed.at(-1), 'without end');
  assert.equal(ended, true);
});

test('tail, since, timestamps and limit choose what is sent', () => {
  const line = (at: string, text: string, full = true) => ({ at, stream: 'stdout' as const, full, text });
  const lines = [line('1', 'a'), line('2', 'b', false), line('3', 'c'), line('4', 'd')];
  assert.equal(selectLines(lines, {}), 'a\nbc\nd\n');
  assert.equal(selectLines(lines, { tailLines: 1 }), 'd\n');
  assert.equal(selectLines(lines, { tailLines: 0 }), '');
  assert.equal(selectLines(lines, { since: '2', timestamps: true }), '2 bc\n4 d\n');
  assert.equal(selectLines(lines, { limitBytes: 3 }), 'a\nb');
});
