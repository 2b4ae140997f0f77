// Our own codes: each with a manifest that raises it, and what cures it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AMBIENT_CODES } from './ambient-codes.ts';
import { type CodeCase, messagesOf, testCase } from './testing/messages.ts';

const NAMESPACE = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---`;
const BEHIND = NAMESPACE.replace('ambient}', 'ambient, istio.io/use-waypoint: waypoint}');
const WAYPOINT = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---`;
const WEB = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.9, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: web, ports: [{containerPort: 8080}]}]}
---`;
const policy = (spec: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec: ${spec}
---`;
const object = (apiVersion: string, kind: string, spec: string, metadata = ''): string => `
apiVersion: ${apiVersion}
kind: ${kind}
metadata: {name: x, namespace: shop${metadata}}
spec: ${spec}
---`;
const virtualService = (http: string): string =>
  object('networking.istio.io/v1', 'VirtualService', `{hosts: [web], http: [${http}]}`);
const TO_WEB = '{route: [{destination: {host: web}}]}';
const httpRoute = (metadata = ''): string =>
  object(
    'gateway.networking.k8s.io/v1',
    'HTTPRoute',
    '{parentRefs: [{group: "", kind: Service, name: web, namespace: shop}], rules: [{backendRefs: [{name: web, port: 80}]}]}',
    metadata,
  );

