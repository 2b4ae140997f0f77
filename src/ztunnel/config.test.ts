import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseDurationMs } from '../dataplane/settings-reader.ts';
import { type Config, parseConfig, type RawConfig } from './config.ts';
import { describeConfig } from './config-description.ts';

type Env = Record<string, string>;
const raw = (env: Env, more: Partial<RawConfig> = {}): RawConfig => ({ env, exists: () => false, ...more });
function config(env: Env, more: Partial<RawConfig> = {}): Config {
  const got = parseConfig(raw(env, more));
  assert.ok(got.ok, got.ok ? '' : got.error.join('\n'));
  return got.value;
}
function problems(env: Env, more: Partial<RawConfig> = {}): readonly string[] {
  const got = parseConfig(raw(env, more));
  return got.ok ? [] : got.error;
}

test('without any setting: Istio’s defaults', () => {
  const c = config({});
  assert.deepEqual(c.dataPath, {
    network: '',
    nodeName: '',
    listen: { ipv6: true, reusePort: true, originalSource: 'try', packetMark: 1337, socks5: false },
    hbone: {
      streamWindowBytes: 4194304,
      connectionWindowBytes: 16777216,
      maxFrameBytes: 1048576,
      responseBaggage: true,
      tls12: false,
      postQuantumOnly: false,
    },
    pool: { maxStreamsPerConnection: 100, unusedReleaseMs: 300_000 },
    keepalive: { enabled: true, idleSeconds: 180, intervalSeconds: 180, retries: 9, userTimeout: false },
    localhostApplicationTunnel: true,
    policyDecisionsAtInfo: false,
    drainDeadlineMs: 5000,
  });
  assert.deepEqual(c.xds?.access, {
    host: 'localhost',
    port: 15012,
    roots: { kind: 'file', path: './var/run/secrets/istio/root-cert.pem' },
    alternativeName: undefined,
    tls12: false,
    token: { kind: 'none' },
    clusterId: 'Kubernetes',
    headers: {},
  });
  assert.deepEqual(c.ca?.access, c.xds?.access);
  assert.equal(c.ca?.ttlSeconds, 86_400);
  assert.equal(c.xds?.node.id, 'ztunnel~1.1.1.1~.~.svc.cluster.local');
  assert.deepEqual(c.dns, {
    listen: { v4: { ip: '127.0.0.1', port: 15053 }, v6: { ip: '::1', port: 15053 } },
    lookup: { clusterDomain: 'cluster.local', ipv6: true, preferredNamespace: undefined },
  });
  assert.deepEqual(c.ports, { admin: 15000, metrics: 15020, readiness: 15021 });
  assert.deepEqual(c.log, { filter: 'info', format: 'plain' });
  assert.equal(c.ownPod, undefined);
  assert.equal(c.agentSocket, '/var/run/ztunnel/ztunnel.sock');
  assert.equal(c.proxyEnabled, true);
  assert.equal(c.istioVersion, 'unknown');
});

const POD = { POD_NAME: 'ztunnel-x', POD_NAMESPACE: 'istio-system', INSTANCE_IP: '10.0.0.9', NODE_NAME: 'node-1' };
test('the pod as the chart describes it', () => {
  const c = config({
    ...POD,
    SERVICE_ACCOUNT: 'ztunnel',
    TRUST_DOMAIN: 'td',
    KUBERNETES_SERVICE_HOST: '10.96.0.1',
    CLUSTER_ID: 'other',
    ISTIO_META_CLUSTER_ID: 'c1',
    ISTIO_META_ISTIO_VERSION: '1.30',
    ISTIO_METAJSON_LABELS: '{"a":1}',
    TERMINATION_GRACE_PERIOD_SECONDS: '30',
  });
  assert.deepEqual(c.xds?.node, {
    id: 'ztunnel~10.0.0.9~ztunnel-x.istio-system~istio-system.svc.cluster.local',
    metadata: {
      NAME: 'ztunnel-x',
      NAMESPACE: 'istio-system',
      INSTANCE_IPS: '10.0.0.9',
      NODE_NAME: 'node-1',
      CLUSTER_ID: 'c1',
      ISTIO_VERSION: '1.30',
      LABELS: { a: 1 },
    },
  });
  assert.deepEqual([c.xds?.access.host, c.xds?.access.port], ['istiod.istio-system.svc', 15012]);
  assert.equal(c.clusterId, 'c1');
  assert.equal(c.xds?.access.clusterId, 'c1');
  assert.deepEqual(c.ownPod, {
    pod: { name: 'ztunnel-x', namespace: 'istio-system', serviceAccount: 'ztunnel' },
    trustDomain: 'td',
    ip: '10.0.0.9',
  });
  assert.equal(c.dataPath.drainDeadlineMs, 25_000);
  assert.equal(c.istioVersion, '1.30');
});

