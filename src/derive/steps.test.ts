// Deriving in steps equals deriving at once: on random histories of a small, crowded cluster, where objects share
// names, labels, hosts and addresses so that nearly every rule comes into play.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ambient } from './ambient.ts';
import { DEFAULT_AMBIENT_OPTIONS, deriveAmbient } from './ambient.ts';
import type { Json } from './read.ts';
import { ambientOf, feed, keyOf, PLURALS } from './testing.ts';

const NAMESPACES = ['istio-system', 'a', 'b'];
const namespace = fc.constantFrom(...NAMESPACES);
const name = fc.constantFrom('p', 'q', 'r');
const created = fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z');
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const record = <T extends Record<string, fc.Arbitrary<unknown>>>(shape: T): fc.Arbitrary<Json> =>
  fc.record(shape).map((value) => Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)));
const appLabels = record({ app: maybe(fc.constantFrom('x', 'y')), version: maybe(fc.constantFrom('v1')) });
const waypointLabels = record({
  'istio.io/use-waypoint': maybe(fc.constantFrom('w', 'none')),
  'istio.io/use-waypoint-namespace': maybe(namespace),
  'istio.io/use-waypoint-canary': maybe(fc.constantFrom('p', 'w')),
  'istio.io/rev': maybe(fc.constantFrom('other')),
});
const labels = fc.tuple(appLabels, waypointLabels).map(([a, b]) => ({ ...a, ...b }));
const ip = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3');

const object = (kind: string, spec: fc.Arbitrary<Json>, more: Record<string, fc.Arbitrary<unknown>> = {}) =>
  fc
    .tuple(record({ namespace, name, labels, creationTimestamp: created }), spec, record(more))
    .map(([metadata, itsSpec, rest]): Json => ({ kind, metadata, spec: itsSpec, ...rest }));

const pod = object(
  'Pod',
  record({ nodeName: fc.constantFrom('n1', 'n2'), serviceAccountName: name, hostNetwork: fc.boolean() }),
  {
    status: record({
      podIP: maybe(ip),
      phase: fc.constantFrom('Running', 'Succeeded'),
      conditions: fc.constantFrom([], [{ type: 'Ready', status: 'True' }]),
    }),
  },
).chain((made) =>
  fc.constantFrom({}, { 'ambient.istio.io/redirection': 'enabled' }).map((annotations) => {
    const metadata = made.metadata as Json;
    return { ...made, metadata: { ...metadata, uid: String(metadata.name), annotations } };
  }),
);
const port = fc.constantFrom(
  { name: 'http', port: 80, targetPort: 8080 },
  { name: 'tcp', port: 90, targetPort: 'named' },
);
const service = object(
  'Service',
  record({ selector: maybe(appLabels), clusterIP: maybe(ip), ports: fc.array(port, { maxLength: 2 }) }),
);
const slice = object('EndpointSlice', fc.constant({})).chain((made) =>
  fc.tuple(name, fc.array(fc.oneof(ip, name), { maxLength: 3 })).map(([of, ends]) => {
    const metadata = made.metadata as Json;
    return {
      ...made,
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': of } },
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: ends.map((end) =>
        end.includes('.')
          ? { addresses: [end] }
          : { addresses: ['10.0.0.9'], targetRef: { kind: 'Pod', name: end, namespace: metadata.namespace, uid: end } },
      ),
    };
  }),
);
const serviceEntry = object(
  'ServiceEntry',
  record({
    hosts: fc.uniqueArray(fc.constantFrom('h.example', 'p.a.svc.cluster.local', '*.wild.example'), { minLength: 1 }),
    addresses: maybe(fc.constantFrom(['10.9.0.0/16'], ['10.0.0.2'], ['bad'])),
    ports: fc.constant([{ number: 443, name: 'tls', protocol: 'TLS' }]),
    resolution: fc.constantFrom('NONE', 'STATIC', 'DNS', 'DYNAMIC_DNS'),
    endpoints: maybe(fc.array(record({ address: ip, labels: maybe(labels) }), { maxLength: 2 })),
    workloadSelector: maybe(record({ labels: appLabels })),
  }),
);
const workloadEntry = object(
  'WorkloadEntry',
  record({ address: fc.oneof(ip, fc.constant('db.example')), labels: maybe(appLabels) }),
);
const gateway = object(
  'Gateway',
  record({
    gatewayClassName: fc.constantFrom('istio-waypoint'),
    listeners: fc.constantFrom<Json[]>(
      [{ port: 15008, protocol: 'HBONE', allowedRoutes: { namespaces: { from: 'All' } } }],
      [{ port: 15008, protocol: 'HBONE' }],
    ),
  }),
  { status: record({ addresses: fc.constantFrom([], [{ type: 'IPAddress', value: '10.0.0.50' }]) }) },
).chain((made) =>
  fc.constantFrom('service', 'workload', 'all').map((traffic) => ({
    ...made,
    metadata: { ...(made.metadata as Json), name: 'w', labels: { 'istio.io/waypoint-for': traffic } },
  })),
);
const CERTIFICATE = btoa('-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----');
const KEY = btoa('-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----');
/** Gateways with certificates here and elsewhere, with parameters, of our class and of one that comes and goes. */
const edge = object(
  'Gateway',
  record({
    gatewayClassName: fc.constantFrom('istio', 'own'),
    listeners: fc.tuple(namespace, name).map(([of, secret]) => [
      { name: 'h', port: 80, protocol: 'HTTP' },
      { name: 's', port: 443, protocol: 'HTTPS', tls: { certificateRefs: [{ name: secret, namespace: of }] } },
    ]),
    infrastructure: maybe(fc.constant({ parametersRef: { group: '', kind: 'ConfigMap', name: 'p' } })),
    addresses: maybe(fc.constant([{ type: 'Hostname', value: 'q' }])),
  }),
);
const secret = object('Secret', fc.constant({}), {
  data: fc.constantFrom<Json>({ 'tls.crt': CERTIFICATE, 'tls.key': KEY }, { 'tls.crt': CERTIFICATE }),
});
const configMap = object('ConfigMap', fc.constant({}), {
  data: fc.constantFrom<Json>({ deployment: 'spec: {replicas: 2}' }, { other: '' }),
}).chain((made) =>
  fc.constantFrom({}, { 'gateway.istio.io/defaults-for-class': 'istio' }).map((more) => {
    const metadata = made.metadata as Json;
    return { ...made, metadata: { ...metadata, labels: more } };
  }),
);
const grant = object(
  'ReferenceGrant',
  namespace.map((from) => ({
    from: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', namespace: from }],
    to: [{ group: '', kind: 'Secret' }],
  })),
);
const ownClass = fc
  .constantFrom('istio.io/gateway-controller', 'istio.io/mesh-controller', 'example.com/x')
  .map((controllerName): Json => ({ kind: 'GatewayClass', metadata: { name: 'own' }, spec: { controllerName } }));
