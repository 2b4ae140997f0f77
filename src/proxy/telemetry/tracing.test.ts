// Traces: what goes upstream, what is sampled, and what reaches a collector that is a program of its own.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startProgram } from '../../../test/support/program.ts';
import type { TelemetryConfig, TracingConfig } from '../../model/proxy/telemetry-config.ts';
import { ManualClock } from '../../platform/clock.ts';
import { Registry } from '../../telemetry/registry.ts';
import type { Exchange } from '../contracts.ts';
import type { HttpCaller } from '../security/http-caller.ts';
import { client, fieldsOf, NodeCaller } from '../security/testing.ts';
import type { ReportingProxy } from './ends.ts';
import { ProxyTelemetry } from './proxy-telemetry.ts';
import { answered, proxy } from './testing.ts';

const collector = await startProgram('collector');
after(() => collector.stop());
const [httpPort = 0, grpcPort = 0] = collector.ports;
const exported = async (): Promise<{ kind: string; content: unknown }> => JSON.parse(await collector.line());

const tracing = (change: Partial<TracingConfig> = {}): TracingConfig => ({
  provider: 'otel',
  protocol: 'otlpGrpc',
  host: 'collector',
  port: grpcPort,
  path: '/v1/traces',
  headers: [],
  timeoutMs: 10_000,
  samplingPercent: 100,
  reportsSpans: true,
  propagates: true,
  istioTags: true,
  requestIdDecides: true,
  tags: [],
  ...change,
});
const config = (change: Partial<TracingConfig> = {}, more: Partial<TelemetryConfig> = {}): TelemetryConfig => ({
  accessLogs: [],
  tracing: tracing(change),
  metrics: { enabled: false, overrides: [] },
  ...more,
});
function telemetry(
  reporter: ReportingProxy['reporter'] = 'waypoint',
  caller: HttpCaller = new NodeCaller(),
  random?: () => number,
) {
  const clock = new ManualClock();
  const registry = new Registry();
  const lines: string[] = [];
  const made = new ProxyTelemetry({
    proxy: proxy(reporter),
    registry,
    sink: { write: (line) => void lines.push(line), flush: () => Promise.resolve(), dropped: 0 },
    caller,
    clock,
    warn: () => {},
    ...(random === undefined ? {} : { random }),
  });
  return { made, clock, registry, lines };
}
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const header = (e: Exchange, name: string): string | undefined => e.requestFields.joined(name);
const begun = (
  change: Partial<TracingConfig>,
  headers: Record<string, string | string[]>,
  reporter?: ReportingProxy['reporter'],
): Exchange => {
  const e = answered({}, headers);
  telemetry(reporter).made.of(config(change)).begin(e);
  return e;
};

test('W3C: the trace goes on below a span of this proxy', () => {
  const e = begun({ samplingPercent: 0 }, { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'a=1' });
  assert.match(header(e, 'traceparent') ?? '', new RegExp(`^00-${TRACE}-(?!${PARENT})[0-9a-f]{16}-01$`));
  assert.equal(header(e, 'tracestate'), 'a=1');
  assert.equal(header(e, 'x-b3-traceid'), undefined);
  const not = begun({}, { traceparent: `00-${TRACE}-${PARENT}-00` });
  assert.match(header(not, 'traceparent') ?? '', /-00$/, 'the caller decided that it is not sampled');
});

