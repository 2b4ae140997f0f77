// Each rule with the least object that breaks it, beside the object it is made from, which breaks none.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAllDocuments } from 'yaml';
import { formatPath } from '../field.ts';
import { validateObject } from './validate.ts';

interface Case {
  readonly kind: string;
  /** Good as it is. */
  readonly good: string;
  /** Replaces the spec; the fault `field: kind` it must have. */
  readonly bad: readonly (readonly [spec: string, fault: string])[];
}

const ISTIO = 'networking.istio.io';
const SECURITY = 'security.istio.io';
const GATEWAY = 'gateway.networking.k8s.io';
const to = 'route: [{destination: {host: web}}]';

const CASES: readonly Case[] = [
  {
    kind: `${ISTIO}/VirtualService`,
    good: `{hosts: [web, "*.example.com"], gateways: [mesh, ns/gw], exportTo: [".", other], http: [{match: [{uri: {regex: "/a.*"}, headers: {x-a: {}}, port: 80}], route: [{destination: {host: web, subset: v1, port: {number: 80}}, weight: 1}, {destination: {host: web}, weight: 0}], retries: {attempts: 2, perTryTimeout: 1s, retryOn: "5xx,503"}, timeout: 0.5s, fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}, corsPolicy: {allowOrigins: [{exact: "https://a"}], maxAge: 1h}}], tls: [{match: [{sniHosts: [a.example.com]}], ${to}}]}`,
    bad: [
      [`{hosts: [web]}`, 'spec: required'],
      [`{hosts: ["a..b"], http: [{${to}}]}`, 'spec.hosts[0]: invalid'],
      [`{hosts: ["a.*.b"], http: [{${to}}]}`, 'spec.hosts[0]: invalid'],
      [`{hosts: [web, WEB], http: [{${to}}]}`, 'spec.hosts[1]: duplicate'],
      [`{hosts: [web], gateways: [a/b/c], http: [{${to}}]}`, 'spec.gateways[0]: invalid'],
      [`{gateways: [gw], http: [{${to}}]}`, 'spec.gateways: forbidden'],
      [`{hosts: [web], http: [{match: [{uri: {regex: "("}}], ${to}}]}`, 'spec.http[0].match[0].uri.regex: invalid'],
      [`{hosts: [web], http: [{match: [{uri: {}}], ${to}}]}`, 'spec.http[0].match[0].uri: required'],
      [
        `{hosts: [web], http: [{match: [{headers: {"a b": {}}}], ${to}}]}`,
        'spec.http[0].match[0].headers[a b]: invalid',
      ],
      [`{hosts: [web], http: [{route: [{destination: {}}]}]}`, 'spec.http[0].route[0].destination.host: required'],
      [
        `{hosts: [web], http: [{route: [{destination: {host: "*"}}]}]}`,
        'spec.http[0].route[0].destination.host: invalid',
      ],
      [
        `{hosts: [web], http: [{route: [{destination: {host: a}}, {destination: {host: b}}]}]}`,
        'spec.http[0].route: invalid',
      ],
      [`{hosts: [web], http: [{redirect: {uri: /}, rewrite: {uri: /}}]}`, 'spec.http[0].rewrite: forbidden'],
      [
        `{hosts: [web], http: [{redirect: {redirectCode: 200, uri: /}}]}`,
        'spec.http[0].redirect.redirectCode: invalid',
      ],
      [`{hosts: [web], http: [{directResponse: {status: 99}}]}`, 'spec.http[0].directResponse.status: invalid'],
      [`{hosts: [web], http: [{${to}, rewrite: {}}]}`, 'spec.http[0].rewrite: required'],
      [`{hosts: [web], http: [{${to}, timeout: 1x}]}`, 'spec.http[0].timeout: invalid'],
      [
        `{hosts: [web], http: [{${to}, retries: {attempts: 0, retryOn: 5xx}}]}`,
        'spec.http[0].retries.attempts: invalid',
      ],
      [
        `{hosts: [web], http: [{${to}, retries: {attempts: 1, retryOn: "5xx,never"}}]}`,
        'spec.http[0].retries.retryOn: invalid',
      ],
      [`{hosts: [web], http: [{${to}, fault: {}}]}`, 'spec.http[0].fault: required'],
      [
        `{hosts: [web], http: [{${to}, fault: {abort: {httpStatus: 99}}}]}`,
        'spec.http[0].fault.abort.httpStatus: invalid',
      ],
      [
        `{hosts: [web], http: [{${to}, fault: {abort: {httpStatus: 500, percentage: {value: 101}}}}]}`,
        'spec.http[0].fault.abort.percentage.value: invalid',
      ],
      [
        `{hosts: [web], http: [{${to}, mirror: {host: a}, mirrors: [{destination: {host: a}}]}]}`,
        'spec.http[0]: invalid',
      ],
      [
        `{hosts: [web], http: [{${to}, corsPolicy: {allowMethods: [get]}}]}`,
        'spec.http[0].corsPolicy.allowMethods[0]: invalid',
      ],
      [
        `{hosts: [web], http: [{${to}, headers: {request: {set: {"a:b c": x}}}}]}`,
        'spec.http[0].headers.request.set[a:b c]: invalid',
      ],
      [
        `{hosts: [web], http: [{${to}, headers: {request: {remove: [Host]}}}]}`,
        'spec.http[0].headers.request.remove[0]: invalid',
      ],
      [`{hosts: [web], tls: [{${to}}]}`, 'spec.tls[0].match: required'],
      [`{hosts: [web], tls: [{match: [{sniHosts: [other]}], ${to}}]}`, 'spec.tls[0].match[0].sniHosts[0]: invalid'],
      [
        `{hosts: [web], tcp: [{match: [{destinationSubnets: [x]}], ${to}}]}`,
        'spec.tcp[0].match[0].destinationSubnets[0]: invalid',
      ],
      [`{hosts: [web], tcp: [{}]}`, 'spec.tcp[0].route: required'],
      [`{hosts: [web], exportTo: ["*", a], http: [{${to}}]}`, 'spec.exportTo[0]: invalid'],
    ],
  },
  {
    kind: `${ISTIO}/DestinationRule`,
    good: `{host: web, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 0s}}}, connectionPool: {tcp: {connectTimeout: 10ms}}, outlierDetection: {interval: 1s}, tls: {mode: SIMPLE}, portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}, subsets: [{name: v1, labels: {version: v1}}]}`,
    bad: [
      [`{}`, 'spec.host: required'],
      [`{host: web, trafficPolicy: {}}`, 'spec.trafficPolicy: required'],
      [
        `{host: web, subsets: [{name: v1, labels: {a: b}}, {name: v1, labels: {a: c}}]}`,
        'spec.subsets[1].name: duplicate',
      ],
      [`{host: web, subsets: [{name: v1}]}`, 'spec.subsets[0]: warning'],
      [`{host: web, subsets: [{name: V_1, labels: {a: b}}]}`, 'spec.subsets[0].name: invalid'],
      [
        `{host: web, trafficPolicy: {loadBalancer: {consistentHash: {}}}}`,
        'spec.trafficPolicy.loadBalancer.consistentHash: warning',
      ],
      [
        `{host: web, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 50}}]}}}}`,
        'spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to: invalid',
      ],
      [
        `{host: web, trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}, outlierDetection: {interval: 1s}}}`,
        'spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].to: invalid',
      ],
      [
        `{host: web, trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}}}`,
        'spec.trafficPolicy.loadBalancer.localityLbSetting: warning',
      ],
      [`{host: web, trafficPolicy: {connectionPool: {}}}`, 'spec.trafficPolicy.connectionPool: required'],
      [
        `{host: web, trafficPolicy: {connectionPool: {http: {useClientProtocol: true, h2UpgradePolicy: UPGRADE}}}}`,
        'spec.trafficPolicy.connectionPool.http.useClientProtocol: invalid',
      ],
      [
        `{host: web, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}}`,
        'spec.trafficPolicy.outlierDetection.maxEjectionPercent: invalid',
      ],
      [
        `{host: web, trafficPolicy: {outlierDetection: {interval: 0.1ms}}}`,
        'spec.trafficPolicy.outlierDetection.interval: invalid',
      ],
      [
        `{host: web, trafficPolicy: {tls: {mode: MUTUAL, privateKey: /k}}}`,
        'spec.trafficPolicy.tls.clientCertificate: required',
      ],
      [
        `{host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, caCertificates: /c}}}`,
        'spec.trafficPolicy.tls: forbidden',
      ],
      [
        `{host: web, trafficPolicy: {tls: {mode: SIMPLE, credentialName: a, caCertificates: /c}}}`,
        'spec.trafficPolicy.tls: forbidden',
      ],
      [
        `{host: web, trafficPolicy: {portLevelSettings: [{port: {number: 0}}]}}`,
        'spec.trafficPolicy.portLevelSettings[0].port.number: invalid',
      ],
      [`{host: web, trafficPolicy: {tunnel: {targetPort: 80}}}`, 'spec.trafficPolicy.tunnel.targetHost: required'],
    ],
  },
  {
    kind: `${ISTIO}/Gateway`,
    good: `{selector: {istio: ingress}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*", ./a.example.com], tls: {mode: SIMPLE, credentialName: c}}, {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"], tls: {httpsRedirect: true}}]}`,
    bad: [
      [`{}`, 'spec.servers: required'],
      [`{servers: [{port: {number: 80, name: a, protocol: HTTP}}]}`, 'spec.servers[0].hosts: required'],
      [`{servers: [{hosts: [a]}]}`, 'spec.servers[0].port: required'],
      [
        `{servers: [{port: {number: 80, name: a, protocol: SMTP}, hosts: [a]}]}`,
        'spec.servers[0].port.protocol: invalid',
      ],
      [`{servers: [{port: {number: 80, protocol: HTTP}, hosts: [a]}]}`, 'spec.servers[0].port.name: required'],
      [
        `{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a]}, {port: {number: 81, name: a, protocol: HTTP}, hosts: [a]}]}`,
        'spec.servers[1].port.name: duplicate',
      ],
      [`{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a]}]}`, 'spec.servers[0].tls: required'],
      [
        `{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a], tls: {mode: SIMPLE, privateKey: /k}}]}`,
        'spec.servers[0].tls.serverCertificate: required',
      ],
      [
        `{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a], tls: {mode: SIMPLE, credentialName: c}}]}`,
        'spec.servers[0].tls: forbidden',
      ],
      [
        `{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ["A B/a"]}]}`,
        'spec.servers[0].hosts[0]: invalid',
      ],
      [
        `{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a], tls: {mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2}}]}`,
        'spec.servers[0].tls.minProtocolVersion: invalid',
      ],
    ],
  },
  {
    kind: `${ISTIO}/ServiceEntry`,
    good: `{hosts: [a.example.com], addresses: [192.0.2.0/24], ports: [{number: 443, name: tls, protocol: TLS}], resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {tls: 8443}, locality: a/b/c}]}`,
    bad: [
      [`{}`, 'spec.hosts: required'],
      [`{hosts: ["*"]}`, 'spec.hosts[0]: invalid'],
      [`{hosts: [a], addresses: [b]}`, 'spec.addresses[0]: invalid'],
      [`{hosts: [a], ports: [{number: 80, name: a}, {number: 80, name: b}]}`, 'spec.ports[1].number: duplicate'],
      [`{hosts: [a], ports: [{number: 80, name: a}, {number: 81, name: a}]}`, 'spec.ports[1].name: duplicate'],
      [`{hosts: [a], endpoints: [{address: 10.0.0.1}]}`, 'spec.endpoints: forbidden'],
      [`{hosts: [a], resolution: STATIC}`, 'spec: warning'],
      [`{hosts: [a], resolution: STATIC, endpoints: [{address: b.example.com}]}`, 'spec.endpoints[0].address: invalid'],
      [
        `{hosts: [a], resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {x: 1}}]}`,
        'spec.endpoints[0].ports.x: invalid',
      ],
      [`{hosts: ["*.a"], resolution: DNS}`, 'spec.hosts[0]: invalid'],
      [`{hosts: [a], resolution: DNS_ROUND_ROBIN, endpoints: [{address: a}, {address: b}]}`, 'spec.endpoints: invalid'],
      [`{hosts: [a.b], resolution: DYNAMIC_DNS}`, 'spec.hosts[0]: invalid'],
      [
        `{hosts: [a], resolution: STATIC, workloadSelector: {labels: {a: b}}, endpoints: [{address: 10.0.0.1}]}`,
        'spec.endpoints: forbidden',
      ],
      [`{hosts: [a], resolution: DNS, addresses: [10.0.0.0/8]}`, 'spec.addresses[0]: invalid'],
    ],
  },
  {
    kind: `${ISTIO}/WorkloadEntry`,
    good: `{address: 10.0.0.1, ports: {http: 80}, labels: {app: a}}`,
    bad: [
      [`{}`, 'spec.address: required'],
      [`{address: "a b"}`, 'spec.address: invalid'],
      [`{address: unix:///a, ports: {http: 80}}`, 'spec.ports: forbidden'],
      [`{address: 10.0.0.1, ports: {http: 0}}`, 'spec.ports.http: invalid'],
      [`{address: 10.0.0.1, locality: a/b/c/d}`, 'spec.locality: invalid'],
    ],
  },
  {
    kind: `${ISTIO}/WorkloadGroup`,
    good: `{template: {serviceAccount: a}, probe: {httpGet: {port: 80}}}`,
    bad: [
      [`{}`, 'spec.template: required'],
      [`{template: {}, probe: {}}`, 'spec.probe: required'],
    ],
  },
  {
    kind: `${ISTIO}/Sidecar`,
    good: `{workloadSelector: {labels: {app: a}}, ingress: [{port: {number: 80, name: http, protocol: HTTP}, defaultEndpoint: "127.0.0.1:8080"}], egress: [{port: {number: 90}, hosts: ["./*"]}, {hosts: ["*/payment-service.svc", "~/*"]}]}`,
    bad: [
      [`{}`, 'spec: required'],
      [`{egress: [{hosts: [a]}]}`, 'spec.egress[0].hosts[0]: invalid'],
      [`{egress: [{}]}`, 'spec.egress[0].hosts: required'],
      [`{egress: [{hosts: ["./*"]}, {port: {number: 1}, hosts: ["./*"]}]}`, 'spec.egress[0]: invalid'],
      [
        `{ingress: [{port: {number: 80, name: a}, defaultEndpoint: "10.0.0.1:1"}]}`,
        'spec.ingress[0].defaultEndpoint: invalid',
      ],
    ],
  },
  {
    kind: `${ISTIO}/EnvoyFilter`,
    good: `{workloadSelector: {labels: {a: b}}, configPatches: [{applyTo: HTTP_FILTER, match: {context: GATEWAY, listener: {filterChain: {filter: {name: x}}}}, patch: {operation: INSERT_BEFORE, value: {}}}]}`,
    bad: [
      [`{configPatches: [{patch: {operation: MERGE, value: {}}}]}`, 'spec.configPatches[0].applyTo: required'],
      [`{configPatches: [{applyTo: CLUSTER}]}`, 'spec.configPatches[0].patch: required'],
      [
        `{configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE}}]}`,
        'spec.configPatches[0].patch.value: required',
      ],
      [
        `{configPatches: [{applyTo: CLUSTER, match: {listener: {}}, patch: {operation: MERGE, value: {}}}]}`,
        'spec.configPatches[0].match.listener: invalid',
      ],
      [
        `{configPatches: [{applyTo: CLUSTER, match: {proxy: {proxyVersion: "("}}, patch: {operation: MERGE, value: {}}}]}`,
        'spec.configPatches[0].match.proxy.proxyVersion: invalid',
      ],
    ],
  },
  {
    kind: `${ISTIO}/ProxyConfig`,
    good: `{concurrency: 0, image: {imageType: debug}, environmentVariables: {A_B: c}}`,
    bad: [
      [`{concurrency: -1}`, 'spec.concurrency: invalid'],
      [`{image: {imageType: big}}`, 'spec.image.imageType: invalid'],
      [`{environmentVariables: {"a-b": c}}`, 'spec.environmentVariables.a-b: invalid'],
    ],
  },
  {
    kind: `${SECURITY}/AuthorizationPolicy`,
    good: `{selector: {matchLabels: {app: a}}, rules: [{from: [{source: {principals: ["cluster.local/ns/a/sa/*"], ipBlocks: [10.0.0.0/8]}}], to: [{operation: {ports: ["80"], paths: ["/a/{*}/b"], methods: [GET]}}], when: [{key: "request.headers[x]", values: [a]}, {key: "request.auth.claims[a][b]", notValues: [c]}]}]}`,
    bad: [
      [`{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: a}]}`, 'spec: invalid'],
      [`{targetRefs: [{kind: Deployment, name: a}]}`, 'spec.targetRefs[0].kind: invalid'],
      [`{targetRefs: [{kind: Service, name: a, namespace: b}]}`, 'spec.targetRefs[0].namespace: invalid'],
      [`{action: CUSTOM, rules: [{}]}`, 'spec.provider.name: required'],
      [`{action: CUSTOM, provider: {name: p}}`, 'spec: warning'],
      [`{provider: {name: a}}`, 'spec.provider: forbidden'],
      [`{rules: [{from: []}]}`, 'spec.rules[0].from: invalid'],
      [`{rules: [{from: [{source: {}}]}]}`, 'spec.rules[0].from[0].source: required'],
      [`{rules: [{from: [{source: {namespaces: []}}]}]}`, 'spec.rules[0].from[0].source.namespaces: invalid'],
      [`{rules: [{from: [{source: {ipBlocks: [a]}}]}]}`, 'spec.rules[0].from[0].source.ipBlocks[0]: invalid'],
      [
        `{rules: [{from: [{source: {serviceAccounts: ["a/*"]}}]}]}`,
        'spec.rules[0].from[0].source.serviceAccounts[0]: invalid',
      ],
      [
        `{rules: [{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}]}`,
        'spec.rules[0].from[0].source: invalid',
      ],
      [
        `{rules: [{from: [{source: {principals: ["spiffe://a"]}}]}]}`,
        'spec.rules[0].from[0].source.principals[0]: warning',
      ],
      [`{rules: [{to: [{operation: {ports: ["0"]}}]}]}`, 'spec.rules[0].to[0].operation.ports[0]: invalid'],
      [`{rules: [{to: [{operation: {paths: ["/{*}*"]}}]}]}`, 'spec.rules[0].to[0].operation.paths[0]: invalid'],
      [`{rules: [{to: [{operation: {methods: [get]}}]}]}`, 'spec.rules[0].to[0].operation.methods[0]: warning'],
      [`{rules: [{when: [{key: nothing, values: [a]}]}]}`, 'spec.rules[0].when[0].key: invalid'],
      [`{rules: [{when: [{key: source.ip}]}]}`, 'spec.rules[0].when[0]: required'],
      [`{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}`, 'spec.rules[0]: warning'],
      [
        `{action: CUSTOM, provider: {name: p}, rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]}`,
        'spec.rules[0].from[0].source.requestPrincipals[0]: forbidden',
      ],
    ],
  },
  {
    kind: `${SECURITY}/PeerAuthentication`,
    good: `{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: PERMISSIVE}}}`,
    bad: [
      [`{portLevelMtls: {9090: {mode: PERMISSIVE}}}`, 'spec.portLevelMtls: invalid'],
      [`{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: STRICT}}}`, 'spec.portLevelMtls[0]: invalid'],
      [`{selector: {matchLabels: {"a*": b}}}`, 'spec.selector.matchLabels[a*]: invalid'],
    ],
  },
  {
    kind: `${SECURITY}/RequestAuthentication`,
    good: `{jwtRules: [{issuer: a, jwksUri: "https://a/keys", fromHeaders: [{name: x-token, prefix: "a "}], outputClaimToHeaders: [{header: x-a, claim: a.b}], timeout: 5s}, {issuer: b, jwks: '{"keys":[{"kty":"EC"}]}'}]}`,
    bad: [
      [`{jwtRules: [{}]}`, 'spec.jwtRules[0].issuer: required'],
      [`{jwtRules: [{issuer: a, jwksUri: "ftp://a"}]}`, 'spec.jwtRules[0].jwksUri: invalid'],
      [`{jwtRules: [{issuer: a, jwksUri: "http://a", jwks: '{"keys":[{"kty":"EC"}]}'}]}`, 'spec.jwtRules[0]: invalid'],
      [`{jwtRules: [{issuer: a, jwks: "{"}]}`, 'spec.jwtRules[0].jwks: invalid'],
      [`{jwtRules: [{issuer: a, jwks: "{}"}]}`, 'spec.jwtRules[0].jwks: invalid'],
      [`{jwtRules: [{issuer: a, fromHeaders: [{name: "a b"}]}]}`, 'spec.jwtRules[0].fromHeaders[0].name: invalid'],
      [
        `{jwtRules: [{issuer: a, outputClaimToHeaders: [{header: a}]}]}`,
        'spec.jwtRules[0].outputClaimToHeaders[0].claim: required',
      ],
      [`{jwtRules: [{issuer: a, fromParams: [""]}]}`, 'spec.jwtRules[0].fromParams[0]: invalid'],
    ],
  },
  {
    kind: 'telemetry.istio.io/Telemetry',
    good: `{tracing: [{providers: [{name: a}], randomSamplingPercentage: 0.5, customTags: {a: {literal: {value: b}}}}], metrics: [{overrides: [{match: {metric: ALL_METRICS}, tagOverrides: {a: {operation: REMOVE}, b: {value: c}}}]}], accessLogging: [{filter: {expression: "true"}}]}`,
    bad: [
      [`{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: a}]}`, 'spec: invalid'],
      [`{tracing: [{randomSamplingPercentage: 101}]}`, 'spec.tracing[0].randomSamplingPercentage: invalid'],
      [`{tracing: [{providers: [{name: a}, {name: b}]}]}`, 'spec.tracing[0].providers: warning'],
      [`{tracing: [{customTags: {a: {}}}]}`, 'spec.tracing[0].customTags.a: required'],
      [
        `{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]}`,
        'spec.metrics[0].overrides[0].tagOverrides.a.value: forbidden',
      ],
      [
        `{metrics: [{overrides: [{tagOverrides: {a: {}}}]}]}`,
        'spec.metrics[0].overrides[0].tagOverrides.a.value: required',
      ],
      [`{accessLogging: [{filter: {}}]}`, 'spec.accessLogging[0].filter.expression: required'],
    ],
  },
  {
    kind: 'extensions.istio.io/WasmPlugin',
    good: `{url: "registry/a:1", sha256: "${'a'.repeat(64)}", vmConfig: {env: [{name: A, value: b}, {name: C, valueFrom: HOST}]}}`,
    bad: [
      [`{}`, 'spec.url: required'],
      [`{url: "ftp://a"}`, 'spec.url: invalid'],
      [`{url: a, sha256: xyz}`, 'spec.sha256: invalid'],
      [`{url: a, vmConfig: {env: [{name: A, value: b, valueFrom: HOST}]}}`, 'spec.vmConfig.env[0].value: forbidden'],
    ],
  },
  {
    kind: `${GATEWAY}/Gateway`,
    good: `{gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}, {name: b, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}, {name: c, port: 444, protocol: TLS, tls: {mode: Passthrough}}]}`,
    bad: [
      [
        `{listeners: [{name: a, port: 80, protocol: HTTP}, {name: a, port: 81, protocol: HTTP}]}`,
        'spec.listeners[1].name: duplicate',
      ],
      [
        `{listeners: [{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}]}`,
        'spec.listeners[1]: invalid',
      ],
      [`{listeners: [{name: a, port: 80, protocol: HTTP, tls: {}}]}`, 'spec.listeners[0].tls: forbidden'],
      [
        `{listeners: [{name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}]}`,
        'spec.listeners[0].tls.mode: invalid',
      ],
      [`{listeners: [{name: a, port: 443, protocol: HTTPS, tls: {}}]}`, 'spec.listeners[0].tls: required'],
      [`{listeners: [{name: a, port: 443, protocol: TCP, hostname: a}]}`, 'spec.listeners[0].hostname: forbidden'],
      [`{addresses: [{value: 10.0.0.1}, {type: IPAddress, value: 10.0.0.1}]}`, 'spec.addresses[1]: duplicate'],
    ],
  },
  {
    kind: `${GATEWAY}/HTTPRoute`,
    good: `{parentRefs: [{name: a, sectionName: x}, {name: a, sectionName: y}, {kind: Service, group: "", name: a}], rules: [{name: r, matches: [{path: {type: PathPrefix, value: /a}, headers: [{name: a, value: b}]}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}, {type: RequestMirror, requestMirror: {backendRef: {name: m, port: 80}, percent: 1}}], backendRefs: [{name: web, port: 80}], timeouts: {request: 2s, backendRequest: 1s}}]}`,
    bad: [
      [`{parentRefs: [{name: a}, {name: a, sectionName: y}]}`, 'spec.parentRefs[0]: invalid'],
      [`{parentRefs: [{name: a, port: 1}, {name: a, port: 1}]}`, 'spec.parentRefs[1]: invalid'],
      [`{rules: [{name: a}, {name: a}]}`, 'spec.rules: invalid'],
      [`{rules: [{matches: [{path: {value: a}}]}]}`, 'spec.rules[0].matches[0].path.value: invalid'],
      [`{rules: [{matches: [{path: {value: /a//b}}]}]}`, 'spec.rules[0].matches[0].path.value: invalid'],
      [`{rules: [{matches: [{path: {value: "/a b"}}]}]}`, 'spec.rules[0].matches[0].path.value: invalid'],
      [
        `{rules: [{matches: [{path: {type: RegularExpression, value: "("}}]}]}`,
        'spec.rules[0].matches[0].path.value: invalid',
      ],
      [
        `{rules: [{matches: [{headers: [{name: a, value: b}, {name: a, value: c}]}]}]}`,
        'spec.rules[0].matches[0].headers[1]: duplicate',
      ],
      [
        `{rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}, {name: a, value: c}]}}]}]}`,
        'spec.rules[0].filters[0].requestHeaderModifier.set[1]: duplicate',
      ],
      [
        `{rules: [{filters: [{type: RequestRedirect, requestRedirect: {port: 1}}], backendRefs: [{name: a, port: 80}]}]}`,
        'spec.rules[0]: invalid',
      ],
      [
        `{rules: [{filters: [{type: RequestRedirect, requestRedirect: {port: 1}}, {type: URLRewrite, urlRewrite: {hostname: a}}]}]}`,
        'spec.rules[0].filters: invalid',
      ],
      [`{rules: [{filters: [{type: CORS, cors: {}}, {type: CORS, cors: {}}]}]}`, 'spec.rules[0].filters: invalid'],
      [`{rules: [{filters: [{type: URLRewrite}]}]}`, 'spec.rules[0].filters[0].urlRewrite: required'],
      [
        `{rules: [{filters: [{type: CORS, cors: {}, urlRewrite: {hostname: a}}]}]}`,
        'spec.rules[0].filters[0].urlRewrite: forbidden',
      ],
      [
        `{rules: [{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}]}`,
        'spec.rules[0].filters[0].urlRewrite.path: invalid',
      ],
      [
        `{rules: [{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}]}]}`,
        'spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: required',
      ],
      [`{rules: [{backendRefs: [{name: a}]}]}`, 'spec.rules[0].backendRefs[0].port: required'],
      [
        `{rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: m, port: 80}, percent: 1, fraction: {numerator: 1}}}]}]}`,
        'spec.rules[0].filters[0].requestMirror: invalid',
      ],
      [`{rules: [{timeouts: {request: 1s, backendRequest: 2s}}]}`, 'spec.rules[0].timeouts.backendRequest: invalid'],
      [
        `{rules: [{sessionPersistence: {cookieConfig: {lifetimeType: Permanent}}}]}`,
        'spec.rules[0].sessionPersistence.absoluteTimeout: required',
      ],
    ],
  },
  {
    kind: `${GATEWAY}/GRPCRoute`,
    good: `{rules: [{matches: [{method: {service: a.B}}], backendRefs: [{name: web, port: 80}]}]}`,
    bad: [
      [`{rules: [{matches: [{method: {}}]}]}`, 'spec.rules[0].matches[0].method: required'],
      [`{rules: [{matches: [{method: {service: "a/b"}}]}]}`, 'spec.rules[0].matches[0].method.service: invalid'],
    ],
  },
  {
    kind: `${GATEWAY}/TLSRoute`,
    good: `{hostnames: [a.example.com], rules: [{backendRefs: [{name: web, port: 80}]}]}`,
    bad: [[`{hostnames: [10.0.0.1]}`, 'spec.hostnames[0]: invalid']],
  },
  {
    kind: `${GATEWAY}/TCPRoute`,
    good: `{rules: [{backendRefs: [{name: web, port: 80}]}]}`,
    bad: [[`{rules: [{backendRefs: [{name: web}]}]}`, 'spec.rules[0].backendRefs[0].port: required']],
  },
  {
    kind: `${GATEWAY}/BackendTLSPolicy`,
    good: `{targetRefs: [{group: "", kind: Service, name: a}], validation: {hostname: a, wellKnownCACertificates: System, subjectAltNames: [{type: URI, uri: "spiffe://a"}]}}`,
    bad: [
      [`{validation: {hostname: a}}`, 'spec.validation: required'],
      [
        `{validation: {hostname: a, wellKnownCACertificates: System, caCertificateRefs: [{name: a}]}}`,
        'spec.validation: invalid',
      ],
      [
        `{validation: {wellKnownCACertificates: System, subjectAltNames: [{type: URI, hostname: a}]}}`,
        'spec.validation.subjectAltNames[0].uri: required',
      ],
      [
        `{validation: {wellKnownCACertificates: System}, targetRefs: [{kind: Service, name: a}, {kind: Service, name: a, sectionName: b}]}`,
        'spec.targetRefs[0].sectionName: required',
      ],
    ],
  },
];

