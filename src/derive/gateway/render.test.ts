import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfigMap } from '../objects/config-map.ts';
import { parseGateway, parseGatewayClass } from '../objects/gateway.ts';
import type { Json } from '../read.ts';
import { strategicMerge } from './overlay.ts';
import { type Overlays, parseOverlays } from './parameters.ts';
import type { GatewayDefaults } from './pod-template.ts';
import { type RenderedObject, renderGateway } from './render.ts';
import { type GatewayRole, roleOf } from './role.ts';

const DEFAULTS: GatewayDefaults = {
  image: 'ambit/proxy',
  clusterId: 'Kubernetes',
  clusterDomain: 'cluster.local',
  network: '',
  trustDomain: 'cluster.local',
  discoveryAddress: 'istiod.istio-system.svc:15012',
  systemNamespace: 'istio-system',
  revision: 'default',
};

interface Asked {
  readonly metadata?: Json;
  readonly spec?: Json;
  readonly overlays?: readonly Record<string, string>[];
  readonly defaults?: Partial<GatewayDefaults>;
}
const overlaysOf = (data: Record<string, string>): Overlays => {
  const parsed = parseOverlays(parseConfigMap({ metadata: { name: 'params', namespace: 'shop' }, data }));
  assert.ok(!('problem' in parsed), JSON.stringify(parsed));
  return parsed;
};
function rendered({ metadata, spec, overlays = [], defaults }: Asked) {
  const gateway = parseGateway({
    metadata: { name: 'wp', namespace: 'shop', uid: 'u1', ...metadata },
    spec: {
      gatewayClassName: 'istio-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      ...spec,
    },
  });
  const role = roleOf(gateway, undefined) as GatewayRole;
  return renderGateway(gateway, role, { ...DEFAULTS, ...defaults }, overlays.map(overlaysOf));
}
function objectsOf(asked: Asked = {}): Record<string, RenderedObject & Record<string, never>> {
  const made = rendered(asked);
  assert.ok('objects' in made, JSON.stringify(made));
  return Object.fromEntries(made.objects.map((object) => [object.kind, object])) as never;
}
const dig = (value: unknown, ...path: (string | number)[]): unknown =>
  path.reduce<unknown>((at, key) => (at as Record<string | number, unknown> | undefined)?.[key], value);

