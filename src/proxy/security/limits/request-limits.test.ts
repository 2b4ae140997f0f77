import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startProgram } from '../../../../test/support/program.ts';
import { type GlobalRateLimit, type LocalRateLimit, NO_FILTERS } from '../../../model/proxy/filters.ts';
import { ManualClock } from '../../../platform/clock.ts';
import type { RateLimits } from '../../contracts.ts';
import { exchange, NodeCaller } from '../testing.ts';
import { RequestLimits } from './request-limits.ts';

const program = await startProgram('rate-limiter');
after(() => program.stop());
const [port = 0] = program.ports;

const local = (change: Partial<LocalRateLimit> = {}): LocalRateLimit => ({
  origin: 'EnvoyFilter/shop/limit',
  maxTokens: 2,
  tokensPerFill: 1,
  fillIntervalMs: 1000,
  status: 429,
  headers: [{ name: 'x-local-rate-limit', value: 'true' }],
  only: [],
  ...change,
});
function limits() {
  const clock = new ManualClock(1_000_000);
  const made = new RequestLimits({ clock, caller: new NodeCaller() });
  const of = (...list: LocalRateLimit[]): RateLimits => made.of({ ...NO_FILTERS, localRateLimits: list });
  return { clock, made, of };
}
const statuses = async (of: RateLimits, count: number, headers = {}): Promise<(number | undefined)[]> => {
  const found: (number | undefined)[] = [];
  for (let i = 0; i < count; i++) found.push((await of.check(exchange(headers, { path: '/pay' })))?.status);
  return found;
};

test('nothing limited: nothing asked, and nobody waits', () =>
  assert.equal(limits().made.of(NO_FILTERS).check(exchange()), undefined));

test('a bucket empties and fills in steps, never above its size', async () => {
  const { clock, of } = limits();
  const limit = of(local());
  assert.deepEqual(await statuses(limit, 3), [undefined, undefined, 429]);
  clock.advance(999);
  assert.deepEqual(await statuses(limit, 1), [429]);
  clock.advance(1);
  assert.deepEqual(await statuses(limit, 2), [undefined, 429]);
  clock.advance(3_600_000);
  assert.deepEqual(await statuses(limit, 3), [undefined, undefined, 429]);
});

test('the refusal as Envoy makes it', async () => {
  const limit = limits().of(local({ maxTokens: 0, status: 503 }));
  assert.deepEqual(await limit.check(exchange()), {
    status: 503,
    headers: [{ name: 'x-local-rate-limit', value: 'true' }],
    body: 'local_rate_limited',
    details: 'local_rate_limited',
    flag: 'RL',
    grpcStatus: undefined,
  });
});

test('only what a limit is about is counted; a refusal takes from no other bucket', async () => {
  const { of } = limits();
  const limit = of(
    local({ only: [{ field: 'request.header:x-user', predicate: { kind: 'exact', value: 'bob' } }], maxTokens: 1 }),
    local({ origin: 'EnvoyFilter/shop/all', maxTokens: 3 }),
  );
  assert.deepEqual(await statuses(limit, 3, { 'x-user': 'bob' }), [undefined, 429, 429]);
  assert.deepEqual(await statuses(limit, 3, { 'x-user': 'ann' }), [undefined, undefined, 429]);
});

test('a bucket outlives the configuration, a changed size begins anew', async () => {
  const { of } = limits();
  assert.deepEqual(await statuses(of(local()), 2), [undefined, undefined]);
  assert.deepEqual(await statuses(of(local(), local({ origin: 'other' })), 1), [429]);
  assert.deepEqual(await statuses(of(local({ maxTokens: 1 })), 1), [undefined]);
});

const global = (change: Partial<GlobalRateLimit> = {}): GlobalRateLimit => ({
  origin: 'EnvoyFilter/shop/global',
  domain: 'shop',
  host: 'ratelimit',
  port,
  timeoutMs: 10_000,
  failOpen: false,
  descriptors: [
    [
      { kind: 'header', key: 'user', header: 'X-User' },
      { kind: 'path', key: 'path' },
    ],
    [{ kind: 'remoteAddress' }],
  ],
  ...change,
});
const globally = (change: Partial<GlobalRateLimit> = {}): RateLimits =>
  limits().made.of({ ...NO_FILTERS, globalRateLimit: global(change) });

test('the service counts: two pass, the third is told to slow down', async () => {
  const limit = globally();
  const first = exchange({ 'x-user': 'ann' }, { path: '/pay' });
  assert.equal(await limit.check(first), undefined);
  assert.deepEqual(JSON.parse(first.requestFields.get('x-asked') ?? ''), {
    domain: 'shop',
    descriptors: [
      {
        entries: [
          { key: 'user', value: 'ann' },
          { key: 'path', value: '/pay' },
        ],
      },
      { entries: [{ key: 'remote_address', value: '10.0.0.1' }] },
    ],
  });
  assert.deepEqual(await statuses(limit, 2, { 'x-user': 'ann' }), [undefined, 429]);
  assert.deepEqual(await limit.check(exchange({ 'x-user': 'ann' }, { path: '/pay' })), {
    status: 429,
    headers: [
      { name: 'x-envoy-ratelimited', value: 'true' },
      { name: 'x-ratelimit-remaining', value: '0' },
    ],
    body: 'slow down',
    details: 'request_rate_limited',
    flag: 'RL',
    grpcStatus: undefined,
  });
});

test('a descriptor that lacks a value is left out; without any nothing is asked', async () => {
  const e = exchange({}, { path: '/x' });
  assert.equal(await globally().check(e), undefined);
  assert.deepEqual(JSON.parse(e.requestFields.get('x-asked') ?? '').descriptors, [
    { entries: [{ key: 'remote_address', value: '10.0.0.1' }] },
  ]);
  const nothing = globally({ port: 1, descriptors: [[{ kind: 'header', key: 'user', header: 'x-none' }], []] });
  assert.equal(await nothing.check(exchange()), undefined);
});

for (const fault of ['fail', 'slow', 'unknown', 'down'])
  test(`a rate-limit service: ${fault}`, async () => {
    const change = {
      descriptors: [[{ kind: 'literal', key: fault, value: '1' } as const]],
      timeoutMs: fault === 'slow' ? 100 : 10_000,
      ...(fault === 'down' ? { port: 1 } : {}),
    };
    const reply = await globally(change).check(exchange());
    assert.deepEqual([reply?.status, reply?.flag, reply?.details], [500, 'RLSE', 'rate_limiter_error']);
    assert.equal(await globally({ ...change, failOpen: true }).check(exchange()), undefined);
  });
