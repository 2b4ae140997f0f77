// Gateways of networking.istio.io: their pods, ports, certificates, and each other.

import { isSubset } from '../../derive/labels.ts';
import { type Labels, record, text, textRecord } from '../../derive/read.ts';
import type { Analyzer } from '../analyzer.ts';
import { KIND } from '../kinds.ts';
import type { Resource } from '../resource.ts';
import type { World } from '../world.ts';

const selectorText = (labels: Labels): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(',');

const podsOf = (world: World, gateway: Resource) => {
  const selector = textRecord(gateway.spec.at('selector').value);
  return Object.keys(selector).length === 0
    ? undefined
    : world.workloads.filter((workload) => isSubset(selector, workload.labels));
};

export const gatewayPortAnalyzer: Analyzer = {
  name: 'gateway.IngressGatewayPortAnalyzer',
  description: 'Gateways without pods, and ports that no Service of theirs has',
  codes: ['IST0101', 'IST0162'],
  analyze(world, report) {
    for (const gateway of world.all(KIND.istioGateway)) {
      const pods = podsOf(world, gateway);
      if (pods === undefined) continue;
      const selector = selectorText(textRecord(gateway.spec.at('selector').value));
      if (pods.length === 0) {
        if (world.knowsWorkloads) report('IST0101', gateway, gateway.spec.at('selector'), 'selector', selector);
        continue;
      }
      const services = pods.flatMap((pod) => world.hosts.servicesOf(pod.namespace, pod.labels));
      if (services.length === 0) continue;
      const ports = new Set(services.flatMap((service) => service.ports.map((port) => port.number)));
      for (const server of gateway.spec.at('servers').items()) {
        const number = server.at('port', 'number');
        if (number.number !== undefined && !ports.has(number.number))
          report('IST0162', gateway, number, String(number.number), selector);
      }
    }
  },
};

export const gatewaySecretAnalyzer: Analyzer = {
  name: 'gateway.SecretAnalyzer',
  description: 'certificates of Gateways: Secrets that are missing or hold no certificate',
  codes: ['IST0101', 'IST0161'],
  analyze(world, report) {
    for (const gateway of world.all(KIND.istioGateway)) {
      const namespaces = new Set((podsOf(world, gateway) ?? []).map((pod) => pod.namespace));
      if (namespaces.size === 0) continue; // where the Secret would have to be is not known
      for (const server of gateway.spec.at('servers').items()) {
        const name = server.at('tls', 'credentialName');
        if (name.text === '') continue;
        const secrets = [...namespaces].map((namespace) => world.get(KIND.secret, namespace, name.text));
        const found = secrets.find((secret) => secret !== undefined);
        if (found === undefined) report('IST0101', gateway, name, 'credentialName', name.text);
        else if (!holdsCertificate(found)) report('IST0161', gateway, name, gateway.name, gateway.namespace);
      }
    }
  },
};

/** A TLS Secret, or a generic one with the keys that Istio reads. An API may hide the data: then nothing is said. */
function holdsCertificate(secret: Resource): boolean {
  const data = record(secret.object.data);
  const plain = record(secret.object.stringData);
  const has = (key: string): boolean =>
    text(plain[key]) !== '' || isBase64Pem(text(data[key])) || text(data[key]) === '***';
  return (has('tls.crt') && has('tls.key')) || (has('cert') && has('key'));
}

/** `LS0tLS1CRUdJTi` is `-----BEGIN` in base64. */
const isBase64Pem = (data: string): boolean => data.replace(/\s/g, '').startsWith('LS0tLS1CRUdJTi');

interface Entry {
  readonly gateway: Resource;
  readonly at: ReturnType<Resource['spec']['at']>;
}

function grouped(
  world: World,
  keysOf: (gateway: Resource) => readonly (readonly [string, Entry['at']])[],
): Map<string, Entry[]> {
  const groups = new Map<string, Entry[]>();
  for (const gateway of world.all(KIND.istioGateway))
    for (const [key, at] of keysOf(gateway)) groups.set(key, [...(groups.get(key) ?? []), { gateway, at }]);
  return groups;
}

export const gatewayCertificateAnalyzer: Analyzer = {
  name: 'gateway.CertificateAnalyzer',
  description: 'one certificate in several Gateways',
  codes: ['IST0138'],
  analyze(world, report) {
    const groups = grouped(world, (gateway) =>
      gateway.spec
        .at('servers')
        .items()
        .flatMap((server) => {
          const tls = server.at('tls');
          const name = tls.at('credentialName').text || tls.at('serverCertificate').text;
          const selector = selectorText(textRecord(gateway.spec.at('selector').value));
          return name === '' ? [] : [[`${selector}|${name}`, tls] as const];
        }),
    );
    for (const entries of groups.values()) {
      const names = [...new Set(entries.map(({ gateway }) => gateway.key))];
      if (names.length < 2) continue;
      for (const { gateway, at } of entries) report('IST0138', gateway, at, names.sort().join(','));
    }
  },
};

export const conflictingGatewayAnalyzer: Analyzer = {
  name: 'gateway.ConflictingGatewayAnalyzer',
  description: 'several Gateways with one selector, port and host',
  codes: ['IST0145'],
  analyze(world, report) {
    const groups = grouped(world, (gateway) => {
      const selector = selectorText(textRecord(gateway.spec.at('selector').value));
      return gateway.spec
        .at('servers')
        .items()
        .flatMap((server) =>
          server
            .at('hosts')
            .items()
            .map(
              (host) =>
                [`${selector}|${server.at('port', 'number').number}|${host.text.replace(/^\*\//, '')}`, host] as const,
            ),
        );
    });
    for (const [key, entries] of groups) {
      const [selector = '', port = '', host = ''] = key.split('|');
      for (const { gateway, at } of entries) {
        const others = [...new Set(entries.map((entry) => entry.gateway.key))].filter((name) => name !== gateway.key);
        if (others.length > 0) report('IST0145', gateway, at, others.sort().join(','), selector, port, host);
      }
    }
  },
};
