// The small forms inside workloads and services: addresses `network/ip`, references to gateways, maps of ports.

import { type Cidr, type Ip, parseCidr, parseIp } from '../../model/ip.ts';
import { HBONE_PORT } from '../../model/ports.ts';
import type { GatewayAddress, NetworkAddress, PortMapping } from '../../model/workload.ts';
import type { Node } from './read.ts';

const MAX_PORT = 65535;

export function readIp(node: Node): Ip {
  const ip = parseIp(node.text());
  return ip.ok ? ip.value : node.refuse('an IP address');
}

/** `network/ip`; the network may be empty. */
export function readNetworkAddress(node: Node): NetworkAddress {
  return networkAddress(node.text()) ?? node.refuse('`network/ip`');
}

function networkAddress(text: string): NetworkAddress | undefined {
  const slash = text.indexOf('/');
  const ip = parseIp(text.slice(slash + 1));
  return slash < 0 || !ip.ok ? undefined : { network: text.slice(0, slash), ip: ip.value };
}

/** `{ network: "", cidr: "10.0.0.0/8" }` (Istio's own form), or `network/10.0.0.0/8` in one text. */
export function readNetworkRange(node: Node): { network: string; range: Cidr } {
  const text = typeof node.value === 'string' ? node.value : undefined;
  const fields = text === undefined ? node.fields() : undefined;
  const slash = text?.indexOf('/') ?? -1;
  if (text !== undefined && slash < 0) return node.refuse('`network/range`');
  const range = parseCidr(text?.slice(slash + 1) ?? fields?.get('cidr').text() ?? '');
  const network = text?.slice(0, slash) ?? fields?.get('network').textOr('') ?? '';
  return range.ok
    ? { network, range: range.value }
    : node.refuse('an address range such as 10.0.0.0/8, with a network');
}

/** `{ destination: "network/ip" or "namespace/hostname", hboneMtlsPort: 15008 }`: what reads as an address is one. */
export function readGateway(node: Node): GatewayAddress | undefined {
  if (node.absent) return undefined;
  const fields = node.fields();
  const destination = fields.get('destination');
  const text = destination.text();
  const port = fields.get('hboneMtlsPort');
  const hbonePort = port.absent ? HBONE_PORT : port.number(MAX_PORT);
  const address = networkAddress(text);
  if (address !== undefined) return { destination: { kind: 'address', ...address }, hbonePort };
  const { namespace, hostname } = readServiceKey(destination, text);
  return { destination: { kind: 'hostname', namespace, hostname }, hbonePort };
}

export function readServiceKey(node: Node, text: string): { namespace: string; hostname: string } {
  const slash = text.indexOf('/');
  if (slash < 0 || slash === text.length - 1) return node.refuse('`network/ip` or `namespace/hostname`');
  return { namespace: text.slice(0, slash), hostname: text.slice(slash + 1) };
}

/** `{ "80": 8080 }`: service port to target port, by service port. */
export function readPorts(node: Node): PortMapping[] {
  return node
    .entries()
    .map(([key, target]) => {
      const servicePort = Number(key);
      if (!/^[0-9]{1,5}$/.test(key) || servicePort > MAX_PORT) target.refuse('under a service port');
      return { servicePort, targetPort: target.number(MAX_PORT), appProtocol: 'unknown' as const };
    })
    .sort((a, b) => a.servicePort - b.servicePort);
}
