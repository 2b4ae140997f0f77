// What our proxies make of routes, rules and patches: each part that they cannot hold as it is written. The translation
// is the control plane's own, with every service and certificate assumed to be there: others tell when it is not.

import { readEnvoyFilter } from '../../derive/l7-security/envoy-patches.ts';
import { parseRoute } from '../../derive/objects/route.ts';
import { parseDestinationRule, parseVirtualService, type VirtualService } from '../../derive/objects/routing.ts';
import { parseEnvoyFilter } from '../../derive/objects/traffic-filter.ts';
import { readHttpRules } from '../../derive/routes/http-rules.ts';
import { RouteProblems } from '../../derive/routes/problems.ts';
import { deriveTrafficConfig } from '../../derive/traffic/destination-rules.ts';
import { resolveHost } from '../../derive/traffic/host.ts';
import {
  type TranslatedVirtualService,
  type VirtualServiceWorld,
  virtualServiceAtListener,
  virtualServiceAtWaypoint,
} from '../../derive/traffic/virtual-services.ts';
import type { BackendTarget } from '../../model/http/route.ts';
import type { ServiceKey } from '../../model/workload.ts';
import type { Analyzer } from '../analyzer.ts';
import { Field, type Path } from '../field.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import { hasTargets, type World } from '../world.ts';

/** `http[0].match[1].uri: why` or `rules[0].matches[1] why`: the field, and the rest. */
const PLACE =
  /^((?:http|tls|tcp|rules|subsets|trafficPolicy|configPatches)(?:\[\d+\]|\.[A-Za-z0-9_-]+)*)(?::\s*|\s+)(.*)$/s;

function tell(resource: Resource, problem: string, say: (field: Field, text: string) => void): void {
  const match = PLACE.exec(problem);
  const steps = [...(match?.[1] ?? '').matchAll(/([A-Za-z0-9_-]+)|\[(\d+)\]/g)].map(
    ([, name, index]) => name ?? Number(index),
  );
  const path: Path = [
    'spec',
    ...steps.map((step) => (typeof step === 'string' && /^\d+$/.test(step) ? Number(step) : step)),
  ];
  say(match === null ? resource.spec : new Field(undefined, path), match?.[2] ?? problem);
}

const held = (resource: Resource, problems: Iterable<string>, report: Report): void => {
  for (const problem of new Set(problems))
    tell(resource, problem, (field, text) => report('AMB0042', resource, field, text));
};

export const translationAnalyzer: Analyzer = {
  name: 'ambient.TranslationAnalyzer',
  description: 'parts of routes and rules that our proxies cannot hold as written',
  codes: ['AMB0041', 'AMB0042'],
  analyze(world, report) {
    for (const resource of world.all(KIND.virtualService)) held(resource, ofVirtualService(world, resource), report);
    for (const resource of world.all(KIND.destinationRule)) held(resource, ofDestinationRule(world, resource), report);
    for (const resource of world.all(KIND.httpRoute, KIND.grpcRoute)) held(resource, ofRoute(resource), report);
    for (const resource of world.all(KIND.envoyFilter)) checkPatches(world, resource, report);
  },
};

function ofVirtualService(world: World, resource: Resource): Set<string> {
  const object = parseVirtualService(resource.object);
  const { clusterDomain } = world.settings;
  const known: VirtualServiceWorld = {
    clusterDomain,
    defaultExportTo: ['*'],
    services: {
      find: (hostname) => ({
        key: `${resource.namespace}/${hostname}`,
        ports: world.hosts.find(hostname, resource.namespace)?.ports.map(({ number }) => number) ?? [],
      }),
    },
    delegate: (key) => delegateAt(world, key),
  };
  const problems = new Set<string>();
  const add = (translated: TranslatedVirtualService): void => {
    for (const problem of translated.problems) problems.add(problem);
  };
  for (const gateway of object.gateways)
    if (gateway === 'mesh') {
      const hostname = resolveHost(object.hosts[0] ?? '', object.namespace, clusterDomain);
      const ports = world.hosts.find(hostname, object.namespace)?.ports.map(({ number }) => number) ?? [80];
      const service = { key: `${object.namespace}/${hostname}`, namespace: object.namespace, hostname, ports };
      add(virtualServiceAtWaypoint(object, 0, service, object.namespace, known));
    } else add(virtualServiceAtListener(object, gateway, { name: '', port: 80 }, object.hosts, known));
  return problems;
}

function delegateAt(world: World, key: string): VirtualService | undefined {
  const [namespace = '', name = ''] = key.split('/');
  const found = world.get(KIND.virtualService, namespace, name);
  return found && parseVirtualService(found.object);
}

function ofDestinationRule(world: World, resource: Resource): readonly string[] {
  const problems: string[] = [];
  const { clusterDomain, rootNamespace } = world.settings;
  deriveTrafficConfig(
    parseDestinationRule(resource.object),
    {
      clusterDomain,
      rootNamespace,
      defaultExportTo: ['*'],
      credential: () => ({ certificate: '', roots: '' }),
      membersWith: () => [],
      meshDefaults: {},
      meshLocality: {},
      connectTimeoutMs: 10_000,
    },
    problems,
  );
  return problems;
}

function ofRoute(resource: Resource): readonly string[] {
  const route = parseRoute(resource.kind === 'GRPCRoute' ? 'GRPCRoute' : 'HTTPRoute')(resource.object);
  const target: BackendTarget = { kind: 'service', service: 'any/any' as ServiceKey, port: 80, subset: undefined };
  const problems = new RouteProblems();
  readHttpRules(route, () => target, problems);
  // That the retry annotations hold here and not in Istio has a message of its own (AMB0016).
  const notes = problems.notes.filter((note) => !note.startsWith('annotations retry.istio.io/* are honoured'));
  return [...problems.unresolved.map(({ message }) => message), ...notes];
}

/** Patches for a gateway or waypoint; those for sidecars are told by AMB0015. */
function checkPatches(world: World, resource: Resource, report: Report): void {
  const object = parseEnvoyFilter(resource.object);
  const atWaypoint =
    hasTargets(resource) &&
    resource.spec
      .at('targetRefs')
      .items()
      .some((ref) => isWaypoint(world, resource, ref));
  const proxy = atWaypoint ? 'waypoint' : 'gateway';
  const contexts = atWaypoint ? ['ANY', 'SIDECAR_INBOUND'] : hasTargets(resource) ? ['ANY', 'GATEWAY'] : ['GATEWAY'];
  for (const problem of readEnvoyFilter(object, proxy).unsupported) {
    const index = Number(/^configPatches\[(\d+)\]/.exec(problem)?.[1] ?? -1);
    if (!contexts.includes(object.patches[index]?.context ?? '')) continue;
    tell(resource, problem, (field, text) => report('AMB0041', resource, field, text));
  }
}

function isWaypoint(world: World, resource: Resource, ref: Field): boolean {
  if (ref.at('kind').text !== 'Gateway') return ref.at('kind').text !== '';
  return world.waypoints.some(
    ({ namespace, name }) => namespace === resource.namespace && name === ref.at('name').text,
  );
}
