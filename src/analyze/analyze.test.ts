// The analysis as a whole: order, scope, suppression, overlay, lines; the shapes that guides use; any objects at all.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { analyze } from './analyze.ts';
import { ANALYZERS } from './analyzers.ts';
import { parseDocuments } from './documents.ts';
import { KIND } from './kinds.ts';
import { Resource } from './resource.ts';
import { parseSuppression, type Suppression } from './suppress.ts';
import { messagesOf, resourcesOf } from './testing/messages.ts';
import { World } from './world.ts';

const TWO = `
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: web
  namespace: shop
spec:
  hosts: [web]
  http:
  - route:
    - destination:
        host: db
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
`;
const codes = (yaml: string, options: Parameters<typeof messagesOf>[1] = {}): string[] =>
  messagesOf(yaml, options).map(({ code }) => code);

test('worst first, each with the line of its field', () => {
  assert.deepEqual(
    messagesOf(TWO).map(({ code, level, line }) => [code, level, line]),
    [
      ['IST0101', 'Error', 17],
      ['IST0102', 'Info', 2],
    ],
  );
});

test('a host is called missing only where services are known', () => {
  const alone = TWO.slice(0, TWO.lastIndexOf('---'));
  assert.deepEqual(codes(alone), ['IST0102']);
  assert.deepEqual(
    messagesOf(alone, {}, true).map(({ code }) => code),
    ['IST0101', 'IST0102'],
  );
});

test('a namespace leaves out messages about others, not those about cluster objects', () => {
  assert.deepEqual(codes(TWO, { namespace: 'other' }), ['IST0102']);
  assert.deepEqual(codes(TWO, { namespace: 'shop' }), ['IST0101', 'IST0102']);
});

test('an annotation suppresses codes on its object, `*` all', () => {
  const annotated = (value: string): string =>
    TWO.replace('name: web\n', `name: web\n  annotations: {galley.istio.io/analyze-suppress: "${value}"}\n`);
  assert.deepEqual(codes(annotated('IST0101')), ['IST0102']);
  assert.deepEqual(codes(annotated('IST0109, IST0101')), ['IST0102']);
  assert.deepEqual(codes(annotated('*')), ['IST0102']);
  assert.deepEqual(codes(annotated('IST0109')), ['IST0101', 'IST0102']);
});

test('a pattern suppresses a code on objects by kind and name', () => {
  const by = (written: string): string[] => {
    const parsed = parseSuppression(written);
    assert.ok(parsed.ok, written);
    return codes(TWO, { suppressions: [parsed.value as Suppression] });
  };
  assert.deepEqual(by('IST0101=VirtualService web.shop'), ['IST0102']);
  assert.deepEqual(by('IST0101=* w*.sh*p'), ['IST0102']);
  assert.deepEqual(by('IST0101=VirtualService web'), ['IST0101', 'IST0102']);
  assert.deepEqual(by('IST0102=Namespace shop'), ['IST0101']);
  for (const wrong of ['IST0101', 'X=Y z', 'IST0101=VirtualService']) assert.ok(!parseSuppression(wrong).ok, wrong);
});

test('what stands in a file takes the place of what the API holds, in any version', () => {
  const live = resourcesOf(TWO, true);
  const file = resourcesOf(
    TWO.replace('networking.istio.io/v1', 'networking.istio.io/v1beta1').replace('host: db', 'host: web'),
  );
  const service = resourcesOf(
    '{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{name: http, port: 80}]}}',
  );
  assert.deepEqual(
    analyze([...live, ...file, ...service]).map(({ code }) => code),
    ['IST0102'],
  );
});

test('lines: lists of lists, JSON, List objects, aliases, and fields that are not there', () => {
  const lineOf = (yaml: string, path: (string | number)[], which = 0): number | undefined =>
    resourcesOf(yaml)[which]?.positions?.lineOf(path);
  assert.equal(lineOf(TWO, ['spec', 'http', 0, 'route', 0, 'destination', 'host'], 1), 17);
  assert.equal(lineOf(TWO, ['spec', 'http', 0, 'timeout'], 1), 15);
  assert.equal(lineOf(TWO, ['spec', 'http', 7], 1), 14);
  const list =
    'apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n  spec:\n    x: 1\n';
  assert.equal(lineOf(list, ['spec', 'x']), 8);
  assert.equal(
    lineOf('{"apiVersion": "v1",\n "kind": "Service",\n "metadata": {"name": "a"},\n "spec": {}}', ['spec']),
    4,
  );
  const alias = 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nx: &x\n  y: 1\nspec: *x\n';
  assert.equal(lineOf(alias, ['spec', 'y']), 5);
});

test('documents that are no objects are told with their line, the others count', () => {
  const { resources, problems } = parseDocuments(
    'f',
    'a: b\n---\n- 1\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\nx: [\n',
    'default',
  );
  assert.deepEqual(
    resources.map(({ key }) => key),
    ['default/a'],
  );
  assert.deepEqual(problems.map(({ line }) => line).slice(0, 2), [1, 3]);
  assert.equal(problems.length >= 3, true);
  const bomb = `a: &a [x, x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: &b${i} [*${i === 0 ? 'a' : `b${i - 1}`}, *${i === 0 ? 'a' : `b${i - 1}`}]`).join('\n')}\n`;
  assert.equal(parseDocuments('f', bomb, 'default').problems.length, 1);
});

/** Shapes that people take from guides: what they ask for must not be called an error. */
const GUIDES: Readonly<Record<string, string>> = {
  'a waypoint with its HBONE listener, with the labels that enrol a namespace': `