test('proxy configuration: PROXY_CONFIG over the mesh file key by key, environment metadata over both', () => {
  const c = config(
    { ISTIO_META_A: 'env' },
    {
      meshDefaults: {
        discoveryAddress: 'mesh:1',
        statsPort: 1,
        proxyAdminPort: 2,
        proxyMetadata: { A: 'mesh', B: 'mesh' },
      },
      proxyConfig: { discoveryAddress: 'proxy:15012', proxyMetadata: { A: 'proxy', C: true } },
    },
  );
  assert.deepEqual([c.xds?.access.host, c.ca?.access.host], ['proxy', 'proxy']);
  assert.deepEqual(c.ports, { admin: 2, metrics: 1, readiness: 15021 });
  const metadata = c.xds?.node.metadata;
  assert.deepEqual([metadata?.A, metadata?.B, metadata?.C], ['env', undefined, 'true']);
});

const accepted: { name: string; env: Env; more?: Partial<RawConfig>; see: (c: Config) => unknown; wanted: unknown }[] =
  [
    {
      name: 'empty XDS_ADDRESS turns discovery off',
      env: { XDS_ADDRESS: '' },
      see: (c) => [c.xds, c.ca?.access.host],
      wanted: [undefined, 'localhost'],
    },
    { name: 'empty CA_ADDRESS turns certificates off', env: { CA_ADDRESS: '' }, see: (c) => c.ca, wanted: undefined },
    {
      name: 'address without scheme',
      env: { XDS_ADDRESS: 'istiod.x:99' },
      see: (c) => [c.xds?.access.host, c.xds?.access.port],
      wanted: ['istiod.x', 99],
    },
    {
      name: 'address without port',
      env: { XDS_ADDRESS: 'https://istiod.x' },
      see: (c) => c.xds?.access.port,
      wanted: 443,
    },
    {
      name: 'IPv6 address',
      env: { XDS_ADDRESS: 'https://[fd00::1]:15012' },
      see: (c) => c.xds?.access.host,
      wanted: 'fd00::1',
    },
    {
      name: 'roots: file',
      env: { XDS_ROOT_CA: '/r.pem' },
      more: { exists: (p) => p === '/r.pem' },
      see: (c) => c.xds?.access.roots,
      wanted: { kind: 'file', path: '/r.pem' },
    },
    {
      name: 'roots: system',
      env: { CA_ROOT_CA: 'SYSTEM' },
      see: (c) => c.ca?.access.roots,
      wanted: { kind: 'system' },
    },
    {
      name: 'roots: PEM',
      env: { XDS_ROOT_CA: '-----BEGIN CERTIFICATE-----' },
      see: (c) => c.xds?.access.roots.kind,
      wanted: 'pem',
    },
    {
      name: 'token: default file when there',
      env: {},
      more: { exists: (p) => p === './var/run/secrets/tokens/istio-token' },
      see: (c) => c.xds?.access.token,
      wanted: { kind: 'file', path: './var/run/secrets/tokens/istio-token' },
    },
    {
      name: 'token: literal',
      env: { AUTH_TOKEN: 'abc.def' },
      see: (c) => c.ca?.access.token,
      wanted: { kind: 'literal', token: 'abc.def' },
    },
    {
      name: 'headers',
      env: { XDS_HEADER_X_Foo: 'bar', CA_HEADER_y: '1' },
      see: (c) => [c.xds?.access.headers, c.ca?.access.headers],
      wanted: [{ x_foo: 'bar' }, { y: '1' }],
    },
    { name: 'DNS off', env: { ISTIO_META_DNS_CAPTURE: 'false' }, see: (c) => c.dns, wanted: undefined },
    {
      name: 'DNS on, any case',
      env: { ISTIO_META_DNS_CAPTURE: 'TRUE' },
      see: (c) => c.dns !== undefined,
      wanted: true,
    },
    {
      name: 'DNS elsewhere',
      env: { ISTIO_META_DNS_PROXY_ADDR: '127.0.0.5:53' },
      see: (c) => c.dns?.listen,
      wanted: { v4: { ip: '127.0.0.5', port: 53 }, v6: undefined },
    },
    {
      name: 'DNS on localhost without IPv6',
      env: { ISTIO_META_DNS_PROXY_ADDR: 'localhost:53', IPV6_ENABLED: 'false' },
      see: (c) => c.dns?.listen,
      wanted: { v4: { ip: '127.0.0.1', port: 53 }, v6: undefined },
    },
    {
      name: 'on demand without DNS',
      env: { XDS_ON_DEMAND: 'true', ISTIO_META_DNS_CAPTURE: 'no' },
      see: (c) => c.xds?.onDemand,
      wanted: true,
    },
    {
      name: 'short grace',
      env: { TERMINATION_GRACE_PERIOD_SECONDS: '10' },
      see: (c) => c.dataPath.drainDeadlineMs,
      wanted: 9000,
    },
    {
      name: 'no grace',
      env: { TERMINATION_GRACE_PERIOD_SECONDS: '0' },
      see: (c) => c.dataPath.drainDeadlineMs,
      wanted: 1000,
    },
    {
      name: 'own deadline first',
      env: { TERMINATION_GRACE_PERIOD_SECONDS: '30', CONNECTION_TERMINATION_DEADLINE: '1m' },
      see: (c) => c.dataPath.drainDeadlineMs,
      wanted: 60_000,
    },
    {
      name: 'client addresses required',
      env: { ENABLE_ORIG_SRC: 'true' },
      see: (c) => c.dataPath.listen.originalSource,
      wanted: 'require',
    },
    {
      name: 'client addresses never',
      env: { ENABLE_ORIG_SRC: 'false' },
      see: (c) => c.dataPath.listen.originalSource,
      wanted: 'never',
    },
    {
      name: 'post-quantum only',
      env: { COMPLIANCE_POLICY: 'pqc' },
      see: (c) => c.dataPath.hbone.postQuantumOnly,
      wanted: true,
    },
    {
      name: 'local state inline',
      env: { LOCAL_XDS: 'workloads: []' },
      see: (c) => c.localState,
      wanted: { kind: 'inline', yaml: 'workloads: []' },
    },
    {
      name: 'local state file first',
      env: { LOCAL_XDS_PATH: '/x', LOCAL_XDS: 'y' },
      see: (c) => c.localState,
      wanted: { kind: 'file', path: '/x' },
    },
  ];
