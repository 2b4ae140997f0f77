// BackendTLSPolicies: which counts for a service or one of its ports, the TLS that it asks for, and its status.
// Source: Gateway API, BackendTLSPolicy; Istio: the oldest of several counts, the first authority alone is read, and one
// that cannot be had makes the hop fail instead of leaving it plain.

import type { TextPredicate } from '../model/facts.ts';
import type { TrafficConfig, TrafficPolicy, UpstreamTls } from '../model/proxy/service-config.ts';
import type { Collection, Graph, Reader } from './graph/graph.ts';
import type { Inputs } from './inputs.ts';
import { MESH_CONTROLLER } from './names.ts';
import { type BackendTlsPolicy, IGNORE_ANNOTATION } from './objects/backend-tls-policy.ts';
import { byAge, metaKey } from './objects/meta.ts';
import { looseBoolean } from './read.ts';
import type { RoutableService } from './routes/backends.ts';
import type { Scope } from './scope.ts';
import { reportUnlessEqual, type StatusReport, type Wanted, type WantedParent } from './status/report.ts';

/** TLS to a service. */
export interface BackendTls {
  /** For every port; undefined: none is said. */
  readonly all: UpstreamTls | undefined;
  /** By port. */
  readonly ports: Readonly<Record<string, UpstreamTls>>;
}

export interface BackendTlsPolicies {
  /** By key of the service. */
  readonly tls: Collection<BackendTls>;
  readonly reports: Collection<StatusReport>;
}

type Target = BackendTlsPolicy['targets'][number];

/** `<kind>/<namespace>/<name>`; undefined: a kind that no policy can name. */
function targetObject(policy: BackendTlsPolicy, { group, kind, name }: Target): string | undefined {
  if ((group === '' || group === 'core') && kind === 'Service') return `Service/${policy.namespace}/${name}`;
  if (group === 'networking.istio.io' && kind === 'ServiceEntry') return `ServiceEntry/${policy.namespace}/${name}`;
  return undefined;
}

interface Roots {
  readonly roots: UpstreamTls['roots'];
  readonly fault: { readonly reason: 'InvalidCACertificateRef' | 'InvalidKind'; readonly message: string } | undefined;
}

const HAS_CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/;

function rootsOf(get: Reader, { sources }: Inputs, policy: BackendTlsPolicy): Roots {
  const [first] = policy.authorities;
  const bad = (reason: NonNullable<Roots['fault']>['reason'], message: string): Roots => ({
    roots: { kind: 'unusable', why: `BackendTLSPolicy ${metaKey(policy)}: ${message}` },
    fault: { reason, message },
  });
  if (first === undefined)
    return policy.wellKnownAuthorities === 'System'
      ? { roots: { kind: 'system' }, fault: undefined }
      : bad('InvalidCACertificateRef', 'it names no authority: caCertificateRefs or wellKnownCACertificates: System');
  if (first.group !== '' || first.kind !== 'ConfigMap')
    return bad(
      'InvalidKind',
      `caCertificateRefs: ${first.group || 'core'}/${first.kind} \`${first.name}\` is no ConfigMap`,
    );
  const key = `${policy.namespace}/${first.name}`;
  const found = get.one(sources.configmaps, key);
  if (found === undefined) return bad('InvalidCACertificateRef', `ConfigMap ${key} does not exist`);
  return HAS_CERTIFICATE.test(found.authorities)
    ? { roots: { kind: 'pem', pem: found.authorities }, fault: undefined }
    : bad('InvalidCACertificateRef', `ConfigMap ${key} holds no ca.crt in PEM`);
}

const isIgnored = ({ annotations }: BackendTlsPolicy): boolean =>
  looseBoolean(annotations[IGNORE_ANNOTATION] ?? '') ?? false;

const toTls = ({ hostname, subjectAltNames }: BackendTlsPolicy, { roots }: Roots): UpstreamTls => ({
  mode: 'simple',
  serverName: hostname,
  subjectAltNames: subjectAltNames.map(({ value }): TextPredicate => ({ kind: 'exact', value })),
  roots,
  certificate: undefined,
});

/** The oldest policy for a place of a service. */
const holderOf = (policies: readonly BackendTlsPolicy[], object: string, section: string | undefined) =>
  [...policies]
    .sort(byAge)
    .find(
      (policy) =>
        !isIgnored(policy) &&
        policy.targets.some((each) => targetObject(policy, each) === object && each.sectionName === section),
    );

