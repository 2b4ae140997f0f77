// Annotations of Istio: unknown, on the wrong kind, with values that cannot be read, deprecated.

import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { POD_TEMPLATES } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import { ANNOTATIONS } from './annotation-catalogue.ts';

/** `retry.istio.io/*` has its own message (AMB0016). */
const OWN_MESSAGE = /^retry\.istio\.io\//;

export const annotationAnalyzer: Analyzer = {
  name: 'annotations.K8sAnalyzer',
  description: 'annotations of Istio that are unknown, misplaced or unreadable',
  codes: ['IST0107', 'IST0108', 'IST0125', 'IST0135'],
  analyze(world, report) {
    for (const resource of world.resources) {
      check(resource, resource.root.at('metadata', 'annotations'), resource.kind, report);
      const template = POD_TEMPLATES.get(resource.type);
      if (template !== undefined)
        check(resource, resource.root.at(...template, 'metadata', 'annotations'), 'Pod', report);
    }
  },
};

function check(resource: Resource, annotations: Field, kind: string, report: Report): void {
  for (const [name, value] of annotations.entries()) {
    const domain = name.slice(0, name.indexOf('/'));
    if (domain !== 'istio.io' && !domain.endsWith('.istio.io')) continue;
    const known = Object.hasOwn(ANNOTATIONS, name) ? ANNOTATIONS[name] : undefined;
    if (known === undefined) {
      if (!OWN_MESSAGE.test(name)) report('IST0108', resource, value, name);
      continue;
    }
    if (!known.kinds.includes('Any') && !known.kinds.includes(kind)) {
      report('IST0107', resource, value, name, kind);
      continue;
    }
    const problem = known.problem?.(value.text);
    if (problem !== undefined) report('IST0125', resource, value, name, problem);
    if (known.instead !== undefined) report('IST0135', resource, value, name, `use ${known.instead}`);
  }
}