const mode = fc.constantFrom('UNSET', 'STRICT', 'PERMISSIVE', 'DISABLE');
const peerAuthentication = object(
  'PeerAuthentication',
  record({
    selector: maybe(record({ matchLabels: appLabels })),
    mtls: maybe(record({ mode })),
    portLevelMtls: maybe(record({ 8080: record({ mode }), 90: record({ mode }) })),
  }),
);
const policy = object(
  'AuthorizationPolicy',
  record({
    selector: maybe(record({ matchLabels: appLabels })),
    action: fc.constantFrom('ALLOW', 'DENY', 'AUDIT'),
    targetRefs: maybe(fc.constant([{ kind: 'Service', group: '', name: 'p' }])),
    rules: fc.constantFrom<Json[]>(
      [{}],
      [{ from: [{ source: { principals: ['cluster.local/ns/a/sa/p'] } }] }],
      [{ to: [{ operation: { methods: ['GET'], ports: ['80'] } }] }],
    ),
  }),
);
const parent = fc.oneof(
  fc.tuple(name, namespace).map(([of, at]): Json => ({ name: of, namespace: at })),
  fc.tuple(name, namespace).map(([of, at]): Json => ({ group: '', kind: 'Service', name: of, namespace: at })),
);
const backend = fc.tuple(name, namespace).map(([of, at]): Json => ({ name: of, namespace: at, port: 80 }));
const routeSpec = record({
  parentRefs: fc.array(parent, { minLength: 1, maxLength: 2 }),
  hostnames: maybe(fc.constantFrom(['a.example'], ['*.example'])),
  rules: fc.array(record({ backendRefs: fc.array(backend, { maxLength: 2 }) }), { maxLength: 2 }),
});
const anyRoute = fc
  .constantFrom('HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute')
  .chain((kind) => object(kind, routeSpec));
const routeGrant = object(
  'ReferenceGrant',
  namespace.map((from) => ({
    from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: from }],
    to: [{ group: '', kind: 'Service' }],
  })),
);
const virtualService = object(
  'VirtualService',
  record({
    hosts: fc.constantFrom(['p'], ['*.a.svc.cluster.local'], ['a.example'], []),
    gateways: maybe(fc.constantFrom(['mesh'], ['p'], ['a/p', 'mesh'])),
    exportTo: maybe(fc.constantFrom(['.'], ['a'])),
    http: fc.constantFrom<Json[]>(
      [{ route: [{ destination: { host: 'q' } }] }],
      [{ delegate: { name: 'r' } }],
      [{ match: [{ uri: { prefix: '/x' }, gateways: ['p'] }], redirect: { uri: '/y' } }],
    ),
  }),
);
const destinationRule = object(
  'DestinationRule',
  record({
    host: fc.constantFrom('p', '*.svc.cluster.local', 'h.example'),
    trafficPolicy: maybe(
      fc.constantFrom<Json>({ loadBalancer: { simple: 'RANDOM' } }, { tls: { mode: 'MUTUAL', credentialName: 'p' } }),
    ),
    subsets: maybe(fc.constant([{ name: 'v1', labels: { version: 'v1' } }])),
  }),
);
const backendTls = object(
  'BackendTLSPolicy',
  record({
    targetRefs: fc.constantFrom([{ group: '', kind: 'Service', name: 'p' }]),
    validation: fc.constantFrom<Json>(
      { hostname: 'h', wellKnownCACertificates: 'System' },
      { hostname: 'h', caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'p' }] },
    ),
  }),
);
const token = object(
  'RequestAuthentication',
  record({
    targetRefs: maybe(fc.constant([{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'p' }])),
    jwtRules: fc.constantFrom([{ issuer: 'i', jwksUri: 'https://i/k' }], [{ issuer: 'j', jwks: '{"keys":[]}' }]),
  }),
);
const insists = fc.constantFrom({}, {}, { 'ambit.dev/waypoint-policy': 'required' });
const ns = fc
  .tuple(
    insists,
    namespace,
    waypointLabels,
    fc.constantFrom({}, { team: 'seen' }, { 'topology.istio.io/network': 'net' }),
  )
  .map(
    ([annotations, itsName, own, more]): Json => ({
      kind: 'Namespace',
      metadata: { name: itsName, labels: { ...own, ...more }, annotations },
    }),
  );
