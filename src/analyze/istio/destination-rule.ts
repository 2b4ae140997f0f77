// DestinationRules: hosts nobody knows, subsets nobody is in, and TLS that verifies nothing.

import { isSubset } from '../../derive/labels.ts';
import { textRecord } from '../../derive/read.ts';
import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';

export const caCertificateAnalyzer: Analyzer = {
  name: 'destinationrule.CaCertificateAnalyzer',
  description: 'TLS to a destination that verifies no certificate',
  codes: ['IST0128', 'IST0129'],
  analyze(world, report) {
    for (const rule of world.all(KIND.destinationRule)) {
      const policy = rule.spec.at('trafficPolicy');
      checkTls(rule, policy.at('tls'), undefined, report);
      for (const setting of policy.at('portLevelSettings').items())
        checkTls(rule, setting.at('tls'), setting.at('port', 'number').number, report);
    }
  },
};

function checkTls(rule: Resource, tls: Field, port: number | undefined, report: Report): void {
  const mode = tls.at('mode').text;
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL') return;
  if (tls.at('caCertificates').text !== '' || tls.at('credentialName').text !== '') return;
  const host = rule.spec.at('host').text;
  if (port === undefined) report('IST0128', rule, tls, rule.name, rule.namespace, mode, host);
  else report('IST0129', rule, tls, rule.name, rule.namespace, mode, host, String(port));
}

export const subsetAnalyzer: Analyzer = {
  name: 'destinationrule.PodNotSelectedAnalyzer',
  description: 'DestinationRules of unknown hosts, and subsets that no pod is in',
  codes: ['IST0173', 'IST0174'],
  analyze(world, report) {
    for (const rule of world.all(KIND.destinationRule)) {
      const host = rule.spec.at('host');
      if (host.text === '') continue;
      const known = world.hosts.matching(host.text, rule.namespace);
      if (known.length === 0) {
        if (world.knowsServices) report('IST0174', rule, host, host.text);
        continue;
      }
      // Endpoints written by hand may have any labels: only pods can be judged.
      if (known.some(({ selector, resource }) => selector === undefined || resource.type !== KIND.service)) continue;
      const pods = known.flatMap(({ selector = {}, resource }) =>
        world.workloadsIn(resource.namespace).filter((workload) => isSubset(selector, workload.labels)),
      );
      if (pods.length === 0) continue; // nothing of the workload is among the objects
      for (const subset of rule.spec.at('subsets').items()) {
        const labels = textRecord(subset.at('labels').value);
        if (!pods.some((pod) => isSubset(labels, pod.labels)))
          report('IST0173', rule, subset.at('labels'), subset.at('name').text);
      }
    }
  },
};
