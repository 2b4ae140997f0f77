import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MetricsConfig } from '../../model/proxy/telemetry-config.ts';
import type { Exchange } from '../contracts.ts';
import { client, fieldsOf } from '../security/testing.ts';
import type { ReportingProxy } from './ends.ts';
import { MetricsPlan } from './metrics-plan.ts';
import { RequestMetrics } from './request-metrics.ts';
import { answered, order, proxy, service } from './testing.ts';

function rendered(
  config: Partial<MetricsConfig>,
  exchanges: readonly Exchange[],
  reporter: ReportingProxy['reporter'] = 'waypoint',
  maxSets?: number,
) {
  const metrics = new RequestMetrics(maxSets);
  const warnings: string[] = [];
  const plan = new MetricsPlan(
    proxy(reporter),
    { enabled: true, overrides: [], ...config },
    metrics,
    (w) => void warnings.push(w),
  );
  for (const one of exchanges) plan.count(one);
  return { lines: metrics.render().split('\n'), warnings };
}
const samples = (lines: readonly string[], name: string): string[] => lines.filter((l) => l.startsWith(`${name}{`));
const labelsOf = (line: string): Record<string, string> =>
  Object.fromEntries([...line.matchAll(/([a-z_]+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]));
const override = (change: Partial<MetricsConfig['overrides'][number]>): MetricsConfig['overrides'][number] => ({
  metric: undefined,
  mode: 'both',
  disabled: undefined,
  tags: [],
  ...change,
});

test('every label of a request through a waypoint', () => {
  const { lines } = rendered({}, [answered(), answered()]);
  const [line = '', ...more] = samples(lines, 'istio_requests_total');
  assert.deepEqual(more, []);
  assert.ok(line.endsWith(' 2'));
  assert.deepEqual(labelsOf(line), {
    reporter: 'waypoint',
    source_workload: 'order',
    source_workload_namespace: 'shop',
    source_canonical_service: 'order',
    source_canonical_revision: 'v1',
    source_principal: 'spiffe://cluster.local/ns/shop/sa/order',
    source_app: 'order',
    source_version: 'v1',
    source_cluster: 'c1',
    destination_workload: 'payment',
    destination_workload_namespace: 'shop',
    destination_canonical_service: 'payment',
    destination_canonical_revision: 'v1',
    destination_principal: 'spiffe://cluster.local/ns/shop/sa/payment',
    destination_app: 'payment',
    destination_version: 'v1',
    destination_cluster: 'c1',
    destination_service: 'payment.shop.svc.cluster.local',
    destination_service_name: 'payment',
    destination_service_namespace: 'shop',
    request_protocol: 'http',
    response_code: '200',
    response_flags: '-',
    grpc_response_status: '',
    connection_security_policy: 'mutual_tls',
  });
});

test('buckets, sums and counts', () => {
  const { lines } = rendered({}, [
    answered(),
    answered({ endedAfterMs: 0.5, bytesSent: 0 }),
    answered({ endedAfterMs: 4e6 }),
  ]);
  const of = (name: string): string[] =>
    samples(lines, name).map((l) => `${/le="([^"]*)"/.exec(l)?.[1] ?? ''} ${l.split(' ').at(-1)}`);
  const buckets = of('istio_request_duration_milliseconds_bucket');
  assert.deepEqual(buckets.slice(0, 5), ['0.5 1', '1.0 1', '5.0 1', '10.0 1', '25.0 2']);
  assert.deepEqual(buckets.slice(-2), ['3600000.0 2', '+Inf 3']);
  assert.equal(buckets.length, 20);
  assert.deepEqual(of('istio_response_bytes_sum'), [' 3000.0']);
  assert.deepEqual(of('istio_request_bytes_count'), [' 3']);
  assert.deepEqual(samples(lines, 'istio_request_messages_total'), []);
});

test('a gateway is the source itself; nobody known reads unknown', () => {
  const lost = answered({
    client: client({ peer: undefined, identity: undefined }),
    service: undefined,
    upstream: undefined,
    responseStatus: 404,
    flags: new Set(['NR'] as const),
  });
  const [line = ''] = samples(rendered({}, [lost], 'source').lines, 'istio_requests_total');
  const labels = labelsOf(line);
  assert.deepEqual(
    [
      'reporter',
      'source_workload',
      'source_principal',
      'destination_workload',
      'destination_service',
      'response_flags',
      'connection_security_policy',
    ].map((l) => labels[l]),
    ['source', 'edge', 'spiffe://cluster.local/ns/shop/sa/edge', 'unknown', 'unknown', 'NR', 'unknown'],
  );
  const [plain = ''] = samples(rendered({}, [lost]).lines, 'istio_requests_total');
  assert.deepEqual([labelsOf(plain).source_workload, labelsOf(plain).connection_security_policy], ['unknown', 'none']);
});

test('a ServiceEntry is named by its host', () => {
  const external = { ...service, key: 'shop/api.example.com', hostname: 'api.example.com' };
  const [line = ''] = samples(rendered({}, [answered({ service: external })]).lines, 'istio_requests_total');
  assert.deepEqual(
    [labelsOf(line).destination_service_name, labelsOf(line).destination_service_namespace],
    ['api.example.com', 'shop'],
  );
});

test('gRPC: status and messages', () => {
  const grpc = (status: string): Exchange =>
    answered({
      isGrpc: true,
      requestMessages: 2,
      responseMessages: 5,
      responseTrailers: fieldsOf({ 'grpc-status': status }),
    });
  const { lines } = rendered({}, [grpc('0'), grpc('14'), grpc('14'), grpc('evil" 1')]);
  assert.deepEqual(
    samples(lines, 'istio_requests_total').map((l) => [
      labelsOf(l).request_protocol,
      labelsOf(l).grpc_response_status,
      l.split(' ').at(-1),
    ]),
    [
      ['grpc', '0', '1'],
      ['grpc', '14', '2'],
      ['grpc', '2', '1'],
    ],
  );
  assert.deepEqual(
    samples(lines, 'istio_response_messages_total').map((l) => l.split(' ').at(-1)),
    ['5', '10', '5'],
  );
});

test('what distinguishes two requests makes two series, whatever was remembered', () => {
  const variants: Partial<Exchange>[] = [
    {},
    { responseStatus: 503 },
    { flags: new Set(['UF'] as const) },
    { client: client({ peer: { ...order, workload: 'other' } }) },
    { client: client({ peer: order, identity: undefined }) },
    { upstream: undefined },
    { service: { ...service, key: 'shop/x.example', hostname: 'x.example' } },
    { isGrpc: true },
  ];
  const all = [...variants, ...variants].map((change) => answered(change));
  const counts = samples(rendered({}, all).lines, 'istio_requests_total');
  assert.equal(counts.length, variants.length);
  assert.ok(counts.every((l) => l.endsWith(' 2')));
});

test('overrides: off, tags added and removed, by metric and mode, the last wins', () => {
  const overrides = [
    override({ disabled: true }),
    override({
      metric: 'istio_requests_total',
      disabled: false,
      tags: [
        { tag: 'destination_app', value: undefined },
        { tag: 'path', value: 'request.url_path' },
      ],
    }),
    override({ metric: 'istio_request_bytes', disabled: false }),
    override({
      metric: 'istio_requests_total',
      tags: [
        { tag: 'path', value: "request.method + ' ' + request.url_path" },
        { tag: 'absent', value: "request.headers['x']" },
      ],
    }),
    override({ metric: 'istio_requests_total', mode: 'client', disabled: true }),
    override({
      metric: 'istio_response_bytes',
      mode: 'server',
      disabled: false,
      tags: [{ tag: 'bad', value: 'nope(' }],
    }),
  ];
  const { lines, warnings } = rendered({ overrides }, [answered(), answered({ responseStatus: 500 })]);
  const [line = '', ...more] = samples(lines, 'istio_requests_total');
  assert.equal(more.length, 1);
  const labels = labelsOf(line);
  assert.deepEqual(
    [labels.path, labels.absent, Object.hasOwn(labels, 'destination_app')],
    ['GET /pay', 'unknown', false],
  );
  assert.equal(Object.hasOwn(labelsOf(samples(lines, 'istio_request_bytes_count')[0] ?? ''), 'path'), false);
  assert.equal(labelsOf(samples(lines, 'istio_response_bytes_count')[0] ?? '').bad, 'unknown');
  assert.deepEqual(samples(lines, 'istio_request_duration_milliseconds_count'), []);
  assert.equal(warnings.length, 1);
  assert.deepEqual(samples(rendered({ overrides }, [answered()], 'source').lines, 'istio_requests_total'), []);
  assert.deepEqual(rendered({ enabled: false }, [answered()]).lines, ['']);
});

test('a client that makes up values fills one series, not memory', () => {
  const overrides = [override({ tags: [{ tag: 'who', value: "request.headers['x-who']" }] })];
  const all = Array.from({ length: 60 }, (_, i) => answered({}, { 'x-who': `w${i}` }));
  const counts = samples(rendered({ overrides }, all, 'waypoint', 10).lines, 'istio_requests_total');
  assert.equal(counts.length, 11);
  assert.deepEqual(
    [labelsOf(counts.at(-1) ?? '').who, labelsOf(counts.at(-1) ?? '').reporter],
    ['overflow', 'waypoint'],
  );
  assert.ok(counts.at(-1)?.endsWith(' 50'));
});