apiVersion: v1
kind: Namespace
metadata:
  name: store
  labels:
    istio.io/dataplane-mode: ambient
    istio.io/use-waypoint: store-waypoint
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: store-waypoint
  namespace: store
  labels:
    istio.io/waypoint-for: service
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
    allowedRoutes:
      namespaces:
        from: Same
`,
  'a waypoint with resources in an annotation (which is a warning)': `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: pay-waypoint
  namespace: store
  annotations:
    proxy.istio.io/config: |
      resources:
        requests:
          cpu: 50m
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
`,
  'mTLS for a namespace and the mesh, with an exception for one port, in an old version': `
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: default, namespace: store}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: metrics, namespace: store}
spec:
  selector: {matchLabels: {app: report}}
  mtls: {mode: STRICT}
  portLevelMtls:
    9102:
      mode: PERMISSIVE
`,
  'a route with time-outs and annotations for retries': `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: cart
  namespace: store
  annotations:
    retry.istio.io/attempts: "3"
    retry.istio.io/per-try-timeout: "10s"
    retry.istio.io/retry-on: "5xx,reset"
spec:
  parentRefs: [{name: edge, namespace: gateways}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /cart}}]
    backendRefs: [{name: cart, port: 8080}]
    timeouts: {request: 30s}
`,
  'a weighted canary and a route from service to service': `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: store}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews, port: 9080}]
  rules:
  - backendRefs:
    - {name: reviews-v1, port: 9080, weight: 90}
    - {name: reviews-v2, port: 9080, weight: 10}
`,
  'tokens and their policy at a gateway': `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: gateways}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: gateways}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]
  jwtRules: [{issuer: "https://login.example.com", jwksUri: "https://login.example.com/keys", forwardOriginalToken: true}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: jwt, namespace: gateways}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]
  action: DENY
  rules:
  - from: [{source: {notRequestPrincipals: ["*"]}}]
    to: [{operation: {ports: ["80"], notPaths: [/healthz]}}]
`,
};

for (const [name, yaml] of Object.entries(GUIDES))
  test(`no error for ${name}`, () =>
    assert.deepEqual(
      messagesOf(yaml)
        .filter(({ level }) => level === 'Error')
        .map(({ code, text }) => `${code} ${text}`),
      [],
    ));

test('any objects are analysed without a fault of an analyzer', () => {
  const types = [...Object.values(KIND)];
  const word = fc.constantFrom('web', 'a.b', '*', '', 'shop', 'mesh', 'None', 'STRICT', 'GATEWAY', 'x/y', '0', 'DENY');
  const leaf = fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null));
  const names = [
    'hosts',
    'host',
    'http',
    'tls',
    'tcp',
    'route',
    'match',
    'destination',
    'subset',
    'subsets',
    'labels',
    'name',
    'port',
    'ports',
    'number',
    'selector',
    'matchLabels',
    'servers',
    'rules',
    'from',
    'source',
    'to',
    'operation',
    'when',
    'key',
    'parentRefs',
    'backendRefs',
    'kind',
    'targetRefs',
    'configPatches',
    'patch',
    'egress',
    'trafficPolicy',
    'template',
    'metadata',
    'annotations',
    'spec',
    'status',
    'conditions',
    'containers',
    'gateways',
    'exportTo',
    'webhooks',
    'mtls',
    'mode',
  ];
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 7 },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie('tree'), { maxKeys: 5 }),
    ),
  }));
  const anyObject = fc.record({
    type: fc.constantFrom(...types),
    name: fc.constantFrom('web', 'x'),
    metadata: tree,
    spec: tree,
    status: tree,
  });
  fc.assert(
    fc.property(fc.array(anyObject, { maxLength: 6 }), (objects) => {
      const resources = objects.map(({ type, name, metadata, spec, status }) => {
        const [group = '', kind = ''] = type.split('/');
        const apiVersion = group === '' ? 'v1' : `${group}/v1`;
        const more = typeof metadata === 'object' && metadata !== null && !Array.isArray(metadata) ? metadata : {};
        return new Resource(
          { apiVersion, kind, metadata: { ...more, name, namespace: 'shop' }, spec, status },
          'default',
        );
      });
      for (const { code, text } of analyze(resources)) assert.notEqual(code, 'IST0001', text);
    }),
    { numRuns: 300 },
  );
});

test('a gateway or the node proxy is no workload with a sidecar', () => {
  const proxy = (name: string, labels: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: edge}
spec: {template: {metadata: {labels: {${labels}}}, spec: {containers: [{name: istio-proxy, image: auto}]}}}
---`;
  const [workload] = new World(resourcesOf(proxy('gw', 'sidecar.istio.io/inject: "true"'))).workloads;
  assert.deepEqual([workload?.sidecar, workload?.proxyOnly], [false, true]);
  const policy =
    'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: edge}\nspec: {selector: {matchLabels: {istio: ingress}}}\n';
  assert.deepEqual(codes(`${proxy('gw', 'istio: ingress, sidecar.istio.io/inject: "true"')}\n${policy}`), []);
});

test('analyzers describe themselves', () => {
  for (const { name, description, codes: own } of ANALYZERS)
    assert.ok(name !== '' && description !== '' && own.length > 0, name);
});