const node = fc.tuple(fc.constantFrom('n1', 'n2'), fc.constantFrom('z1', 'z2')).map(
  ([itsName, zone]): Json => ({
    kind: 'Node',
    metadata: { name: itsName, labels: { 'topology.kubernetes.io/zone': zone } },
  }),
);
const anyObject: fc.Arbitrary<Json> = fc.oneof(
  pod,
  service,
  slice,
  serviceEntry,
  workloadEntry,
  gateway,
  edge,
  secret,
  configMap,
  grant,
  ownClass,
  peerAuthentication,
  policy,
  anyRoute,
  anyRoute,
  routeGrant,
  virtualService,
  destinationRule,
  backendTls,
  token,
  ns,
  node,
);

type Step =
  | { readonly do: 'set'; readonly object: Json }
  | { readonly do: 'delete'; readonly object: Json }
  | { readonly do: 'mesh'; readonly mesh: Json }
  | { readonly do: 'flush' };
const meshConfig = fc.constantFrom<Json>(
  {},
  { rootNamespace: 'a', trustDomain: 'other.example' },
  { discoverySelectors: [{ matchLabels: { team: 'seen' } }] },
  { serviceEntryVisibility: { defaultVisibility: 'NAMESPACE' } },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: anyObject.map((made): Step => ({ do: 'set', object: made })) },
  { weight: 4, arbitrary: anyObject.map((made): Step => ({ do: 'delete', object: made })) },
  { weight: 1, arbitrary: meshConfig.map((mesh): Step => ({ do: 'mesh', mesh })) },
  { weight: 3, arbitrary: fc.constant<Step>({ do: 'flush' }) },
);

const sorted = <T>(entries: Iterable<[string, T]>): [string, T][] => [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
const outcome = (ambient: Ambient) => ({
  workloads: sorted(ambient.workloads.entries()),
  services: sorted(ambient.services.entries()),
  policies: sorted(ambient.policies.entries()),
  reports: sorted(ambient.reports.entries()),
  parts: sorted(ambient.gateways.parts.entries()),
  listeners: sorted(ambient.gateways.verdicts.entries()),
  routes: sorted(ambient.routes.entries()),
  proxies: sorted(ambient.proxies.configs.entries()),
  identities: sorted(ambient.proxies.identities.entries()),
  proxyServices: sorted(ambient.proxies.services.entries()),
  certificates: sorted(ambient.proxies.certificates.entries()),
  keySources: sorted(ambient.proxies.keySources.entries()),
});

function walk(steps: readonly Step[], autoAllowWaypoints: boolean): void {
  const ambient = deriveAmbient({ ...DEFAULT_AMBIENT_OPTIONS, autoAllowWaypoints });
  const alive = new Map<string, Json>();
  let mesh: Json | undefined;
  for (const move of steps) {
    if (move.do === 'flush') ambient.graph.flush();
    else if (move.do === 'mesh') {
      mesh = move.mesh;
      ambient.inputs.setMesh(mesh);
    } else {
      const key = `${String(move.object.kind)} ${keyOf(move.object)}`;
      const plural = PLURALS[String(move.object.kind)];
      if (move.do === 'set') {
        alive.set(key, move.object);
        feed(ambient, move.object);
      } else if (plural !== undefined) {
        alive.delete(key);
        ambient.inputs.set(plural, keyOf(move.object), undefined);
      }
    }
  }
  ambient.graph.flush();
  assert.deepEqual(outcome(ambient), outcome(ambientOf([...alive.values()], { autoAllowWaypoints }, mesh)));
}

test('deriving in steps equals deriving at once', () => {
  fc.assert(fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), fc.boolean(), walk), { numRuns: 250 });
});

test('the order of arrival is irrelevant', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(anyObject, { selector: (o: Json) => `${String(o.kind)} ${keyOf(o)}`, maxLength: 30 }),
      (objects) => assert.deepEqual(outcome(ambientOf(objects)), outcome(ambientOf([...objects].reverse()))),
    ),
    { numRuns: 150 },
  );
});
