// Manifests that raise Istio's codes, one or more a code, with what cures each.

import type { CodeCase } from './messages.ts';

const object = (apiVersion: string, kind: string, spec: string, name = 'x', metadata = ''): string => `
apiVersion: ${apiVersion}
kind: ${kind}
metadata: {name: ${name}, namespace: shop${metadata}}
spec: ${spec}
---`;
const NETWORKING = 'networking.istio.io/v1';
const SECURITY = 'security.istio.io/v1';
const SERVICE = object(
  'v1',
  'Service',
  '{selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}',
  'web',
);
const workload = (name = 'web', labels = 'app: web', containers = '{name: app, image: web}', metadata = ''): string =>
  object(
    'apps/v1',
    'Deployment',
    `{template: {metadata: {labels: {${labels}}${metadata}}, spec: {containers: [${containers}]}}}`,
    name,
  );
const TO_WEB = 'route: [{destination: {host: web}}]';
const virtualService = (spec: string, name = 'x'): string => object(NETWORKING, 'VirtualService', spec, name);
const destinationRule = (spec: string, name = 'x'): string => object(NETWORKING, 'DestinationRule', spec, name);
const server = (hosts: string, port = 80, tls = ''): string =>
  `{port: {number: ${port}, name: p${port}, protocol: ${tls === '' ? 'HTTP' : 'HTTPS'}}, hosts: [${hosts}]${tls === '' ? '' : `, tls: ${tls}`}}`;
const gateway = (servers: string, name = 'gw', selector = 'istio: ingress'): string =>
  object(NETWORKING, 'Gateway', `{selector: {${selector}}, servers: [${servers}]}`, name);
const INGRESS =
  workload('ingress', 'istio: ingress') +
  object(
    'v1',
    'Service',
    '{selector: {istio: ingress}, ports: [{name: http, port: 80}, {name: https, port: 443}]}',
    'ingress',
  );
const namespace = (labels: string): string => `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {${labels}}}
---`;
const filter = (patch: string, more = ''): string =>
  object('networking.istio.io/v1alpha3', 'EnvoyFilter', `{${more}configPatches: [${patch}]}`);
const telemetry = (spec: string, name = 'x'): string => object('telemetry.istio.io/v1', 'Telemetry', spec, name);

