// Random worlds for property tests. Names and addresses come from small pools on purpose, so that they meet.

import fc from 'fast-check';
import type { Connection } from '../connection.ts';
import type { Predicate } from '../facts.ts';
import type { Cidr, Ip } from '../ip.ts';
import type { Policy, PolicyMatch } from '../policy.ts';
import type { GatewayAddress, PortMapping, Service, ServiceKey, Workload } from '../workload.ts';
import { cidr, ip } from './builders.ts';

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true });

export const NAMESPACES = ['shop', 'bank', 'istio-system'];
const ACCOUNTS = ['order', 'payment', 'default'];
export const IPS: readonly Ip[] = [
  '10.0.0.1',
  '10.0.0.2',
  '10.0.0.3',
  '10.1.0.1',
  '10.1.0.2',
  'fd00::1',
  'fd00::2',
].map(ip);
const RANGES: readonly Cidr[] = [
  '10.0.0.0/8',
  '10.0.0.0/30',
  '10.1.0.0/16',
  '0.0.0.0/0',
  'fd00::/64',
  '10.0.0.2/32',
].map(cidr);
export const NETWORKS = ['', 'other'];
export const HOSTNAMES = [
  'order.shop.svc.cluster.local',
  'payment.bank.svc.cluster.local',
  'api.example.com',
  '*.example.com',
];
export const PORTS = [80, 443, 8080, 15008];
const POLICY_NAMES = ['a', 'b', 'c', 'd'];

export const someIp = fc.constantFrom(...IPS);
export const somePort = fc.constantFrom(...PORTS);
export const someNamespace = fc.constantFrom(...NAMESPACES);
const someNetwork = fc.oneof(
  { weight: 4, arbitrary: fc.constant('') },
  { weight: 1, arbitrary: fc.constantFrom(...NETWORKS) },
);
const someRange = fc.constantFrom(...RANGES);
const someHostname = fc.constantFrom(...HOSTNAMES);
export const someServiceKey: fc.Arbitrary<ServiceKey> = fc
  .tuple(someNamespace, someHostname)
  .map(([namespace, hostname]) => `${namespace}/${hostname}`);
const somePolicyKey = fc.tuple(someNamespace, fc.constantFrom(...POLICY_NAMES)).map((parts) => parts.join('/'));

const somePortMapping: fc.Arbitrary<PortMapping> = record({
  servicePort: somePort,
  targetPort: fc.oneof(somePort, fc.constant(0)),
  appProtocol: fc.constantFrom('unknown', 'http11', 'tcp'),
});

const someGateway: fc.Arbitrary<GatewayAddress> = record({
  destination: fc.oneof(
    record({ kind: fc.constant('hostname' as const), namespace: someNamespace, hostname: someHostname }),
    record({ kind: fc.constant('address' as const), network: someNetwork, ip: someIp }),
  ),
  hbonePort: fc.constantFrom(15008, 80),
});

const rarely = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

export const someWorkload: fc.Arbitrary<Workload> = record({
  uid: fc.constantFrom(
    'Kubernetes//Pod/shop/a',
    'Kubernetes//Pod/shop/b',
    'Kubernetes//Pod/bank/c',
    'Kubernetes/x/y/z',
    'w',
  ),
  name: fc.constantFrom('a', 'b', 'c'),
  namespace: someNamespace,
  addresses: fc.uniqueArray(someIp, { maxLength: 2 }),
  hostname: fc.oneof({ weight: 3, arbitrary: fc.constant('') }, { weight: 1, arbitrary: someHostname }),
  network: someNetwork,
  tunnelProtocol: fc.constantFrom('none', 'hbone'),
  trustDomain: fc.constantFrom('cluster.local', 'other.domain'),
  serviceAccount: fc.constantFrom(...ACCOUNTS),
  waypoint: rarely(someGateway),
  networkGateway: rarely(someGateway),
  node: fc.constantFrom('node-1', 'node-2'),
  canonicalName: fc.constantFrom('', 'order'),
  canonicalRevision: fc.constantFrom('latest', 'v1'),
  workloadType: fc.constantFrom('deployment', 'cronjob', 'pod', 'job'),
  workloadName: fc.constantFrom('order', 'payment'),
  nativeTunnel: fc.boolean(),
  applicationTunnel: rarely(record({ protocol: fc.constantFrom('none', 'proxy'), port: fc.constantFrom(0, 15088) })),
  services: fc
    .uniqueArray(fc.tuple(someServiceKey, fc.array(somePortMapping, { maxLength: 2 })), {
      maxLength: 3,
      selector: ([key]) => key,
    })
    .map((entries) => new Map(entries)),
  authorizationPolicies: fc.array(somePolicyKey, { maxLength: 3 }),
  status: fc.oneof(
    { weight: 3, arbitrary: fc.constant('healthy' as const) },
    { weight: 1, arbitrary: fc.constant('unhealthy' as const) },
  ),
  clusterId: fc.constantFrom('Kubernetes', 'c2'),
  locality: record({
    region: fc.constantFrom('', 'r1'),
    zone: fc.constantFrom('', 'z1'),
    subzone: fc.constantFrom('', 's1'),
  }),
  hostNetwork: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  capacity: fc.constantFrom(1, 1, 0, 5),
});

