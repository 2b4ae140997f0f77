import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccessLogConfig } from '../../model/proxy/telemetry-config.ts';
import { ip } from '../../model/testing/builders.ts';
import type { Exchange, ResponseFlag } from '../contracts.ts';
import { client, exchange, fieldsOf } from '../security/testing.ts';
import { accessLog } from './access-logs.ts';
import { PLAIN_OPERATORS } from './log-operators.ts';
import { answered, proxy } from './testing.ts';

function linesOf(change: Partial<AccessLogConfig>, ...exchanges: Exchange[]) {
  const lines: string[] = [];
  const warnings: string[] = [];
  const log = accessLog(
    {
      provider: 'envoy',
      filter: undefined,
      sink: { kind: 'stdout' },
      format: { kind: 'defaultText' },
      omitsEmpty: false,
      ...change,
    },
    {
      proxy: proxy(),
      sink: { write: (line) => void lines.push(line), flush: () => Promise.resolve(), dropped: 0 },
      collector: () => assert.fail('not asked'),
      tracing: undefined,
      warn: (problem) => void warnings.push(problem),
    },
  );
  for (const one of exchanges) log.write(one);
  return { lines, warnings };
}
const text = (template: string, of = answered()): string =>
  linesOf({ format: { kind: 'text', template } }, of).lines.join('');

test('the default text, field by field', () => {
  const { lines } = linesOf({}, answered());
  assert.deepEqual(lines, [
    '[2026-01-02T03:04:05.678Z] "GET /pay?x=1 HTTP/1.1" 200 - via_upstream - "-" 3 1500 12 11 "203.0.113.5" "curl/8" "7a1d4d8e-2f3b-4c5d-8e9f-0a1b2c3d4e5f" "payment" "10.0.0.7:8080" inbound-vip|80|http|payment.shop.svc.cluster.local 10.0.0.9:33000 10.0.0.2:8080 10.0.0.1:40000 - -\n',
  ]);
});

test('the default text of a request that nobody answered', () => {
  const failed = answered({
    upstream: undefined,
    responseStatus: 503,
    responseFields: undefined,
    details: 'no_healthy_upstream',
    flags: new Set(['URX', 'UH'] as const),
    upstreamFailure: 'delayed connect error: 111',
    bytesSent: 19,
  });
  const [line = ''] = linesOf({}, failed).lines;
  assert.match(
    line,
    /^\[\S+\] "GET \/pay\?x=1 HTTP\/1\.1" 503 UH,URX no_healthy_upstream - "delayed connect error: 111" 3 19 12 - /,
  );
  assert.match(line, / "payment" "-" - - 10\.0\.0\.2:8080 10\.0\.0\.1:40000 - -\n$/);
});

test('the default JSON: Istio order, numbers as numbers, null for nothing', () => {
  const [line = ''] = linesOf({ format: { kind: 'defaultJson' } }, answered({}, { 'X-Evil': 'a' })).lines;
  assert.deepEqual(Object.entries(JSON.parse(line) as object), [
    ['start_time', '2026-01-02T03:04:05.678Z'],
    ['method', 'GET'],
    ['path', '/pay?x=1'],
    ['protocol', 'HTTP/1.1'],
    ['response_code', 200],
    ['response_flags', '-'],
    ['response_code_details', 'via_upstream'],
    ['connection_termination_details', null],
    ['upstream_transport_failure_reason', null],
    ['bytes_received', 3],
    ['bytes_sent', 1500],
    ['duration', 12],
    ['upstream_service_time', 11],
    ['x_forwarded_for', '203.0.113.5'],
    ['user_agent', 'curl/8'],
    ['request_id', '7a1d4d8e-2f3b-4c5d-8e9f-0a1b2c3d4e5f'],
    ['authority', 'payment'],
    ['upstream_host', '10.0.0.7:8080'],
    ['upstream_cluster', 'inbound-vip|80|http|payment.shop.svc.cluster.local'],
    ['upstream_local_address', '10.0.0.9:33000'],
    ['downstream_local_address', '10.0.0.2:8080'],
    ['downstream_remote_address', '10.0.0.1:40000'],
    ['requested_server_name', null],
    ['route_name', null],
  ]);
  const short = linesOf({ format: { kind: 'defaultJson' }, omitsEmpty: true }, answered()).lines[0] ?? '';
  assert.equal(Object.hasOwn(JSON.parse(short) as object, 'route_name'), false);
});

test('a header cannot break out of JSON', () => {
  const labels = { ua: '%REQ(USER-AGENT)%', mixed: 'x %REQ(USER-AGENT)% %REQ(NONE)%' };
  const [line = ''] = linesOf({ format: { kind: 'json', labels } }, answered({}, { 'User-Agent': '","a":"\\' })).lines;
  assert.deepEqual(JSON.parse(line), { ua: '","a":"\\', mixed: 'x ","a":"\\ -' });
});

