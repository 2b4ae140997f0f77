// Services, ServiceEntries and Deployments: ports without protocol, and ports that contradict each other.

import { portProtocol } from '../../derive/protocol.ts';
import { looseBoolean } from '../../derive/read.ts';
import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import type { Workload } from '../workloads.ts';
import type { World } from '../world.ts';

const SYSTEM = new Set(['kube-system', 'kube-public', 'kube-node-lease', 'istio-system', 'local-path-storage']);
const SAYS_NOTHING = /^(tcp|udp|mongo|mysql|redis|grpc-web)(-|$)/;

/** The name or appProtocol says what the port speaks; tcp says so too. */
function saysProtocol(port: Field): boolean {
  const [name, appProtocol] = [port.at('name').text.toLowerCase(), port.at('appProtocol').text];
  if (appProtocol !== '' || SAYS_NOTHING.test(name) || port.at('protocol').text === 'UDP') return true;
  return portProtocol(0, name, 'TCP', undefined) !== 'unknown';
}

export const portNameAnalyzer: Analyzer = {
  name: 'service.PortNameAnalyzer',
  description: 'Service ports that do not say their protocol',
  codes: ['IST0118', 'IST0150'],
  analyze(world, report) {
    for (const service of world.all(KIND.service)) {
      if (SYSTEM.has(service.namespace) || 'gateway.istio.io/managed' in service.labels) continue;
      const isExternal = service.spec.at('type').text === 'ExternalName';
      for (const port of service.spec.at('ports').items()) {
        const [number, target] = [port.at('port').number ?? 0, port.at('targetPort').value ?? port.at('port').value];
        const name = port.at('name').text;
        if (isExternal) {
          if (name === '' || /^tcp(-|$)/.test(name)) report('IST0150', service, port);
        } else if (!saysProtocol(port)) report('IST0118', service, port, name, String(number), String(target));
      }
    }
  },
};

export const serviceAssociationAnalyzer: Analyzer = {
  name: 'deployment.ServiceAssociationAnalyzer',
  description: 'Services of one Deployment that contradict each other about a port',
  codes: ['IST0116', 'IST0137'],
  analyze(world, report) {
    for (const workload of world.workloads) {
      if (workload.resource.type !== KIND.deployment) continue;
      const services = world.hosts.servicesOf(workload.namespace, workload.labels).map(({ resource }) => resource);
      if (services.length > 1) checkPorts(workload, services, report);
    }
  },
};

function checkPorts(workload: Workload, services: readonly Resource[], report: Report): void {
  const ports = services.flatMap((service) =>
    service.spec
      .at('ports')
      .items()
      .map((port) => ({
        service,
        number: port.at('port').number ?? 0,
        target: String(port.at('targetPort').value ?? port.at('port').value),
        protocol: `${port.at('protocol').text || 'TCP'}/${portProtocol(port.at('port').number ?? 0, port.at('name').text, 'TCP', port.at('appProtocol').text || undefined)}`,
      })),
  );
  const { resource } = workload;
  for (const target of new Set(ports.map((port) => port.target))) {
    const same = ports.filter((port) => port.target === target);
    const names = [...new Set(same.map(({ service }) => service.key))].sort().join(',');
    if (new Set(same.map(({ service }) => service)).size < 2) continue;
    if (new Set(same.map(({ protocol }) => protocol)).size > 1)
      report('IST0116', resource, resource.root, resource.key, target, names);
    const numbers = [...new Set(same.map(({ number }) => number))];
    if (numbers.length > 1) report('IST0137', resource, resource.root, resource.key, names, target, numbers.join(','));
  }
}

export const applicationUidAnalyzer: Analyzer = {
  name: 'deployment.ApplicationUIDAnalyzer',
  description: 'containers that run as the proxy`s user',
  codes: ['IST0144'],
  analyze(world, report) {
    for (const { podSpec, resource } of world.workloads) {
      const inPod = podSpec.at('securityContext', 'runAsUser');
      if (inPod.number === 1337) report('IST0144', resource, inPod);
      for (const container of podSpec.at('containers').items()) {
        const user = container.at('securityContext', 'runAsUser');
        if (user.number === 1337 && container.at('name').text !== 'istio-proxy') report('IST0144', resource, user);
      }
    }
  },
};

export const serviceEntryAnalyzer: Analyzer = {
  name: 'serviceentry.Analyzer',
  description: 'ServiceEntries whose TCP ports take every connection, or that contradict each other',
  codes: ['IST0134', 'IST0177'],
  analyze(world, report) {
    for (const entry of world.all(KIND.serviceEntry)) checkAddresses(entry, report);
    checkProtocols(world, report);
  },
};

function checkAddresses(entry: Resource, report: Report): void {
  const { spec } = entry;
  const resolution = spec.at('resolution').text || 'NONE';
  const optedOut = looseBoolean(entry.labels['networking.istio.io/enable-autoallocate-ip'] ?? '') === false;
  const wildcardOnly = spec
    .at('hosts')
    .items()
    .every((host) => host.text.startsWith('*'));
  const allocated = resolution !== 'NONE' && !optedOut && !(wildcardOnly && resolution !== 'DYNAMIC_DNS');
  if (spec.at('addresses').items().length > 0 || allocated) return;
  for (const port of spec.at('ports').items())
    if (['', 'TCP'].includes(port.at('protocol').text.toUpperCase())) report('IST0134', entry, port);
}

function checkProtocols(world: World, report: Report): void {
  const groups = new Map<string, { readonly entry: Resource; readonly port: Field; readonly protocol: string }[]>();
  for (const entry of world.all(KIND.serviceEntry))
    for (const host of entry.spec.at('hosts').items())
      for (const port of entry.spec.at('ports').items()) {
        const key = `${host.text.toLowerCase()}|${port.at('number').number}`;
        const protocol = port.at('protocol').text.toUpperCase();
        groups.set(key, [...(groups.get(key) ?? []), { entry, port, protocol }]);
      }
  for (const [key, members] of groups) {
    const protocols = [...new Set(members.map(({ protocol }) => protocol))].sort();
    const names = [...new Set(members.map(({ entry }) => entry.key))].sort();
    if (protocols.length < 2 || names.length < 2) continue;
    const [host = '', number = ''] = key.split('|');
    for (const { entry, port } of members)
      report('IST0177', entry, port, names.join(','), host, number, protocols.join(','));
  }
}
