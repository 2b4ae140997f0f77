// What Istio refuses in a VirtualService (its webhook's rules, API reference of networking/v1 VirtualService).

import type { Field } from '../field.ts';
import { checkDestination, checkExportTo } from './common.ts';
import type { Faults } from './faults.ts';
import { checkHttpRoute } from './http-route-entry.ts';
import { isAddress } from './values.ts';
import { checkGatewayName, checkWeights, covers } from './virtual-service-parts.ts';

export function validateVirtualService(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  const hosts = spec.at('hosts').items();
  const isDelegate = hosts.length === 0;
  if (isDelegate) checkDelegate(spec, faults);
  checkHosts(spec, hosts, faults);
  for (const gateway of spec.at('gateways').items()) checkGatewayName(gateway, faults);
  if (spec.among('http', 'tcp', 'tls').every((name) => spec.at(name).items().length === 0))
    faults.required(spec, 'one of http, tls, tcp must have an entry');
  for (const route of spec.at('http').items()) checkHttpRoute(route, faults, isDelegate);
  for (const route of spec.at('tls').items()) checkTls(route, hosts, faults);
  for (const route of spec.at('tcp').items()) {
    for (const match of route.at('match').items()) checkL4Match(match, faults);
    checkL4Route(route, faults);
  }
  checkExportTo(spec, faults);
}

function checkDelegate(spec: Field, faults: Faults): void {
  for (const name of spec.among('gateways', 'tls', 'tcp'))
    if (spec.at(name).items().length > 0)
      faults.forbidden(spec.at(name), 'a VirtualService without hosts is a delegate, which has only http');
}

function checkHosts(spec: Field, hosts: readonly Field[], faults: Faults): void {
  const gateways = spec.at('gateways').items();
  const appliesToMesh = gateways.length === 0 || gateways.some((gateway) => gateway.text === 'mesh');
  for (const host of hosts) {
    if (!isAddress(host.text)) faults.host(host, { wildcard: true });
    if (host.text === '*' && appliesToMesh)
      faults.invalid(host, 'the host `*` is not allowed for the mesh: name the hosts, or list only other gateways');
  }
  faults.unique(hosts, (host) => host.text.toLowerCase());
}

/** A match that tcp and tls routes share. */
function checkL4Match(match: Field, faults: Faults): void {
  for (const subnet of match.at('destinationSubnets').items()) faults.range(subnet);
  if (match.at('port').isSet) faults.port(match.at('port'));
  faults.labels(match.at('sourceLabels'));
  for (const gateway of match.at('gateways').items()) checkGatewayName(gateway, faults);
}

function checkL4Route(route: Field, faults: Faults): void {
  const destinations = route.at('route').items();
  if (destinations.length === 0) faults.required(route.at('route'));
  for (const destination of destinations) {
    checkDestination(destination.at('destination'), faults);
    faults.notNegative(destination.at('weight'));
  }
  checkWeights(route.at('route'), destinations, faults);
}

function checkTls(route: Field, hosts: readonly Field[], faults: Faults): void {
  const matches = route.at('match').items();
  if (matches.length === 0) faults.required(route.at('match'), 'a tls route needs a match with sniHosts');
  for (const match of matches) {
    checkL4Match(match, faults);
    const names = match.at('sniHosts').items();
    if (names.length === 0) faults.required(match.at('sniHosts'));
    for (const name of names) {
      faults.host(name, { wildcard: true });
      if (!hosts.some((host) => covers(host.text, name.text)))
        faults.invalid(name, 'is not among the hosts of this VirtualService');
    }
  }
  checkL4Route(route, faults);
}
