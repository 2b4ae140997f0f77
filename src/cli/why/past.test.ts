import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type LoggedConnection, parseAccessLine } from './access-log.ts';
import { type Between, difference, type PastConnection, pastConnections } from './past.ts';

const lines = readFileSync(new URL('../../telemetry/testdata/ztunnel-access-log.json.txt', import.meta.url), 'utf8')
  .split('\n')
  .flatMap((line) => parseAccessLine(line) ?? []);
const between: Between = {
  sources: new Set(['shop/order-1']),
  sourceIps: new Set(['10.99.0.11']),
  destinations: new Set(['shop/payment-1']),
  destinationIps: new Set(['10.96.0.12', '10.99.0.12']),
  service: 'payment.shop.svc.cluster.local',
  ports: new Set([80, 8000]),
};

test('both sides of one connection are one entry, the newest first', () => {
  const past = pastConnections(lines, between, 10);
  assert.deepEqual(
    past.map(({ time, outcome, toldBy, service, bytesToServer, bytesToClient }) => [
      time,
      outcome,
      toldBy.join('+'),
      service,
      bytesToServer,
      bytesToClient,
    ]),
    [
      ['2026-11-21T06:20:18.427605Z', 'completed', 'source+destination', undefined, 79, 149],
      ['2026-11-21T06:20:18.418162Z', 'completed', 'source+destination', 'payment.shop.svc.cluster.local', 74, 149],
    ],
  );
  assert.equal(pastConnections(lines, between, 1).length, 1);
});

test('a refusal has the policy from the destination and the status from the source', () => {
  const [refused] = pastConnections(lines, { ...between, ports: new Set([9000]) }, 10);
  assert.deepEqual(refused, {
    time: '2026-11-21T06:20:18.436562Z',
    outcome: 'refused',
    toldBy: ['source', 'destination'],
    source: 'shop/order-1',
    destination: 'shop/payment-1',
    service: 'payment.shop.svc.cluster.local',
    address: '10.99.0.12:9000',
    sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/order',
    destinationIdentity: 'spiffe://cluster.local/ns/shop/sa/payment',
    bytesToServer: 0,
    bytesToClient: 0,
    durationMs: 0,
    errorAtSource: 'http status: 401 Unauthorized',
    errorAtDestination: 'connection closed due to policy rejection: explicitly denied by: shop/no-9000',
    policy: 'shop/no-9000',
  } satisfies PastConnection);
});

test('one side alone is told as such, by name or by address', () => {
  const outbound = lines.filter((line) => line.direction === 'outbound');
  const [refused] = pastConnections(outbound, { ...between, ports: new Set([9000]) }, 10);
  assert.deepEqual([refused?.toldBy, refused?.outcome, refused?.policy], [['source'], 'refused', undefined]);
  const inbound = lines.filter((line) => line.direction === 'inbound');
  const [late] = pastConnections(inbound, { ...between, ports: new Set([9000]) }, 10);
  assert.deepEqual([late?.toldBy, late?.policy], [['destination'], 'shop/no-9000']);
  const [plain] = pastConnections(
    lines,
    { ...between, destinations: new Set(), destinationIps: new Set(['10.99.0.1']), ports: new Set([1]) },
    10,
  );
  assert.deepEqual([plain?.outcome, plain?.destination, plain?.address], ['failed', '10.99.0.1:1', '10.99.0.1:1']);
});

test('other connections are not meant', () => {
  for (const other of [
    { sources: new Set(['shop/other']) },
    { ports: new Set([1234]) },
    { destinations: new Set(['bank/payment-1']), destinationIps: new Set<string>(), service: 'x' },
  ])
    assert.deepEqual(pastConnections(lines, { ...between, ...other }, 10), []);
});

const old = lines.find((line) => line.direction === 'outbound' && line.error === undefined) as LoggedConnection;
test('two connections with the same ends and bytes are paired by time, not mixed up with an older one', () => {
  const at = (seconds: number, direction: 'outbound' | 'inbound'): LoggedConnection => ({
    ...old,
    direction,
    time: `2026-11-21T06:20:${String(seconds).padStart(2, '0')}.000000Z`,
  });
  const past = pastConnections([at(1, 'outbound'), at(1, 'inbound'), at(30, 'inbound')], between, 10);
  assert.deepEqual(
    past.map(({ toldBy }) => toldBy.length),
    [1, 2],
  );
});

test('what happened and what would happen now', () => {
  const latest = (set: Partial<PastConnection>): PastConnection => ({
    ...(pastConnections(lines, between, 1)[0] as PastConnection),
    ...set,
  });
  const refused = latest({ outcome: 'refused', policy: 'shop/no-9000' });
  assert.equal(difference(refused, 'allowed'), 'refused at 2026-11-21T06:20:18Z by shop/no-9000; would be allowed now');
  assert.equal(difference(refused, 'refused'), undefined);
  assert.match(difference(latest({ outcome: 'cut' }), 'allowed') ?? '', /cut at .* would be allowed now/);
  assert.match(difference(latest({}), 'refused') ?? '', /went through at .*; would be refused now/);
  assert.equal(difference(latest({}), 'allowed'), undefined);
  assert.equal(difference(latest({ outcome: 'failed' }), 'allowed'), undefined);
  assert.equal(difference(undefined, 'allowed'), undefined);
});
