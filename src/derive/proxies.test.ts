// What L7 proxies are configured with beside their routes: themselves, services, certificates; and VirtualServices,
// DestinationRules, policies and BackendTLSPolicies where the graph joins them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_TRAFFIC_POLICY } from '../model/proxy/service-config.ts';
import { problems } from '../wire/l7/resources.ts';
import type { Ambient } from './ambient.ts';
import type { Json } from './read.ts';
import { BOUND, conditionsOf, gateway, listener, route, routesOf, service, waypoint } from './routes/testing.ts';
import { ambientOf, feed } from './testing.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const pem = (label: string, body = 'MIIB'): string => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
const secret = (name: string, more: Json = {}, namespace = 'shop'): Json => ({
  kind: 'Secret',
  metadata: { name, namespace },
  data: { 'tls.crt': base64(pem('CERTIFICATE')), 'tls.key': base64(pem('PRIVATE KEY')), ...more },
});
const https = (tls: Json, more: Json = {}): Json => listener('tls', { port: 443, protocol: 'HTTPS', tls, ...more });
const ORDER = 'shop/order.shop.svc.cluster.local';
const serviceOf = (ambient: Ambient, proxy: string, key = ORDER) =>
  ambient.proxies.services.get(`${proxy} ${key}`)?.config;

/** Whatever is derived, a proxy takes it. */
function whole(objects: readonly Json[], mesh?: unknown): Ambient {
  const ambient = ambientOf(objects, {}, mesh);
  for (const config of ambient.proxies.configs.values()) assert.equal(problems.proxy(config), undefined);
  for (const { config } of ambient.proxies.services.values()) assert.equal(problems.service(config), undefined);
  for (const { route: sent } of ambient.routes.values()) assert.equal(problems.route(sent), undefined);
  return ambient;
}

test('a gateway: its listeners, with certificates that are its own', () => {
  const ambient = whole([
    gateway([listener('web'), https({ certificateRefs: [{ name: 'cert' }] }, { hostname: 'A.org' })]),
    secret('cert'),
    secret('other'),
  ]);
  const config = ambient.proxies.configs.get('shop/edge');
  assert.deepEqual(
    config?.listeners.map(({ name, hostname, tls }) => [name, hostname, tls]),
    [
      ['web', '*', undefined],
      [
        'tls',
        'a.org',
        {
          mode: 'terminate',
          certificates: ['shop/cert'],
          client: undefined,
          minVersion: 'TLSv1.2',
          maxVersion: 'TLSv1.3',
          cipherSuites: [],
        },
      ],
    ],
  );
  assert.deepEqual([...ambient.proxies.certificates.keys()], ['shop/edge shop/cert']);
  assert.equal(config?.role, 'gateway');
});

test('a certificate of another namespace needs a grant, and goes when the grant does', () => {
  const grant: Json = {
    kind: 'ReferenceGrant',
    metadata: { name: 'g', namespace: 'vault' },
    spec: {
      from: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', namespace: 'shop' }],
      to: [{ group: '', kind: 'Secret', name: 'cert' }],
    },
  };
  const objects = [
    gateway([https({ certificateRefs: [{ name: 'cert', namespace: 'vault' }] })]),
    secret('cert', {}, 'vault'),
  ];
  assert.equal(whole(objects).proxies.certificates.size, 0);
  const ambient = whole([...objects, grant]);
  assert.deepEqual([...ambient.proxies.certificates.keys()], ['shop/edge vault/cert']);
  ambient.inputs.set('referencegrants', 'vault/g', undefined);
  ambient.graph.flush();
  assert.equal(ambient.proxies.certificates.size, 0);
  assert.deepEqual(ambient.proxies.configs.get('shop/edge')?.listeners, []);
});

test('clients must show certificates where it is asked for; without roots to judge them the listener is closed', () => {
  const mutual = { certificateRefs: [{ name: 'cert' }], options: { 'gateway.istio.io/tls-terminate-mode': 'MUTUAL' } };
  const clientOf = (others: readonly Json[], tls: Json = mutual) => {
    const [only] = whole([gateway([https(tls)]), ...others]).proxies.configs.get('shop/edge')?.listeners ?? [];
    return only?.tls?.mode === 'terminate' ? (only.tls.client ?? 'none') : 'closed';
  };
  const roots = { 'ca.crt': base64(pem('CERTIFICATE', 'MIIBROOT')) };
  assert.deepEqual(clientOf([secret('cert', roots)]), {
    rootsPem: pem('CERTIFICATE', 'MIIBROOT'),
    mode: 'required',
    subjectAltNames: [],
  });
  assert.notEqual(clientOf([secret('cert'), secret('cert-cacert', roots)]), 'closed');
  assert.equal(clientOf([secret('cert')]), 'closed');
  assert.equal(clientOf([secret('cert')], { certificateRefs: [{ name: 'cert' }] }), 'none');
});

