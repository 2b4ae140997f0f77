// What Istio refuses in a Sidecar.

import { parseIp } from '../../model/ip.ts';
import type { Field } from '../field.ts';
import type { Faults } from './faults.ts';
import { checkNamedPort } from './istio-gateway.ts';
import { hostProblem, isDnsLabel } from './values.ts';

export function validateSidecar(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  faults.labels(spec.at('workloadSelector', 'labels'));
  if (
    spec.among('ingress', 'egress', 'inboundConnectionPool', 'outboundTrafficPolicy', 'workloadSelector').length === 0
  )
    faults.required(spec, 'a Sidecar must say something: ingress, egress or outboundTrafficPolicy');
  const ingress = spec.at('ingress').items();
  for (const listener of ingress) checkIngress(listener, faults);
  faults.unique(
    ingress.map((listener) => listener.at('port', 'number')),
    (number) => (number.number === undefined ? undefined : String(number.number)),
  );
  checkEgress(spec.at('egress').items(), faults);
}

function checkIngress(listener: Field, faults: Faults): void {
  if (faults.needs(listener.at('port'))) checkNamedPort(listener.at('port'), faults);
  checkBind(listener.at('bind'), faults);
  const endpoint = listener.at('defaultEndpoint');
  if (endpoint.text !== '' && !isLocalEndpoint(endpoint.text))
    faults.invalid(endpoint, 'must be 127.0.0.1:PORT, [::1]:PORT, 0.0.0.0:PORT, [::]:PORT or unix:///path');
  const mode = listener.at('tls', 'mode').text;
  if (listener.at('tls').isSet && !['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL', ''].includes(mode))
    faults.invalid(listener.at('tls', 'mode'), 'must be SIMPLE or MUTUAL for what a sidecar takes in');
}

function isLocalEndpoint(text: string): boolean {
  if (text.startsWith('unix:///') || text.startsWith('unix://@')) return true;
  const match = /^(127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\[::\]):(\d{1,5})$/.exec(text);
  return match !== null && Number(match[2]) >= 1 && Number(match[2]) <= 65_535;
}

function checkBind(bind: Field, faults: Faults): void {
  if (bind.text !== '' && !bind.text.startsWith('unix://') && !parseIp(bind.text).ok)
    faults.invalid(bind, 'is no IP address');
}

function checkEgress(listeners: readonly Field[], faults: Faults): void {
  for (const [i, listener] of listeners.entries()) {
    const hosts = listener.at('hosts').items();
    if (hosts.length === 0) faults.required(listener.at('hosts'));
    for (const host of hosts) checkEgressHost(host, faults);
    faults.unique(hosts, (host) => host.text);
    checkBind(listener.at('bind'), faults);
    if (listener.at('port').isSet) {
      faults.port(listener.at('port', 'number'));
    } else {
      if (i < listeners.length - 1)
        faults.invalid(listener, 'a listener without a port takes all that is left: it must be the last');
      if (listener.at('bind').text !== '') faults.required(listener.at('port'), 'bind needs a port');
    }
  }
  faults.unique(
    listeners.map((listener) => listener.at('port', 'number')),
    (number) => (number.number === undefined ? undefined : String(number.number)),
  );
}

/** `<namespace>/<dnsName>`: the namespace may be `.`, `*` or `~`, and `~<namespace>` takes one away. */
function checkEgressHost(host: Field, faults: Faults): void {
  const parts = host.text.split('/');
  const [namespace = '', name = ''] = parts;
  if (parts.length !== 2 || name === '') {
    faults.invalid(host, 'must be <namespace>/<host name>');
    return;
  }
  const bare = namespace.startsWith('~') ? namespace.slice(1) : namespace;
  if (!['.', '*', ''].includes(bare) && !isDnsLabel(bare)) faults.invalid(host, `\`${namespace}\` is no namespace`);
  if (namespace === '') faults.invalid(host, 'the namespace is missing');
  const problem = name === '*' ? undefined : hostProblem(name, true);
  if (problem !== undefined) faults.invalid(host, problem);
}
