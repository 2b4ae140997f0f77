// Policies and waypoints: selectors behind one, ways past one, targets that none enforces, ports that mean another.

import { isSubset } from '../../derive/labels.ts';
import { parseNamespace } from '../../derive/objects/cluster.ts';
import { ingressUsesWaypoint } from '../../derive/waypoint.ts';
import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import type { KnownHost } from '../hosts.ts';
import { KIND } from '../kinds.ts';
import type { Resource } from '../resource.ts';
import { hasTargets, selectorOf, type World } from '../world.ts';

/** Services of the set that a waypoint serves, with its name. */
function servedServices(
  world: World,
): readonly { readonly known: KnownHost; readonly waypoint: string; readonly account: string }[] {
  return world.hosts.all.flatMap((known) => {
    if (known.resource.type !== KIND.service || known.headless) return [];
    const binding = world.binding(known.resource);
    if (binding.kind !== 'bound') return [];
    const { namespace, name } = binding.waypoint;
    return [
      { known, waypoint: `${namespace}/${name}`, account: `${world.settings.trustDomain}/ns/${namespace}/sa/${name}` },
    ];
  });
}

const behind = (world: World, { selector, resource }: KnownHost) =>
  selector === undefined
    ? []
    : world.workloadsIn(resource.namespace).filter(({ labels }) => isSubset(selector, labels));

/** What of a policy's sources names clients. */
const CLIENTS = ['principals', 'namespaces', 'serviceAccounts'] as const;

/** Whether some source lets a waypoint's own account through. */
function admits(policy: Resource, account: string): boolean {
  const [, , namespace = '', , name = ''] = account.split('/');
  return policy.spec
    .at('rules')
    .items()
    .some((rule) => {
      const sources = rule
        .at('from')
        .items()
        .map((entry) => entry.at('source'));
      return (
        sources.length === 0 ||
        sources.some((source) => {
          const written = CLIENTS.filter((list) => source.at(list).items().length > 0);
          return (
            written.length === 0 ||
            written.every((list) =>
              source
                .at(list)
                .items()
                .some(({ text }) => names(list, text, account, namespace, name, policy.namespace)),
            )
          );
        })
      );
    });
}

function names(list: string, text: string, account: string, namespace: string, name: string, own: string): boolean {
  if (list === 'namespaces') return fits(text, namespace);
  if (list === 'serviceAccounts') return (text.includes('/') ? text : `${own}/${text}`) === `${namespace}/${name}`;
  return fits(text, account);
}

function fits(pattern: string, text: string): boolean {
  if (pattern === '*') return true;
  if (pattern.startsWith('*')) return text.endsWith(pattern.slice(1));
  return pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : pattern === text;
}

const isAllow = (policy: Resource): boolean => ['', 'ALLOW'].includes(policy.spec.at('action').text);

/** The first place where an ALLOW policy names clients. */
function clientField(policy: Resource): Field | undefined {
  for (const rule of policy.spec.at('rules').items())
    for (const entry of rule.at('from').items())
      for (const list of CLIENTS) if (entry.at('source', list).items().length > 0) return entry.at('source', list);
  return undefined;
}

export const selectorBehindWaypointAnalyzer: Analyzer = {
  name: 'ambient.SelectorBehindWaypointAnalyzer',
  description: 'ALLOW policies for pods that see their waypoint instead of the clients they list',
  codes: ['AMB0006'],
  analyze(world, report) {
    const served = new Map(servedServices(world).map((one) => [one.known, one]));
    for (const policy of world.all(KIND.authorizationPolicy).filter(isAllow)) {
      const at = clientField(policy);
      if (at === undefined) continue;
      for (const workload of world.judgedByZtunnel(policy))
        for (const known of world.hosts.servicesOf(workload.namespace, workload.labels)) {
          const one = served.get(known);
          if (one !== undefined && !admits(policy, one.account))
            report('AMB0006', policy, at, workload.resource.key, one.waypoint);
        }
    }
  },
};

/** `Service/<namespace>/<name>` and `Gateway/<namespace>/<name>` of everything that a policy is attached to. */
function attachedTo(world: World): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const policy of world.all(KIND.authorizationPolicy, KIND.requestAuthentication))
    for (const ref of [policy.spec.at('targetRef'), ...policy.spec.at('targetRefs').items()])
      keys.add(`${ref.at('kind').text}/${policy.namespace}/${ref.at('name').text}`);
  return keys;
}

export const bypassAnalyzer: Analyzer = {
  name: 'ambient.WaypointBypassAnalyzer',
  description: 'services whose policies hold at a waypoint that can be passed by, from inside or from a gateway',
  codes: ['AMB0007', 'AMB0027', 'AMB0043'],
  analyze(world, report) {
    const attached = attachedTo(world);
    const fromGateways = backendsOfGateways(world);
    const allows = world.all(KIND.authorizationPolicy).filter(isAllow);
    const guarded = new Set(allows.flatMap((policy) => [...world.judgedByZtunnel(policy)]));
    const sidecar = world.workloads.find((workload) => workload.sidecar && workload.gatewayName === undefined);
    for (const { known, waypoint } of servedServices(world)) {
      const { resource } = known;
      if (!attached.has(`Service/${resource.key}`) && !attached.has(`Gateway/${waypoint}`)) continue;
      if (sidecar !== undefined) report('AMB0043', resource, resource.root, resource.key, sidecar.resource.key);
      const pods = behind(world, known).filter(({ ambient }) => ambient);
      if (pods.some((pod) => !guarded.has(pod))) report('AMB0007', resource, resource.root, resource.key, waypoint);
      const binding = ingressUsesWaypoint(
        resource,
        parseNamespace({ metadata: { labels: world.namespaceLabels(resource.namespace) } }),
      );
      if (fromGateways.has(resource.key) && binding !== true)
        report('AMB0027', resource, resource.root.at('metadata', 'labels'), resource.key, waypoint);
    }
  },
};