test('a waypoint has no listeners of its own, and knows what it stands before', () => {
  const ambient = whole([waypoint(), service('order', 'shop', BOUND), service('other')]);
  assert.deepEqual(ambient.proxies.configs.get('shop/waypoint')?.listeners, []);
  assert.deepEqual([...ambient.proxies.services.keys()], [`shop/waypoint ${ORDER}`]);
  assert.notEqual(serviceOf(ambient, 'shop/waypoint')?.bound, undefined);
  assert.deepEqual(serviceOf(ambient, 'shop/waypoint')?.traffic.policy, DEFAULT_TRAFFIC_POLICY);
});

test('a proxy knows the services that its routes lead to, and no longer when they do not', () => {
  const mirror = { type: 'RequestMirror', requestMirror: { backendRef: { name: 'shadow', port: 80 } } };
  const to = (name: string): Json => ({ filters: [mirror], backendRefs: [{ name, port: 80 }] });
  const world = [gateway([listener('web')]), service('order'), service('pay'), service('shadow')];
  const ambient = whole([...world, route({ rules: [to('order')] })]);
  const keys = (): string[] => [...ambient.proxies.services.keys()].map((key) => key.split(/[ /.]/)[3] ?? '');
  assert.deepEqual(keys().sort(), ['order', 'shadow']);
  assert.equal(serviceOf(ambient, 'shop/edge')?.bound, undefined);
  feed(ambient, route({ rules: [to('pay')] }));
  ambient.graph.flush();
  assert.deepEqual(keys().sort(), ['pay', 'shadow']);
});

test('ports say how they are taken', () => {
  const port = (name: string, number: number, more: Json = {}): Json => ({ name, port: number, ...more });
  const order: Json = {
    ...service('order', 'shop', BOUND),
    spec: {
      clusterIP: '10.96.0.1',
      ports: [
        port('http-a', 1),
        port('grpc-web', 2),
        port('x', 3, { appProtocol: 'kubernetes.io/h2c' }),
        port('mysql', 4),
        port('', 3306),
        port('x', 5),
        port('dns', 53, { protocol: 'UDP' }),
      ],
    },
  };
  assert.deepEqual(
    serviceOf(whole([waypoint(), order]), 'shop/waypoint')?.ports.map(({ protocol }) => protocol),
    ['http', 'grpcWeb', 'http2', 'tcp', 'tcp', 'unknown'],
  );
});

// Identities

test('who may have a configuration: the account of the pods that are made for the Gateway', () => {
  const accounts = (object: Json): readonly string[] | undefined =>
    whole([object]).proxies.identities.get('shop/edge')?.accounts;
  assert.deepEqual(accounts(gateway([listener('web')])), ['edge-istio']);
  assert.deepEqual(accounts(gateway([listener('web')], { spec: { gatewayClassName: 'istio-waypoint' } })), ['edge']);
  const annotated = { metadata: { name: 'edge', annotations: { 'gateway.istio.io/service-account': 'own' } } };
  assert.deepEqual(accounts(gateway([listener('web')], annotated)), ['own']);
  assert.equal(accounts(gateway([listener('web')], { spec: { gatewayClassName: 'foreign' } })), undefined);
});

test('a Gateway that names its services is served by who stands behind them in its namespace', () => {
  const pod: Json = {
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'shop', uid: 'u', labels: { app: 'order' } },
    spec: { serviceAccountName: 'ingress' },
    status: { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }] },
  };
  const manual = gateway([listener('web')], { spec: { addresses: [{ type: 'Hostname', value: 'order' }] } });
  const ambient = whole([manual, service('order'), pod]);
  assert.deepEqual(ambient.proxies.identities.get('shop/edge')?.accounts, ['ingress']);
});

// What others derive, joined

