// What Istio refuses in a PeerAuthentication and a RequestAuthentication.

import type { Field } from '../field.ts';
import { checkAttachment } from './common.ts';
import type { Faults } from './faults.ts';
import { isHeaderName } from './values.ts';

export function validatePeerAuthentication(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  const labels = spec.at('selector', 'matchLabels');
  faults.labels(labels);
  const ports = spec.at('portLevelMtls');
  if (ports.entries().length > 0 && Object.keys(labels.record).length === 0)
    faults.invalid(ports, 'ports belong to workloads: portLevelMtls needs a selector with labels');
  for (const [port, mode] of ports.entries())
    if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
      faults.invalid(mode, `\`${port}\` is no port from 1 to 65535`);
}

export function validateRequestAuthentication(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkAttachment(spec, faults);
  for (const rule of spec.at('jwtRules').items()) checkJwtRule(rule, faults);
}

function checkJwtRule(rule: Field, faults: Faults): void {
  faults.needs(rule.at('issuer'));
  for (const audience of rule.at('audiences').items())
    if (audience.text === '') faults.invalid(audience, 'must not be empty');
  checkKeys(rule, faults);
  for (const header of rule.at('fromHeaders').items()) checkHeader(header.at('name'), faults);
  for (const name of ['fromParams', 'fromCookies'])
    for (const item of rule.at(name).items()) if (item.text === '') faults.invalid(item, 'must not be empty');
  if (rule.at('outputPayloadToHeader').isSet) checkHeader(rule.at('outputPayloadToHeader'), faults);
  for (const entry of rule.at('outputClaimToHeaders').items()) {
    checkHeader(entry.at('header'), faults);
    faults.needs(entry.at('claim'));
  }
  faults.duration(rule.at('timeout'));
}

function checkHeader(at: Field, faults: Faults): void {
  if (faults.needs(at) && !isHeaderName(at.text)) faults.invalid(at, 'is no header name');
}

function checkKeys(rule: Field, faults: Faults): void {
  faults.onlyOne(rule, 'jwks', 'jwksUri');
  const uri = rule.at('jwksUri').isSet ? rule.at('jwksUri') : rule.at('jwks_uri');
  if (uri.isSet) {
    const url = URL.canParse(uri.text) ? new URL(uri.text) : undefined;
    if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.hostname === '')
      faults.invalid(uri, 'must be an http or https URL');
  }
  const jwks = rule.at('jwks');
  if (!jwks.isSet || jwks.text === '') return;
  const problem = jwksProblem(jwks.text);
  if (problem !== undefined) faults.add('invalid', rule.at('jwks'), problem);
}

function jwksProblem(text: string): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return 'is no JSON Web Key Set: the text is not JSON';
  }
  const keys = (parsed as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys) || keys.length === 0) return 'is no JSON Web Key Set: it has no `keys`';
  return keys.every((key: unknown) => typeof (key as { kty?: unknown } | null)?.kty === 'string')
    ? undefined
    : 'a key of the set has no `kty`';
}
