// Labels and annotations of namespaces, services and pods: waypoints that cannot be used, leftovers of sidecars.

import { parse } from 'yaml';
import { record } from '../../derive/read.ts';
import type { Analyzer } from '../analyzer.ts';
import { PROXY_CONFIG_KEYS } from '../istio/annotation-catalogue.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import { hasStrict } from './mtls.ts';

const USE = 'istio.io/use-waypoint';
const USE_NAMESPACE = 'istio.io/use-waypoint-namespace';

export const waypointLabelAnalyzer: Analyzer = {
  name: 'ambient.WaypointLabelAnalyzer',
  description: 'labels that ask for a waypoint which is not there, not allowed, or for other traffic',
  codes: ['AMB0018', 'AMB0028', 'AMB0033', 'AMB0034', 'AMB0035'],
  analyze(world, report) {
    for (const resource of world.all(KIND.service, KIND.serviceEntry)) {
      const binding = world.binding(resource);
      const own = resource.root.at('metadata', 'labels', USE);
      const at = own.isSet ? own : resource.root;
      if (binding.kind === 'refused') report('AMB0028', resource, at, binding.message);
      if (
        binding.kind === 'bound' &&
        resource.spec.at('clusterIP').text === 'None' &&
        binding.waypoint.traffic === 'service'
      )
        report('AMB0018', resource, at, resource.key, `${binding.waypoint.namespace}/${binding.waypoint.name}`);
    }
    for (const workload of world.workloads) {
      const binding = world.workloadBinding(workload);
      const own = workload.metadata.at('labels', USE);
      if (binding.kind === 'refused' && own.isSet) report('AMB0028', workload.resource, own, binding.message);
    }
    for (const resource of world.all(KIND.namespace, KIND.service, KIND.serviceEntry)) {
      const labels = resource.root.at('metadata', 'labels');
      if (labels.at(USE_NAMESPACE).isSet && !labels.at(USE).isSet)
        report('AMB0033', resource, labels.at(USE_NAMESPACE));
    }
    for (const gateway of world.all(KIND.gateway)) checkGateway(gateway, report);
  },
};

function checkGateway(gateway: Resource, report: Report): void {
  const annotations = gateway.root.at('metadata', 'annotations');
  if (annotations.at('istio.io/for-service-account').isSet)
    report('AMB0035', gateway, annotations.at('istio.io/for-service-account'));
  const config = annotations.at('proxy.istio.io/config');
  for (const key of Object.keys(settingsIn(config.text)))
    if (!PROXY_CONFIG_KEYS.has(key)) report('AMB0034', gateway, config, key);
}

function settingsIn(yaml: string): Readonly<Record<string, unknown>> {
  try {
    return record(parse(yaml, { maxAliasCount: 0 }));
  } catch {
    return {}; // IST0125 tells it
  }
}

export const leftoverAnalyzer: Analyzer = {
  name: 'ambient.SidecarLeftoverAnalyzer',
  description: 'what speaks to a sidecar on workloads in ambient, and pods that keep one',
  codes: ['AMB0017', 'AMB0022', 'AMB0032', 'AMB0038'],
  analyze(world, report) {
    for (const workload of world.workloads) {
      const { resource, labels, annotations, metadata, ambient, podSpec, namespace } = workload;
      const mode = labels['istio.io/dataplane-mode'];
      const isAmbient = mode === 'ambient' || (mode !== 'none' && world.isAmbient(namespace));
      if (!isAmbient) continue;
      if (labels['sidecar.istio.io/inject'] === 'true')
        report(
          'AMB0017',
          resource,
          metadata.at('labels', 'sidecar.istio.io/inject'),
          'sidecar.istio.io/inject=true and istio.io/dataplane-mode=ambient',
        );
      if ('sidecar.istio.io/status' in annotations) report('AMB0032', resource, resource.root, resource.key);
      if (podSpec.at('hostNetwork').value === true && hasStrict(world, namespace))
        report('AMB0038', resource, podSpec.at('hostNetwork'), resource.key);
      if (!ambient) continue;
      for (const name of Object.keys(annotations))
        if (
          /^(traffic\.sidecar|sidecar|readiness\.status\.sidecar|status\.sidecar)\.istio\.io\//.test(name) &&
          name !== 'sidecar.istio.io/inject'
        )
          report('AMB0022', resource, metadata.at('annotations', name), name);
    }
  },
};