test('DestinationRules: of the proxy before those of the service; subsets by labels', () => {
  const rule = (namespace: string, trafficPolicy: Json, subsets: readonly Json[] = []): Json => ({
    kind: 'DestinationRule',
    metadata: { name: 'd', namespace },
    spec: { host: 'order.shop.svc.cluster.local', trafficPolicy, subsets },
  });
  const pod = (name: string, version: string): Json => ({
    kind: 'Pod',
    metadata: { name, namespace: 'shop', uid: name, labels: { app: 'order', version } },
    spec: {},
    status: { phase: 'Running', podIP: `10.0.0.${version}`, podIPs: [{ ip: `10.0.0.${version}` }] },
  });
  const bound = { 'istio.io/use-waypoint': 'waypoint', 'istio.io/use-waypoint-namespace': 'infra' };
  const world = [waypoint('waypoint', 'infra'), service('order', 'shop', bound), pod('a', '1'), pod('b', '2')];
  const own = rule('shop', { loadBalancer: { simple: 'RANDOM' } }, [{ name: 'v2', labels: { version: '2' } }]);
  const first = serviceOf(whole([...world, own]), 'infra/waypoint')?.traffic;
  assert.equal(first?.policy.loadBalancer.kind, 'random');
  assert.deepEqual(
    first?.subsets.map(({ name, members }) => [name, members]),
    [['v2', ['Kubernetes//Pod/shop/b']]],
  );
  const both = whole([...world, own, rule('infra', { loadBalancer: { simple: 'ROUND_ROBIN' } })]);
  assert.equal(serviceOf(both, 'infra/waypoint')?.traffic.policy.loadBalancer.kind, 'roundRobin');
});

test('a certificate that a DestinationRule names is sent along', () => {
  const rule: Json = {
    kind: 'DestinationRule',
    metadata: { name: 'd', namespace: 'shop' },
    spec: { host: 'order', trafficPolicy: { tls: { mode: 'MUTUAL', credentialName: 'client' } } },
  };
  const roots = { 'ca.crt': base64(pem('CERTIFICATE', 'MIIBROOT')) };
  const ambient = whole([waypoint(), service('order', 'shop', BOUND), rule, secret('client', roots)]);
  assert.equal(serviceOf(ambient, 'shop/waypoint')?.traffic.policy.tls?.certificate, 'shop/client');
  assert.deepEqual([...ambient.proxies.certificates.keys()], ['shop/waypoint shop/client']);
});

