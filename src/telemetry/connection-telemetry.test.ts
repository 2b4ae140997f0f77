// Metrics and access-log lines against what the real node proxy printed for the same four calls: by service address, by
// pod address, refused by policy, to an address outside the mesh that refuses.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type HostPort, parseIp } from '../model/ip.ts';
import type { ConnectionInfo, DestinationService, Outcome, Peer } from './connection.ts';
import { connectionTelemetry } from './connection-telemetry.ts';
import { configureLogging, logger } from './log.ts';
import { Registry } from './registry.ts';
import { TrafficMetrics } from './traffic-metrics.ts';

const at = (ip: string, port: number): HostPort => {
  const parsed = parseIp(ip);
  assert.ok(parsed.ok);
  return { ip: parsed.value, port };
};
const identity = (serviceAccount: string) => ({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount });
const peer = (workload: string): Peer => ({
  name: `${workload}-1`,
  workload,
  canonicalName: workload,
  canonicalRevision: 'v1',
  namespace: 'shop',
  cluster: 'c1',
  region: '',
  zone: '',
  app: workload,
  identity: identity(workload),
});
const order = peer('order');
const payment = peer('payment');
const service: DestinationService = { hostname: 'payment.shop.svc.cluster.local', name: 'payment', namespace: 'shop' };

interface Call {
  readonly info: ConnectionInfo;
  readonly toServer: number;
  readonly toClient: number;
  readonly durationMs: number;
  readonly outcome: Outcome;
}
const fine: Outcome = { flag: '-', error: undefined };
const outboundHbone = (port: number, targetPort: number, named: boolean): ConnectionInfo => ({
  direction: 'outbound',
  sourceAddress: at('10.99.0.11', port),
  source: order,
  sourceIdentity: identity('order'),
  destinationAddress: at('10.99.0.12', 15008),
  hboneAuthority: `10.99.0.12:${targetPort}`,
  destination: payment,
  destinationIdentity: identity('payment'),
  destinationService: named ? service : undefined,
  originalDestination: at('10.96.0.12', 80),
});
const outbound: Call[] = [
  { info: outboundHbone(35170, 8000, true), toServer: 74, toClient: 149, durationMs: 79.9, outcome: fine },
  { info: outboundHbone(35738, 8000, false), toServer: 79, toClient: 149, durationMs: 1, outcome: fine },
  {
    info: outboundHbone(60864, 9000, true),
    toServer: 0,
    toClient: 0,
    durationMs: 0.5,
    outcome: { flag: 'CONNECT', error: 'http status: 401 Unauthorized' },
  },
  {
    info: {
      ...outboundHbone(46164, 1, false),
      sourceIdentity: undefined,
      destinationAddress: at('10.99.0.1', 1),
      hboneAuthority: undefined,
      destination: undefined,
      destinationIdentity: undefined,
    },
    toServer: 0,
    toClient: 0,
    durationMs: 0,
    outcome: { flag: 'CONNECT', error: 'io error: Connection refused (os error 111)' },
  },
];
const inboundHbone = (targetPort: number): ConnectionInfo => ({
  ...outboundHbone(38078, targetPort, false),
  direction: 'inbound',
});
const inbound: Call[] = [
  { info: inboundHbone(8000), toServer: 74, toClient: 149, durationMs: 0, outcome: fine },
  { info: inboundHbone(8000), toServer: 79, toClient: 149, durationMs: 0, outcome: fine },
  {
    info: inboundHbone(9000),
    toServer: 0,
    toClient: 0,
    durationMs: 0,
    outcome: { flag: 'DENY', error: 'connection closed due to policy rejection: explicitly denied by: shop/no-9000' },
  },
];

/** Runs the calls one after the other; returns log lines without their time, and the exposition. */
function run(calls: readonly Call[], format: 'plain' | 'json', filter = 'info') {
  const lines: string[] = [];
  configureLogging({
    sink: { write: (line) => void lines.push(line), flush: () => Promise.resolve(), dropped: 0 },
    format,
    filter,
  });
  const registry = new Registry();
  let now = 0;
  const telemetry = connectionTelemetry(registry, logger('access'), () => now);
  for (const call of calls) {
    const meter = { toServer: 0, toClient: 0 };
    telemetry.sockets(call.info.direction === 'outbound' ? 'source' : 'destination', 1);
    const open = telemetry.open(call.info, meter);
    meter.toServer += call.toServer;
    registry.render(); // A scrape in the middle must not count anything twice.
    meter.toClient += call.toClient;
    now += call.durationMs;
    open.finish(call.outcome);
    open.finish(call.outcome);
    telemetry.sockets(call.info.direction === 'outbound' ? 'source' : 'destination', -1);
  }
  return { lines, exposition: registry.render() };
}

