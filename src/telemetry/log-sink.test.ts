import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fdSink } from './log-sink.ts';

type Callback = (error: NodeJS.ErrnoException | null, written: number, buffer: Buffer) => void;

/** A descriptor whose writes complete when the test says so, and a pace that it sets. */
function slowFd(pace: (again: () => void) => void = (again) => again()) {
  const pending: { text: string; buffer: Buffer; done: Callback }[] = [];
  const write = ((_fd: number, buffer: Buffer, _at: number, _length: number, _position: null, done: Callback) => {
    pending.push({ text: buffer.toString(), buffer, done });
  }) as unknown as Parameters<typeof fdSink>[2];
  return { pending, sink: fdSink(1, (n) => `lost ${n}\n`, write, pace) };
}
const turn = (): Promise<void> => new Promise((r) => setImmediate(() => setImmediate(r)));

test('lines of one turn leave in one write, later ones wait for it', async () => {
  const { pending, sink } = slowFd();
  sink.write('a\n');
  sink.write('b\n');
  await turn();
  sink.write('c\n');
  await turn();
  assert.deepEqual(
    pending.map((p) => p.text),
    ['a\nb\n'],
  );
  const first = pending.shift()!;
  first.done(null, first.buffer.length, first.buffer);
  assert.deepEqual(
    pending.map((p) => p.text),
    ['c\n'],
  );
  let flushed = false;
  const flush = sink.flush().then(() => {
    flushed = true;
  });
  await turn();
  assert.equal(flushed, false);
  const second = pending.shift()!;
  second.done(null, 1, second.buffer);
  assert.deepEqual(
    pending.map((p) => p.text),
    ['\n'],
    'a short write goes on where it stopped',
  );
  pending.shift()!.done(null, 1, second.buffer);
  await flush;
});

test('after a write the next one waits for its time, unless much has come or somebody asks', async () => {
  const paced: (() => void)[] = [];
  const { pending, sink } = slowFd((again) => void paced.push(again));
  const complete = (): string => {
    const { text, buffer, done } = pending.shift()!;
    done(null, buffer.length, buffer);
    return text;
  };
  sink.write('first\n');
  await turn();
  assert.equal(complete(), 'first\n');
  sink.write('a\n');
  await turn();
  sink.write('b\n');
  await turn();
  assert.equal(pending.length, 0);
  paced.shift()!();
  assert.equal(complete(), 'a\nb\n');
  sink.write('x'.repeat(40_000));
  assert.equal(complete().length, 40_000, 'much does not wait');
  sink.write('c\n');
  const flushed = sink.flush();
  assert.equal(complete(), 'c\n', 'nor does who asks');
  await flushed;
});

test('a reader that does not read costs bounded memory, and is told what it missed', async () => {
  const { pending, sink } = slowFd();
  const line = `${'x'.repeat(1023)}\n`;
  sink.write(line);
  await turn();
  for (let i = 0; i < 5000; i++) sink.write(line);
  assert.equal(sink.dropped, 5000 - 4096);
  let seen = '';
  while (pending.length > 0) {
    const p = pending.shift()!;
    assert.ok(p.buffer.length <= 64 * 1024);
    seen += p.text;
    p.done(null, p.buffer.length, p.buffer);
  }
  assert.equal(seen.split('\n').filter((l) => l.startsWith('x')).length, 4097);
  assert.match(seen, /^lost 904$/m);
});

test('a reader that has gone does not stop the process', async () => {
  const { pending, sink } = slowFd();
  sink.write('a\n');
  await turn();
  const p = pending.shift()!;
  p.done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' }), 0, p.buffer);
  await sink.flush();
});

test('lines logged right before the process ends still arrive', async () => {
  const child = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    `import { logger } from ${JSON.stringify(import.meta.resolve('./log.ts'))};
     for (let i = 0; i < 3; i++) logger('s').info('line ' + i);
     setImmediate(() => { logger('s').error('last'); process.exit(3); });`,
  ]);
  let out = '';
  child.stdout.on('data', (d) => {
    out += d;
  });
  const code = await new Promise((r) => child.on('close', r));
  assert.equal(code, 3);
  assert.deepEqual(
    out.split('\n').map((l) => l.split('\t')[3]),
    ['line 0', 'line 1', 'line 2', 'last', undefined],
  );
});