export function deriveBackendTls(
  graph: Graph,
  scope: Scope,
  inputs: Inputs,
  services: Collection<RoutableService>,
): BackendTlsPolicies {
  const { sources } = inputs;
  const owned = graph.derive('backendTlsPolicies', sources.backendtlspolicies, (get, policy) =>
    scope.owns(get, policy) ? { ...policy, found: [] } : undefined,
  );
  const byTarget = owned.index('byTarget', (policy) => [
    ...new Set(policy.targets.flatMap((target) => targetObject(policy, target) ?? [])),
  ]);
  const byObject = services.index('byObjectForTls', ({ object }) => [object]);
  const roots = graph.derive('backendTlsRoots', owned, (get, policy) => rootsOf(get, inputs, policy));

  const tls = graph.derive('backendTls', services, (get, { object, ports }): BackendTls | undefined => {
    const policies = get.all(byTarget, object);
    if (policies.length === 0) return undefined;
    const at = (section: string | undefined): UpstreamTls | undefined => {
      const policy = holderOf(policies, object, section);
      return policy && toTls(policy, get.one(roots, metaKey(policy)) as Roots);
    };
    const byPort = ports.flatMap(({ port, name }) => {
      const own = name === '' ? undefined : at(name);
      return own === undefined ? [] : [[String(port), own] as const];
    });
    return { all: at(undefined), ports: Object.fromEntries(byPort) };
  });

  const outcomeOf = (get: Reader, policy: BackendTlsPolicy, target: Target): readonly Wanted[] => {
    const { generation } = policy;
    const wanted = (type: string, isTrue: boolean, reason: string, message: string): Wanted => ({
      type,
      status: isTrue ? 'True' : 'False',
      reason,
      message,
      observedGeneration: generation,
    });
    const refused = (reason: string, message: string): readonly Wanted[] => [
      wanted('Accepted', false, reason, message),
    ];
    if (isIgnored(policy)) return refused('IgnoredByIstio', `annotation ${IGNORE_ANNOTATION} says so`);
    const object = targetObject(policy, target);
    if (object === undefined)
      return refused('TargetNotFound', `${target.group || 'core'}/${target.kind} cannot be the target`);
    const [service] = get.all(byObject, object);
    if (service === undefined) return refused('TargetNotFound', `${object} was not found`);
    if (target.sectionName !== undefined && !service.ports.some(({ name }) => name === target.sectionName))
      return refused('TargetNotFound', `${object} has no port named ${target.sectionName}`);
    const holder = holderOf(get.all(byTarget, object), object, target.sectionName);
    if (holder !== undefined && metaKey(holder) !== metaKey(policy))
      return refused('Conflicted', `BackendTLSPolicy ${metaKey(holder)} is older and holds for ${object}`);
    const fault = get.one(roots, metaKey(policy))?.fault;
    return fault === undefined
      ? [
          wanted('Accepted', true, 'Accepted', 'the policy is in force'),
          wanted('ResolvedRefs', true, 'ResolvedRefs', 'all references resolved'),
        ]
      : [
          wanted('Accepted', false, 'NoValidCACertificate', `${fault.message}; connections fail, they are never plain`),
          wanted('ResolvedRefs', false, fault.reason, fault.message),
        ];
  };
  /** What the API takes. */
  const MAX_ANCESTORS = 16;
  const reports = graph.deriveMany('backendTlsReports', sources.backendtlspolicies, (get, policy) => {
    const key = metaKey(policy);
    const own = get.one(owned, key);
    if (own === undefined) return [];
    const wanted = policy.targets.slice(0, MAX_ANCESTORS).map(
      (target): WantedParent => ({
        ref: {
          group: target.group,
          kind: target.kind,
          namespace: policy.namespace,
          name: target.name,
          ...(target.sectionName !== undefined && { sectionName: target.sectionName }),
        },
        controllerName: MESH_CONTROLLER,
        conditions: outcomeOf(get, own, target),
      }),
    );
    const report = reportUnlessEqual({
      kind: 'BackendTLSPolicy',
      namespace: policy.namespace,
      name: policy.name,
      manager: 'istio-gateway',
      wanted: [],
      found: [],
      fields: { kind: 'ancestors', wanted, found: policy.found },
    });
    return report === undefined ? [] : [[`BackendTLSPolicy/${key}`, report]];
  });
  return { tls, reports };
}

/**
 * A user's own TLS wins; the policy fills where none is said, at each port and in each subset.
 * @param shown  the certificate that the Gateway shows to backends (`spec.tls.backend`), `<namespace>/<secret>`
 */
export function withBackendTls(
  traffic: TrafficConfig,
  tls: BackendTls | undefined,
  shown: string | undefined,
): TrafficConfig {
  if (tls === undefined) return traffic;
  const fill = (policy: TrafficPolicy, own: UpstreamTls | undefined): TrafficPolicy =>
    policy.tls !== undefined || own === undefined
      ? policy
      : { ...policy, tls: shown === undefined ? own : { ...own, mode: 'mutual', certificate: shown } };
  const fillPorts = (
    policy: TrafficPolicy,
    ports: Readonly<Record<string, TrafficPolicy>>,
  ): Readonly<Record<string, TrafficPolicy>> =>
    Object.fromEntries(
      [...new Set([...Object.keys(ports), ...Object.keys(tls.ports)])].map((port) => [
        port,
        fill(ports[port] ?? policy, tls.ports[port] ?? tls.all),
      ]),
    );
  return {
    policy: fill(traffic.policy, tls.all),
    ports: fillPorts(traffic.policy, traffic.ports),
    subsets: traffic.subsets.map((subset) => ({
      ...subset,
      policy: fill(subset.policy, tls.all),
      ports: fillPorts(subset.policy, subset.ports),
    })),
  };
}
