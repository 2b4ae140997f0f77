// The rules in CEL that the Gateway API's definitions carry for Gateway, BackendTLSPolicy and what all routes share.
// (The shapes themselves are the schemas' affair.)

import { parseIp } from '../../model/ip.ts';
import type { Field } from '../field.ts';
import type { Faults } from './faults.ts';

const PLAIN: ReadonlySet<string> = new Set(['HTTP', 'TCP', 'UDP']);

export function validateGateway(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  const listeners = spec.at('listeners').items();
  checkListeners(listeners, faults);
  const addresses = spec.at('addresses').items();
  for (const address of addresses)
    if ((address.at('type').text || 'IPAddress') === 'IPAddress' && address.at('value').text !== '')
      if (!parseIp(address.at('value').text).ok) faults.invalid(address.at('value'), 'is no IP address');
  faults.unique(addresses, (address) =>
    address.at('value').text === ''
      ? undefined
      : `${address.at('type').text || 'IPAddress'}/${address.at('value').text}`,
  );
}

export function validateListenerSet(object: Field, faults: Faults): void {
  checkListeners(object.at('spec', 'listeners').items(), faults);
}

function checkListeners(listeners: readonly Field[], faults: Faults): void {
  faults.unique(
    listeners.map((listener) => listener.at('name')),
    (name) => name.text || undefined,
  );
  const seen = new Set<string>();
  for (const listener of listeners) {
    const [port, protocol, hostname] = ['port', 'protocol', 'hostname'].map((name) =>
      String(listener.at(name).value ?? ''),
    );
    const key = `${port}/${protocol}/${hostname}`;
    if (seen.has(key))
      faults.invalid(listener, 'combination of port, protocol and hostname must be unique for each listener');
    seen.add(key);
    checkListenerTls(listener, protocol ?? '', faults);
    if ((protocol === 'TCP' || protocol === 'UDP') && hostname !== '')
      faults.forbidden(listener.at('hostname'), `must not be specified for protocol ${protocol}`);
  }
}

function checkListenerTls(listener: Field, protocol: string, faults: Faults): void {
  const tls = listener.at('tls');
  if (PLAIN.has(protocol) && tls.isSet) faults.forbidden(tls, `must not be specified for protocol ${protocol}`);
  if (!tls.isSet) return;
  const mode = tls.at('mode').text || 'Terminate';
  if (protocol === 'HTTPS' && mode !== 'Terminate')
    faults.invalid(tls.at('mode'), 'must be Terminate for protocol HTTPS');
  const given = tls.at('certificateRefs').items().length > 0 || Object.keys(tls.at('options').record).length > 0;
  if (mode === 'Terminate' && !given)
    faults.required(tls, 'certificateRefs or options must be set when mode is Terminate');
}

/** `parentRefs`: two references to one parent must differ in their section or port. */
export function checkParentRefs(spec: Field, faults: Faults): void {
  const groups = new Map<string, Field[]>();
  for (const ref of spec.at('parentRefs').items()) {
    const group = ref.at('group').isSet ? ref.at('group').text : 'gateway.networking.k8s.io';
    const kind = ref.at('kind').text || 'Gateway';
    const key = `${group}/${kind}/${ref.at('namespace').text}/${ref.at('name').text}`;
    groups.set(key, [...(groups.get(key) ?? []), ref]);
  }
  for (const refs of groups.values()) {
    if (refs.length < 2) continue;
    const sections = new Set<string>();
    for (const ref of refs) {
      const section = `${ref.at('sectionName').text}/${ref.at('port').number ?? ''}`;
      if (section === '/')
        faults.invalid(ref, 'sectionName or port must be set when parentRefs has several references to one parent');
      else if (sections.has(section))
        faults.invalid(ref, 'sectionName or port must be unique when parentRefs has several references to one parent');
      sections.add(section);
    }
  }
}

const MOST_MATCHES = 128;

/** Rules of a route: their names differ, and together they have not too many matches. */
export function checkRules(spec: Field, faults: Faults): Field[] {
  const rules = spec.at('rules').items();
  const named = rules.map((rule) => rule.at('name')).filter((name) => name.text !== '');
  const names = new Set(named.map((name) => name.text));
  if (names.size < named.length) faults.invalid(spec.at('rules'), 'rule names must be unique within the route');
  const matches = rules.reduce((sum, rule) => sum + rule.at('matches').items().length, 0);
  if (matches > MOST_MATCHES)
    faults.invalid(spec.at('rules'), `the rules together have ${matches} matches, at most ${MOST_MATCHES} are allowed`);
  return rules;
}

/** A backend: a Service is nothing without its port. */
export function checkBackendRef(ref: Field, faults: Faults): void {
  const isService = (ref.at('kind').text || 'Service') === 'Service' && ref.at('group').text === '';
  if (isService && !ref.at('port').isSet) faults.required(ref.at('port'), 'must have port for Service reference');
}

export function validateL4Route(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkParentRefs(spec, faults);
  for (const rule of checkRules(spec, faults))
    for (const ref of rule.at('backendRefs').items()) checkBackendRef(ref, faults);
}

export function validateTlsRoute(object: Field, faults: Faults): void {
  validateL4Route(object, faults);
  for (const hostname of object.at('spec', 'hostnames').items())
    if (parseIp(hostname.text).ok) faults.invalid(hostname, 'a server name (SNI) cannot be an IP address');
}

export function validateBackendTlsPolicy(object: Field, faults: Faults): void {
  const validation = object.at('spec', 'validation');
  const refs = validation.at('caCertificateRefs').items().length > 0;
  const wellKnown = validation.at('wellKnownCACertificates').text !== '';
  if (refs && wellKnown)
    faults.invalid(validation, 'must not contain both caCertificateRefs and wellKnownCACertificates');
  if (!refs && !wellKnown)
    faults.required(validation, 'must specify either caCertificateRefs or wellKnownCACertificates');
  for (const name of validation.at('subjectAltNames').items()) {
    const type = name.at('type').text;
    for (const [wanted, field] of [
      ['Hostname', 'hostname'],
      ['URI', 'uri'],
    ] as const) {
      if (type === wanted) faults.needs(name.at(field), `must be set when type is ${wanted}`);
      else if (name.at(field).text !== '') faults.forbidden(name.at(field), `must not be set when type is ${type}`);
    }
  }
  checkTargetSections(object.at('spec', 'targetRefs').items(), faults);
}

function checkTargetSections(refs: readonly Field[], faults: Faults): void {
  const target = (ref: Field): string => `${ref.at('group').text}/${ref.at('kind').text}/${ref.at('name').text}`;
  for (const ref of refs) {
    const others = refs.filter((other) => other !== ref && target(other) === target(ref));
    if (others.length === 0) continue;
    const section = ref.at('sectionName').text;
    if (section === '')
      faults.required(ref.at('sectionName'), 'must be set when targetRefs has several references to one target');
    else if (others.some((other) => other.at('sectionName').text === section))
      faults.invalid(ref.at('sectionName'), 'must be unique when targetRefs has several references to one target');
  }
}
