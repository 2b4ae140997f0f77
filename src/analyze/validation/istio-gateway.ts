// What Istio refuses in a Gateway of networking.istio.io.

import type { Field } from '../field.ts';
import type { Faults } from './faults.ts';
import { hostProblem, isAddress, isDnsLabel, PROTOCOLS } from './values.ts';

const TLS_PROTOCOLS: ReadonlySet<string> = new Set(['HTTPS', 'TLS', 'AUTO-HTTPS-DEFAULT']);
const TLS_VERSIONS = ['TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3'];

export function validateIstioGateway(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  faults.labels(spec.at('selector'));
  const servers = spec.at('servers').items();
  if (servers.length === 0) faults.required(spec.at('servers'), 'a gateway needs at least one server');
  for (const server of servers) checkServer(server, faults);
  faults.unique(
    servers.map((server) => server.at('port', 'name')),
    (name) => name.text || undefined,
  );
}

function checkServer(server: Field, faults: Faults): void {
  const port = server.at('port');
  if (faults.needs(port)) {
    faults.port(port.at('number'));
    faults.needs(port.at('name'));
    checkProtocol(port.at('protocol'), faults);
  }
  const hosts = server.at('hosts').items();
  if (hosts.length === 0) faults.required(server.at('hosts'), 'a server needs at least one host');
  for (const host of hosts) checkScopedHost(host, faults);
  const bind = server.at('bind');
  if (bind.text !== '' && !isAddress(bind.text) && !bind.text.startsWith('unix://'))
    faults.invalid(bind, 'is no IP address');
  checkServerTls(server.at('tls'), port.at('protocol').text.toUpperCase(), faults);
}

export function checkProtocol(protocol: Field, faults: Faults): void {
  if (faults.needs(protocol) && !PROTOCOLS.has(protocol.text.toUpperCase()))
    faults.invalid(protocol, `is none of ${[...PROTOCOLS].join(', ')}`);
}

/** `dnsName` or `<namespace>/<dnsName>`; the namespace may be `.` or `*`. */
function checkScopedHost(host: Field, faults: Faults): void {
  const slash = host.text.indexOf('/');
  const namespace = slash < 0 ? '*' : host.text.slice(0, slash);
  const name = host.text.slice(slash + 1);
  if (namespace !== '*' && namespace !== '.' && !isDnsLabel(namespace))
    faults.invalid(host, `\`${namespace}\` is no namespace, \`.\` or \`*\``);
  const problem = name === '*' || isAddress(name) ? undefined : hostProblem(name, true);
  if (problem !== undefined) faults.invalid(host, problem);
}

function checkServerTls(tls: Field, protocol: string, faults: Faults): void {
  if (!tls.isSet) {
    if (TLS_PROTOCOLS.has(protocol)) faults.required(tls, `protocol ${protocol} needs tls`);
    return;
  }
  const mode = tls.at('mode').text || 'PASSTHROUGH';
  const redirects = tls.at('httpsRedirect').value === true;
  if (!TLS_PROTOCOLS.has(protocol) && protocol !== '' && !redirects)
    faults.forbidden(tls, `protocol ${protocol} is plain text: of tls, only httpsRedirect has a meaning there`);
  if (TLS_PROTOCOLS.has(protocol) && redirects) faults.forbidden(tls.at('httpsRedirect'), 'is for a plain-text port');
  checkVersions(tls, faults);
  const named = ['credentialName', 'credentialNames'].some((name) => tls.at(name).isSet && tls.at(name).value !== '');
  const files = tls.among('serverCertificate', 'privateKey', 'caCertificates', 'tlsCertificates');
  faults.onlyOne(tls, 'credentialName', 'credentialNames');
  if (mode === 'ISTIO_MUTUAL') {
    if (named || files.length > 0)
      faults.forbidden(tls, 'with ISTIO_MUTUAL the mesh provides the certificates: take out files and credentialName');
    return;
  }
  if (!TLS_PROTOCOLS.has(protocol) || !['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL'].includes(mode) || named) return;
  if (tls.at('tlsCertificates').items().length > 0) return;
  faults.needs(tls.at('serverCertificate'), `mode ${mode} needs a certificate, or credentialName`);
  faults.needs(tls.at('privateKey'), `mode ${mode} needs a key, or credentialName`);
  if (mode !== 'SIMPLE')
    faults.needs(tls.at('caCertificates'), `mode ${mode} needs a CA for clients, or credentialName`);
}

function checkVersions(tls: Field, faults: Faults): void {
  const [least, most] = [tls.at('minProtocolVersion'), tls.at('maxProtocolVersion')];
  const [from, to] = [TLS_VERSIONS.indexOf(least.text), TLS_VERSIONS.indexOf(most.text)];
  if (from > 0 && to > 0 && from > to) faults.invalid(least, `is above maxProtocolVersion ${most.text}`);
  if (from === 1 || from === 2) faults.warn(least, 'TLS below 1.2 is not safe');
  faults.unique(tls.at('cipherSuites').items(), (suite) => suite.text);
}

/** A Sidecar's or ServiceEntry's port. */
export function checkNamedPort(port: Field, faults: Faults): void {
  faults.port(port.at('number'));
  const protocol = port.at('protocol');
  if (protocol.isSet) checkProtocol(protocol, faults);
}
