// What Istio refuses in a ServiceEntry, a WorkloadEntry and a WorkloadGroup.

import { isV4, parseCidr } from '../../model/ip.ts';
import type { Field } from '../field.ts';
import { checkExportTo } from './common.ts';
import type { Faults } from './faults.ts';
import { checkProtocol } from './istio-gateway.ts';
import { hostProblem, isAddress, isDnsLabel } from './values.ts';

export function validateServiceEntry(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkHosts(spec, faults);
  for (const address of spec.at('addresses').items()) checkServiceAddress(address, spec, faults);
  const ports = spec.at('ports').items();
  checkPorts(ports, faults);
  checkResolution(spec, new Set(ports.map((port) => port.at('name').text)), faults);
  if (spec.at('workloadSelector').isSet) {
    faults.labels(spec.at('workloadSelector', 'labels'));
    if (Object.keys(spec.at('workloadSelector', 'labels').record).length === 0)
      faults.required(spec.at('workloadSelector', 'labels'), 'a selector without labels would pick every workload');
    if (spec.at('endpoints').items().length > 0)
      faults.forbidden(spec.at('endpoints'), 'workloadSelector finds the endpoints: only one of the two may be set');
  }
  checkExportTo(spec, faults);
}

function checkHosts(spec: Field, faults: Faults): void {
  const hosts = spec.at('hosts').items();
  if (hosts.length === 0) faults.required(spec.at('hosts'));
  for (const host of hosts) {
    if (host.text === '*') faults.invalid(host, 'the host `*` would be every host');
    else faults.host(host, { wildcard: true });
  }
  faults.unique(hosts, (host) => host.text.toLowerCase());
}

function checkServiceAddress(address: Field, spec: Field, faults: Faults): void {
  const range = parseCidr(address.text);
  if (!range.ok) {
    faults.invalid(address, 'is no IP address or range');
    return;
  }
  const isRange = range.value.length < (isV4(range.value.ip) ? 32 : 128);
  if (isRange && ['DNS', 'DNS_ROUND_ROBIN'].includes(spec.at('resolution').text))
    faults.invalid(address, `a range of addresses needs resolution NONE or STATIC, not ${spec.at('resolution').text}`);
}

function checkPorts(ports: readonly Field[], faults: Faults): void {
  for (const port of ports) {
    faults.port(port.at('number'));
    if (faults.needs(port.at('name')) && !isDnsLabel(port.at('name').text.toLowerCase()))
      faults.invalid(port.at('name'), 'must be a DNS label');
    if (port.at('protocol').isSet) checkProtocol(port.at('protocol'), faults);
    if (port.at('targetPort').isSet) faults.port(port.at('targetPort'));
  }
  faults.unique(
    ports.map((port) => port.at('number')),
    (number) => (number.number === undefined ? undefined : String(number.number)),
  );
  faults.unique(
    ports.map((port) => port.at('name')),
    (name) => name.text || undefined,
  );
}

function checkResolution(spec: Field, portNames: ReadonlySet<string>, faults: Faults): void {
  const endpoints = spec.at('endpoints').items();
  const resolution = spec.at('resolution').text || 'NONE';
  const selects = spec.at('workloadSelector').isSet;
  switch (resolution) {
    case 'NONE':
      if (endpoints.length > 0)
        faults.forbidden(spec.at('endpoints'), 'resolution NONE sends to the address asked for: set STATIC or DNS');
      break;
    case 'STATIC':
      if (endpoints.length === 0 && !selects)
        faults.warn(spec, 'resolution STATIC has no endpoints and no workloadSelector: nothing can be called');
      break;
    case 'DNS':
    case 'DNS_ROUND_ROBIN':
      checkDns(spec, endpoints, resolution, faults);
      break;
    case 'DYNAMIC_DNS':
      checkDynamicDns(spec, endpoints.length > 0 || selects, faults);
      break;
    default:
  }
  for (const endpoint of endpoints) checkEndpoint(endpoint, resolution, portNames, faults);
}

