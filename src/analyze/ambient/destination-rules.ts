// DestinationRules in ambient: ztunnel knows none of them, and a waypoint not every part.

import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import { isInAmbient } from './in-ambient.ts';

const PARTS = [
  'loadBalancer',
  'connectionPool',
  'outlierDetection',
  'tls',
  'portLevelSettings',
  'tunnel',
  'proxyProtocol',
];

export const destinationRuleWaypointAnalyzer: Analyzer = {
  name: 'ambient.DestinationRuleAnalyzer',
  description: 'DestinationRules without a waypoint, and parts that waypoints ignore',
  codes: ['AMB0011', 'AMB0013', 'AMB0014', 'AMB0039'],
  analyze(world, report) {
    for (const rule of world.all(KIND.destinationRule)) {
      const host = rule.spec.at('host');
      const known = world.hosts.matching(host.text, rule.namespace).filter((one) => isInAmbient(world, one));
      if (known.length === 0) continue;
      const served = known.filter(({ resource, headless }) => !headless && !world.isUnserved(resource));
      const unserved = known.find((one) => !served.includes(one));
      const parts = partsOf(rule);
      if (unserved !== undefined && served.length === 0 && parts.length > 0)
        report('AMB0013', rule, host, unserved.host, parts.join(', '));
      if (served.length > 0) checkParts(rule, report);
      const first = served[0];
      const binding = first && world.binding(first.resource);
      if (first === undefined || binding?.kind !== 'bound') continue;
      // A waypoint looks into its own namespace, the service's and the root namespace.
      const seen = [binding.waypoint.namespace, first.resource.namespace, world.settings.rootNamespace];
      if (!seen.includes(rule.namespace)) report('AMB0011', rule, host, rule.namespace, first.host);
    }
  },
};

function partsOf(rule: Resource): readonly string[] {
  const policy = rule.spec.at('trafficPolicy').among(...PARTS);
  return rule.spec.at('subsets').items().length > 0 ? [...policy, 'subsets'] : policy;
}

function checkParts(rule: Resource, report: Report): void {
  const selector = rule.spec.at('workloadSelector');
  if (selector.isSet) report('AMB0039', rule, selector, 'DestinationRule');
  const policies: Field[] = [
    rule.spec.at('trafficPolicy'),
    ...rule.spec
      .at('subsets')
      .items()
      .map((subset) => subset.at('trafficPolicy')),
  ];
  for (const policy of policies) {
    const mode = policy.at('tls', 'mode');
    if (mode.text === 'ISTIO_MUTUAL' || mode.text === 'DISABLE')
      report('AMB0014', rule, mode, `tls mode ${mode.text}`, 'the way to workloads of the mesh is always HBONE');
    const zones = policy.at('loadBalancer', 'zoneAwareLbSetting');
    if (zones.isSet)
      report('AMB0014', rule, zones, 'zoneAwareLbSetting', 'only sidecars know it: use localityLbSetting');
  }
}