for (const c of accepted) test(`setting: ${c.name}`, () => assert.deepEqual(c.see(config(c.env, c.more)), c.wanted));

const refused: { name: string; env: Env; more?: Partial<RawConfig>; why: RegExp }[] = [
  { name: 'a boolean', env: { IPV6_ENABLED: 'yes' }, why: /IPV6_ENABLED=`yes` is neither true nor false/ },
  { name: 'a number', env: { HTTP2_FRAME_SIZE: '1' }, why: /HTTP2_FRAME_SIZE=`1` is no whole number from 16384/ },
  { name: 'a duration', env: { SECRET_TTL: 'soon' }, why: /SECRET_TTL=`soon` is no duration/ },
  { name: 'a choice', env: { LOG_FORMAT: 'xml' }, why: /LOG_FORMAT=`xml` is not one of plain, json/ },
  { name: 'plain HTTP', env: { XDS_ADDRESS: 'http://istiod:15010' }, why: /XDS_ADDRESS: .* is not https/ },
  { name: 'an address with a path', env: { CA_ADDRESS: 'https://a/b' }, why: /more than a host and a port/ },
  { name: 'no address', env: { XDS_ADDRESS: 'https://' }, why: /is no address/ },
  { name: 'a root that is nothing', env: { XDS_ROOT_CA: '/missing' }, why: /neither a file that exists, nor SYSTEM/ },
  { name: 'a header', env: { 'XDS_HEADER_grpc-status': '0' }, why: /not a header/ },
  { name: 'a header value', env: { XDS_HEADER_a: 'x\ny' }, why: /not a header/ },
  { name: 'a log filter', env: { RUST_LOG: 'xds=loud' }, why: /RUST_LOG: `xds=loud`/ },
  { name: 'JSON metadata', env: { ISTIO_METAJSON_X: '{' }, why: /ISTIO_METAJSON_X is no JSON/ },
  { name: 'DNS with on-demand discovery', env: { XDS_ON_DEMAND: 'true' }, why: /cannot be combined/ },
  { name: 'a DNS address', env: { ISTIO_META_DNS_PROXY_ADDR: 'here' }, why: /DNS_PROXY_ADDR/ },
  { name: 'dedicated mode', env: { PROXY_MODE: 'dedicated' }, why: /not supported/ },
  { name: 'revocation lists', env: { CRL_PATH: '/crl' }, why: /not supported/ },
  { name: 'a fake authority', env: { FAKE_CA: 'true' }, why: /not supported/ },
  { name: 'worker threads', env: { ZTUNNEL_WORKER_THREADS: 'many' }, why: /neither a number nor a percentage/ },
  { name: 'an address of the pod', env: { ...POD, SERVICE_ACCOUNT: 'z', INSTANCE_IP: 'x' }, why: /INSTANCE_IP: / },
  { name: 'a mesh file that is a list', env: {}, more: { meshDefaults: [] }, why: /no YAML mapping/ },
  { name: 'a port of the mesh file', env: {}, more: { meshDefaults: { statsPort: 'x' } }, why: /`statsPort`/ },
  { name: 'metadata of the mesh file', env: {}, more: { proxyConfig: { proxyMetadata: 1 } }, why: /`proxyMetadata`/ },
];
for (const c of refused)
  test(`refused: ${c.name}`, () => {
    const got = problems(c.env, c.more);
    assert.equal(got.length, 1, got.join('\n'));
    assert.match(got[0] ?? '', c.why);
  });