function checkDns(spec: Field, endpoints: readonly Field[], resolution: string, faults: Faults): void {
  if (endpoints.length === 0 && !spec.at('workloadSelector').isSet)
    for (const host of spec.at('hosts').items())
      if (host.text.startsWith('*'))
        faults.invalid(host, `a wildcard cannot be looked up: resolution ${resolution} needs endpoints for it`);
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1)
    faults.invalid(spec.at('endpoints'), 'resolution DNS_ROUND_ROBIN takes at most one endpoint');
}

function checkDynamicDns(spec: Field, hasEndpoints: boolean, faults: Faults): void {
  if (hasEndpoints) faults.forbidden(spec, 'resolution DYNAMIC_DNS looks up the name asked for and takes no endpoints');
  if (spec.at('location').text === 'MESH_INTERNAL')
    faults.invalid(spec.at('location'), 'resolution DYNAMIC_DNS is for MESH_EXTERNAL');
  for (const host of spec.at('hosts').items())
    if (!host.text.startsWith('*')) faults.invalid(host, 'resolution DYNAMIC_DNS is for wildcard hosts: use DNS');
  for (const port of spec.at('ports').items()) {
    const protocol = port.at('protocol').text.toUpperCase();
    if (!['', 'HTTP', 'HTTP2', 'GRPC', 'HTTPS', 'TLS'].includes(protocol))
      faults.invalid(port.at('protocol'), 'resolution DYNAMIC_DNS needs HTTP or TLS, which name the host');
  }
}

function checkEndpoint(endpoint: Field, resolution: string, portNames: ReadonlySet<string>, faults: Faults): void {
  checkWorkload(endpoint, faults, resolution === 'STATIC');
  for (const [name, port] of endpoint.at('ports').entries())
    if (!portNames.has(name)) faults.invalid(port, `no port of this ServiceEntry is named \`${name}\``);
}

/** What a WorkloadEntry's spec, a WorkloadGroup's template and an inline endpoint have in common. */
function checkWorkload(workload: Field, faults: Faults, staticOnly: boolean, addressNeeded = true): void {
  const address = workload.at('address');
  if (address.text === '') {
    if (addressNeeded && workload.at('network').text === '')
      faults.required(address, 'only an entry of another network may do without');
  } else if (address.text.startsWith('unix://')) {
    if (!/^unix:\/\/[/@]/.test(address.text)) faults.invalid(address, 'the path of a socket must be absolute');
    if (Object.keys(workload.at('ports').record).length > 0)
      faults.forbidden(workload.at('ports'), 'a Unix socket has no ports');
  } else if (!isAddress(address.text)) {
    const problem = hostProblem(address.text, false);
    if (staticOnly) faults.invalid(address, 'resolution STATIC needs IP addresses: for names set DNS');
    else if (problem !== undefined) faults.invalid(address, problem);
  }
  for (const [name, port] of workload.at('ports').entries()) {
    if (!isDnsLabel(name.toLowerCase())) faults.invalid(port, `\`${name}\` is no name of a port`);
    faults.port(port);
  }
  faults.labels(workload.at('labels'));
  const locality = workload.at('locality');
  if (locality.text !== '' && (locality.text.split('/').length > 3 || locality.text.split('/').includes('')))
    faults.invalid(locality, 'must be region, region/zone or region/zone/subzone');
  faults.notNegative(workload.at('weight'));
}

export function validateWorkloadEntry(object: Field, faults: Faults): void {
  checkWorkload(object.at('spec'), faults, false);
}

export function validateWorkloadGroup(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  if (!spec.at('template').isSet) {
    faults.required(spec.at('template'));
    return;
  }
  checkWorkload(spec.at('template'), faults, false, false);
  faults.labels(spec.at('metadata', 'labels'));
  const probe = spec.at('probe');
  const kinds = ['httpGet', 'tcpSocket', 'exec', 'grpc'] as const;
  faults.onlyOne(probe, ...kinds);
  if (probe.isSet && probe.among(...kinds).length === 0)
    faults.required(probe, `one of ${kinds.join(', ')} must be set`);
}
