import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startInformer } from './informer.ts';
import { CONFIG_MAPS } from './resources.ts';
import { type KubeClient, KubeError, type KubeObject, type WatchEvent } from './types.ts';

const map = (name: string, resourceVersion: string, uid = name): KubeObject => ({
  metadata: { namespace: 'ns', name, uid, resourceVersion },
});

type Step = { list: KubeObject[] | Error; at?: string } | { watch: (WatchEvent<KubeObject> | Error)[]; from: string };

/** Plays lists and watches in order, and checks that the informer asks for exactly these; then the last watch hangs. */
function scripted(steps: Step[]): { client: KubeClient; done: Promise<void> } {
  let finish: () => void = () => {};
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const next = (): Step => {
    const step = steps.shift();
    assert.ok(step, 'nothing more was scripted');
    return step;
  };
  const client = {
    async list() {
      const step = next();
      assert.ok('list' in step, 'a watch was expected, a list came');
      if (step.list instanceof Error) throw step.list;
      return { items: step.list, resourceVersion: step.at ?? '1' };
    },
    async *watch(_: unknown, options: { resourceVersion: string; signal: AbortSignal }) {
      const step = next();
      assert.ok('watch' in step, 'a list was expected, a watch came');
      assert.equal(options.resourceVersion, step.from);
      for (const event of step.watch) {
        if (event instanceof Error) throw event;
        yield event;
      }
      if (steps.length === 0) {
        finish();
        await new Promise((resolve) => options.signal.addEventListener('abort', resolve));
      }
    },
  } as unknown as KubeClient;
  return { client, done };
}

function follow(steps: Step[]) {
  const { client, done } = scripted(steps);
  const seen: string[] = [];
  const errors: unknown[] = [];
  const slept: number[] = [];
  const informer = startInformer<KubeObject>(client, CONFIG_MAPS as never, {
    onError: (error) => errors.push(error),
    sleep: async (ms) => void slept.push(ms),
    random: () => 1,
  });
  informer.onChange((key, now, before) =>
    seen.push(`${key} ${before?.metadata?.resourceVersion ?? '-'}>${now?.metadata?.resourceVersion ?? '-'}`),
  );
  return { informer, seen, errors, slept, done };
}

test('lists, then follows changes from there', async () => {
  const { informer, seen, done } = follow([
    { list: [map('a', '1'), map('b', '2')], at: '5' },
    {
      from: '5',
      watch: [
        { type: 'ADDED', object: map('c', '6') },
        { type: 'MODIFIED', object: map('a', '7') },
        { type: 'DELETED', object: map('b', '8') },
        { type: 'BOOKMARK', object: { metadata: { resourceVersion: '20' } } },
      ],
    },
    { from: '20', watch: [] },
  ]);
  await informer.synced;
  await done;
  assert.deepEqual(seen, ['ns/a ->1', 'ns/b ->2', 'ns/c ->6', 'ns/a 1>7', 'ns/b 2>-']);
  assert.deepEqual([...informer.items.keys()].sort(), ['ns/a', 'ns/c']);
  informer.stop();
});

test('410 lists again at once and tells only what differs, also an object made anew under the same name', async () => {
  const { informer, seen, errors, slept, done } = follow([
    { list: [map('a', '1'), map('b', '2'), map('c', '3')] },
    { from: '1', watch: [new KubeError(410, 'Expired', 'too old')] },
    { list: [map('a', '1'), map('b', '9', 'another')], at: '9' },
    { from: '9', watch: [] },
  ]);
  await done;
  assert.deepEqual(seen.slice(3), ['ns/b 2>-', 'ns/b ->9', 'ns/c 3>-']); // what is gone is known after the last page
  assert.deepEqual([errors, slept], [[], []]);
  informer.stop();
});

test('a server that is away is asked again with growing pauses; a lost watch goes on where it was', async () => {
  const { informer, errors, slept, done } = follow([
    { list: new Error('refused') },
    { list: new Error('refused') },
    { list: [map('a', '1')], at: '3' },
    { from: '3', watch: [new Error('reset')] },
    { from: '3', watch: [{ type: 'MODIFIED', object: map('a', '4') }, new Error('reset')] },
    { from: '4', watch: [] },
  ]);
  await done;
  assert.equal(errors.length, 4);
  assert.deepEqual(slept.slice(0, 3), [50, 100, 200]);
  assert.equal(slept[3], 50, 'an event shows that the server is well again');
  informer.stop();
});

test('a late handler is told what is there; one that throws harms no other', async () => {
  const { informer, errors, done } = follow([{ list: [map('a', '1')] }, { from: '1', watch: [] }]);
  await done;
  const late: string[] = [];
  informer.onChange(() => {
    throw new Error('mine');
  });
  informer.onChange((key) => late.push(key));
  assert.deepEqual(late, ['ns/a']);
  assert.equal(errors.length, 1);
  informer.stop();
});

test('keeps only what it is told to keep, and still tells handlers of whole objects', async () => {
  const whole = { ...map('a', '1'), data: 'much' } as KubeObject;
  const { client, done } = scripted([
    { list: [whole], at: '5' },
    { from: '5', watch: [{ type: 'MODIFIED', object: { ...map('a', '6'), data: 'more' } as KubeObject }] },
    { from: '6', watch: [] },
  ]);
  const informer = startInformer<KubeObject>(client, CONFIG_MAPS as never, {
    keep: ({ metadata }) => ({ metadata: metadata ?? {} }),
  });
  const told: unknown[] = [];
  informer.onChange((_key, now) => told.push((now as { data?: string } | undefined)?.data));
  await done;
  assert.deepEqual(told, ['much', 'more']);
  assert.deepEqual([...informer.items.values()], [map('a', '6')]);
  informer.stop();
});

test('lists in pages; one that has expired gives way to the whole', async () => {
  const asked: unknown[] = [];
  const pages: Record<string, { items: KubeObject[]; continue?: string } | Error> = {
    '500 -': { items: [map('a', '1'), map('gone', '1')], continue: 'p2' },
    '500 p2': new KubeError(410, 'Expired', 'too old'),
    '- -': { items: [map('a', '1'), map('b', '2')] },
  };
  const client = {
    async list(_: unknown, { limit, continue: from }: { limit?: number; continue?: string }) {
      const key = `${limit ?? '-'} ${from ?? '-'}`;
      asked.push(key);
      const page = pages[key];
      if (page === undefined || page instanceof Error) throw page;
      return { ...page, resourceVersion: '5' };
    },
    async *watch(_: unknown, { signal }: { signal: AbortSignal }) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  } as unknown as KubeClient;
  const informer = startInformer<KubeObject>(client, CONFIG_MAPS as never);
  await informer.synced;
  assert.deepEqual(asked, ['500 -', '500 p2', '- -']);
  assert.deepEqual([...informer.items.keys()], ['ns/a', 'ns/b']);
  informer.stop();
});
