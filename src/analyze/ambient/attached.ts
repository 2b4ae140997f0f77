// Kinds that sidecars read by selector and ambient proxies do not: RequestAuthentication, WasmPlugin, Telemetry,
// EnvoyFilter and Sidecar.

import { type Labels, textRecord } from '../../derive/read.ts';
import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import type { Workload } from '../workloads.ts';
import { hasTargets, selectorOf, type World } from '../world.ts';

/** The first workload in ambient that a selector picks; gateways of the Gateway API are no such workloads. */
const inAmbient = (world: World, resource: Resource, selector: Labels): Workload | undefined =>
  world.selected(resource.namespace, selector).find(({ ambient, gatewayName }) => ambient && gatewayName === undefined);

export const selectorKindAnalyzer: Analyzer = {
  name: 'ambient.SelectorKindAnalyzer',
  description: 'RequestAuthentications, WasmPlugins and Telemetries that select workloads in ambient',
  codes: ['AMB0008', 'AMB0040'],
  analyze(world, report) {
    for (const resource of world.all(KIND.requestAuthentication, KIND.wasmPlugin, KIND.telemetry)) {
      const selector = selectorOf(resource);
      // Waypoints do read a Telemetry that holds for a whole namespace.
      if (hasTargets(resource) || (resource.type === KIND.telemetry && selector === undefined)) continue;
      const hit = inAmbient(world, resource, selector ?? {});
      const inNamespace = selector === undefined && world.isAmbient(resource.namespace);
      if (hit === undefined && !inNamespace) continue;
      const at = selector === undefined ? resource.spec : resource.spec.at('selector');
      const name = hit?.resource.key ?? `namespace ${resource.namespace}`;
      report(resource.type === KIND.telemetry ? 'AMB0040' : 'AMB0008', resource, at, resource.kind, name);
    }
  },
};

export const envoyFilterAnalyzer: Analyzer = {
  name: 'ambient.EnvoyFilterAnalyzer',
  description: 'EnvoyFilters that no proxy of ambient takes',
  codes: ['AMB0015'],
  analyze(world, report) {
    for (const filter of world.all(KIND.envoyFilter)) {
      for (const patch of filter.spec.at('configPatches').items()) checkPatch(world, filter, patch, report);
    }
  },
};

function checkPatch(world: World, filter: Resource, patch: Field, report: Report): void {
  const context = patch.at('match', 'context');
  if (context.text === 'WAYPOINT') {
    report(
      'AMB0015',
      filter,
      context,
      'context WAYPOINT is applied by no version of Istio; waypoints take SIDECAR_INBOUND',
    );
    return;
  }
  if (hasTargets(filter)) {
    const waypoint = targetsWaypoint(world, filter);
    if (waypoint && context.text === 'GATEWAY')
      report('AMB0015', filter, context, 'a waypoint takes no patches of context GATEWAY');
    return;
  }
  if (context.text === 'GATEWAY') return;
  const selector = selectorOf(filter, 'workloadSelector', 'labels');
  const hit = inAmbient(world, filter, selector ?? {});
  const inNamespace = selector === undefined && world.isAmbient(filter.namespace);
  if (hit !== undefined || inNamespace) {
    const name = hit?.resource.key ?? `namespace ${filter.namespace}`;
    report(
      'AMB0015',
      filter,
      context.isSet ? context : patch,
      `\`${name}\` is in ambient, ztunnel cannot be patched and waypoints read no selector`,
    );
  }
}

const targetsWaypoint = (world: World, filter: Resource): boolean =>
  filter.spec
    .at('targetRefs')
    .items()
    .some(
      (ref) =>
        ['Service', 'ServiceEntry'].includes(ref.at('kind').text) ||
        world.waypoints.some(({ namespace, name }) => namespace === filter.namespace && name === ref.at('name').text),
    );

export const sidecarResourceAnalyzer: Analyzer = {
  name: 'ambient.SidecarAnalyzer',
  description: 'Sidecars that select workloads in ambient',
  codes: ['IST0167', 'AMB0036', 'AMB0037'],
  analyze(world, report) {
    for (const sidecar of world.all(KIND.sidecar)) {
      checkEgressHosts(world, sidecar, report);
      const field = sidecar.spec.at('workloadSelector');
      const selector = textRecord(field.at('labels').value);
      const hit = inAmbient(world, sidecar, selector);
      const inNamespace = !field.isSet && world.isAmbient(sidecar.namespace);
      if (hit === undefined && !inNamespace) continue;
      const name = hit?.resource.key ?? `namespace ${sidecar.namespace}`;
      report(
        'IST0167',
        sidecar,
        field.isSet ? field : sidecar.root,
        `\`${name}\` is in ambient, where no proxy reads a Sidecar`,
      );
      const mode = sidecar.spec.at('outboundTrafficPolicy', 'mode');
      if (mode.text === 'REGISTRY_ONLY') report('AMB0037', sidecar, mode, name);
    }
  },
};

/** `payment.svc` and `payment.shop` look like names of services and are none. */
function checkEgressHosts(world: World, sidecar: Resource, report: Report): void {
  const { clusterDomain } = world.settings;
  for (const listener of sidecar.spec.at('egress').items())
    for (const host of listener.at('hosts').items()) {
      const name = host.text.slice(host.text.indexOf('/') + 1);
      if (name.startsWith('*') || name.endsWith(`.svc.${clusterDomain}`)) continue;
      const looksLocal = !name.includes('.') || /\.svc$/.test(name);
      if (looksLocal && name !== '' && !world.hosts.all.some((known) => known.host === name))
        report('AMB0036', sidecar, host, host.text);
    }
}
