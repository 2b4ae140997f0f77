// Gateways through the whole derivation: parts, listeners, addresses, status.

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { test } from 'node:test';
import type { GatewayParts } from './gateways.ts';
import type { Json } from './read.ts';
import type { StatusReport, Wanted } from './status/report.ts';
import { ambientOf, feed } from './testing.ts';

const HBONE = { name: 'mesh', port: 15008, protocol: 'HBONE' };
const gateway = (spec: Json = {}, metadata: Json = {}, status: Json = {}): Json => ({
  kind: 'Gateway',
  metadata: { name: 'wp', namespace: 'shop', uid: 'u1', generation: 2, ...metadata },
  spec: { gatewayClassName: 'istio-waypoint', listeners: [HBONE], ...spec },
  status,
});
const edge = (listeners: readonly Json[], metadata: Json = {}, spec: Json = {}): Json =>
  gateway({ gatewayClassName: 'istio', listeners, ...spec }, { name: 'edge', ...metadata });
const service = (name: string, ports: readonly number[], more: Json = {}, status: Json = {}): Json => ({
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { clusterIP: '10.96.0.9', ports: ports.map((port) => ({ name: `p${port}`, port })), ...more },
  status,
});
const pod = (ready: boolean): Json => ({
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'shop', uid: 'pu' },
  spec: {},
  status: { podIP: '10.244.1.9', phase: 'Running', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
});
const slice = (of: string): Json => ({
  kind: 'EndpointSlice',
  metadata: { name: `${of}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': of } },
  endpoints: [{ addresses: ['10.244.1.9'], targetRef: { kind: 'Pod', namespace: 'shop', name: 'p', uid: 'pu' } }],
  ports: [{ name: 'p15008', port: 15008 }],
});
const running = (name: string, ports: readonly number[], more: Json = {}, status: Json = {}): readonly Json[] => [
  service(name, ports, more, status),
  pod(true),
  slice(name),
];

function reportOf(objects: readonly Json[], name = 'wp'): StatusReport & { fields: { kind: 'Gateway' } } {
  const report = ambientOf(objects).reports.get(`Gateway/shop/${name}`);
  assert.ok(report?.fields?.kind === 'Gateway', `no report: ${[...ambientOf(objects).reports.keys()]}`);
  return report as never;
}
const brief = (conditions: readonly Wanted[]): Record<string, string> =>
  Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]));
const partsOf = (objects: readonly Json[], name = 'wp'): GatewayParts | undefined =>
  ambientOf(objects).gateways.parts.get(`shop/${name}`);

test('a waypoint whose pods are ready is programmed, with the address and the name of its Service', () => {
  const report = reportOf([gateway(), ...running('wp', [15021, 15008])]);
  assert.deepEqual(brief(report.wanted), {
    Accepted: 'True Accepted',
    Programmed: 'True Programmed',
    ResolvedRefs: 'True ResolvedRefs',
  });
  assert.match(report.wanted[1]?.message ?? '', /wp\.shop\.svc\.cluster\.local:15008/);
  assert.equal(report.wanted[0]?.observedGeneration, 2);
  assert.deepEqual(report.fields.wanted.addresses, [
    { type: 'IPAddress', value: '10.96.0.9' },
    { type: 'Hostname', value: 'wp.shop.svc.cluster.local' },
  ]);
  const [listener] = report.fields.wanted.listeners;
  assert.deepEqual(brief(listener?.conditions ?? []), {
    Accepted: 'True Accepted',
    Conflicted: 'False NoConflicts',
    Programmed: 'True Programmed',
    ResolvedRefs: 'True ResolvedRefs',
  });
});

test('before its Service, its pods or a load balancer are there, it is not, and says which', () => {
  const cases: readonly [readonly Json[], string, RegExp][] = [
    [[], 'False AddressNotAssigned', /does not exist/],
    [[service('wp', [15008])], 'False AddressNotAssigned', /no pod .* is ready/],
    [[service('wp', [15008]), pod(false), slice('wp')], 'False AddressNotAssigned', /no pod .* is ready/],
    [running('wp', [80]), 'False AddressNotUsable', /has no port 15008/],
    [running('wp', [15008], { type: 'LoadBalancer' }), 'False AddressNotAssigned', /load balancer/],
  ];
  for (const [objects, programmed, message] of cases) {
    const report = reportOf([gateway(), ...objects]);
    assert.equal(brief(report.wanted).Programmed, programmed);
    assert.match(report.wanted[1]?.message ?? '', message);
  }
});

test("the address of a service that only has the Gateway's name is not taken", () => {
  assert.deepEqual(reportOf([gateway(), ...running('wp', [80])]).fields.wanted.addresses, []);
});

test('an address that was written stays while nobody is ready', () => {
  const status = { addresses: [{ type: 'IPAddress', value: '10.96.0.9' }] };
  const report = reportOf([gateway({}, {}, status), service('wp', [15008])]);
  assert.equal(brief(report.wanted).Programmed, 'False AddressNotAssigned');
  assert.deepEqual(report.fields.wanted.addresses, status.addresses);
});

test('nothing is reported once the object says so', () => {
  const objects = [gateway(), ...running('wp', [15008])];
  const { wanted, fields } = reportOf(objects);
  const status = {
    conditions: wanted,
    addresses: fields.wanted.addresses,
    listeners: fields.wanted.listeners,
  };
  const ambient = ambientOf([gateway({}, {}, status), ...objects.slice(1)]);
  assert.equal(ambient.reports.get('Gateway/shop/wp'), undefined);
  feed(ambient, pod(false));
  ambient.graph.flush();
  assert.notEqual(ambient.reports.get('Gateway/shop/wp'), undefined);
});

test('a gateway shows its load balancer, else the name of its Service', () => {
  const listeners = [{ name: 'http', port: 80, protocol: 'HTTP' }];
  const external = { loadBalancer: { ingress: [{ ip: '192.0.2.1' }, { hostname: 'lb.example' }] } };
  const balanced = reportOf(
    [edge(listeners), ...running('edge-istio', [80], { type: 'LoadBalancer' }, external)],
    'edge',
  );
  assert.deepEqual(balanced.fields.wanted.addresses, [
    { type: 'IPAddress', value: '192.0.2.1' },
    { type: 'Hostname', value: 'lb.example' },
  ]);
  const inside = reportOf([edge(listeners), ...running('edge-istio', [80])], 'edge');
  assert.deepEqual(inside.fields.wanted.addresses, [{ type: 'Hostname', value: 'edge-istio.shop.svc.cluster.local' }]);
  const asked = edge(listeners, { annotations: { 'networking.istio.io/address-type': 'IPAddress' } });
  assert.deepEqual(reportOf([asked, ...running('edge-istio', [80])], 'edge').fields.wanted.addresses, [
    { type: 'IPAddress', value: '10.96.0.9' },
  ]);
});

test('managed or manual is the addresses of the spec', () => {
  const kind = (addresses: readonly Json[]) => partsOf([gateway({ addresses })])?.kind;
  assert.equal(kind([]), 'managed');
  assert.equal(kind([{ type: 'IPAddress', value: '192.0.2.1' }]), 'managed');
  assert.equal(kind([{ value: '192.0.2.1' }]), 'managed');
  assert.equal(kind([{ type: 'Hostname', value: 'front' }]), 'manual');
  assert.equal(
    kind([
      { type: 'IPAddress', value: '1.1.1.1' },
      { type: 'IPAddress', value: '1.1.1.2' },
    ]),
    'manual',
  );
  assert.equal(kind([{ type: 'example.com/x', value: 'y' }]), 'kept');
});

test('a manual gateway stands on the services that it names', () => {
  const report = reportOf([
    gateway({ addresses: [{ type: 'Hostname', value: 'front' }] }),
    ...running('front', [15008]),
  ]);
  assert.deepEqual(brief(report.wanted), {
    Accepted: 'True Accepted',
    Programmed: 'True Programmed',
    ResolvedRefs: 'True ResolvedRefs',
  });
  const mixed = gateway({
    addresses: [
      { type: 'Hostname', value: 'front' },
      { type: 'IPAddress', value: '1.1.1.1' },
    ],
  });
  const soft = reportOf([mixed, ...running('front', [15008])]);
  assert.equal(brief(soft.wanted).Accepted, 'False UnsupportedAddress');
  assert.equal(soft.fields.wanted.addresses.length, 2, 'usable services still serve');
});

test('parameters come from the ConfigMap, and bad ones leave everything as it is', () => {
  const infrastructure = { parametersRef: { group: '', kind: 'ConfigMap', name: 'params' } };
  const params = (data: Json): Json => ({ kind: 'ConfigMap', metadata: { name: 'params', namespace: 'shop' }, data });
  const asked = gateway({ infrastructure });
  const missing = [asked];
  assert.equal(partsOf(missing)?.kind, 'kept');
  assert.deepEqual(brief(reportOf(missing).wanted), {
    Accepted: 'False InvalidParameters',
    Programmed: 'False Invalid',
    ResolvedRefs: 'True ResolvedRefs',
  });
  assert.equal(partsOf([asked, params({ other: 'x' })])?.kind, 'kept');
  const good = partsOf([asked, params({ deployment: 'spec: {replicas: 3}' })]);
  assert.ok(good?.kind === 'managed');
  const deployment = good.rendered.objects.find(({ kind }) => kind === 'Deployment') as unknown as { spec: Json };
  assert.equal(deployment.spec.replicas, 3);
});

test('defaults for a class hold for all of it: the oldest of several', () => {
  const defaults = (name: string, replicas: number, at: string): Json => ({
    kind: 'ConfigMap',
    metadata: {
      name,
      namespace: 'istio-system',
      creationTimestamp: at,
      labels: { 'gateway.istio.io/defaults-for-class': 'istio-waypoint' },
    },
    data: { deployment: `spec: {replicas: ${replicas}}` },
  });
  const made = partsOf([gateway(), defaults('a', 5, '2026-01-02T00:00:00Z'), defaults('b', 7, '2026-01-01T00:00:00Z')]);
  assert.ok(made?.kind === 'managed');
  const deployment = made.rendered.objects.find(({ kind }) => kind === 'Deployment') as unknown as { spec: Json };
  assert.equal(deployment.spec.replicas, 7);
});

test('Gateways of other classes and revisions, and of newer control planes, are left alone', () => {
  assert.equal(partsOf([gateway({ gatewayClassName: 'nginx' })]), undefined);
  assert.equal(partsOf([gateway({}, { labels: { 'istio.io/rev': 'canary' } })]), undefined);
  assert.equal(partsOf([gateway({}, { annotations: { 'gateway.istio.io/controller-version': '6' } })])?.kind, 'kept');
  assert.equal(partsOf([gateway({ gatewayClassName: 'istio-remote' })])?.kind, 'remote');
});

test('a remote gateway has the addresses that it was given, and no listeners', () => {
  const addresses = [{ type: 'IPAddress', value: '192.0.2.9' }];
  const report = reportOf([gateway({ gatewayClassName: 'istio-remote', addresses })]);
  assert.deepEqual(report.fields.wanted, { addresses, listeners: [] });
});

const PEM = (label: string): string => `-----BEGIN ${label}-----\nMIIBszCCAVmgAwIBAgIU\n-----END ${label}-----\n`;
const secret = (namespace: string, data: Record<string, string>): Json => ({
  kind: 'Secret',
  metadata: { name: 'cert', namespace },
  data: Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Buffer.from(v).toString('base64')])),
});
const GOOD = { 'tls.crt': PEM('CERTIFICATE'), 'tls.key': PEM('EC PRIVATE KEY') };
const https = (ref: Json = { name: 'cert' }, more: Json = {}): Json => ({
  name: 'https',
  port: 443,
  protocol: 'HTTPS',
  tls: { certificateRefs: [ref], ...more },
});
const grant = (to: Json): Json => ({
  kind: 'ReferenceGrant',
  metadata: { name: 'g', namespace: 'certs' },
  spec: { from: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', namespace: 'shop' }], to: [to] },
});
const elsewhere = { name: 'cert', namespace: 'certs' };
const tls: readonly [string, Json, readonly Json[], string][] = [
  ['a good Secret', https(), [secret('shop', GOOD)], 'True ResolvedRefs'],
  [
    'a Secret as Istio names its entries',
    https(),
    [secret('shop', { cert: GOOD['tls.crt'], key: GOOD['tls.key'] })],
    'True ResolvedRefs',
  ],
  ['a missing Secret', https(), [], 'False InvalidCertificateRef'],
  ['no certificate at all', https({}, { certificateRefs: [] }), [], 'False InvalidCertificateRef'],
  [
    'three certificates',
    https({}, { certificateRefs: [{ name: 'cert' }, { name: 'cert' }, { name: 'cert' }] }),
    [secret('shop', GOOD)],
    'False InvalidCertificateRef',
  ],
  ['a Secret without key', https(), [secret('shop', { 'tls.crt': GOOD['tls.crt'] })], 'False InvalidCertificateRef'],
  [
    'a certificate that is none',
    https(),
    [secret('shop', { ...GOOD, 'tls.crt': '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----' })],
    'False InvalidCertificateRef',
  ],
  ['a ConfigMap', https({ kind: 'ConfigMap', name: 'cert' }), [], 'False InvalidCertificateRef'],
  ['another namespace, the Secret is there', https(elsewhere), [secret('certs', GOOD)], 'False RefNotPermitted'],
  ['another namespace, nothing there: the grant is asked for first', https(elsewhere), [], 'False RefNotPermitted'],
  [
    'another namespace with a grant',
    https(elsewhere),
    [secret('certs', GOOD), grant({ group: '', kind: 'Secret' })],
    'True ResolvedRefs',
  ],
  [
    'a grant for another name',
    https(elsewhere),
    [secret('certs', GOOD), grant({ group: '', kind: 'Secret', name: 'x' })],
    'False RefNotPermitted',
  ],
  [
    "the mesh's own certificate, which is not shown outside",
    https({}, { certificateRefs: [], options: { 'gateway.istio.io/tls-terminate-mode': 'ISTIO_MUTUAL' } }),
    [],
    'False InvalidCertificateRef',
  ],
  [
    'clients by the authority beside the certificate',
    https({ name: 'cert' }, { options: { 'gateway.istio.io/tls-terminate-mode': 'MUTUAL' } }),
    [secret('shop', { ...GOOD, 'ca.crt': PEM('CERTIFICATE') })],
    'True ResolvedRefs',
  ],
  [
    'clients by an authority that is nowhere',
    https({ name: 'cert' }, { options: { 'gateway.istio.io/tls-terminate-mode': 'MUTUAL' } }),
    [secret('shop', GOOD)],
    'False InvalidCACertificateRef',
  ],
  ['passthrough', { name: 'p', port: 443, protocol: 'TLS', tls: { mode: 'Passthrough' } }, [], 'True ResolvedRefs'],
  [
    'clients by an authority that is missing',
    https(
      { name: 'cert' },
      { frontendValidation: { caCertificateRefs: [{ kind: 'ConfigMap', name: 'ca', group: '' }] } },
    ),
    [secret('shop', GOOD)],
    'False InvalidCACertificateRef',
  ],
  [
    'clients by an authority of a wrong kind',
    https(
      { name: 'cert' },
      { frontendValidation: { caCertificateRefs: [{ kind: 'Service', name: 'ca', group: '' }] } },
    ),
    [secret('shop', GOOD)],
    'False InvalidCACertificateKind',
  ],
];
for (const [name, listener, objects, resolved] of tls)
  test(`TLS of a listener: ${name}`, () => {
    const report = reportOf([edge([listener]), ...objects], 'edge');
    const conditions = brief(report.fields.wanted.listeners[0]?.conditions ?? []);
    assert.equal(conditions.ResolvedRefs, resolved);
    assert.equal(conditions.Programmed, resolved.startsWith('True') ? 'True Programmed' : 'False Invalid');
    if (resolved.includes('CACertificate')) assert.equal(conditions.Accepted, 'False NoValidCACertificate');
  });

function listenersOf(listeners: readonly Json[], metadata: Json = {}): readonly Record<string, string>[] {
  return reportOf([edge(listeners, metadata)], 'edge').fields.wanted.listeners.map(({ conditions }) =>
    brief(conditions),
  );
}
const http = (name: string, hostname?: string, port = 80, protocol = 'HTTP'): Json => ({
  name,
  port,
  protocol,
  hostname,
});

test('listeners that contradict an earlier one lose', () => {
  const judged = listenersOf([
    http('a', 'x.example'),
    http('b', 'y.example'),
    http('c', 'X.example'),
    http('d', undefined, 80, 'TCP'),
    http('e', undefined, 9000, 'TCP'),
    http('f', undefined, 9000, 'TCP'),
  ]);
  assert.deepEqual(
    judged.map(({ Conflicted }) => Conflicted),
    [
      'False NoConflicts',
      'False NoConflicts',
      'True HostnameConflict',
      'True ProtocolConflict',
      'False NoConflicts',
      'True ProtocolConflict',
    ],
  );
  assert.equal(judged[2]?.Accepted, 'False HostnameConflict');
  assert.equal(judged[2]?.Programmed, 'False Invalid');
  const report = reportOf([edge([http('a'), http('b')])], 'edge');
  assert.equal(brief(report.wanted).Accepted, 'True ListenersNotValid');
});

test('protocols that a class cannot serve', () => {
  assert.equal(listenersOf([http('u', undefined, 53, 'UDP')])[0]?.Accepted, 'False UnsupportedProtocol');
  assert.equal(listenersOf([http('own', undefined, 15021)])[0]?.Accepted, 'False PortUnavailable');
  assert.equal(listenersOf([HBONE])[0]?.Accepted, 'False UnsupportedProtocol');
  const waypoint = (listeners: readonly Json[], metadata: Json = {}) =>
    reportOf([gateway({ listeners }, metadata)]).fields.wanted.listeners.map(
      ({ conditions }) => brief(conditions).Accepted,
    );
  assert.deepEqual(waypoint([HBONE, http('h')]), ['True Accepted', 'False UnsupportedProtocol']);
  assert.deepEqual(waypoint([{ ...HBONE, port: 15009 }]), ['False UnsupportedProtocol']);
  const bound = { annotations: { 'ambient.istio.io/waypoint-inbound-binding': 'PROXY/15088' } };
  assert.deepEqual(waypoint([{ name: 'p', port: 15088, protocol: 'istio.io/PROXY' }], bound), ['True Accepted']);
});

test('kinds of routes: by protocol, narrowed by what the listener says', () => {
  const kindsOf = (listener: Json) =>
    reportOf([edge([listener])], 'edge').fields.wanted.listeners[0]?.supportedKinds.map(({ kind }) => kind);
  assert.deepEqual(kindsOf(http('h')), ['HTTPRoute', 'GRPCRoute']);
  assert.deepEqual(kindsOf(http('t', undefined, 9000, 'TCP')), ['TCPRoute']);
  const mixed = { ...http('h'), allowedRoutes: { kinds: [{ kind: 'HTTPRoute' }, { kind: 'TCPRoute' }] } };
  assert.deepEqual(kindsOf(mixed), ['HTTPRoute']);
  const judged = listenersOf([mixed])[0];
  assert.equal(judged?.ResolvedRefs, 'False InvalidRouteKinds');
  assert.equal(judged?.Programmed, 'True Programmed', 'what remains still works');
});

test('a gateway that lets unverified clients in carries a warning, as long as it does', () => {
  const validation = {
    caCertificateRefs: [{ kind: 'ConfigMap', name: 'ca', group: '' }],
    mode: 'AllowInsecureFallback',
  };
  const frontend = { default: { validation } };
  const open = edge([https()], {}, { tls: { frontend } });
  const ambient = ambientOf([open, secret('shop', GOOD)]);
  const report = ambient.reports.get('Gateway/shop/edge');
  assert.equal(brief(report?.wanted ?? []).InsecureFrontendValidationMode, 'True ConfigurationChanged');
  const closed = { ...edge([https()]), status: { conditions: report?.wanted ?? [] } };
  feed(ambient, closed);
  ambient.graph.flush();
  const after = ambient.reports.get('Gateway/shop/edge');
  assert.ok(
    after?.found.some(({ type }) => type === 'InsecureFrontendValidationMode'),
    'it is ours to take away',
  );
  assert.ok(!after?.wanted.some(({ type }) => type === 'InsecureFrontendValidationMode'));
});

test('the certificate for backends: missing, of another namespace, good', () => {
  const asked = (ref: Json): Json => edge([http('h')], {}, { tls: { backend: { clientCertificateRef: ref } } });
  const resolved = (...objects: readonly Json[]) => brief(reportOf(objects, 'edge').wanted).ResolvedRefs;
  assert.equal(resolved(asked({ name: 'cert' })), 'False InvalidClientCertificateRef');
  assert.equal(resolved(asked(elsewhere), secret('certs', GOOD)), 'False RefNotPermitted');
  assert.equal(resolved(asked({ name: 'cert' }), secret('shop', GOOD)), 'True ResolvedRefs');
});

test('a Gateway of a newer control plane gets no status of ours', () => {
  const newer = gateway({}, { annotations: { 'gateway.istio.io/controller-version': '6' } });
  assert.equal(ambientOf([newer]).reports.get('Gateway/shop/wp'), undefined);
});

test('what the API refused stands in the status', () => {
  const ambient = ambientOf([gateway(), ...running('wp', [15008])]);
  ambient.gateways.refusals.set('shop/wp', 'Deployment wp was refused: no');
  ambient.graph.flush();
  const report = ambient.reports.get('Gateway/shop/wp');
  assert.equal(brief(report?.wanted ?? []).Programmed, 'False Invalid');
});
