// Destinations of VirtualServices: do the host, its port and its subset exist?

import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { fullHost, type KnownHost } from '../hosts.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import type { World } from '../world.ts';

/** A destination and how its absence is called. */
interface Destination {
  readonly field: Field;
  readonly mirror: boolean;
}

/** Every destination of a VirtualService, mirrors among them. */
export function destinationsOf(virtualService: Resource): readonly Destination[] {
  const { spec } = virtualService;
  const http = spec.at('http').items();
  const routes = [...http, ...spec.at('tls').items(), ...spec.at('tcp').items()];
  const forwards = routes.flatMap((route) =>
    route
      .at('route')
      .items()
      .map((entry) => entry.at('destination')),
  );
  const mirrors = http.flatMap((route) => [
    ...(route.at('mirror').isSet ? [route.at('mirror')] : []),
    ...route
      .at('mirrors')
      .items()
      .map((mirror) => mirror.at('destination')),
  ]);
  return [
    ...forwards.map((field) => ({ field, mirror: false })),
    ...mirrors.map((field) => ({ field, mirror: true })),
  ].filter(({ field }) => field.at('host').text !== '');
}

export const destinationHostAnalyzer: Analyzer = {
  name: 'virtualservice.DestinationHostAnalyzer',
  description: 'VirtualService destinations whose host or port does not exist, or whose port is not chosen',
  codes: ['IST0101', 'IST0112'],
  analyze(world, report) {
    if (!world.knowsServices) return;
    for (const virtualService of world.all(KIND.virtualService))
      for (const destination of destinationsOf(virtualService)) checkHost(world, virtualService, destination, report);
  },
};

function checkHost(world: World, virtualService: Resource, { field, mirror }: Destination, report: Report): void {
  const host = field.at('host');
  const known = world.hosts.find(host.text, virtualService.namespace);
  if (known === undefined) {
    report('IST0101', virtualService, host, mirror ? 'mirror host' : 'host', host.text);
    return;
  }
  checkPort(virtualService, field, known, report);
}

function checkPort(virtualService: Resource, field: Field, known: KnownHost, report: Report): void {
  const host = field.at('host');
  const number = field.at('port', 'number');
  if (number.number !== undefined) {
    if (known.ports.length > 0 && !known.ports.some((port) => port.number === number.number))
      report('IST0101', virtualService, number, 'host:port', `${host.text}:${number.number}`);
  } else if (known.ports.length > 1 && known.resource.type === KIND.service)
    report('IST0112', virtualService, host, host.text, known.ports.map((port) => port.number).join(', '));
}

export const destinationRuleAnalyzer: Analyzer = {
  name: 'virtualservice.DestinationRuleAnalyzer',
  description: 'VirtualService destinations whose subset no DestinationRule defines',
  codes: ['IST0101'],
  analyze(world, report) {
    if (!world.knowsServices) return;
    const subsets = new Set<string>();
    for (const rule of world.all(KIND.destinationRule))
      for (const subset of rule.spec.at('subsets').items())
        subsets.add(
          `${fullHost(rule.spec.at('host').text, rule.namespace, world.settings.clusterDomain)}|${subset.at('name').text}`,
        );
    for (const virtualService of world.all(KIND.virtualService))
      for (const { field, mirror } of destinationsOf(virtualService)) {
        const subset = field.at('subset');
        if (subset.text === '') continue;
        const host = field.at('host').text;
        const full = fullHost(host, virtualService.namespace, world.settings.clusterDomain);
        if (!subsets.has(`${full}|${subset.text}`))
          report(
            'IST0101',
            virtualService,
            subset,
            mirror ? 'mirror host+subset in destinationrule' : 'host+subset in destinationrule',
            `${host}+${subset.text}`,
          );
      }
  },
};