/** Services, `<namespace>/<name>`, that routes of Gateways send to. */
function backendsOfGateways(world: World): ReadonlySet<string> {
  const isService = (ref: Field): boolean => (ref.at('kind').text || 'Service') === 'Service';
  const isGateway = (ref: Field): boolean => (ref.at('kind').text || 'Gateway') === 'Gateway';
  return new Set(
    world
      .all(KIND.httpRoute, KIND.grpcRoute)
      .filter((route) => route.spec.at('parentRefs').items().some(isGateway))
      .flatMap((route) =>
        route.spec
          .at('rules')
          .items()
          .flatMap((rule) => rule.at('backendRefs').items())
          .filter(isService)
          .map((ref) => `${ref.at('namespace').text || route.namespace}/${ref.at('name').text}`),
      ),
  );
}

export const targetAnalyzer: Analyzer = {
  name: 'ambient.TargetAnalyzer',
  description: 'targetRefs that no proxy enforces',
  codes: ['AMB0029', 'AMB0030'],
  analyze(world, report) {
    for (const policy of world.all(KIND.authorizationPolicy, KIND.requestAuthentication)) {
      if (!hasTargets(policy)) continue;
      const single = policy.spec.at('targetRef');
      const several = policy.spec.at('targetRefs').items();
      const refs = several.length > 0 ? several : [single];
      for (const [i, outcome] of world.targets(policy).entries()) {
        const ref = refs[i] ?? policy.spec;
        const isClass = ref.at('kind').text === 'GatewayClass';
        if (isClass && ref.at('name').text !== 'istio-waypoint' && outcome.bound)
          report('AMB0030', policy, ref.at('name'), ref.at('name').text);
        else if (!outcome.bound && !mayBeEnforced(world, policy, ref)) report('AMB0029', policy, ref, outcome.message);
      }
    }
  },
};

/**
 * The target may well be enforced, for all that is known: a Gateway of class `istio` enforces its policies itself and has
 * no address in a file; a Service of files may be behind a waypoint that is deployed already, or stand in no file.
 */
function mayBeEnforced(world: World, policy: Resource, ref: Field): boolean {
  const kind = ref.at('kind').text;
  const type = Object.hasOwn(TARGET_TYPES, kind) ? TARGET_TYPES[kind] : undefined;
  if (type === undefined || (ref.at('namespace').text || policy.namespace) !== policy.namespace) return false;
  const target = world.get(type, policy.namespace, ref.at('name').text);
  if (target === undefined)
    return !world.isLive && !world.all(type).some(({ namespace }) => namespace === policy.namespace);
  return type === KIND.gateway ? target.positions !== undefined : !world.isUnserved(target);
}

const TARGET_TYPES: Readonly<Record<string, string>> = {
  Gateway: KIND.gateway,
  Service: KIND.service,
  ServiceEntry: KIND.serviceEntry,
};

export const portMeaningAnalyzer: Analyzer = {
  name: 'ambient.PolicyPortAnalyzer',
  description: 'ports of AuthorizationPolicies that the judging proxy sees by another number',
  codes: ['AMB0021'],
  analyze(world, report) {
    for (const policy of world.all(KIND.authorizationPolicy))
      for (const rule of policy.spec.at('rules').items())
        for (const entry of rule.at('to').items())
          for (const port of entry.at('operation', 'ports').items()) {
            const meaning = hasTargets(policy)
              ? atWaypoint(world, policy, port.text)
              : atZtunnel(world, policy, port.text);
            if (meaning !== undefined) report('AMB0021', policy, port, port.text, meaning);
          }
  },
};

/** At a waypoint the port of the Service counts. */
function atWaypoint(world: World, policy: Resource, port: string): string | undefined {
  for (const ref of policy.spec.at('targetRefs').items()) {
    if (ref.at('kind').text !== 'Service') continue;
    const service = world.get(KIND.service, policy.namespace, ref.at('name').text);
    const ports = service?.spec.at('ports').items() ?? [];
    if (ports.length === 0 || ports.some((one) => String(one.at('port').number) === port)) continue;
    const target = ports.find((one) => String(one.at('targetPort').value) === port);
    if (target !== undefined)
      return `it is a target port of Service ${service?.key}, and a waypoint sees the Service's own, ${target.at('port').number}`;
  }
  return undefined;
}

/** At ztunnel the port of the container counts. */
function atZtunnel(world: World, policy: Resource, port: string): string | undefined {
  if (selectorOf(policy) === undefined) return undefined;
  for (const workload of world.judgedByZtunnel(policy))
    for (const { resource } of world.hosts.servicesOf(workload.namespace, workload.labels))
      for (const one of resource.spec.at('ports').items()) {
        const target = one.at('targetPort').value;
        if (String(one.at('port').number) !== port || target === undefined || String(target) === port) continue;
        const listens = workload.podSpec
          .at('containers')
          .items()
          .flatMap((container) => container.at('ports').items())
          .some((written) => String(written.at('containerPort').number) === port);
        if (!listens)
          return `it is the port of Service ${resource.key}, and ztunnel sees the container's, ${String(target)}`;
      }
  return undefined;
}