const virtualService = (spec: Json, namespace = 'shop'): Json => ({
  kind: 'VirtualService',
  metadata: { name: 'v', namespace, creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: { http: [{ route: [{ destination: { host: 'order', port: { number: 80 } } }] }], ...spec },
});

test('a VirtualService of a service is held by its waypoint, with the services that it leads to', () => {
  const ambient = whole([
    waypoint(),
    service('order', 'shop', BOUND),
    service('pay'),
    virtualService({ hosts: ['order'], http: [{ route: [{ destination: { host: 'pay', port: { number: 80 } } }] }] }),
  ]);
  assert.deepEqual(Object.keys(routesOf(ambient, 'shop/waypoint')), [`VirtualService/shop/v/http/${ORDER}`]);
  assert.notEqual(serviceOf(ambient, 'shop/waypoint', 'shop/pay.shop.svc.cluster.local'), undefined);
});

test('a VirtualService at a gateway: short names, the listener it fits, namespaces that may attach', () => {
  const at = (
    object: Json,
    listeners: readonly Json[] = [listener('web'), listener('b', { hostname: 'b.org', port: 81 })],
  ) =>
    Object.entries(routesOf(whole([gateway(listeners), service('order'), object]), 'shop/edge')).map(
      ([name, { attachments }]) => [name, attachments],
    );
  assert.deepEqual(at(virtualService({ hosts: ['a.org'], gateways: ['edge'] })), [
    ['VirtualService/shop/v/http/web', [{ kind: 'listener', listener: 'web', hosts: ['a.org'] }]],
  ]);
  assert.equal(at(virtualService({ hosts: ['*'], gateways: ['shop/edge'] })).length, 2);
  assert.deepEqual(at(virtualService({ hosts: ['a.org'], gateways: ['shop/edge'] }, 'bank')), []);
  assert.deepEqual(at(virtualService({ hosts: ['a.org'] })), []);
});

test('what of a VirtualService is not held stands on it, as long as it is so', () => {
  const world = (more: Json): Ambient =>
    whole([waypoint(), service('order', 'shop', BOUND), virtualService({ hosts: ['order'], ...more })]);
  const http = [{ delegate: { name: 'nobody' } }];
  const [wanted] = world({ http }).reports.get('VirtualService/shop/v')?.wanted ?? [];
  assert.deepEqual([wanted?.type, wanted?.status, wanted?.reason], ['ambit.dev/Honoured', 'False', 'PartlyNotHeld']);
  assert.match(wanted?.message ?? '', /http\[0\]\.delegate: there is no VirtualService shop\/nobody/);
  assert.equal(world({}).reports.has('VirtualService/shop/v'), false);
});

test("the mesh's own default for retries holds where a route says nothing", () => {
  const mesh = { defaultHttpRetryPolicy: { attempts: 7, retryOn: '5xx' } };
  const ambient = whole(
    [
      waypoint(),
      service('order', 'shop', BOUND),
      virtualService({ hosts: ['order'] }),
      gateway([listener('web')]),
      route({ rules: [{}, { retry: { attempts: 1 } }] }),
    ],
    mesh,
  );
  const attempts = (proxy: string): readonly (number | undefined)[] =>
    Object.values(routesOf(ambient, proxy)).flatMap((each) =>
      each.kind === 'http' ? each.rules.map(({ retry }) => retry?.attempts) : [],
    );
  assert.deepEqual(attempts('shop/edge'), [7, 1]);
  assert.deepEqual(attempts('shop/waypoint'), [7]);
});

test('policies: of the proxy by its Gateway, of a service by its own name, at its waypoint alone', () => {
  const policy = (name: string, targetRefs: readonly Json[], namespace = 'shop'): Json => ({
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace },
    spec: { targetRefs, rules: [{}] },
  });
  const ambient = whole([
    waypoint(),
    gateway([listener('web')]),
    service('order', 'shop', BOUND),
    route({}),
    policy('a', [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'waypoint' }]),
    policy('b', [{ group: '', kind: 'Service', name: 'order' }]),
    policy('c', [{ group: 'gateway.networking.k8s.io', kind: 'GatewayClass', name: 'istio-waypoint' }], 'istio-system'),
  ]);
  const keys = (policies: readonly { readonly key: string }[] | undefined) => policies?.map(({ key }) => key).sort();
  const { configs } = ambient.proxies;
  assert.deepEqual(keys(configs.get('shop/waypoint')?.security.policies), ['istio-system/c', 'shop/a']);
  assert.deepEqual(keys(configs.get('shop/edge')?.security.policies), []);
  assert.deepEqual(keys(serviceOf(ambient, 'shop/waypoint')?.bound?.security.policies), ['shop/b']);
});

test('keys of tokens: where they are to be fetched, and what was fetched', () => {
  const requestAuthentication: Json = {
    kind: 'RequestAuthentication',
    metadata: { name: 'jwt', namespace: 'shop' },
    spec: {
      targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'edge' }],
      jwtRules: [{ issuer: 'https://i.org', jwksUri: 'https://i.org/keys' }],
    },
  };
  const ambient = whole([gateway([listener('web')]), requestAuthentication]);
  const [name] = [...ambient.proxies.keySources.keys()];
  assert.equal(name, 'jwks https://i.org/keys');
  const keys = () => ambient.proxies.configs.get('shop/edge')?.security.tokens[0]?.keys.kind;
  assert.equal(keys(), 'missing');
  ambient.inputs.tokenKeys.set(name, { kind: 'set', json: '{"keys":[]}' });
  ambient.graph.flush();
  assert.equal(keys(), 'set');
});

test('services that the proxy calls itself are known to it', () => {
  const mesh = {
    extensionProviders: [{ name: 'authz', envoyExtAuthzGrpc: { service: 'order.shop.svc.cluster.local', port: 80 } }],
  };
  const ambient = whole([gateway([listener('web')]), service('order')], mesh);
  assert.deepEqual([...ambient.proxies.services.keys()], [`shop/edge ${ORDER}`]);
});

// BackendTLSPolicy

const CA: Json = {
  kind: 'ConfigMap',
  metadata: { name: 'ca', namespace: 'shop' },
  data: { 'ca.crt': pem('CERTIFICATE') },
};
const tlsPolicy = (set: Json = {}, metadata: Json = {}): Json => ({
  kind: 'BackendTLSPolicy',
  metadata: { name: 'p', namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z', ...metadata },
  spec: {
    targetRefs: [{ group: '', kind: 'Service', name: 'order' }],
    validation: { hostname: 'order.internal', caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'ca' }] },
    ...set,
  },
});
const tlsWorld = (...more: readonly Json[]): Ambient =>
  whole([waypoint(), service('order', 'shop', BOUND), CA, ...more]);