export const someService: fc.Arbitrary<Service> = record({
  name: fc.constantFrom('order', 'payment'),
  namespace: someNamespace,
  hostname: someHostname,
  vips: fc.uniqueArray(record({ network: someNetwork, ip: someIp }), {
    maxLength: 2,
    selector: (v) => `${v.network}/${v.ip}`,
  }),
  cidrVips: fc.array(
    record({ network: someNetwork, range: someRange.filter((r) => r.length < 32 || r.ip.includes(':')) }),
    {
      maxLength: 2,
    },
  ),
  ports: fc.array(somePortMapping, { maxLength: 3 }),
  subjectAltNames: fc.array(
    record({
      trustDomain: fc.constant('cluster.local'),
      namespace: someNamespace,
      serviceAccount: fc.constantFrom(...ACCOUNTS),
    }),
    { maxLength: 1 },
  ),
  waypoint: rarely(someGateway),
  weightedWaypoints: fc.array(record({ waypoint: someGateway, weight: fc.constantFrom(0, 1, 3) }), { maxLength: 2 }),
  loadBalancing: record({
    mode: fc.constantFrom('unspecified', 'strict', 'failover', 'passthrough'),
    preferences: fc.uniqueArray(fc.constantFrom('region', 'zone', 'subzone', 'node', 'cluster', 'network'), {
      maxLength: 3,
    }),
    healthPolicy: fc.constantFrom('onlyHealthy', 'allowAll'),
  }),
  ipFamilies: fc.constantFrom('automatic', 'ipv4', 'ipv6', 'dual'),
  canonical: fc.boolean(),
  ingressUseWaypoint: fc.boolean(),
  visibility: fc.constantFrom('public', 'public', 'namespace'),
});

const text = (values: readonly string[]): fc.Arbitrary<Predicate> =>
  fc.oneof(
    record({ kind: fc.constant('exact' as const), value: fc.constantFrom(...values) }),
    record({
      kind: fc.constant('prefix' as const),
      value: fc.constantFrom(...values.map((v) => v.slice(0, 3)), ''),
    }),
    record({ kind: fc.constant('suffix' as const), value: fc.constantFrom(...values.map((v) => v.slice(-3))) }),
    fc.constant<Predicate>({ kind: 'present' }),
  );
const principals = text(NAMESPACES.flatMap((ns) => ACCOUNTS.map((sa) => `cluster.local/ns/${ns}/sa/${sa}`)));
const accounts = fc
  .tuple(someNamespace, fc.constantFrom(...ACCOUNTS))
  .map(([ns, sa]): Predicate => ({ kind: 'exact', value: `${ns}/${sa}` }));
const ranges = someRange.map((range): Predicate => ({ kind: 'cidr', range }));
const portNumbers = somePort.map((port): Predicate => ({ kind: 'port', port }));
const few = (arbitrary: fc.Arbitrary<Predicate>): fc.Arbitrary<Predicate[]> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constant<Predicate[]>([]) },
    { weight: 1, arbitrary: fc.array(arbitrary, { minLength: 1, maxLength: 2 }) },
  );

export const someMatch: fc.Arbitrary<PolicyMatch> = record({
  namespaces: few(text(NAMESPACES)),
  notNamespaces: few(text(NAMESPACES)),
  serviceAccounts: few(accounts),
  notServiceAccounts: few(accounts),
  principals: few(principals),
  notPrincipals: few(principals),
  sourceIps: few(ranges),
  notSourceIps: few(ranges),
  destinationIps: few(ranges),
  notDestinationIps: few(ranges),
  destinationPorts: few(portNumbers),
  notDestinationPorts: few(portNumbers),
});

export const somePolicy: fc.Arbitrary<Policy> = record({
  name: fc.constantFrom(...POLICY_NAMES),
  namespace: someNamespace,
  scope: fc.constantFrom('global', 'namespace', 'workloadSelector'),
  action: fc.constantFrom('allow', 'deny'),
  dryRun: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  anyRule: fc.array(
    record({
      everyClause: fc.array(record({ anyMatch: fc.array(someMatch, { maxLength: 2 }) }), { maxLength: 2 }),
    }),
    { maxLength: 2 },
  ),
}).map((p): Policy => ({ key: `${p.namespace}/${p.name}`, ...p }) as Policy);

export const someConnection: fc.Arbitrary<Connection> = record<Connection>({
  source: record({ ip: someIp, port: fc.constant(40000) }),
  identity: rarely(
    record({
      trustDomain: fc.constantFrom('cluster.local', 'other.domain'),
      namespace: someNamespace,
      serviceAccount: fc.constantFrom(...ACCOUNTS),
    }),
  ),
  destination: record({ ip: someIp, port: somePort }),
});