const CASES: readonly CodeCase[] = [
  {
    code: 'AMB0001',
    yaml:
      NAMESPACE + WEB + policy('{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {methods: [GET]}}]}]}'),
    at: 'AuthorizationPolicy shop/p spec.rules[0].to[0].operation.methods',
    cure: ['{methods: [GET]}', '{ports: ["8080"]}'],
  },
  {
    code: 'AMB0001',
    yaml: NAMESPACE + WEB + policy('{rules: [{when: [{key: "request.headers[x]", values: [a]}]}]}'),
    at: 'AuthorizationPolicy shop/p spec.rules[0].when[0].key',
    cure: ['istio.io/dataplane-mode: ambient', 'istio-injection: enabled'],
  },
  {
    code: 'AMB0002',
    yaml:
      NAMESPACE +
      policy(
        '{action: DENY, rules: [{from: [{source: {namespaces: [a]}}], to: [{operation: {paths: [/x]}}, {operation: {ports: ["80"]}}]}]}',
      ),
    at: 'AuthorizationPolicy shop/p spec.rules[0].to[0].operation.paths',
    cure: ['{operation: {paths: [/x]}}, ', ''],
  },
  {
    code: 'AMB0003',
    yaml: NAMESPACE + policy('{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}'),
    at: 'AuthorizationPolicy shop/p spec.rules[0].to[0].operation.paths',
    cure: ['{to: [{operation: {paths: [/admin]}}]}', '{from: [{source: {namespaces: [a]}}]}'],
  },
  {
    code: 'AMB0004',
    yaml: NAMESPACE + policy('{action: AUDIT, rules: [{}]}'),
    at: 'AuthorizationPolicy shop/p spec.action',
    cure: ['AUDIT', 'ALLOW'],
  },
  {
    code: 'AMB0005',
    yaml: NAMESPACE + policy('{rules: [{from: [{source: {trustDomains: [a.b]}}]}]}'),
    at: 'AuthorizationPolicy shop/p spec.rules[0].from[0].source.trustDomains',
    cure: ['trustDomains: [a.b]', 'principals: ["a.b/*"]'],
  },
  {
    code: 'AMB0006',
    yaml:
      BEHIND +
      WAYPOINT +
      WEB +
      policy(
        '{selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/front]}}]}]}',
      ),
    at: 'AuthorizationPolicy shop/p spec.rules[0].from[0].source.principals',
    cure: ['sa/front]', 'sa/front, cluster.local/ns/shop/sa/waypoint]'],
  },
  {
    code: 'AMB0007',
    yaml:
      BEHIND +
      WAYPOINT +
      WEB +
      policy('{targetRefs: [{group: "", kind: Service, name: web}], rules: [{to: [{operation: {methods: [GET]}}]}]}'),
    at: 'Service shop/web',
    cure: [
      'kind: AuthorizationPolicy\nmetadata: {name: p',
      `kind: AuthorizationPolicy\nmetadata: {name: guard, namespace: shop}\nspec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}]}\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p`,
    ],
  },
  {
    code: 'AMB0008',
    yaml:
      NAMESPACE +
      WEB +
      object(
        'security.istio.io/v1',
        'RequestAuthentication',
        '{selector: {matchLabels: {app: web}}, jwtRules: [{issuer: a, jwks: \'{"keys":[{"kty":"EC"}]}\'}]}',
      ),
    at: 'RequestAuthentication shop/x spec.selector',
    cure: [
      'selector: {matchLabels: {app: web}}, jwtRules',
      'targetRefs: [{group: "", kind: Service, name: web}], jwtRules',
    ],
  },
  {
    code: 'AMB0009',
    yaml: NAMESPACE + WEB + WAYPOINT + virtualService(TO_WEB),
    at: 'VirtualService shop/x spec.hosts[0]',
    cure: ['ambient}', 'ambient, istio.io/use-waypoint: waypoint}'],
  },
  {
    code: 'AMB0009',
    yaml: NAMESPACE + WEB + WAYPOINT + httpRoute(),
    at: 'HTTPRoute shop/x spec.parentRefs[0]',
    cure: ['ambient}', 'ambient, istio.io/use-waypoint: waypoint}'],
  },
  {
    code: 'AMB0010',
    yaml: BEHIND + WEB + WAYPOINT + httpRoute() + virtualService(TO_WEB),
    at: 'VirtualService shop/x spec.hosts[0]',
    cure: ['hosts: [web]', 'hosts: [other]'],
  },
  {
    code: 'AMB0011',
    yaml: BEHIND + WEB + WAYPOINT + httpRoute().replace('name: x, namespace: shop', 'name: x, namespace: client'),
    at: 'HTTPRoute client/x spec.parentRefs[0]',
    cure: ['namespace: client', 'namespace: shop'],
  },
  {
    code: 'AMB0012',
    yaml:
      BEHIND +
      WEB +
      WAYPOINT +
      virtualService('{match: [{sourceLabels: {app: front}}], route: [{destination: {host: web}}]}'),
    at: 'VirtualService shop/x spec.http[0].match[0].sourceLabels',
    cure: ['sourceLabels: {app: front}', 'uri: {prefix: /a}'],
  },
  {
    code: 'AMB0013',
    yaml:
      NAMESPACE +
      WEB +
      WAYPOINT +
      object(
        'networking.istio.io/v1',
        'DestinationRule',
        '{host: web, trafficPolicy: {outlierDetection: {interval: 1s}}}',
      ),
    at: 'DestinationRule shop/x spec.host',
    cure: ['ambient}', 'ambient, istio.io/use-waypoint: waypoint}'],
  },
  {
    code: 'AMB0014',
    yaml:
      BEHIND +
      WEB +
      WAYPOINT +
      object('networking.istio.io/v1', 'DestinationRule', '{host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}'),
    at: 'DestinationRule shop/x spec.trafficPolicy.tls.mode',
    cure: ['tls: {mode: ISTIO_MUTUAL}', 'loadBalancer: {simple: RANDOM}'],
  },
  {
    code: 'AMB0015',
    yaml:
      NAMESPACE +
      WEB +
      object(
        'networking.istio.io/v1alpha3',
        'EnvoyFilter',
        '{workloadSelector: {labels: {app: web}}, configPatches: [{applyTo: CLUSTER, match: {context: SIDECAR_INBOUND}, patch: {operation: MERGE, value: {}}}]}',
      ),
    at: 'EnvoyFilter shop/x spec.configPatches[0].match.context',
    cure: ['workloadSelector: {labels: {app: web}}', 'targetRefs: [{group: "", kind: Service, name: web}]'],
  },
  {
    code: 'AMB0016',
    yaml: NAMESPACE + httpRoute(', annotations: {retry.istio.io/attempts: "3"}'),
    at: 'HTTPRoute shop/x metadata.annotations[retry.istio.io/attempts]',
    cure: [', annotations: {retry.istio.io/attempts: "3"}', ''],
  },
  {
    code: 'AMB0017',
    yaml:
      NAMESPACE +
      WEB.replace('{labels: {app: web}}\n    spec', '{labels: {app: web, sidecar.istio.io/inject: "true"}}\n    spec'),
    at: 'Deployment shop/web spec.template.metadata.labels[sidecar.istio.io/inject]',
    cure: ['inject: "true"', 'inject: "false"'],
  },
  {
    code: 'AMB0018',
    yaml: BEHIND + WAYPOINT + WEB.replace('clusterIP: 10.96.0.9', 'clusterIP: None'),
    at: 'Service shop/web',
    cure: ['clusterIP: None', 'clusterIP: 10.96.0.9'],
  },
  {
    code: 'AMB0019',
    yaml: NAMESPACE + object('security.istio.io/v1', 'PeerAuthentication', '{mtls: {mode: DISABLE}}'),
    at: 'PeerAuthentication shop/x spec.mtls.mode',
    cure: ['DISABLE', 'PERMISSIVE'],
  },
  {
    code: 'AMB0020',
    yaml:
      NAMESPACE +
      WEB.replace('{labels: {app: web}}\n    spec', '{labels: {app: web, istio.io/dataplane-mode: none}}\n    spec') +
      object('security.istio.io/v1', 'PeerAuthentication', '{mtls: {mode: STRICT}}'),
    at: 'PeerAuthentication shop/x spec.mtls.mode',
    cure: [', istio.io/dataplane-mode: none', ''],
  },
  {
    code: 'AMB0021',
    yaml:
      BEHIND +
      WAYPOINT +
      WEB +
      policy('{targetRefs: [{group: "", kind: Service, name: web}], rules: [{to: [{operation: {ports: ["8080"]}}]}]}'),
    at: 'AuthorizationPolicy shop/p spec.rules[0].to[0].operation.ports[0]',
    cure: ['ports: ["8080"]', 'ports: ["80"]'],
  },
  {
    code: 'AMB0021',
    yaml:
      NAMESPACE + WEB + policy('{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {ports: ["80"]}}]}]}'),
    at: 'AuthorizationPolicy shop/p spec.rules[0].to[0].operation.ports[0]',
    cure: ['ports: ["80"]', 'ports: ["8080"]'],
  },
  {
    code: 'AMB0022',
    yaml:
      NAMESPACE +
      WEB.replace(
        '{labels: {app: web}}\n    spec',
        '{labels: {app: web}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "3306"}}\n    spec',
      ),
    at: 'Deployment shop/web spec.template.metadata.annotations[traffic.sidecar.istio.io/excludeOutboundPorts]',
    cure: ['ambient}', 'none}'],
  },
  {
    code: 'AMB0023',
    yaml:
      NAMESPACE +
      object(
        'networking.istio.io/v1',
        'ServiceEntry',
        '{hosts: [a.example.com], exportTo: ["."], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}',
      ),
    at: 'ServiceEntry shop/x spec.exportTo',
    cure: ['exportTo: ["."]', 'exportTo: ["*"]'],
  },
  {
    code: 'AMB0024',
    yaml: NAMESPACE + object('v1', 'Service', '{type: ExternalName, externalName: a.example.com}'),
    at: 'Service shop/x spec.externalName',
    cure: ['type: ExternalName, externalName: a.example.com', 'ports: [{name: http, port: 80}]'],
  },
  {
    code: 'AMB0025',
    yaml: NAMESPACE + object('v1', 'Service', '{ports: [{name: dns, port: 53, protocol: UDP}]}'),
    at: 'Service shop/x spec.ports[0]',
    cure: ['UDP', 'TCP'],
  },
  {
    code: 'AMB0026',
    yaml:
      NAMESPACE +
      WEB +
      object(
        'networking.k8s.io/v1',
        'NetworkPolicy',
        '{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 8080}]}]}',
      ),
    at: 'NetworkPolicy shop/x spec.ingress',
    cure: ['{port: 8080}]}]', '{port: 8080}, {port: 15008}]}]'],
  },
  {
    code: 'AMB0027',
    yaml:
      BEHIND +
      WAYPOINT +
      WEB +
      policy('{targetRefs: [{group: "", kind: Service, name: web}], rules: [{to: [{operation: {methods: [GET]}}]}]}') +
      object(
        'gateway.networking.k8s.io/v1',
        'HTTPRoute',
        '{parentRefs: [{name: edge}], rules: [{backendRefs: [{name: web, port: 80}]}]}',
      ),
    at: 'Service shop/web metadata.labels',
    cure: [
      '{name: web, namespace: shop}\nspec: {clusterIP',
      '{name: web, namespace: shop, labels: {istio.io/ingress-use-waypoint: "true"}}\nspec: {clusterIP',
    ],
  },
  {
    code: 'AMB0028',
    yaml: BEHIND + WEB,
    at: 'Service shop/web',
    cure: [', istio.io/use-waypoint: waypoint', ''],
  },
  {
    code: 'AMB0029',
    yaml: NAMESPACE + WEB + WAYPOINT + policy('{targetRefs: [{group: "", kind: Service, name: web}], rules: [{}]}'),
    at: 'AuthorizationPolicy shop/p spec.targetRefs[0]',
    cure: ['ambient}', 'ambient, istio.io/use-waypoint: waypoint}'],
  },
  {
    code: 'AMB0030',
    yaml: `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: own}
spec: {controllerName: istio.io/mesh-controller}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: istio-system}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: own}], rules: [{}]}
`,
    at: 'AuthorizationPolicy istio-system/p spec.targetRefs[0].name',
    cure: ['kind: GatewayClass, name: own', 'kind: GatewayClass, name: istio-waypoint'],
  },
  {
    code: 'AMB0031',
    yaml:
      BEHIND +
      WEB +
      WAYPOINT +
      object(
        'networking.istio.io/v1',
        'VirtualService',
        '{hosts: [web.shop.svc.cluster.local, a.example.com], tls: [{match: [{sniHosts: [a.example.com]}], route: [{destination: {host: web}}]}]}',
      ),
    at: 'VirtualService shop/x spec.tls[0].match[0].sniHosts',
    cure: ['sniHosts: [a.example.com]', 'sniHosts: [web.shop.svc.cluster.local]'],
  },
  {
    code: 'AMB0032',
    yaml:
      NAMESPACE +
      object(
        'v1',
        'Pod',
        '{containers: [{name: app, image: a}, {name: istio-proxy, image: b}]}',
        ', annotations: {sidecar.istio.io/status: "{}"}',
      ),
    at: 'Pod shop/x',
    cure: [', annotations: {sidecar.istio.io/status: "{}"}', ''],
  },
  {
    code: 'AMB0033',
    yaml: NAMESPACE.replace('ambient}', 'ambient, istio.io/use-waypoint-namespace: other}'),
    at: 'Namespace shop metadata.labels[istio.io/use-waypoint-namespace]',
    cure: ['use-waypoint-namespace: other}', 'use-waypoint-namespace: other, istio.io/use-waypoint: w}'],
  },
  {
    code: 'AMB0034',
    yaml: WAYPOINT.replace(
      'namespace: shop, ',
      'namespace: shop, annotations: {proxy.istio.io/config: "resources: {requests: {cpu: 100m}}"}, ',
    ),
    at: 'Gateway shop/waypoint metadata.annotations[proxy.istio.io/config]',
    cure: ['resources: {requests: {cpu: 100m}}', 'concurrency: 2'],
  },
  {
    code: 'AMB0035',
    yaml: WAYPOINT.replace('namespace: shop, ', 'namespace: shop, annotations: {istio.io/for-service-account: a}, '),
    at: 'Gateway shop/waypoint metadata.annotations[istio.io/for-service-account]',
    cure: ['annotations: {istio.io/for-service-account: a}, ', ''],
  },
  {
    code: 'AMB0036',
    yaml: object('networking.istio.io/v1', 'Sidecar', '{egress: [{hosts: ["./*", "*/payment-service.svc"]}]}'),
    at: 'Sidecar shop/x spec.egress[0].hosts[1]',
    cure: ['payment-service.svc', 'payment-service.shop.svc.cluster.local'],
  },
  {
    code: 'AMB0037',
    yaml:
      NAMESPACE +
      WEB +
      object(
        'networking.istio.io/v1',
        'Sidecar',
        '{workloadSelector: {labels: {app: web}}, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}',
      ),
    at: 'Sidecar shop/x spec.outboundTrafficPolicy.mode',
    cure: ['REGISTRY_ONLY', 'ALLOW_ANY'],
  },
  {
    code: 'AMB0038',
    yaml:
      NAMESPACE +
      object('security.istio.io/v1', 'PeerAuthentication', '{mtls: {mode: STRICT}}') +
      object('v1', 'Pod', '{hostNetwork: true, containers: [{name: app, image: a}]}'),
    at: 'Pod shop/x spec.hostNetwork',
    cure: ['hostNetwork: true', 'hostNetwork: false'],
  },
  {
    code: 'AMB0039',
    yaml:
      BEHIND +
      WEB +
      WAYPOINT +
      object(
        'networking.istio.io/v1',
        'DestinationRule',
        '{host: web, workloadSelector: {matchLabels: {app: front}}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}',
      ),
    at: 'DestinationRule shop/x spec.workloadSelector',
    cure: ['workloadSelector: {matchLabels: {app: front}}, ', ''],
  },
  {
    code: 'AMB0040',
    yaml:
      NAMESPACE +
      WEB +
      object(
        'telemetry.istio.io/v1',
        'Telemetry',
        '{selector: {matchLabels: {app: web}}, accessLogging: [{providers: [{name: envoy}]}]}',
      ),
    at: 'Telemetry shop/x spec.selector',
    cure: ['selector: {matchLabels: {app: web}}, accessLogging', 'accessLogging'],
  },
  {
    code: 'AMB0041',
    yaml: object(
      'networking.istio.io/v1alpha3',
      'EnvoyFilter',
      '{workloadSelector: {labels: {istio: ingress}}, priority: 1, configPatches: [{applyTo: CLUSTER, match: {context: GATEWAY}, patch: {operation: MERGE, value: {}}}]}',
    ),
    at: 'EnvoyFilter shop/x spec.configPatches[0]',
    cure: ['context: GATEWAY', 'context: SIDECAR_OUTBOUND'],
  },
  {
    code: 'AMB0042',
    yaml: object(
      'gateway.networking.k8s.io/v1',
      'HTTPRoute',
      '{parentRefs: [{name: edge}], rules: [{filters: [{type: ExtensionRef, extensionRef: {group: a.b, kind: C, name: d}}], backendRefs: [{name: web, port: 80}]}]}',
    ),
    at: 'HTTPRoute shop/x spec.rules[0].filters[0]',
    cure: ['filters: [{type: ExtensionRef, extensionRef: {group: a.b, kind: C, name: d}}], ', ''],
  },
  {
    code: 'AMB0042',
    yaml: virtualService('{delegate: {name: nobody}}'),
    at: 'VirtualService shop/x spec.http[0].delegate',
    cure: ['delegate: {name: nobody}', 'redirect: {uri: /a}'],
  },
  {
    code: 'AMB0011',
    yaml:
      BEHIND +
      WEB +
      WAYPOINT +
      object(
        'networking.istio.io/v1',
        'DestinationRule',
        '{host: web.shop.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}}',
      ).replace('namespace: shop', 'namespace: client'),
    at: 'DestinationRule client/x spec.host',
    cure: ['namespace: client', 'namespace: shop'],
  },
  {
    code: 'AMB0043',
    yaml:
      BEHIND +
      WAYPOINT +
      WEB +
      policy('{targetRefs: [{group: "", kind: Service, name: web}], rules: [{to: [{operation: {methods: [GET]}}]}]}') +
      object('v1', 'Pod', '{containers: [{name: app, image: a}, {name: istio-proxy, image: p}]}').replace(
        'namespace: shop',
        'namespace: old',
      ),
    at: 'Service shop/web',
    cure: [', {name: istio-proxy, image: p}', ''],
  },
  {
    code: 'AMB0045',
    yaml:
      WEB +
      object(
        'gateway.networking.k8s.io/v1',
        'HTTPRoute',
        '{parentRefs: [{name: edge}], rules: [{backendRefs: [{name: wbe, port: 80}]}]}',
      ),
    at: 'HTTPRoute shop/x spec.rules[0].backendRefs[0].name',
    cure: ['name: wbe', 'name: web'],
  },
  {
    code: 'AMB0045',
    yaml:
      WEB +
      object(
        'gateway.networking.k8s.io/v1',
        'HTTPRoute',
        '{parentRefs: [{name: edge}], rules: [{backendRefs: [{name: web, port: 8080}]}]}',
      ),
    at: 'HTTPRoute shop/x spec.rules[0].backendRefs[0].port',
    cure: ['{name: web, port: 8080}', '{name: web, port: 80}'],
  },
  {
    code: 'AMB0046',
    yaml:
      WEB +
      WAYPOINT +
      object(
        'gateway.networking.k8s.io/v1',
        'HTTPRoute',
        '{parentRefs: [{name: waypoint, sectionName: https}], rules: [{backendRefs: [{name: web, port: 80}]}]}',
      ),
    at: 'HTTPRoute shop/x spec.parentRefs[0].sectionName',
    cure: ['sectionName: https', 'sectionName: mesh'],
  },
];