const specOf = (text: string): unknown => parseAllDocuments(text)[0]?.toJS();
const faultsOf = (kind: string, spec: unknown): string[] => {
  const [group = '', name = ''] = kind.split('/');
  return validateObject(group, name, { metadata: { name: 'x', namespace: 'y' }, spec }).map(
    (fault) => `${formatPath(fault.path)}: ${fault.kind}`,
  );
};

for (const { kind, good, bad } of CASES) {
  test(`${kind}: a good one has no faults`, () => assert.deepEqual(faultsOf(kind, specOf(good)), []));
  for (const [spec, fault] of bad)
    test(`${kind}: ${fault} of ${spec}`, () => {
      const found = faultsOf(kind, specOf(spec));
      assert.ok(found.includes(fault), `found ${JSON.stringify(found)}`);
    });
}

test('any JSON is validated without an exception, and with a bounded number of faults', () => {
  // Shapes of real specs with some of their parts replaced by anything.
  const seeds = CASES.flatMap(({ kind, good, bad }) =>
    [good, ...bad.map(([spec]) => spec)].map((text) => ({ kind, spec: specOf(text) })),
  );
  const wreck = (value: unknown, junk: readonly unknown[], at: { i: number }): unknown => {
    at.i++;
    if (at.i % 5 === 0) return junk[at.i % junk.length];
    if (Array.isArray(value)) return value.map((item) => wreck(item, junk, at));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, wreck(item, junk, at)]));
  };
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.jsonValue(), { minLength: 1 }),
      fc.nat(4),
      (seed, junk, start) => {
        assert.ok(faultsOf(seed.kind, wreck(seed.spec, junk, { i: start })).length <= 32);
        for (const value of junk) faultsOf(seed.kind, value);
      },
    ),
    { numRuns: 300 },
  );
});
