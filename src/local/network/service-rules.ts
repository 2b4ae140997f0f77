// What kube-proxy does for pods outside the mesh, as one nft script a node: a service's address and port go to one of its
// ready endpoints, chosen at random per connection; a service without endpoints refuses at once. Pure text; the whole
// table is replaced in one transaction, and connections that are open keep their way (conntrack).

import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IService } from 'kubernetes-models/v1/Service';
import { isV4, parseIp } from '../../model/ip.ts';

export const SERVICE_TABLE = 'ambit-services';

export interface RuleNode {
  readonly name: string;
  /** `topology.kubernetes.io/zone`, for services that prefer near endpoints. */
  readonly zone: string | undefined;
}

interface Backend {
  readonly ip: string;
  readonly port: number;
}

interface Front {
  readonly ip: string;
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly comment: string;
  readonly backends: readonly Backend[];
  /** What to do without backends: a Local service drops, as nobody here may answer; others refuse. */
  readonly empty: 'refuse' | 'drop';
}

/** @param slices those of one service, by `<namespace>/<name>` */
export function serviceRules(
  node: RuleNode,
  services: Iterable<IService>,
  slices: (key: string) => Iterable<IEndpointSlice>,
): string {
  const fronts: Front[] = [];
  const hairpins = new Set<string>();
  for (const service of services) {
    const key = `${service.metadata?.namespace}/${service.metadata?.name}`;
    fronts.push(...frontsOf(node, service, [...slices(key)], key));
  }
  for (const front of fronts) for (const { ip } of front.backends) hairpins.add(ip);
  const served = fronts.filter((f) => f.backends.length > 0);
  const element = (f: Front): string => `${f.ip} . ${f.protocol} . ${f.port}`;
  const set = (name: string, type: string, kind: 'set' | 'map', elements: readonly string[]): string[] => [
    `\t${kind} ${name} {`,
    `\t\ttype ${type}`,
    ...(elements.length > 0 ? [`\t\telements = { ${elements.join(',\n\t\t\t')} }`] : []),
    '\t}',
  ];
  const lines = [
    `table ip ${SERVICE_TABLE}`,
    `delete table ip ${SERVICE_TABLE}`,
    `table ip ${SERVICE_TABLE} {`,
    ...served.flatMap((front, i) => [
      `\tchain service-${i} {`,
      `\t\tcomment "${front.comment}"`,
      `\t\t${translate(front)}`,
      '\t}',
    ]),
    ...set(
      'services',
      'ipv4_addr . inet_proto . inet_service : verdict',
      'map',
      served.map((f, i) => `${element(f)} : goto service-${i}`),
    ),
    ...set(
      'refused',
      'ipv4_addr . inet_proto . inet_service',
      'set',
      fronts.filter((f) => f.backends.length === 0 && f.empty === 'refuse').map(element),
    ),
    ...set(
      'dropped',
      'ipv4_addr . inet_proto . inet_service',
      'set',
      fronts.filter((f) => f.backends.length === 0 && f.empty === 'drop').map(element),
    ),
    ...set(
      'hairpins',
      'ipv4_addr . ipv4_addr',
      'set',
      [...hairpins].map((ip) => `${ip} . ${ip}`),
    ),
    ...['prerouting', 'output'].flatMap((hook) => [
      `\tchain nat-${hook} {`,
      `\t\ttype nat hook ${hook} priority -100`,
      '\t\tip daddr . meta l4proto . th dport vmap @services',
      '\t}',
    ]),
    // A pod that reaches itself through its service would otherwise answer itself directly, and be ignored.
    '\tchain nat-postrouting {',
    '\t\ttype nat hook postrouting priority 100',
    '\t\tct status dnat ip saddr . ip daddr @hairpins masquerade',
    '\t}',
    ...['forward', 'output'].flatMap((hook) => [
      `\tchain filter-${hook} {`,
      `\t\ttype filter hook ${hook} priority 0`,
      '\t\tip daddr . meta l4proto . th dport @dropped drop',
      '\t\tmeta l4proto tcp ip daddr . meta l4proto . th dport @refused reject with tcp reset',
      '\t\tip daddr . meta l4proto . th dport @refused reject with icmp port-unreachable',
      '\t}',
    ]),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

const translate = (front: Front): string => {
  const [only] = front.backends;
  if (front.backends.length === 1 && only) return `meta l4proto ${front.protocol} dnat to ${only.ip}:${only.port}`;
  const table = front.backends.map((b, i) => `${i} : ${b.ip} . ${b.port}`).join(', ');
  return `meta l4proto ${front.protocol} dnat ip addr . port to numgen random mod ${front.backends.length} map { ${table} }`;
};

function frontsOf(node: RuleNode, service: IService, slices: readonly IEndpointSlice[], key: string): Front[] {
  const spec = service.spec;
  if (!spec || spec.type === 'ExternalName' || spec.clusterIP === 'None') return [];
  const ips = [...(spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])), ...(spec.externalIPs ?? [])].filter(
    v4,
  );
  const fronts: Front[] = [];
  for (const port of spec.ports ?? []) {
    const protocol = (port.protocol ?? 'TCP').toLowerCase();
    if (protocol !== 'tcp' && protocol !== 'udp') continue;
    const backends = backendsOf(node, service, slices, port.name ?? '', port.protocol ?? 'TCP');
    for (const ip of ips)
      fronts.push({
        ip,
        protocol,
        port: port.port,
        comment: `${key}:${port.name || port.port}`.replaceAll(/[^\w./:-]/g, '_').slice(0, 100),
        backends,
        empty: spec.internalTrafficPolicy === 'Local' ? 'drop' : 'refuse',
      });
  }
  return fronts;
}

const v4 = (text: string): boolean => {
  const ip = parseIp(text);
  return ip.ok && isV4(ip.value);
};

function backendsOf(
  node: RuleNode,
  service: IService,
  slices: readonly IEndpointSlice[],
  portName: string,
  protocol: string,
): Backend[] {
  const candidates: {
    backend: Backend;
    ready: boolean;
    serving: boolean;
    local: boolean;
    nearNode: boolean;
    nearZone: boolean;
  }[] = [];
  for (const slice of slices) {
    const port = slice.ports?.find((p) => (p.name ?? '') === portName && (p.protocol ?? 'TCP') === protocol)?.port;
    if (port === undefined || slice.addressType !== 'IPv4') continue;
    for (const endpoint of slice.endpoints ?? []) {
      const [ip] = endpoint.addresses;
      if (ip === undefined || !v4(ip)) continue;
      const ready = endpoint.conditions?.ready !== false;
      candidates.push({
        backend: { ip, port },
        ready,
        serving: endpoint.conditions?.serving ?? ready,
        local: endpoint.nodeName === node.name,
        nearNode: endpoint.hints?.forNodes?.some((hint) => hint.name === node.name) === true,
        nearZone: endpoint.hints?.forZones?.some((hint) => hint.name === node.zone) === true,
      });
    }
  }
  const eligible = service.spec?.internalTrafficPolicy === 'Local' ? candidates.filter((c) => c.local) : candidates;
  const ready = eligible.filter((c) => c.ready);
  const nearest = [ready.filter((c) => c.nearNode), ready.filter((c) => c.nearZone), ready].find(
    (list) => list.length > 0,
  );
  // Better an endpoint that is going away, but still answers, than none.
  const chosen = nearest ?? eligible.filter((c) => c.serving);
  const distinct = new Map(chosen.map((c) => [`${c.backend.ip}:${c.backend.port}`, c.backend]));
  return [...distinct.values()].sort((a, b) => a.ip.localeCompare(b.ip) || a.port - b.port);
}
