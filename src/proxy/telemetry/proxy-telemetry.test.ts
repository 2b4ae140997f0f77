// The whole of it: connections that are passed on, findings of policies, warnings said once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpVerdict } from '../../model/http/verdict.ts';
import { DEFAULT_TELEMETRY, type TelemetryConfig } from '../../model/proxy/telemetry-config.ts';
import { ip } from '../../model/testing/builders.ts';
import { peerOf } from '../../model/traffic.ts';
import { ManualClock } from '../../platform/clock.ts';
import type { ConnectionInfo } from '../../telemetry/connection.ts';
import { Registry } from '../../telemetry/registry.ts';
import type { ReportingProxy } from './ends.ts';
import { ProxyTelemetry } from './proxy-telemetry.ts';
import { answered, order, payment, proxy } from './testing.ts';

const defaultLog = {
  provider: 'envoy',
  filter: undefined,
  sink: { kind: 'stdout' },
  format: { kind: 'defaultText' },
  omitsEmpty: false,
} as const;
const logged: TelemetryConfig = { ...DEFAULT_TELEMETRY, accessLogs: [defaultLog] };

function telemetry(reporter: ReportingProxy['reporter'] = 'waypoint') {
  const lines: string[] = [];
  const warnings: string[] = [];
  const registry = new Registry();
  const clock = new ManualClock(Date.UTC(2026, 0, 2));
  const made = new ProxyTelemetry({
    proxy: proxy(reporter),
    registry,
    sink: { write: (line) => void lines.push(line), flush: () => Promise.resolve(), dropped: 0 },
    caller: { call: () => assert.fail('nobody is called') },
    clock,
    warn: (problem) => void warnings.push(problem),
  });
  return { made, lines, warnings, registry, clock };
}

const info: ConnectionInfo = {
  direction: 'inbound',
  sourceAddress: { ip: ip('10.0.0.1'), port: 40000 },
  source: order,
  sourceIdentity: order.identity,
  destinationAddress: { ip: ip('10.0.0.7'), port: 15008 },
  hboneAuthority: '10.0.0.7:5432',
  destination: peerOf(payment),
  destinationIdentity: peerOf(payment).identity,
  destinationService: { hostname: 'payment.shop.svc.cluster.local', name: 'payment', namespace: 'shop' },
  originalDestination: { ip: ip('10.96.0.12'), port: 5432 },
};
const samples = (registry: Registry, name: string): string[] =>
  registry
    .render()
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`));
const value = (line: string | undefined): string | undefined => line?.split(' ').at(-1);

test('a connection through a waypoint: counted while it lives and at its end, logged once', () => {
  const { made, lines, registry, clock } = telemetry();
  const meter = { toServer: 10, toClient: 0 };
  const open = made.connections(() => logged).open(info, meter);
  meter.toServer = 30;
  meter.toClient = 400;
  assert.equal(value(samples(registry, 'istio_tcp_received_bytes_total')[0]), '30');
  assert.deepEqual(samples(registry, 'istio_tcp_connections_closed_total'), []);
  meter.toClient = 500;
  clock.advance(1500);
  open.finish({ flag: '-', error: undefined });
  open.finish({ flag: '-', error: undefined });
  const [opened = ''] = samples(registry, 'istio_tcp_connections_opened_total');
  for (const label of [
    'reporter="waypoint"',
    'source_workload="order"',
    'destination_principal="spiffe://cluster.local/ns/shop/sa/payment"',
    'destination_service_name="payment"',
    'request_protocol="tcp"',
    'response_flags="-"',
    'connection_security_policy="mutual_tls"',
  ])
    assert.ok(opened.includes(label), label);
  assert.ok(!opened.includes('response_code'));
  assert.deepEqual(
    ['opened', 'closed'].map((what) => value(samples(registry, `istio_tcp_connections_${what}_total`)[0])),
    ['1', '1'],
  );
  assert.equal(value(samples(registry, 'istio_tcp_sent_bytes_total')[0]), '500');
  assert.deepEqual(lines, [
    '[2026-01-02T00:00:00.000Z] "- - -" 0 - - - "-" 30 500 1500 - "-" "-" "-" "-" "10.0.0.7:15008" inbound-vip|5432|tcp|payment.shop.svc.cluster.local - 10.96.0.12:5432 10.0.0.1:40000 - -\n',
  ]);
});

test('a connection that failed, and one that was refused', () => {
  const { made, lines, registry } = telemetry();
  const connections = made.connections(() => logged);
  connections.open(info, { toServer: 0, toClient: 0 }).finish({ flag: 'CONNECT', error: 'connection refused' });
  connections.denied({
    direction: 'inbound',
    sourceAddress: info.sourceAddress,
    destinationAddress: info.originalDestination,
    error: 'no healthy upstream',
  });
  assert.match(samples(registry, 'istio_tcp_connections_closed_total')[0] ?? '', /response_flags="UF"/);
  assert.match(lines[0] ?? '', / 0 UF - - "connection refused" 0 0 0 /);
  assert.match(lines[1] ?? '', / 0 UH no_healthy_upstream - "-" 0 0 - /);
});

test('metrics of connections follow the overrides', () => {
  const { made, registry } = telemetry();
  const tags = [
    { tag: 'source_app', value: undefined },
    { tag: 'port', value: 'string(destination.port)' },
  ];
  const config: TelemetryConfig = {
    ...DEFAULT_TELEMETRY,
    metrics: {
      enabled: true,
      overrides: [
        { metric: 'istio_tcp_sent_bytes_total', mode: 'both', disabled: true, tags: [] },
        { metric: undefined, mode: 'both', disabled: undefined, tags },
      ],
    },
  };
  made
    .connections(() => config)
    .open(info, { toServer: 1, toClient: 1 })
    .finish({ flag: '-', error: undefined });
  assert.deepEqual(samples(registry, 'istio_tcp_sent_bytes_total'), []);
  const [opened = ''] = samples(registry, 'istio_tcp_connections_opened_total');
  assert.ok(opened.includes('port="5432"') && !opened.includes('source_app'));
});

test('what dry-run and AUDIT policies found is counted', () => {
  const { made, registry } = telemetry();
  const because = { policy: 'shop/strict', rule: 0 };
  const verdict = {
    effect: 'deny',
    because: undefined,
    reason: '',
    dryRun: [
      { would: 'deny', because },
      { would: 'deny', because: undefined },
    ],
    audit: [because],
  } satisfies HttpVerdict;
  made.of(DEFAULT_TELEMETRY).finish(answered({ verdict }));
  const found = samples(registry, 'ambit_policy_findings_total');
  assert.deepEqual(found, [
    'ambit_policy_findings_total{kind="dry-run",would="deny",policy="shop/strict"} 1',
    'ambit_policy_findings_total{kind="dry-run",would="deny",policy="none"} 1',
    'ambit_policy_findings_total{kind="audit",would="audit",policy="shop/strict"} 1',
  ]);
});

test('one object for a configuration; a configuration that comes again warns no second time', () => {
  const { made, warnings } = telemetry();
  const bad = { ...defaultLog, format: { kind: 'text', template: '%NO_SUCH%' }, filter: 'nope' } as const;
  const config = (): TelemetryConfig => ({ ...DEFAULT_TELEMETRY, accessLogs: [bad] });
  const one = config();
  assert.equal(made.of(one), made.of(one));
  made.of(config());
  assert.equal(warnings.length, 2);
});