const samples = new URL('./testdata/', import.meta.url);
/** `# source side` or `# destination side` (metrics), `# order-1` or `# payment-1` (log) of a recorded file. */
function recorded(file: string, section: string): string[] {
  const all = readFileSync(new URL(file, samples), 'utf8').split('\n');
  const from = all.findIndex((line) => line.startsWith(`# ${section}`));
  assert.ok(from >= 0, section);
  const rest = all.slice(from + 1);
  const to = rest.findIndex((line) => /^# (\w+ side|payment-1)/.test(line));
  return (to < 0 ? rest : rest.slice(0, to)).filter((line) => line !== '');
}

const sides = [
  { calls: outbound, metrics: 'source side', log: 'order-1' },
  { calls: inbound, metrics: 'destination side', log: 'payment-1' },
];
for (const side of sides)
  test(`metrics equal the recorded ones: ${side.metrics}`, () => {
    // Samples of a family come out of a hash map there: within a family their order means nothing. Recorded while the
    // destination still held one connection open, hence its socket gauge.
    const wanted = recorded('ztunnel-metrics.txt', side.metrics).filter((line) => /istio_tcp/.test(line));
    const got = run(side.calls, 'plain').exposition.split('\n');
    const types = (lines: string[]) => lines.filter((l) => l.startsWith('# TYPE'));
    const values = (lines: string[]) =>
      lines.filter((l) => l !== '' && !l.startsWith('#') && !l.startsWith('istio_tcp_sockets_open')).sort();
    assert.deepEqual(types(got), types(wanted));
    assert.deepEqual(values(got), values(wanted));
    assert.ok(got.includes(`istio_tcp_sockets_open{reporter="${side.metrics.split(' ')[0]}"} 0`));
    assert.deepEqual(got.slice(-2), ['# EOF', '']);
    for (const line of types(got)) assert.ok(got.some((l) => l.startsWith(`# HELP ${line.split(' ')[2]} `)));
  });

for (const side of sides) {
  test(`plain access log equals the recorded one: ${side.log}`, () => {
    const body = (line: string): string => line.slice(line.indexOf('\t') + 1).replace(/duration="\d+ms"/, 'duration');
    const wanted = recorded('ztunnel-access-log.plain.txt', side.log).map(body);
    assert.deepEqual(
      run(side.calls, 'plain').lines.map((l) => body(l.trimEnd())),
      wanted,
    );
  });
  test(`JSON access log has the recorded keys in the recorded order: ${side.log}`, () => {
    const shape = (line: string): unknown => {
      const parsed = JSON.parse(line) as Record<string, unknown>;
      const blurred: Record<string, unknown> = { ...parsed, time: 0, duration: 0, 'src.addr': 0 };
      return [Object.keys(parsed), blurred];
    };
    const wanted = recorded('ztunnel-access-log.json.txt', side.log).map(shape);
    assert.deepEqual(run(side.calls, 'json').lines.map(shape), wanted);
  });
}

test('durations are whole milliseconds, cut off', () =>
  assert.match(run(outbound.slice(0, 1), 'plain').lines[0] ?? '', /duration="79ms"\n$/));

test('the opening of a connection is a line at debug, without bytes', () => {
  const { lines } = run(outbound.slice(3), 'plain', 'access=debug');
  assert.match(lines[0] ?? '', /\tdebug\taccess\tconnection opened\tsrc\.addr=.* direction="outbound"\n$/);
  assert.doesNotMatch(lines[0] ?? '', /bytes|duration/);
});

test('an early denial is a warning without metrics', () => {
  const lines: string[] = [];
  configureLogging({
    sink: { write: (l) => void lines.push(l), flush: () => Promise.resolve(), dropped: 0 },
    format: 'plain',
    filter: 'info',
  });
  const registry = new Registry();
  connectionTelemetry(registry).denied({
    direction: 'outbound',
    sourceAddress: at('10.0.0.1', 5),
    destinationAddress: at('fd00::1', 80),
    error: 'no healthy upstream: x',
  });
  assert.match(
    lines[0] ?? '',
    /\twarn\taccess\tconnection failed\tsrc\.addr=10\.0\.0\.1:5 dst\.addr=\[fd00::1\]:80 direction="outbound" error="no healthy upstream: x"\n$/,
  );
  assert.equal(registry.render(), '# EOF\n');
});

test('hostnames resolved for connections are counted by source', () => {
  const registry = new Registry();
  connectionTelemetry(registry).onDemandDns(order, 'db.example.com');
  assert.match(
    registry.render(),
    /^istio_on_demand_dns_total\{source_workload="order",source_canonical_service="order",source_canonical_revision="v1",source_workload_namespace="shop",source_principal="spiffe:\/\/cluster\.local\/ns\/shop\/sa\/order",source_app="order",source_version="v1",source_cluster="c1",hostname="db\.example\.com"\} 1$/m,
  );
});

test('without any known peer the locality labels are left out', () => {
  const info = { ...inboundHbone(1), source: undefined, destination: undefined, destinationIdentity: undefined };
  const { exposition } = run([{ info, toServer: 0, toClient: 0, durationMs: 0, outcome: fine }], 'plain');
  assert.match(exposition, /connection_security_policy="mutual_tls"\} 1\n/);
  assert.match(exposition, /source_principal="spiffe:\/\/cluster.local\/ns\/shop\/sa\/order",source_app="unknown"/);
});

test('peers that invent labels are counted together at some point, and nothing is lost', () => {
  const metrics = new TrafficMetrics(3);
  for (let i = 0; i < 50; i++)
    metrics
      .open({ ...inboundHbone(1), source: { ...order, workload: `w${i}` } }, { toServer: 1, toClient: 0 })
      .finish('-');
  const opened = metrics
    .render()
    .split('\n')
    .filter((l) => l.startsWith('istio_tcp_connections_opened_total'));
  assert.equal(opened.length, 4);
  assert.equal(
    opened.reduce((sum, l) => sum + Number(l.split(' ').at(-1)), 0),
    50,
  );
  assert.match(opened.at(-1) ?? '', /source_workload="unknown",.* 47$/);
});

test('a new object for the same workload goes on with the same numbers', () => {
  const metrics = new TrafficMetrics();
  metrics.open(outboundHbone(1, 1, true), { toServer: 0, toClient: 0 }).finish('-');
  metrics.open({ ...outboundHbone(1, 1, true), source: { ...order } }, { toServer: 0, toClient: 0 }).finish('DENY');
  assert.match(metrics.render(), /istio_tcp_connections_opened_total\{[^}]*\} 2\n# HELP/);
  assert.match(metrics.render(), /istio_tcp_connections_failed_total\{[^}]*response_flags="DENY"[^}]*\} 1\n/);
});