test('a waypoint is three objects of its own name, owned by its Gateway', () => {
  const made = objectsOf();
  assert.deepEqual(Object.keys(made), ['ServiceAccount', 'Service', 'Deployment']);
  for (const object of Object.values(made)) {
    assert.equal(object.metadata.name, 'wp');
    assert.deepEqual(object.metadata.ownerReferences, [
      { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', name: 'wp', uid: 'u1' },
    ]);
    assert.deepEqual(object.metadata.labels, {
      'gateway.networking.k8s.io/gateway-name': 'wp',
      'gateway.networking.k8s.io/gateway-class-name': 'istio-waypoint',
      'gateway.istio.io/managed': 'istio.io-mesh-controller',
    });
  }
  assert.equal(dig(made.Service, 'spec', 'type'), 'ClusterIP');
  assert.deepEqual(dig(made.Service, 'spec', 'ports'), [
    { name: 'status-port', port: 15021, protocol: 'TCP', appProtocol: 'tcp' },
    { name: 'mesh', port: 15008, protocol: 'TCP', appProtocol: 'hbone' },
  ]);
  assert.equal(dig(made.Service, 'metadata', 'annotations', 'networking.istio.io/traffic-distribution'), 'PreferClose');
  assert.equal(dig(made.Deployment, 'spec', 'replicas'), undefined, 'so that scaling it survives');
  assert.deepEqual(dig(made.Deployment, 'spec', 'selector', 'matchLabels'), {
    'gateway.networking.k8s.io/gateway-name': 'wp',
  });
  assert.deepEqual(dig(made.Deployment, 'spec', 'strategy', 'rollingUpdate'), { maxSurge: 1, maxUnavailable: 0 });
});

test('its pods run the proxy as the contract says', () => {
  const container = dig(objectsOf().Deployment, 'spec', 'template', 'spec', 'containers', 0) as Json;
  assert.equal(container.name, 'istio-proxy');
  assert.equal(container.image, 'ambit/proxy');
  assert.deepEqual(container.args, ['proxy', 'waypoint']);
  const env = Object.fromEntries((container.env as { name: string; value?: string }[]).map((e) => [e.name, e.value]));
  assert.equal(env.GATEWAY_NAME, 'wp');
  assert.equal(env.XDS_ADDRESS, 'https://istiod.istio-system.svc:15012');
  assert.equal(env.CLUSTER_ID, 'Kubernetes');
  for (const name of ['POD_NAME', 'POD_NAMESPACE', 'INSTANCE_IP', 'SERVICE_ACCOUNT', 'NODE_NAME'])
    assert.ok(name in env);
  const template = dig(objectsOf().Deployment, 'spec', 'template', 'metadata') as { labels: Json; annotations: Json };
  assert.equal(template.labels['istio.io/dataplane-mode'], 'none');
  assert.equal(template.labels['service.istio.io/canonical-name'], 'wp');
  assert.equal(template.annotations['prometheus.io/port'], '15020');
});

test('a gateway is named with its class, takes every port once, and has a load balancer', () => {
  const listeners = [
    { name: 'HTTP_1', port: 80, protocol: 'HTTP', hostname: 'a' },
    { name: 'again', port: 80, protocol: 'HTTP', hostname: 'b' },
    { name: 'http-1', port: 8080, protocol: 'HTTP' },
  ];
  const made = objectsOf({ metadata: { name: 'edge' }, spec: { gatewayClassName: 'istio', listeners } });
  assert.equal(made.Deployment?.metadata.name, 'edge-istio');
  assert.equal(dig(made.Service, 'spec', 'type'), 'LoadBalancer');
  assert.deepEqual(
    (dig(made.Service, 'spec', 'ports') as { name: string; port: number }[]).map(({ name, port }) => [name, port]),
    [
      ['status-port', 15021],
      ['http-1', 80],
      ['http-1-8080', 8080],
    ],
  );
  assert.deepEqual(dig(made.Deployment, 'spec', 'template', 'spec', 'containers', 0, 'args'), ['proxy', 'router']);
});

test('annotations name and shape the parts', () => {
  const annotations = {
    'gateway.istio.io/name-override': 'front',
    'gateway.istio.io/service-account': 'robot',
    'networking.istio.io/service-type': 'NodePort',
    'kubectl.kubernetes.io/last-applied-configuration': '{}',
    team: 'shop',
  };
  const made = objectsOf({
    metadata: { annotations, labels: { tier: 'edge', 'gateway.networking.k8s.io/x': '1' } },
    spec: { addresses: [{ type: 'IPAddress', value: '192.0.2.7' }] },
  });
  assert.equal(made.Deployment?.metadata.name, 'front');
  assert.equal(made.ServiceAccount?.metadata.name, 'robot');
  assert.equal(dig(made.Service, 'spec', 'type'), 'NodePort');
  assert.equal(dig(made.Service, 'spec', 'loadBalancerIP'), '192.0.2.7');
  assert.equal(dig(made.Deployment, 'spec', 'template', 'spec', 'serviceAccountName'), 'robot');
  const inherited = made.Deployment?.metadata as unknown as { annotations: Json; labels: Json };
  assert.deepEqual(inherited.annotations, { team: 'shop', 'networking.istio.io/service-type': 'NodePort' });
  assert.equal(inherited.labels.tier, 'edge');
  assert.ok(!('gateway.networking.k8s.io/x' in inherited.labels));
});

test('infrastructure replaces what would be inherited, kind by kind', () => {
  const made = objectsOf({
    metadata: { labels: { tier: 'edge' }, annotations: { team: 'shop' } },
    spec: { infrastructure: { labels: { cost: '7' } } },
  });
  const metadata = made.Deployment?.metadata as unknown as { annotations: Json; labels: Json };
  assert.equal(metadata.labels.cost, '7');
  assert.ok(!('tier' in metadata.labels));
  assert.equal(metadata.annotations.team, 'shop');
});

test('concurrency and resources of the annotation that guides use', () => {
  const config = 'concurrency: 4\nresources:\n  limits:\n    cpu: 500m\n';
  const made = objectsOf({ metadata: { annotations: { 'proxy.istio.io/config': config } } });
  const container = dig(made.Deployment, 'spec', 'template', 'spec', 'containers', 0) as Json;
  assert.deepEqual(container.resources, { limits: { cpu: '500m' } });
  const env = container.env as { name: string; value?: string }[];
  assert.equal(env.find(({ name }) => name === 'PROXY_CONFIG')?.value, '{"concurrency":4}');
});

for (const [name, asked, problem] of [
  ['settings that are not YAML', { metadata: { annotations: { 'proxy.istio.io/config': 'a: [' } } }, /not YAML/],
  [
    'a concurrency that is none',
    { metadata: { annotations: { 'proxy.istio.io/config': 'concurrency: x' } } },
    /concurrency `x`/,
  ],
  [
    'an unknown service type',
    { metadata: { annotations: { 'networking.istio.io/service-type': 'X' } } },
    /`X` is none of/,
  ],
] as const)
  test(`refused: ${name}`, () => {
    const made = rendered(asked);
    assert.ok('problem' in made);
    assert.match(made.problem, problem);
  });

test('parameters: replicas, a second container, an autoscaler; the Gateway after its class', () => {
  const made = objectsOf({
    overlays: [
      { deployment: 'spec:\n  replicas: 2\n', service: 'spec:\n  externalTrafficPolicy: Local\n' },
      {
        deployment:
          'spec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n      - name: istio-proxy\n        image: mine\n      - name: side\n        image: s\n',
        horizontalPodAutoscaler: 'spec:\n  minReplicas: 2\n  maxReplicas: 5\n',
        podDisruptionBudget: 'spec:\n  minAvailable: 1\n',
      },
    ],
  });
  assert.deepEqual(Object.keys(made), [
    'ServiceAccount',
    'Service',
    'Deployment',
    'HorizontalPodAutoscaler',
    'PodDisruptionBudget',
  ]);
  assert.equal(dig(made.Deployment, 'spec', 'replicas'), 3);
  const containers = dig(made.Deployment, 'spec', 'template', 'spec', 'containers') as {
    name: string;
    image: string;
    args?: string[];
  }[];
  assert.deepEqual(
    containers.map(({ name, image }) => [name, image]),
    [
      ['istio-proxy', 'mine'],
      ['side', 's'],
    ],
  );
  assert.deepEqual(containers[0]?.args, ['proxy', 'waypoint'], 'the rest of the container stays');
  assert.equal(dig(made.Service, 'spec', 'externalTrafficPolicy'), 'Local');
  assert.equal(dig(made.HorizontalPodAutoscaler, 'spec', 'maxReplicas'), 5);
  assert.equal(dig(made.HorizontalPodAutoscaler, 'spec', 'scaleTargetRef', 'name'), 'wp');
  assert.deepEqual(dig(made.PodDisruptionBudget, 'spec'), {
    selector: { matchLabels: { 'gateway.networking.k8s.io/gateway-name': 'wp' } },
    minAvailable: 1,
  });
});

for (const [data, problem] of [
  [{ pod: 'x: 1' }, /entry `pod` is none of/],
  [{ deployment: 'a: [' }, /`deployment` is not YAML/],
  [{ deployment: '- a' }, /is not a mapping/],
  [{ service: 'metadata:\n  name: x\n' }, /may not set metadata.name/],
  [{ service: 'metadata: null\n' }, /metadata is not a mapping/],
  [{ service: '$patch: replace\n' }, /may not replace the whole object/],
  [{ service: 'metadata:\n  ownerReferences: []\n' }, /may not set metadata.ownerReferences/],
] as const)
  test(`parameters refused: ${Object.keys(data)[0]} ${problem.source}`, () => {
    const parsed = parseOverlays(parseConfigMap({ metadata: { name: 'p', namespace: 'n' }, data }));
    assert.ok('problem' in parsed);
    assert.match(parsed.problem as string, problem);
  });

test('strategic merge: by key, null removes, directives are obeyed', () => {
  const base = {
    env: [
      { name: 'A', value: '1' },
      { name: 'B', value: '2' },
    ],
    args: ['x'],
    keep: 1,
    gone: 2,
  };
  assert.deepEqual(
    strategicMerge(base, {
      env: [
        { name: 'B', value: '3' },
        { name: 'C', value: '4' },
      ],
      gone: null,
      args: ['y'],
    }),
    {
      env: [
        { name: 'A', value: '1' },
        { name: 'B', value: '3' },
        { name: 'C', value: '4' },
      ],
      args: ['y'],
      keep: 1,
    },
  );
  assert.deepEqual(strategicMerge(base, { env: [{ name: 'A', $patch: 'delete' }] }).env, [{ name: 'B', value: '2' }]);
  assert.deepEqual(strategicMerge(base, { env: [{ $patch: 'replace', name: '' }, { name: 'Z' }] }).env, [
    { name: 'Z' },
  ]);
  assert.deepEqual(strategicMerge({ a: { b: 1, c: 2 } }, { a: { $patch: 'replace', d: 1 } }), { a: { d: 1 } });
  assert.deepEqual(Object.keys(strategicMerge({}, JSON.parse('{"__proto__": {"x": 1}}') as Json)), []);
  let deep: Json = {};
  for (let i = 0; i < 100; i++) deep = { a: deep };
  assert.throws(() => strategicMerge({}, deep), RangeError);
});

test('a class of the user behaves as its controller', () => {
  const gateway = parseGateway({
    metadata: { name: 'g', namespace: 'n' },
    spec: { gatewayClassName: 'mine', listeners: [] },
  });
  const cls = (controllerName: string) => parseGatewayClass({ metadata: { name: 'mine' }, spec: { controllerName } });
  assert.equal(roleOf(gateway, cls('istio.io/mesh-controller'))?.kind, 'waypoint');
  assert.equal(roleOf(gateway, cls('example.com/other')), undefined);
  assert.equal(roleOf(gateway, undefined), undefined);
});
