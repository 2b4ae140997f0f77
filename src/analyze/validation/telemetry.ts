// What Istio refuses in Telemetry, WasmPlugin and ProxyConfig.

import type { Field } from '../field.ts';
import { checkAttachment } from './common.ts';
import type { Faults } from './faults.ts';
import { isHeaderName } from './values.ts';

export function validateTelemetry(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkAttachment(spec, faults);
  for (const tracing of spec.at('tracing').items()) checkTracing(tracing, faults);
  if (spec.at('tracing').items().length > 1) faults.warn(spec.at('tracing'), 'only one entry is supported');
  for (const metrics of spec.at('metrics').items()) {
    checkProviders(metrics, faults);
    for (const override of metrics.at('overrides').items()) checkOverride(override, faults);
    faults.duration(metrics.at('reportingInterval'));
  }
  for (const logging of spec.at('accessLogging').items()) {
    checkProviders(logging, faults);
    const filter = logging.at('filter');
    if (filter.isSet) faults.needs(filter.at('expression'));
  }
}

function checkProviders(at: Field, faults: Faults): void {
  for (const provider of at.at('providers').items()) faults.needs(provider.at('name'));
}

function checkTracing(tracing: Field, faults: Faults): void {
  checkProviders(tracing, faults);
  if (tracing.at('providers').items().length > 1)
    faults.warn(tracing.at('providers'), 'tracing goes to one provider only');
  faults.percent(tracing.at('randomSamplingPercentage'));
  for (const [name, tag] of tracing.at('customTags').entries()) {
    const kinds = ['literal', 'environment', 'header', 'formatter'] as const;
    if (name === '') faults.invalid(tag, 'the name of a tag must not be empty');
    faults.onlyOne(tag, ...kinds);
    const [kind] = tag.among(...kinds);
    if (kind === undefined) faults.required(tag, `one of ${kinds.join(', ')} must be set`);
    if (kind === 'literal' || kind === 'formatter') faults.needs(tag.at(kind, 'value'));
    if (kind === 'environment') faults.needs(tag.at(kind, 'name'));
    if (kind === 'header' && faults.needs(tag.at(kind, 'name')) && !isHeaderName(tag.at(kind, 'name').text))
      faults.invalid(tag.at(kind, 'name'), 'is no header name');
  }
}

function checkOverride(override: Field, faults: Faults): void {
  faults.onlyOne(override.at('match'), 'metric', 'customMetric');
  for (const [tag, change] of override.at('tagOverrides').entries()) {
    if (tag === '') faults.invalid(change, 'the name of a tag must not be empty');
    const value = change.at('value');
    if (change.at('operation').text === 'REMOVE') {
      if (value.text !== '') faults.forbidden(value, 'a tag that is removed has no value');
    } else faults.needs(value, 'a tag that is set needs a value');
  }
}

export function validateWasmPlugin(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkAttachment(spec, faults);
  const url = spec.at('url');
  if (faults.needs(url)) {
    const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url.text)?.[1]?.toLowerCase() ?? 'oci';
    if (!['oci', 'http', 'https', 'file'].includes(scheme))
      faults.invalid(url, `scheme \`${scheme}\` is none of oci, http, https, file`);
  }
  const sum = spec.at('sha256');
  if (sum.text !== '' && !/^[0-9a-f]{64}$/.test(sum.text)) faults.invalid(sum, 'must be 64 hexadecimal digits');
  const variables = spec.at('vmConfig', 'env').items();
  for (const variable of variables) {
    faults.needs(variable.at('name'));
    const isHost = variable.at('valueFrom').text === 'HOST';
    if (isHost && variable.at('value').text !== '')
      faults.forbidden(variable.at('value'), 'with valueFrom HOST the value comes from the proxy');
  }
  faults.unique(
    variables.map((variable) => variable.at('name')),
    (name) => name.text || undefined,
  );
  for (const match of spec.at('match').items())
    for (const port of match.at('ports').items()) faults.port(port.at('number'));
}

export function validateProxyConfig(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  faults.labels(spec.at('selector', 'matchLabels'));
  faults.notNegative(spec.at('concurrency'));
  const image = spec.at('image', 'imageType');
  if (image.text !== '' && !['default', 'debug', 'distroless'].includes(image.text))
    faults.invalid(image, 'must be default, debug or distroless');
  for (const [name, value] of spec.at('environmentVariables').entries())
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) faults.invalid(value, `\`${name}\` is no name of a variable`);
}