const tlsOf = (ambient: Ambient) => serviceOf(ambient, 'shop/waypoint')?.traffic.policy.tls;

test('BackendTLSPolicy: TLS to the service', () => {
  const ambient = tlsWorld(tlsPolicy());
  assert.deepEqual(tlsOf(ambient), {
    mode: 'simple',
    serverName: 'order.internal',
    subjectAltNames: [],
    roots: { kind: 'pem', pem: pem('CERTIFICATE') },
    certificate: undefined,
  });
  assert.deepEqual(conditionsOf(ambient, 'BackendTLSPolicy/shop/p'), [
    ['Accepted=True Accepted', 'ResolvedRefs=True ResolvedRefs'],
  ]);
});

test('a Gateway shows its certificate to backends that are spoken to by TLS', () => {
  const edge = gateway([listener('web')], {
    spec: { tls: { backend: { clientCertificateRef: { name: 'client' } } } },
  });
  const ambient = tlsWorld(tlsPolicy(), edge, route({}), secret('client'));
  const tls = serviceOf(ambient, 'shop/edge')?.traffic.policy.tls;
  assert.deepEqual([tls?.mode, tls?.certificate], ['mutual', 'shop/client']);
  assert.deepEqual([...ambient.proxies.certificates.keys()], ['shop/edge shop/client']);
  assert.equal(tlsOf(ambient)?.mode, 'simple', 'the waypoint shows none');
});

test('BackendTLSPolicy: of one port alone', () => {
  const targetRefs = [{ group: '', kind: 'Service', name: 'order', sectionName: 'http' }];
  const traffic = serviceOf(tlsWorld(tlsPolicy({ targetRefs })), 'shop/waypoint')?.traffic;
  assert.equal(traffic?.policy.tls, undefined);
  assert.equal(traffic?.ports['80']?.tls?.serverName, 'order.internal');
});

const tlsRefusals: { name: string; objects: readonly Json[]; status: readonly string[]; roots?: string }[] = [
  {
    name: 'an authority that cannot be had: the hop fails',
    objects: [
      tlsPolicy({ validation: { hostname: 'x', caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'no' }] } }),
    ],
    status: ['Accepted=False NoValidCACertificate', 'ResolvedRefs=False InvalidCACertificateRef'],
    roots: 'unusable',
  },
  {
    name: 'an authority of another kind',
    objects: [
      tlsPolicy({ validation: { hostname: 'x', caCertificateRefs: [{ group: '', kind: 'Secret', name: 'ca' }] } }),
    ],
    status: ['Accepted=False NoValidCACertificate', 'ResolvedRefs=False InvalidKind'],
    roots: 'unusable',
  },
  {
    name: 'the younger of two',
    objects: [
      tlsPolicy(),
      tlsPolicy(
        { validation: { hostname: 'old', wellKnownCACertificates: 'System' } },
        { name: 'o', creationTimestamp: '2025-01-01T00:00:00Z' },
      ),
    ],
    status: ['Accepted=False Conflicted'],
    roots: 'system',
  },
  {
    name: 'a service that there is not',
    objects: [tlsPolicy({ targetRefs: [{ group: '', kind: 'Service', name: 'x' }] })],
    status: ['Accepted=False TargetNotFound'],
  },
  {
    name: 'a port that there is not',
    objects: [tlsPolicy({ targetRefs: [{ group: '', kind: 'Service', name: 'order', sectionName: 'x' }] })],
    status: ['Accepted=False TargetNotFound'],
  },
  {
    name: 'told to be left alone',
    objects: [tlsPolicy({}, { annotations: { 'istio.io/ignore-policy-attachment': 'true' } })],
    status: ['Accepted=False IgnoredByIstio'],
  },
];
for (const c of tlsRefusals)
  test(`BackendTLSPolicy: ${c.name}`, () => {
    const ambient = tlsWorld(...c.objects);
    assert.deepEqual(conditionsOf(ambient, 'BackendTLSPolicy/shop/p'), [c.status]);
    assert.equal(tlsOf(ambient)?.roots.kind, c.roots);
  });