for (const one of CASES) testCase(one);

test('AMB0044: a principal of a trust domain that is only an alias', () => {
  const yaml = NAMESPACE + policy('{rules: [{from: [{source: {principals: [old.td/ns/a/sa/b]}}]}]}');
  const mesh = { rootNamespace: 'istio-system', clusterDomain: 'cluster.local', trustDomain: 'new.td' };
  const found = (trustDomainAliases: string[]): string[] =>
    messagesOf(yaml, { mesh: { ...mesh, trustDomainAliases } }).map(({ code, field }) => `${code} ${field}`);
  assert.deepEqual(found(['old.td']), ['AMB0044 spec.rules[0].from[0].source.principals[0]']);
  assert.deepEqual(found([]), []);
});

test('every code of ours has a case', () => {
  const tested = new Set<string>(['AMB0044', ...CASES.map(({ code }) => code)]);
  assert.deepEqual(
    Object.keys(AMBIENT_CODES).filter((code) => !tested.has(code)),
    [],
  );
});

test('a shop as it should be has no message', () => {
  const good =
    BEHIND +
    WAYPOINT +
    WEB.replace(
      '{name: web, namespace: shop}\nspec: {clusterIP',
      '{name: web, namespace: shop, labels: {istio.io/ingress-use-waypoint: "true"}}\nspec: {clusterIP',
    ) +
    httpRoute() +
    policy(
      '{selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}]}',
    ) +
    policy(
      '{targetRefs: [{group: "", kind: Service, name: web}], rules: [{to: [{operation: {methods: [GET], ports: ["80"]}}]}]}',
    ).replace('name: p', 'name: q');
  assert.deepEqual(
    messagesOf(good).map(({ code, text }) => `${code} ${text}`),
    [],
  );
});