const templates: [string, string][] = [
  ['%REQ(X-NONE?USER-AGENT)% %REQ(user-agent?X-NONE):4% %REQ(:SCHEME)%', 'curl/8 curl http'],
  ['%RESP(content-type)% %RESP(x)% %TRAILER(grpc-status)%', 'text/plain - -'],
  ['%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%', '2026/01/02T03:04:05+0000 1767323045'],
  ['%START_TIME(%s.%3f)% %START_TIME(%T.%6f %%)%', '1767323045.678 03:04:05.678000 %'],
  ['100%% %%%PROTOCOL%', '100% %HTTP/1.1'],
  [
    '%DOWNSTREAM_PEER_URI_SAN% %UPSTREAM_PEER_URI_SAN% %DOWNSTREAM_LOCAL_URI_SAN%',
    'spiffe://cluster.local/ns/shop/sa/order spiffe://cluster.local/ns/shop/sa/payment spiffe://cluster.local/ns/shop/sa/edge',
  ],
  ['%DYNAMIC_METADATA(envoy.filters:a:b)% %FILTER_STATE(x:PLAIN)%', '- -'],
  ['%ENVIRONMENT(REGION)% %ENVIRONMENT(__proto__)% %HOSTNAME%', 'north - edge-1'],
  ['%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT% %DOWNSTREAM_REMOTE_PORT%', '10.0.0.7 8080 40000'],
  ['%RESPONSE_DURATION% %RESPONSE_TX_DURATION% %UPSTREAM_REQUEST_ATTEMPT_COUNT%', '11 1 1'],
  ['%QUERY_PARAM(x)% %QUERY_PARAM(y)% %UPSTREAM_HOST_NAME% %RESPONSE_FLAGS_LONG%', '1 - payment-1 -'],
  ['no operator, 5% and %lower%', 'no operator, 5% and %lower%'],
];
for (const [template, wanted] of templates)
  test(`format ${template}`, () => assert.equal(text(template), `${wanted}\n`));

test('addresses behind trusted proxies, TLS names, gRPC', () => {
  const of = answered({
    client: client({ serverName: 'shop.example' }),
    isGrpc: true,
    responseTrailers: fieldsOf({ 'grpc-status': '7' }),
  });
  const behind = { ...of, request: { ...of.request, remoteIp: ip('203.0.113.5') } };
  assert.equal(
    text(
      '%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %GRPC_STATUS% %GRPC_STATUS_NUMBER% %TRAILER(grpc-status)%\n',
      behind,
    ),
    '203.0.113.5:0 10.0.0.1:40000 shop.example PermissionDenied 7 7\n',
  );
});

test('bytes of headers: UTF-8 is shown as it is, nothing ends the line', () => {
  const bytes = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
  const line = (value: string): string => text('%REQ(X)%', answered({}, { x: value }));
  assert.equal(line(bytes('Åsa €')), 'Åsa €\n');
  assert.equal(line('a\x85b'), 'a\ufffdb\n');
  assert.equal(line(bytes('a\u0085b\u2028c')), 'a?b?c\n');
});

test('operators that are not known read `-` and are named once', () => {
  const { lines, warnings } = linesOf(
    { format: { kind: 'text', template: '%NO_SUCH% %PROTOCOL% %START_TIME(%Q)%' } },
    answered(),
    answered(),
  );
  assert.deepEqual(lines, ['- HTTP/1.1 -\n', '- HTTP/1.1 -\n']);
  assert.deepEqual(
    warnings.map((w) => /`(.*?)`/.exec(w)?.[1]),
    ['%NO_SUCH%', '%START_TIME(%Q)%'],
  );
});

test('every flag has a place and a long name', () => {
  const all: readonly ResponseFlag[] = 'UH UT LR UR UF UC UO NR DI FI RL UAEX RLSE DC URX SI DPE DT UPE NC OM'.split(
    ' ',
  ) as ResponseFlag[];
  const of = answered({ flags: new Set([...all].reverse()) });
  assert.equal(text('%RESPONSE_FLAGS%', of), `${all.join(',')}\n`);
  assert.equal(text('%RESPONSE_FLAGS_LONG%', of).split(',').length, all.length);
});

test('a bearer token in the query is not logged', () => {
  const of = answered({ originalPath: '/pay?a=1&access_token=abc.def&b=access_token=' });
  const both = { ...of, request: { ...of.request, query: '?access_token=abc.def' } };
  assert.equal(
    text('%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:PATH)%', both),
    '/pay?a=1&access_token=***&b=access_token= /pay?access_token=***\n',
  );
});

test('every operator has something to say of an exchange that got nowhere', () => {
  const nowhere = exchange({}, {}, { client: client({ identity: undefined }) });
  const template = PLAIN_OPERATORS.map((name) => `%${name}%`).join('|');
  const { lines, warnings } = linesOf({ format: { kind: 'text', template } }, nowhere);
  assert.deepEqual(warnings, []);
  const values = (lines[0] ?? '').trimEnd().split('|');
  assert.equal(values.length, PLAIN_OPERATORS.length);
  assert.ok(values.every((value) => value !== '' && !/undefined|NaN|object/.test(value)));
});

test('filters: what holds is logged; one that cannot be read logs everything', () => {
  const format = { kind: 'text', template: '%RESPONSE_CODE%' } as const;
  const both = [answered(), answered({ responseStatus: 500 })];
  const log = (filter: string) => linesOf({ format, filter }, ...both);
  assert.deepEqual(log('response.code >= 400').lines, ['500\n']);
  assert.deepEqual(log("request.headers['none'] == 'x'").lines, []);
  assert.deepEqual(
    log("request.url_path == '/pay' && request.query == 'x=1' && xds.cluster_name.contains('payment')").lines.length,
    2,
  );
  assert.deepEqual(
    log("downstream_peer.workload == 'order' && upstream_peer.app == 'payment' && connection.mtls").lines.length,
    2,
  );
  const bad = log('response.cod >= 400');
  assert.equal(bad.lines.length, 2);
  assert.match(bad.warnings.join(), /every request is logged.*response\.cod/);
});
