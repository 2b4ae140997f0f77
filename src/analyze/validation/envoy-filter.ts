// What Istio refuses in an EnvoyFilter. Whether any proxy obeys it is another question (see the analyzers).

import type { Field } from '../field.ts';
import { checkAttachment } from './common.ts';
import type { Faults } from './faults.ts';

/** Which `match` goes with what is patched. */
const MATCHES: Readonly<Record<string, 'listener' | 'routeConfiguration' | 'cluster' | 'none'>> = {
  LISTENER: 'listener',
  FILTER_CHAIN: 'listener',
  NETWORK_FILTER: 'listener',
  HTTP_FILTER: 'listener',
  LISTENER_FILTER: 'listener',
  ROUTE_CONFIGURATION: 'routeConfiguration',
  VIRTUAL_HOST: 'routeConfiguration',
  HTTP_ROUTE: 'routeConfiguration',
  CLUSTER: 'cluster',
  EXTENSION_CONFIG: 'none',
  BOOTSTRAP: 'none',
};

export function validateEnvoyFilter(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkAttachment(spec, faults, 'workloadSelector', 'labels');
  const patches = spec.at('configPatches').items();
  if (patches.length === 0) faults.warn(spec, 'without configPatches it changes nothing');
  for (const patch of patches) checkPatch(patch, faults);
}

function checkPatch(entry: Field, faults: Faults): void {
  const applyTo = entry.at('applyTo').text;
  if (applyTo === '' || applyTo === 'INVALID') {
    faults.required(entry.at('applyTo'));
    return;
  }
  const patch = entry.at('patch');
  if (!patch.isSet) {
    faults.required(patch);
    return;
  }
  const operation = patch.at('operation').text;
  if (operation === '' || operation === 'INVALID') faults.required(patch.at('operation'));
  if (operation === 'REMOVE' && patch.at('value').isSet) faults.warn(patch.at('value'), 'what is removed has no value');
  if (operation !== 'REMOVE' && operation !== '' && !patch.at('value').isSet) faults.required(patch.at('value'));
  const match = entry.at('match');
  const wanted = Object.hasOwn(MATCHES, applyTo) ? MATCHES[applyTo] : undefined;
  const written = match.among('listener', 'routeConfiguration', 'cluster', 'waypoint');
  faults.onlyOne(match, 'listener', 'routeConfiguration', 'cluster', 'waypoint');
  for (const name of written)
    if (wanted !== undefined && name !== wanted && name !== 'waypoint')
      faults.invalid(match.at(name), `applyTo ${applyTo} is matched by ${wanted === 'none' ? 'nothing more' : wanted}`);
  checkFilterNames(match, applyTo, faults);
  const version = match.at('proxy', 'proxyVersion');
  if (version.text !== '') faults.regex(version);
  if (JSON.stringify(patch.at('value').value ?? null).includes('type.googleapis.com/envoy.api.v2'))
    faults.invalid(patch.at('value'), "uses Envoy's API version 2, which is gone");
}

function checkFilterNames(match: Field, applyTo: string, faults: Faults): void {
  const filter = match.at('listener', 'filterChain', 'filter');
  const needsFilter = applyTo === 'HTTP_FILTER' || applyTo === 'NETWORK_FILTER';
  if (!needsFilter) return;
  if (filter.isSet) faults.needs(filter.at('name'));
  if (filter.at('subFilter').isSet && applyTo === 'NETWORK_FILTER')
    faults.invalid(filter.at('subFilter'), 'is for applyTo HTTP_FILTER');
}