test('every problem is named, not only the first', () =>
  assert.equal(problems({ IPV6_ENABLED: 'x', SECRET_TTL: 'x', XDS_ADDRESS: 'http://x', RUST_LOG: 'a=b' }).length, 4));

test('tokens are in no problem and no description', () => {
  const secret = 'very secret';
  assert.doesNotMatch(problems({ AUTH_TOKEN: secret }).join(), /secret/);
  const described = JSON.stringify(
    describeConfig(config({ AUTH_TOKEN: 'very-secret', XDS_HEADER_key: 'very-secret', LOCAL_XDS: 'very-secret' })),
  );
  assert.doesNotMatch(described, /very-secret/);
  assert.match(described, /"windowSize":4194304/);
});

test('the description has the keys and shapes of the original', () => {
  const described = describeConfig(
    config({ ...POD, SERVICE_ACCOUNT: 'z', XDS_ADDRESS: 'https://istiod:15012', XDS_HEADER_a: 'b', NODE_NAME: 'n' }),
  );
  const { adminAddr, statsAddr, inboundAddr, localNode, xdsAddress, xdsRootCert, xdsHeaders } = described;
  assert.deepEqual(
    { adminAddr, statsAddr, inboundAddr, localNode, xdsAddress, xdsRootCert, xdsHeaders },
    {
      adminAddr: { Localhost: [true, 15000] },
      statsAddr: { SocketAddr: '[::]:15020' },
      inboundAddr: '[::]:15008',
      localNode: 'n',
      xdsAddress: 'https://istiod:15012',
      xdsRootCert: { File: './var/run/secrets/istio/root-cert.pem' },
      xdsHeaders: ['a'],
    },
  );
  assert.deepEqual(described.poolUnusedReleaseTimeout, { secs: 300, nanos: 0 });
  assert.deepEqual(described.illegalPorts, [15001, 15006, 15008]);
  assert.equal(described.requireOriginalSource, null);
  assert.match(String(described.ztunnelIdentity), /^spiffe:\/\/cluster\.local\/ns\/.+\/sa\/z$/);
});

for (const [text, wanted] of [
  ['10s', 10_000],
  ['1h30m', 5_400_000],
  ['500ms', 500],
  ['1.5s', 1500],
  ['2d', 172_800_000],
  ['90', 90_000],
  ['1m 5s', 65_000],
  ['', undefined],
  ['s', undefined],
  ['-1s', undefined],
  ['1y', undefined],
  ['9999999d', undefined],
] as const)
  test(`duration \`${text}\``, () => assert.equal(parseDurationMs(text), wanted));

const KEYS = [
  'XDS_ADDRESS',
  'CA_ADDRESS',
  'XDS_ROOT_CA',
  'AUTH_TOKEN',
  'SECRET_TTL',
  'RUST_LOG',
  'PACKET_MARK',
  'INSTANCE_IP',
  'POD_NAME',
  'ISTIO_METAJSON_A',
  'ISTIO_META_DNS_PROXY_ADDR',
  'ISTIO_META___proto__',
  'XDS_HEADER___proto__',
  'IPV6_ENABLED',
];
test('any environment: a config or problems, nothing thrown', () =>
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...KEYS), fc.string({ unit: 'binary' })),
      fc.jsonValue(),
      fc.jsonValue(),
      (env, meshDefaults, proxyConfig) => {
        const got = parseConfig(raw(env, { meshDefaults, proxyConfig }));
        if (got.ok) describeConfig(got.value);
        else assert.ok(got.error.length > 0);
      },
    ),
  ));