export const ISTIO_CASES: readonly CodeCase[] = [
  {
    code: 'IST0002',
    yaml: SERVICE + virtualService(`{hosts: [web], http: [{${TO_WEB}, fault: {delay: {percent: 5, fixedDelay: 1s}}}]}`),
    at: 'VirtualService shop/x spec.http[0].fault.delay.percent',
    cure: ['percent: 5', 'percentage: {value: 5}'],
  },
  {
    code: 'IST0101',
    yaml: SERVICE + virtualService('{hosts: [web], http: [{route: [{destination: {host: db}}]}]}'),
    at: 'VirtualService shop/x spec.http[0].route[0].destination.host',
    cure: ['host: db', 'host: web'],
  },
  {
    code: 'IST0101',
    yaml: SERVICE + virtualService('{hosts: [web], http: [{route: [{destination: {host: web, port: {number: 81}}}]}]}'),
    at: 'VirtualService shop/x spec.http[0].route[0].destination.port.number',
    cure: ['number: 81', 'number: 80'],
  },
  {
    code: 'IST0101',
    yaml: SERVICE + virtualService('{hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}'),
    at: 'VirtualService shop/x spec.http[0].route[0].destination.subset',
    cure: [
      '---',
      `---${destinationRule('{host: web.shop.svc.cluster.local, subsets: [{name: v1, labels: {app: web}}]}')}`,
    ],
  },
  {
    code: 'IST0101',
    yaml: SERVICE + virtualService(`{hosts: [web], http: [{${TO_WEB}, mirror: {host: shadow}}]}`),
    at: 'VirtualService shop/x spec.http[0].mirror.host',
    cure: ['host: shadow', 'host: web.shop.svc.cluster.local'],
  },
  {
    code: 'IST0101',
    yaml:
      SERVICE +
      INGRESS +
      gateway(server('"*"')) +
      virtualService(`{hosts: [a.example.com], gateways: [other/gw], http: [{${TO_WEB}}]}`),
    at: 'VirtualService shop/x spec.gateways[0]',
    cure: ['other/gw', 'gw'],
  },
  {
    code: 'IST0101',
    yaml: INGRESS + gateway(server('"*"'), 'gw', 'istio: nothing'),
    at: 'Gateway shop/gw spec.selector',
    cure: ['istio: nothing', 'istio: ingress'],
  },
  {
    code: 'IST0101',
    yaml: INGRESS + gateway(server('"*"', 443, '{mode: SIMPLE, credentialName: cert}')),
    at: 'Gateway shop/gw spec.servers[0].tls.credentialName',
    cure: ['mode: SIMPLE, credentialName: cert', 'mode: PASSTHROUGH'],
  },
  {
    code: 'IST0101',
    yaml:
      namespace('istio-injection: enabled') +
      object(SECURITY, 'AuthorizationPolicy', '{rules: [{from: [{source: {namespaces: [shoop]}}]}]}'),
    at: 'AuthorizationPolicy shop/x spec.rules[0].from[0].source.namespaces[0]',
    cure: ['shoop', 'sh*'],
  },
  {
    code: 'IST0101',
    yaml:
      workload() +
      object(NETWORKING, 'Sidecar', '{workloadSelector: {labels: {app: other}}, egress: [{hosts: ["./*"]}]}'),
    at: 'Sidecar shop/x spec.workloadSelector',
    cure: ['app: other', 'app: web'],
  },
  {
    code: 'IST0102',
    yaml: namespace('a: b'),
    at: 'Namespace shop',
    cure: ['a: b', 'istio.io/dataplane-mode: ambient'],
  },
  {
    code: 'IST0103',
    yaml: namespace('istio-injection: enabled') + object('v1', 'Pod', '{containers: [{name: app, image: a}]}'),
    at: 'Pod shop/x',
    cure: ['{name: app, image: a}', '{name: app, image: a}, {name: istio-proxy, image: p}'],
    live: true,
  },
  {
    code: 'IST0106',
    yaml: SERVICE + virtualService(`{hosts: [web], http: [{${TO_WEB}, timeout: soon}]}`),
    at: 'VirtualService shop/x spec.http[0].timeout',
    cure: ['soon', '1s'],
  },
  {
    code: 'IST0107',
    yaml: object(
      'v1',
      'Service',
      '{ports: [{name: http, port: 80}]}',
      'x',
      ', annotations: {sidecar.istio.io/proxyCPU: 100m}',
    ),
    at: 'Service shop/x metadata.annotations[sidecar.istio.io/proxyCPU]',
    cure: ['sidecar.istio.io/proxyCPU: 100m', 'networking.istio.io/exportTo: "*"'],
  },
  {
    code: 'IST0108',
    yaml: object(
      'v1',
      'Service',
      '{ports: [{name: http, port: 80}]}',
      'x',
      ', annotations: {networking.istio.io/exprotTo: "*"}',
    ),
    at: 'Service shop/x metadata.annotations[networking.istio.io/exprotTo]',
    cure: ['exprotTo', 'exportTo'],
  },
  {
    code: 'IST0109',
    yaml:
      SERVICE +
      virtualService(`{hosts: [web], http: [{${TO_WEB}}]}`) +
      virtualService(`{hosts: [web.shop.svc.cluster.local], exportTo: ["."], http: [{${TO_WEB}}]}`, 'y'),
    at: 'VirtualService shop/y spec.hosts[0]',
    cure: ['hosts: [web]', 'hosts: [other]'],
  },
  {
    code: 'IST0110',
    yaml:
      workload() +
      object(NETWORKING, 'Sidecar', '{workloadSelector: {labels: {app: web}}}') +
      object(NETWORKING, 'Sidecar', '{workloadSelector: {labels: {app: web}, x: {}}}', 'y'),
    at: 'Sidecar shop/y spec.workloadSelector',
    cure: ['{labels: {app: web}, x: {}}', '{labels: {app: other}}'],
  },
  {
    code: 'IST0111',
    yaml:
      object(NETWORKING, 'Sidecar', '{egress: [{hosts: ["./*"]}]}') +
      object(NETWORKING, 'Sidecar', '{egress: [{hosts: ["./*"]}]}', 'y'),
    at: 'Sidecar shop/x',
    cure: ['name: y, namespace: shop', 'name: y, namespace: other'],
  },
  {
    code: 'IST0112',
    yaml:
      SERVICE.replace('targetPort: 8080}', 'targetPort: 8080}, {name: grpc, port: 90}') +
      virtualService(`{hosts: [web], http: [{${TO_WEB}}]}`),
    at: 'VirtualService shop/x spec.http[0].route[0].destination.host',
    cure: ['destination: {host: web}', 'destination: {host: web, port: {number: 80}}'],
  },
  {
    code: 'IST0116',
    yaml:
      workload() +
      SERVICE +
      SERVICE.replace('name: web, namespace', 'name: other, namespace').replace('name: http', 'name: tls'),
    at: 'Deployment shop/web',
    cure: ['name: tls', 'name: http-other'],
  },
  {
    code: 'IST0118',
    yaml: SERVICE.replace('name: http', 'name: main'),
    at: 'Service shop/web spec.ports[0]',
    cure: ['name: main', 'name: grpc-main'],
  },
  {
    code: 'IST0123',
    yaml: namespace('istio-injection: enabled, istio.io/dataplane-mode: ambient'),
    at: 'Namespace shop metadata.labels',
    cure: ['istio-injection: enabled, ', ''],
  },
  {
    code: 'IST0125',
    yaml: workload(
      'web',
      'app: web',
      '{name: app, image: web}',
      ', annotations: {sidecar.istio.io/interceptionMode: ALL}',
    ),
    at: 'Deployment shop/web spec.template.metadata.annotations[sidecar.istio.io/interceptionMode]',
    cure: ['interceptionMode: ALL', 'interceptionMode: NONE'],
  },
  {
    code: 'IST0127',
    yaml:
      namespace('istio.io/dataplane-mode: ambient') +
      workload() +
      object(SECURITY, 'AuthorizationPolicy', '{selector: {matchLabels: {app: other}}}'),
    at: 'AuthorizationPolicy shop/x spec.selector',
    cure: ['app: other', 'app: web'],
  },
  {
    code: 'IST0128',
    yaml: SERVICE + destinationRule('{host: web, trafficPolicy: {tls: {mode: SIMPLE}}}'),
    at: 'DestinationRule shop/x spec.trafficPolicy.tls',
    cure: ['mode: SIMPLE', 'mode: SIMPLE, caCertificates: /ca.pem'],
  },
  {
    code: 'IST0129',
    yaml:
      SERVICE +
      destinationRule('{host: web, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}}'),
    at: 'DestinationRule shop/x spec.trafficPolicy.portLevelSettings[0].tls',
    cure: ['mode: SIMPLE', 'mode: SIMPLE, credentialName: c'],
  },
  {
    code: 'IST0130',
    yaml: SERVICE + virtualService(`{hosts: [web], http: [{${TO_WEB}}, {match: [{uri: {prefix: /a}}], ${TO_WEB}}]}`),
    at: 'VirtualService shop/x spec.http[1]',
    cure: [`[{${TO_WEB}}, `, '['],
  },
  {
    code: 'IST0131',
    yaml:
      SERVICE +
      virtualService(
        `{hosts: [web], http: [{match: [{uri: {prefix: /a}}], ${TO_WEB}}, {match: [{name: again, uri: {prefix: /a}}, {uri: {prefix: /b}}], ${TO_WEB}}]}`,
      ),
    at: 'VirtualService shop/x spec.http[1].match[0]',
    cure: ['name: again, uri: {prefix: /a}', 'uri: {prefix: /c}'],
  },
  {
    code: 'IST0132',
    yaml:
      SERVICE +
      INGRESS +
      gateway(server('"*.example.com"')) +
      virtualService(`{hosts: [a.example.org], gateways: [gw], http: [{${TO_WEB}}]}`),
    at: 'VirtualService shop/x spec.hosts[0]',
    cure: ['a.example.org', 'a.example.com'],
  },
  {
    code: 'IST0133',
    yaml: SERVICE + destinationRule('{host: web, subsets: [{name: all}]}'),
    at: 'DestinationRule shop/x spec.subsets[0]',
    cure: ['{name: all}', '{name: all, labels: {app: web}}'],
  },
  {
    code: 'IST0134',
    yaml: object(
      NETWORKING,
      'ServiceEntry',
      '{hosts: [a.example.com], ports: [{number: 5432, name: tcp, protocol: TCP}]}',
    ),
    at: 'ServiceEntry shop/x spec.ports[0]',
    cure: ['hosts: [a.example.com]', 'hosts: [a.example.com], addresses: [192.0.2.1]'],
  },
  {
    code: 'IST0135',
    yaml: workload('web', 'app: web', '{name: app, image: web}', ', annotations: {sidecar.istio.io/inject: "true"}'),
    at: 'Deployment shop/web spec.template.metadata.annotations[sidecar.istio.io/inject]',
    cure: [', annotations: {sidecar.istio.io/inject: "true"}', ''],
  },
  {
    code: 'IST0137',
    yaml:
      workload() +
      SERVICE +
      SERVICE.replace('name: web, namespace', 'name: other, namespace').replace('port: 80,', 'port: 90,'),
    at: 'Deployment shop/web',
    cure: ['port: 90,', 'port: 80,'],
  },
  {
    code: 'IST0138',
    yaml:
      INGRESS +
      gateway(server('a.example.com', 443, '{mode: SIMPLE, credentialName: cert}')) +
      gateway(server('b.example.com', 443, '{mode: SIMPLE, credentialName: cert}'), 'other'),
    at: 'Gateway shop/other spec.servers[0].tls',
    cure: [
      'hosts: [b.example.com], tls: {mode: SIMPLE, credentialName: cert}',
      'hosts: [b.example.com], tls: {mode: SIMPLE, credentialName: cert-b}',
    ],
  },
  {
    code: 'IST0139',
    yaml: `${SERVICE}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: istio-validator}
webhooks: [{name: validation.istio.io, clientConfig: {service: {name: istiod, namespace: shop, path: /validate}}}]
`,
    at: 'ValidatingWebhookConfiguration istio-validator webhooks[0].clientConfig.service',
    cure: ['name: istiod', 'name: web'],
  },
  {
    code: 'IST0140',
    yaml:
      SERVICE +
      INGRESS +
      gateway(server('"*"')) +
      destinationRule('{host: web, subsets: [{name: v1, labels: {app: web}}]}') +
      virtualService('{hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}', 'split') +
      virtualService(`{hosts: [a.example.com], gateways: [gw], http: [{${TO_WEB}}]}`),
    at: 'VirtualService shop/x spec.http[0].route[0].destination.host',
    cure: ['{destination: {host: web}}', '{destination: {host: web, subset: v1}}'],
  },
  {
    code: 'IST0144',
    yaml: workload('web', 'app: web', '{name: app, image: web, securityContext: {runAsUser: 1337}}'),
    at: 'Deployment shop/web spec.template.spec.containers[0].securityContext.runAsUser',
    cure: ['1337', '1000'],
  },
  {
    code: 'IST0145',
    yaml: INGRESS + gateway(server('"*"')) + gateway(server('"*"'), 'other'),
    at: 'Gateway shop/other spec.servers[0].hosts[0]',
    cure: ['name: other', 'name: gw'],
  },
  {
    code: 'IST0146',
    yaml: workload('web', 'app: web', '{name: istio-proxy, image: auto}'),
    at: 'Deployment shop/web spec.template.spec.containers[0].image',
    cure: ['app: web', 'sidecar.istio.io/inject: "true"'],
  },
  {
    code: 'IST0147',
    yaml: object('v1', 'Pod', '{containers: [{name: istio-proxy, image: auto}]}'),
    at: 'Pod shop/x spec.containers[0].image',
    cure: ['image: auto', 'image: proxyv2'],
    live: true,
  },
  {
    code: 'IST0149',
    yaml:
      SERVICE +
      INGRESS +
      gateway(server('"*"')) +
      virtualService(
        `{hosts: [a.example.com], gateways: [gw], http: [{match: [{headers: {"@request.auth.claims.group": {exact: a}}}], ${TO_WEB}}]}`,
      ),
    at: 'VirtualService shop/x spec.http[0].match[0].headers[@request.auth.claims.group]',
    cure: [
      'apiVersion: networking.istio.io/v1\nkind: VirtualService',
      'apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: a, namespace: shop}\nspec: {selector: {matchLabels: {istio: ingress}}, jwtRules: [{issuer: a}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService',
    ],
  },
  {
    code: 'IST0150',
    yaml: object('v1', 'Service', '{type: ExternalName, externalName: a.example.com, ports: [{name: tcp, port: 443}]}'),
    at: 'Service shop/x spec.ports[0]',
    cure: ['name: tcp', 'name: https'],
  },
  {
    code: 'IST0151',
    yaml: filter('{applyTo: HTTP_FILTER, match: {context: GATEWAY}, patch: {operation: INSERT_BEFORE, value: {}}}'),
    at: 'EnvoyFilter shop/x spec.configPatches[0].patch.operation',
    cure: ['configPatches', 'priority: 1, configPatches'],
  },
  {
    code: 'IST0152',
    yaml: filter('{applyTo: CLUSTER, patch: {operation: REPLACE, value: {}}}'),
    at: 'EnvoyFilter shop/x spec.configPatches[0].patch.operation',
    cure: ['REPLACE', 'MERGE'],
  },
  {
    code: 'IST0153',
    yaml: filter('{applyTo: HTTP_ROUTE, patch: {operation: ADD, value: {}}}'),
    at: 'EnvoyFilter shop/x spec.configPatches[0].patch.operation',
    cure: ['HTTP_ROUTE', 'VIRTUAL_HOST'],
  },
  {
    code: 'IST0154',
    yaml: filter('{applyTo: ROUTE_CONFIGURATION, patch: {operation: REMOVE}}'),
    at: 'EnvoyFilter shop/x spec.configPatches[0].patch.operation',
    cure: ['ROUTE_CONFIGURATION', 'VIRTUAL_HOST'],
  },
  {
    code: 'IST0155',
    yaml: filter(
      '{applyTo: HTTP_FILTER, match: {proxy: {proxyVersion: "1.*"}}, patch: {operation: INSERT_AFTER, value: {}}}',
    ),
    at: 'EnvoyFilter shop/x spec.configPatches[0].patch.operation',
    cure: ['configPatches', 'priority: 1, configPatches'],
  },
  {
    code: 'IST0157',
    yaml: telemetry('{tracing: [{providers: []}]}'),
    at: 'Telemetry shop/x spec.tracing[0].providers',
    cure: ['providers: []', 'providers: [{name: a}]'],
  },
  {
    code: 'IST0159',
    yaml:
      workload() +
      telemetry('{selector: {matchLabels: {app: web}}}') +
      telemetry('{selector: {matchLabels: {app: web}}}', 'y'),
    at: 'Telemetry shop/y spec.selector',
    cure: ['name: y, namespace: shop', 'name: y, namespace: other'],
  },
  {
    code: 'IST0160',
    yaml: telemetry('{accessLogging: [{disabled: true}]}') + telemetry('{accessLogging: [{disabled: true}]}', 'y'),
    at: 'Telemetry shop/y',
    cure: ['name: y, namespace: shop', 'name: y, namespace: other'],
  },
  {
    code: 'IST0161',
    yaml: `${INGRESS + gateway(server('"*"', 443, '{mode: SIMPLE, credentialName: cert}'))}
apiVersion: v1
kind: Secret
metadata: {name: cert, namespace: shop}
data: {tls.crt: AAAA, tls.key: AAAA}
`,
    at: 'Gateway shop/gw spec.servers[0].tls.credentialName',
    cure: ['{tls.crt: AAAA, tls.key: AAAA}', '{tls.crt: LS0tLS1CRUdJTiA=, tls.key: LS0tLS1CRUdJTiA=}'],
  },
  {
    code: 'IST0162',
    yaml: INGRESS + gateway(server('"*"', 8080)),
    at: 'Gateway shop/gw spec.servers[0].port.number',
    cure: ['number: 8080', 'number: 443'],
  },
  {
    code: 'IST0165',
    yaml:
      SERVICE +
      virtualService(
        `{hosts: [a.example.com], gateways: [shop/gw-istio-autogenerated-k8s-gateway-http], http: [{${TO_WEB}}]}`,
      ),
    at: 'VirtualService shop/x spec.gateways[0]',
    cure: ['gw-istio-autogenerated-k8s-gateway-http', 'gw'],
  },
  {
    code: 'IST0166',
    yaml:
      workload('edge', 'gateway.networking.k8s.io/gateway-name: edge') +
      object(
        SECURITY,
        'AuthorizationPolicy',
        '{selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: edge}}}',
      ),
    at: 'AuthorizationPolicy shop/x spec.selector',
    cure: [
      'selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: edge}}',
      'targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]',
    ],
  },
  {
    code: 'IST0167',
    yaml:
      namespace('istio.io/dataplane-mode: ambient') +
      workload() +
      object(NETWORKING, 'Sidecar', '{workloadSelector: {labels: {app: web}}}'),
    at: 'Sidecar shop/x spec.workloadSelector',
    cure: ['istio.io/dataplane-mode: ambient', 'istio-injection: enabled'],
  },
  {
    code: 'IST0171',
    yaml: `${SERVICE.slice(0, -3)}status: {conditions: [{type: istio.io/WaypointBound, status: "False", reason: WaypointIsNotReady, message: no address}]}\n`,
    at: 'Service shop/web status.conditions[0]',
    cure: ['"False"', '"True"'],
    live: true,
  },
  {
    code: 'IST0173',
    yaml: SERVICE + workload() + destinationRule('{host: web, subsets: [{name: v2, labels: {version: v2}}]}'),
    at: 'DestinationRule shop/x spec.subsets[0].labels',
    cure: ['labels: {version: v2}', 'labels: {app: web}'],
  },
  {
    code: 'IST0174',
    yaml: SERVICE + destinationRule('{host: wbe, trafficPolicy: {loadBalancer: {simple: RANDOM}}}'),
    at: 'DestinationRule shop/x spec.host',
    cure: ['host: wbe', 'host: "*.shop.svc.cluster.local"'],
  },
  {
    code: 'IST0175',
    yaml:
      workload('istiod', 'app: istiod', '{name: discovery, image: pilot, env: [{name: A, value: b}]}') +
      object(SECURITY, 'RequestAuthentication', '{jwtRules: [{issuer: a, jwksUri: "https://a/keys"}]}'),
    at: 'RequestAuthentication shop/x spec.jwtRules',
    cure: ['{name: A, value: b}', '{name: BLOCKED_CIDRS_IN_JWKS_URIS, value: 10.0.0.0/8}'],
  },
  {
    code: 'IST0176',
    yaml: `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tlsroutes.gateway.networking.k8s.io, annotations: {gateway.networking.k8s.io/bundle-version: v1.4.1}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: a, namespace: shop}
spec: {rules: [{backendRefs: [{name: web, port: 80}]}]}
`,
    at: 'CustomResourceDefinition tlsroutes.gateway.networking.k8s.io metadata.annotations[gateway.networking.k8s.io/bundle-version]',
    cure: ['v1.4.1', 'v1.5.0'],
  },
  {
    code: 'IST0177',
    yaml:
      object(
        NETWORKING,
        'ServiceEntry',
        '{hosts: [a.example.com], ports: [{number: 443, name: a, protocol: TLS}], resolution: DNS}',
      ) +
      object(
        NETWORKING,
        'ServiceEntry',
        '{hosts: [a.example.com], ports: [{number: 443, name: a, protocol: HTTP}], resolution: DNS}',
        'y',
      ),
    at: 'ServiceEntry shop/y spec.ports[0]',
    cure: ['protocol: HTTP', 'protocol: TLS'],
  },
];