for (const bad of [
  `00-${'0'.repeat(32)}-${PARENT}-01`,
  `00-${TRACE}-${'0'.repeat(16)}-01`,
  `ff-${TRACE}-${PARENT}-01`,
  `00-${TRACE}-${PARENT}-01-x`,
  'rubbish',
  `00-${TRACE.toUpperCase()}-${PARENT}-01`,
])
  test(`a traceparent that is none begins a new trace: ${bad.slice(0, 20)}…`, () => {
    const e = begun({}, { traceparent: bad, tracestate: 'a=1' });
    assert.match(header(e, 'traceparent') ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    assert.doesNotMatch(header(e, 'traceparent') ?? '', new RegExp(TRACE));
    assert.equal(header(e, 'tracestate'), undefined);
  });

test('two traceparents are none', () => {
  const e = begun({}, { traceparent: [`00-${TRACE}-${PARENT}-01`, `00-${TRACE}-${PARENT}-00`] });
  assert.equal(e.requestFields.all('traceparent').length, 1);
  assert.doesNotMatch(header(e, 'traceparent') ?? '', new RegExp(TRACE));
});

test('B3: one header, several headers, short trace ids, a decision alone', () => {
  const zipkin = { protocol: 'zipkin' } as const;
  const single = begun(zipkin, { b3: `${TRACE}-${PARENT}-1` });
  assert.match(header(single, 'b3') ?? '', new RegExp(`^${TRACE}-[0-9a-f]{16}-1-${PARENT}$`));
  assert.equal(header(single, 'x-b3-traceid'), undefined);
  const several = begun(zipkin, {
    'X-B3-TraceId': PARENT,
    'X-B3-SpanId': PARENT,
    'X-B3-Sampled': '0',
    'x-b3-flags': '0',
  });
  assert.deepEqual(
    ['x-b3-traceid', 'x-b3-parentspanid', 'x-b3-sampled', 'traceparent'].map((name) => header(several, name)),
    [`${'0'.repeat(16)}${PARENT}`, PARENT, '0', undefined],
  );
  assert.equal(header(begun(zipkin, { b3: '0' }), 'b3')?.split('-')[2], '0');
  assert.equal(header(begun({ ...zipkin, samplingPercent: 0 }, { 'x-b3-flags': '1' }), 'x-b3-sampled'), '1');
  const both = begun({}, { b3: `${TRACE}-${PARENT}-1` });
  assert.match(
    header(both, 'traceparent') ?? '',
    new RegExp(`^00-${TRACE}-`),
    'W3C is written, and B3 kept up to date',
  );
  assert.equal(header(both, 'b3')?.split('-')[1], header(both, 'traceparent')?.split('-')[2]);
});

test('sampling: by the id, the same wherever it is asked; by chance where the id decides nothing', () => {
  const sampled = (percent: number, id: string, random = 0.5): string | undefined => {
    const e = answered({}, { 'x-request-id': id });
    telemetry('waypoint', new NodeCaller(), () => random)
      .made.of(config({ samplingPercent: percent }))
      .begin(e);
    return header(e, 'traceparent')?.slice(-2);
  };
  // 0x000003e8 = 1000: the tenth percent ends there.
  const id = '000003e8-2f3b-4c5d-8e9f-0a1b2c3d4e5f';
  assert.deepEqual([sampled(10, id), sampled(10.01, id), sampled(0, id), sampled(100, id)], ['00', '01', '00', '01']);
  assert.equal(sampled(0, '000003e8-2f3b-9c5d-8e9f-0a1b2c3d4e5f'), '01', 'an id that says so');
  assert.deepEqual([sampled(50, 'own id', 0.49), sampled(50, 'own id', 0.5)], ['01', '00']);
  const marked = answered({}, { 'x-request-id': id });
  telemetry().made.of(config()).begin(marked);
  assert.equal(marked.id, '000003e8-2f3b-9c5d-8e9f-0a1b2c3d4e5f');
});

test('request ids: kept inside the mesh, new at the edge, kept behind trusted proxies', () => {
  const none = { accessLogs: [], tracing: undefined, metrics: { enabled: false, overrides: [] } };
  const idOf = (reporter: ReportingProxy['reporter'], sent: string, remoteIp: string | undefined): string => {
    const e = answered({}, { 'x-request-id': sent });
    const of = { ...e, request: { ...e.request, remoteIp: remoteIp as Exchange['request']['remoteIp'] } };
    telemetry(reporter).made.of(none).begin(of);
    return of.requestFields.get('x-request-id') ?? '';
  };
  assert.equal(idOf('waypoint', 'mine', undefined), 'mine');
  assert.match(idOf('waypoint', '', undefined), /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  assert.match(idOf('waypoint', 'x'.repeat(500), undefined), /^[0-9a-f-]{36}$/);
  assert.match(idOf('source', 'mine', '10.0.0.1'), /^[0-9a-f-]{36}$/);
  assert.equal(idOf('source', 'mine', '203.0.113.9'), 'mine');
});

test('no propagation: headers stay as they came', () => {
  const traceparent = `00-${TRACE}-${PARENT}-01`;
  assert.equal(header(begun({ propagates: false }, { traceparent }), 'traceparent'), traceparent);
});

const attributesOf = (span: { attributes: { key: string; value: { text?: string } }[] }): Record<string, string> =>
  Object.fromEntries(span.attributes.map(({ key, value }) => [key, value.text ?? '']));

async function report(
  change: Partial<TracingConfig>,
  e: Exchange,
  reporter?: ReportingProxy['reporter'],
  more: Partial<TelemetryConfig> = {},
) {
  const { made } = telemetry(reporter);
  const one = made.of(config(change, more));
  one.begin(e);
  one.finish(e);
  await made.flush();
}

test('OTLP over gRPC: one server span of a waypoint, with its tags', async () => {
  const e = answered(
    { responseStatus: 503 },
    { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'a=1', 'x-tag': 'v' },
  );
  await report(
    {
      tags: [
        { kind: 'literal', name: 'l', value: 'literal' },
        { kind: 'header', name: 'h', header: 'X-Tag', otherwise: '-' },
        { kind: 'header', name: 'h2', header: 'x-none', otherwise: 'otherwise' },
        { kind: 'environment', name: 'e', variable: 'REGION', otherwise: '' },
        { kind: 'formatter', name: 'f', template: '%REQ(:METHOD)% %RESPONSE_CODE%' },
      ],
    },
    e,
  );
  const { kind, content } = await exported();
  assert.equal(kind, 'traces over gRPC');
  const [{ resource, scopes }] = (content as { resources: [{ resource: never; scopes: [{ spans: never[] }] }] })
    .resources;
  assert.equal(attributesOf(resource)['service.name'], 'edge.shop');
  const [span, ...others] = scopes[0].spans as never[];
  assert.equal(others.length, 0);
  const { attributes: _, spanId, ...rest } = span as unknown as Record<string, unknown>;
  assert.equal(spanId, header(e, 'traceparent')?.split('-')[2]);
  assert.deepEqual(rest, {
    traceId: TRACE,
    parentId: PARENT,
    traceState: 'a=1',
    name: 'payment.shop.svc.cluster.local:80/*',
    kind: 2,
    start: '1767323045678000000',
    end: '1767323045690700000',
    status: { code: 2 },
    flags: 1,
  });
  const tags = attributesOf(span as never);
  assert.deepEqual(
    [
      'http.method',
      'http.status_code',
      'http.url',
      'guid:x-request-id',
      'l',
      'h',
      'h2',
      'e',
      'f',
      'istio.source_workload',
      'istio.source_app',
      'istio.destination_instance_name',
      'istio.destination_workload_type',
      'istio.destination_cluster_id',
      'istio.mesh_id',
    ].map((t) => tags[t]),
    [
      'GET',
      '503',
      'http://payment/pay',
      e.id,
      'literal',
      'v',
      'otherwise',
      'north',
      'GET 503',
      'order',
      'order',
      'payment-1',
      'pod',
      'c1',
      'cluster.local',
    ],
  );
});

test('OTLP over HTTP: a gateway is a server span and a client span below it', async () => {
  const e = answered({ client: client({ peer: undefined }) });
  await report(
    { protocol: 'otlpHttp', port: httpPort, istioTags: false, headers: [{ name: 'X-Key', value: 'k' }] },
    e,
    'source',
  );
  const { kind, content } = await exported();
  assert.equal(kind, 'traces over HTTP');
  const { key, resources } = content as {
    key: string;
    resources: [{ scopes: [{ spans: Record<string, unknown>[] }] }];
  };
  assert.equal(key, 'k');
  const [server, below] = resources[0].scopes[0].spans;
  assert.deepEqual([server?.kind, server?.parentId, below?.kind, below?.parentId], [2, undefined, 3, server?.spanId]);
  assert.equal(header(e, 'traceparent'), `00-${server?.traceId}-${below?.spanId}-01`);
  assert.ok(!Object.keys(attributesOf(server as never)).some((name) => name.startsWith('istio.')));
});

test('Zipkin: its JSON', async () => {
  const e = answered({}, { 'X-B3-TraceId': TRACE, 'X-B3-SpanId': PARENT, 'X-B3-Sampled': '1' });
  await report({ protocol: 'zipkin', port: httpPort, path: '/api/v2/spans' }, e);
  const { kind, content } = await exported();
  assert.equal(kind, 'zipkin');
  const [{ tags, ...span }] = content as [{ tags: Record<string, string> }];
  assert.deepEqual(span, {
    traceId: TRACE,
    id: header(e, 'x-b3-spanid'),
    parentId: PARENT,
    kind: 'SERVER',
    name: 'payment.shop.svc.cluster.local:80/*',
    timestamp: 1767323045678000,
    duration: 12700,
    localEndpoint: { serviceName: 'edge.shop' },
  });
  assert.equal(tags['http.status_code'], '200');
});

test('OTLP logs: body or attributes, with the ids of the span', async () => {
  const sink = { kind: 'otlp', logName: 'shop', host: 'collector', port: grpcPort } as const;
  const e = answered({}, { traceparent: `00-${TRACE}-${PARENT}-01` });
  const log = { provider: 'otel', filter: undefined, sink, omitsEmpty: false };
  await report({ reportsSpans: false }, e, 'waypoint', {
    accessLogs: [
      { ...log, format: { kind: 'text', template: '%RESPONSE_CODE% %REQ(:PATH)%' } },
      { ...log, format: { kind: 'json', labels: { code: '%RESPONSE_CODE%', none: '%REQ(X-NONE)%' } } },
    ],
  });
  const { kind, content } = await exported();
  assert.equal(kind, 'logs');
  const [{ resource, scopes }] = (
    content as { resources: [{ resource: never; scopes: [{ records: Record<string, unknown>[] }] }] }
  ).resources;
  assert.equal(attributesOf(resource).log_name, 'shop');
  const ids = { traceId: TRACE, spanId: header(e, 'traceparent')?.split('-')[2] };
  const time = '1767323045678000000';
  assert.deepEqual(scopes[0].records, [
    { time, body: { text: '200 /pay?x=1' }, ...ids, observed: time },
    {
      time,
      attributes: [
        { key: 'code', value: { text: '200' } },
        { key: 'none', value: { text: '' } },
      ],
      ...ids,
      observed: time,
    },
  ]);
});

test('a collector that is away: bounded memory, all of it counted, no request waits', async () => {
  let calls = 0;
  const away: HttpCaller = {
    call: () => {
      calls++;
      return Promise.reject(new Error('away'));
    },
  };
  const { made, registry } = telemetry('waypoint', away);
  const one = made.of(config());
  for (let i = 0; i < 6000; i++) {
    const e = answered();
    one.begin(e);
    one.finish(e);
  }
  await made.flush();
  assert.match(registry.render(), /^ambit_spans_dropped_total 6000$/m);
  assert.ok(calls <= 9, `${calls} calls`);
});

test('the end does not wait for a collector that never answers', async () => {
  const { made, clock } = telemetry('waypoint', { call: () => new Promise(() => {}) });
  const one = made.of(config());
  const e = answered();
  one.begin(e);
  one.finish(e);
  const flushed = made.flush(3000);
  clock.advance(3000);
  await flushed;
});

test('not sampled, or not to be reported: nothing is sent', async () => {
  const silent: HttpCaller = { call: () => assert.fail('nothing is to be sent') };
  for (const change of [{ samplingPercent: 0 }, { reportsSpans: false }]) {
    const { made, clock } = telemetry('waypoint', silent);
    const e = answered({ responseTrailers: fieldsOf({}) });
    made.of(config(change)).begin(e);
    made.of(config(change)).finish(e);
    await made.flush();
    assert.equal(clock.waiting, 0);
  }
});

test('batches leave a second after the first span, without being asked', async () => {
  const sizes: number[] = [];
  const counting: HttpCaller = {
    call: (call) => {
      sizes.push(call.body.length);
      return Promise.reject(new Error('not today'));
    },
  };
  const { made, clock } = telemetry('waypoint', counting);
  const one = made.of(config());
  for (const e of [answered(), answered()]) {
    one.begin(e);
    one.finish(e);
  }
  clock.advance(999);
  assert.equal(sizes.length, 0);
  clock.advance(1);
  assert.equal(sizes.length, 1);
  await made.flush();
  assert.equal(sizes.length, 1);
});
