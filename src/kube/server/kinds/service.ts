// Services: defaults, cluster addresses, and what is refused (Kubernetes API reference: ServiceSpec).

import type { IService } from 'kubernetes-models/v1/Service';
import { parseIp } from '../../../model/ip.ts';
import {
  duplicate,
  type FieldFault,
  forbiddenField,
  immutable,
  invalidField,
  required,
  unsupported,
} from '../errors.ts';
import { sameJson } from '../json.ts';
import { clusterAddresses } from './cluster-addresses.ts';
import type { KindRules } from './kind.ts';
import { isPort, isPortName, nameProblem, PORT_NAME_TEXT, PORT_TEXT, validateLabels } from './validate-names.ts';

export const serviceRules: KindRules<IService> = {
  defaults({ spec }) {
    if (spec === undefined) return;
    spec.type ??= 'ClusterIP';
    spec.sessionAffinity ??= 'None';
    if (spec.sessionAffinity === 'ClientIP') spec.sessionAffinityConfig ??= { clientIP: { timeoutSeconds: 10_800 } };
    for (const port of spec.ports ?? []) {
      port.protocol ??= 'TCP';
      port.targetPort ??= port.port;
    }
    if (spec.type === 'ExternalName') return;
    spec.internalTrafficPolicy ??= 'Cluster';
    spec.ipFamilies ??= ['IPv4'];
    spec.ipFamilyPolicy ??= 'SingleStack';
    if (spec.type === 'NodePort' || spec.type === 'LoadBalancer') spec.externalTrafficPolicy ??= 'Cluster';
    if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
  },
  admit(service, { store }) {
    const { spec, metadata } = service;
    if (spec === undefined) return;
    service.status = { loadBalancer: {} };
    if (spec.type === 'ExternalName') return;
    if (spec.clusterIP === undefined || spec.clusterIP === '')
      spec.clusterIP = spec.clusterIPs?.[0] ?? clusterAddresses(store).free(`${metadata?.namespace}/${metadata?.name}`);
    spec.clusterIPs ??= [spec.clusterIP];
  },
  carryOver(service, before, context) {
    const [spec, old] = [service.spec, before.spec];
    if (spec === undefined || old === undefined) return;
    if (spec.type === 'ExternalName') {
      if (old.type !== 'ExternalName' && spec.clusterIP === old.clusterIP) {
        for (const field of [
          'clusterIP',
          'clusterIPs',
          'ipFamilies',
          'ipFamilyPolicy',
          'internalTrafficPolicy',
        ] as const)
          delete spec[field];
      }
      return;
    }
    if (old.type === 'ExternalName') {
      const status = service.status;
      serviceRules.admit?.(service, context);
      if (status !== undefined) service.status = status;
      return;
    }
    if (!spec.clusterIP && old.clusterIP) spec.clusterIP = old.clusterIP;
    if (spec.clusterIPs === undefined && old.clusterIPs) spec.clusterIPs = structuredClone(old.clusterIPs);
    if (old.ipFamilies) spec.ipFamilies ??= structuredClone(old.ipFamilies);
    if (old.ipFamilyPolicy) spec.ipFamilyPolicy ??= old.ipFamilyPolicy;
  },
  validate(service, { store }) {
    const { spec, metadata } = service;
    if (spec === undefined) return [required('spec')];
    const faults = validateServicePorts(service);
    faults.push(...validateLabels(spec.selector, 'spec.selector'));
    if (spec.type === 'ExternalName') {
      if (!spec.externalName) faults.push(required('spec.externalName'));
      else if (nameProblem('subdomain', spec.externalName.replace(/\.$/, '')))
        faults.push(invalidField('spec.externalName', spec.externalName, nameProblem('subdomain', '') ?? ''));
      if (spec.clusterIP) faults.push(forbiddenField('spec.clusterIPs', 'may not be set for ExternalName services'));
      return faults;
    }
    if (spec.clusterIP === 'None') {
      if (spec.type !== 'ClusterIP')
        faults.push(invalidField('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`));
    } else if (spec.clusterIP) {
      const problem = clusterAddresses(store).problem(spec.clusterIP, `${metadata?.namespace}/${metadata?.name}`);
      if (problem !== undefined) faults.push(invalidField('spec.clusterIPs', [spec.clusterIP], problem));
    }
    if (spec.clusterIPs !== undefined && spec.clusterIPs[0] !== spec.clusterIP)
      faults.push(invalidField('spec.clusterIPs', spec.clusterIPs, 'first value must match `clusterIP`'));
    for (const [i, text] of (spec.externalIPs ?? []).entries())
      if (!parseIp(text).ok) faults.push(invalidField(`spec.externalIPs[${i}]`, text, 'must be a valid IP address'));
    const distributions = ['PreferClose', 'PreferSameZone', 'PreferSameNode'];
    if (spec.trafficDistribution !== undefined && !distributions.includes(spec.trafficDistribution))
      faults.push(unsupported('spec.trafficDistribution', spec.trafficDistribution, distributions));
    return faults;
  },
  validateUpdate(service, before) {
    if (service.spec?.type === 'ExternalName' || before.spec?.type === 'ExternalName') return [];
    return sameJson(service.spec?.clusterIP, before.spec?.clusterIP)
      ? []
      : [immutable('spec.clusterIPs[0]', service.spec?.clusterIP)];
  },
};

function validateServicePorts({ spec }: IService): FieldFault[] {
  const ports = spec?.ports ?? [];
  const faults: FieldFault[] = [];
  if (ports.length === 0 && spec?.type !== 'ExternalName' && spec?.clusterIP !== 'None')
    faults.push(required('spec.ports'));
  const names = new Set<string>();
  const pairs = new Set<string>();
  for (const [i, port] of ports.entries()) {
    const at = `spec.ports[${i}]`;
    if (port.name !== undefined && port.name !== '') {
      if (nameProblem('label', port.name))
        faults.push(invalidField(`${at}.name`, port.name, nameProblem('label', port.name) ?? ''));
      else if (names.has(port.name)) faults.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    } else if (ports.length > 1) faults.push(required(`${at}.name`));
    if (!isPort(port.port)) faults.push(invalidField(`${at}.port`, port.port ?? 0, PORT_TEXT));
    if (typeof port.targetPort === 'number' ? !isPort(port.targetPort) : !isPortName(port.targetPort ?? ''))
      faults.push(
        invalidField(
          `${at}.targetPort`,
          port.targetPort,
          typeof port.targetPort === 'number' ? PORT_TEXT : PORT_NAME_TEXT,
        ),
      );
    const pair = `${port.port}/${port.protocol}`;
    if (pairs.has(pair)) faults.push(duplicate(at, { protocol: port.protocol, port: port.port }));
    pairs.add(pair);
  }
  return faults;
}
