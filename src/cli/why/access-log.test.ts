import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatLine, type LogFormat } from '../../telemetry/log-layout.ts';
import { type LoggedConnection, parseAccessLine } from './access-log.ts';

const recorded = (layout: string): LoggedConnection[] =>
  readFileSync(new URL(`../../telemetry/testdata/ztunnel-access-log.${layout}.txt`, import.meta.url), 'utf8')
    .split('\n')
    .flatMap((line) => parseAccessLine(line) ?? []);

test('lines of the real node proxy, both layouts', () => {
  const [plain, json] = [recorded('plain'), recorded('json')];
  assert.equal(plain.length, 7);
  const shape = (c: LoggedConnection) => [
    c.direction,
    c.source.workload,
    c.destination.hboneAddress,
    c.destination.service,
    c.bytesToServer,
    c.bytesToClient,
    c.error,
  ];
  assert.deepEqual(plain.map(shape), json.map(shape));
  assert.deepEqual(plain[2], {
    time: '2026-11-21T06:20:15.153225Z',
    direction: 'outbound',
    source: {
      address: '10.99.0.11:60864',
      workload: 'order-1',
      namespace: 'shop',
      identity: 'spiffe://cluster.local/ns/shop/sa/order',
    },
    destination: {
      address: '10.99.0.12:15008',
      workload: 'payment-1',
      namespace: 'shop',
      identity: 'spiffe://cluster.local/ns/shop/sa/payment',
      hboneAddress: '10.99.0.12:9000',
      service: 'payment.shop.svc.cluster.local',
    },
    bytesToServer: 0,
    bytesToClient: 0,
    durationMs: 0,
    error: 'http status: 401 Unauthorized',
  });
  // The first connection, told by both sides alike.
  assert.deepEqual(
    [plain[0], plain[4]].map((c) => [c?.bytesToServer, c?.bytesToClient]),
    [
      [74, 149],
      [74, 149],
    ],
  );
  assert.deepEqual(plain[3]?.destination, {
    address: '10.99.0.1:1',
    workload: undefined,
    namespace: undefined,
    identity: undefined,
    hboneAddress: undefined,
    service: undefined,
  });
});

test('other lines are passed over', () => {
  for (const line of [
    '',
    '# order-1',
    '{"level":"info"',
    '{"scope":"access","message":"connection opened","time":"x"}',
    '2026-05-04T09:08:07.123456Z\tinfo\tproxy\tconnection complete\tsrc.addr=1.2.3.4:5 dst.addr=1.2.3.4:5 direction="inbound"',
    '2026-05-04T09:08:07.123456Z\tdebug\taccess\tconnection opened\tsrc.addr=1.2.3.4:5 dst.addr=1.2.3.4:5 direction="inbound"',
    '2026-05-04T09:08:07.123456Z\tinfo\taccess\tconnection complete\tsrc.addr=1.2.3.4:5 direction="inbound"',
    `2026-05-04T09:08:07.123456Z\tinfo\taccess\tconnection complete\t${'x'.repeat(20_000)}`,
  ])
    assert.equal(parseAccessLine(line), undefined, line);
});

test('an early denial is a connection, too, with what little it says', () => {
  const line =
    '2026-05-04T09:08:07.123456Z\twarn\taccess:inbound{id=7}\tconnection failed\tsrc.addr=10.0.0.1:5 dst.addr=10.0.0.2:80 direction="inbound" error="no \\"pod\\"\\u{2028}\\u0041"';
  const parsed = parseAccessLine(line);
  assert.deepEqual([parsed?.direction, parsed?.error, parsed?.durationMs], ['inbound', 'no "pod"\u2028A', undefined]);
});

for (const format of ['plain', 'json'] satisfies LogFormat[])
  test(`what our own proxy writes is read back (${format}), whatever a peer put into it`, () =>
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed()),
        fc.nat(),
        fc.string(),
        (error, sent, workload) => {
          const line = formatLine(format, '2026-05-04T09:08:07.123456Z', 'error', 'access', 'connection complete', {
            'src.addr': '10.0.0.1:5',
            'src.workload': workload,
            'dst.addr': '10.0.0.2:15008',
            direction: 'inbound',
            bytes_sent: sent,
            error,
          });
          const parsed = parseAccessLine(line.slice(0, -1));
          assert.deepEqual([parsed?.error, parsed?.bytesToClient, parsed?.source.workload], [error, sent, workload]);
        },
      ),
    ));
