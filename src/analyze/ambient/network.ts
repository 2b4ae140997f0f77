// What the mesh does not carry, and network policies that stop what it does.

import { parseLabelSelector, selects } from '../../derive/labels.ts';
import { HBONE_PORT } from '../../model/ports.ts';
import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';

export const uncapturedAnalyzer: Analyzer = {
  name: 'ambient.UncapturedAnalyzer',
  description: 'services that the mesh does not carry, and exportTo that it ignores',
  codes: ['AMB0023', 'AMB0024', 'AMB0025'],
  analyze(world, report) {
    for (const service of world.all(KIND.service)) {
      if (!world.isAmbient(service.namespace)) continue;
      if (service.spec.at('type').text === 'ExternalName')
        report('AMB0024', service, service.spec.at('externalName'), service.key);
      for (const port of service.spec.at('ports').items())
        if (port.at('protocol').text === 'UDP') report('AMB0025', service, port, String(port.at('port').number));
    }
    for (const resource of world.all(KIND.serviceEntry)) {
      const exportTo = resource.spec.at('exportTo');
      const narrows = exportTo.items().length > 0 && !exportTo.items().some((item) => item.text === '*');
      if (narrows && world.isAmbient(resource.namespace)) report('AMB0023', resource, exportTo, resource.kind);
    }
  },
};

export const networkPolicyAnalyzer: Analyzer = {
  name: 'ambient.NetworkPolicyAnalyzer',
  description: 'NetworkPolicies that drop tunnelled traffic',
  codes: ['AMB0026'],
  analyze(world, report) {
    for (const policy of world.all(KIND.networkPolicy)) {
      const selector = parseLabelSelector(policy.spec.at('podSelector').value);
      const ingress = policy.spec.at('ingress').items();
      // Without any rule nothing is to come in: that is meant.
      if (selector === undefined || ingress.length === 0) continue;
      const hit = world
        .workloadsIn(policy.namespace)
        .find(({ ambient, labels }) => ambient && selects(selector, labels));
      if (hit === undefined) continue;
      const tunnelled = ingress.some((rule) => admitsTunnel(rule.at('ports')));
      if (!tunnelled) report('AMB0026', policy, policy.spec.at('ingress'), hit.resource.key);
    }
  },
};

function admitsTunnel(ports: Field): boolean {
  const items = ports.items();
  if (items.length === 0) return true;
  return items.some((item) => {
    if ((item.at('protocol').text || 'TCP') !== 'TCP') return false;
    const [port, end] = [item.at('port'), item.at('endPort').number];
    if (!port.isSet) return true;
    return port.number !== undefined && port.number <= HBONE_PORT && HBONE_PORT <= (end ?? port.number);
  });
}
