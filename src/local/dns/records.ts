// What the cluster's DNS knows: services, the endpoints of headless ones, pods by address (the Kubernetes DNS
// specification 1.1.0). Pure; the sockets are in server.ts.

import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IService } from 'kubernetes-models/v1/Service';
import { cidrContains, type Ip, isV4, parseCidr, parseIp } from '../../model/ip.ts';
import { CLASS_IN, type DnsRecord, type Question, RCODE, type RecordData, TYPE } from '../../wire/dns/message.ts';
import { canonicalName } from '../../wire/dns/name.ts';

/** Short, so that a change of endpoints is seen soon (seconds). */
const TTL = 5;

/** Live view of the objects that names are made of. */
export interface DnsView {
  service(namespace: string, name: string): IService | undefined;
  slices(namespace: string, name: string): Iterable<IEndpointSlice>;
  services(): Iterable<IService>;
  allSlices(): Iterable<IEndpointSlice>;
  hasNamespace(name: string): boolean;
}

export interface DnsOptions {
  /** `cluster.local`. */
  readonly domain: string;
  /** Ranges whose reverse names are ours alone: an address that is nobody's does not exist. */
  readonly ranges: readonly string[];
}

export type DnsAnswer =
  | {
      readonly kind: 'answer';
      readonly rcode: number;
      readonly answers: readonly DnsRecord[];
      readonly authorities: readonly DnsRecord[];
    }
  /** An ExternalName: these records, and then whatever the target has. */
  | { readonly kind: 'alias'; readonly answers: readonly DnsRecord[]; readonly target: string }
  | { readonly kind: 'outside' };

export function answerQuestion(view: DnsView, options: DnsOptions, question: Question): DnsAnswer {
  const name = canonicalName(question.name);
  if (name.endsWith('.in-addr.arpa') || name.endsWith('.ip6.arpa')) return reverse(view, options, question, name);
  const { domain } = options;
  if (name !== domain && !name.endsWith(`.${domain}`)) return { kind: 'outside' };
  const labels = name === domain ? [] : name.slice(0, -domain.length - 1).split('.');
  const kind = labels.pop();
  if (kind === 'svc') return serviceAnswer(view, options, question, labels);
  if (kind === 'pod') return podAnswer(view, options, question, labels);
  if (kind === undefined) return nothing(options); // the domain itself exists and has no such record
  return missing(options);
}

const record = (name: string, data: RecordData): DnsRecord => ({ name, ttl: TTL, class: CLASS_IN, ...data });

const found = (options: DnsOptions, answers: readonly DnsRecord[]): DnsAnswer =>
  answers.length > 0 ? { kind: 'answer', rcode: RCODE.noError, answers, authorities: [] } : nothing(options);

/** The name exists, but not with this type: never NXDOMAIN, or a client gives up its other question. */
const nothing = (options: DnsOptions): DnsAnswer => ({
  kind: 'answer',
  rcode: RCODE.noError,
  answers: [],
  authorities: [soa(options)],
});
const missing = (options: DnsOptions): DnsAnswer => ({
  kind: 'answer',
  rcode: RCODE.nxDomain,
  answers: [],
  authorities: [soa(options)],
});

const soa = ({ domain }: DnsOptions): DnsRecord =>
  record(domain, {
    type: 'SOA',
    primary: `ns.dns.${domain}`,
    mailbox: `hostmaster.${domain}`,
    serial: 1,
    refresh: 7200,
    retry: 1800,
    expire: 86400,
    minimum: TTL,
  });

function serviceAnswer(view: DnsView, options: DnsOptions, question: Question, labels: string[]): DnsAnswer {
  const namespace = labels.pop();
  if (namespace === undefined) return nothing(options);
  const name = labels.pop();
  if (name === undefined) return view.hasNamespace(namespace) ? nothing(options) : missing(options);
  const service = view.service(namespace, name);
  if (service === undefined) return missing(options);
  if (labels.length === 2 && labels.every((label) => label.startsWith('_')))
    return srvAnswer(view, options, question, service, labels as [string, string]);
  if (labels.length > 1) return missing(options);
  if (service.spec?.type === 'ExternalName') {
    if (labels.length > 0 || !service.spec.externalName) return missing(options);
    const target = canonicalName(service.spec.externalName);
    return { kind: 'alias', answers: [record(question.name, { type: 'CNAME', target })], target };
  }
  if (labels[0] !== undefined) {
    // One endpoint of a headless service, by its hostname or its address.
    const own = isHeadless(service)
      ? endpointsIn(slicesOf(view, service), service).filter((endpoint) => endpoint.label === labels[0])
      : [];
    if (own.length === 0) return missing(options);
    return found(
      options,
      addresses(
        question,
        own.map((endpoint) => endpoint.ip),
      ),
    );
  }
  if (question.type === TYPE.SRV && isHeadless(service)) return nothing(options);
  const ips = isHeadless(service)
    ? endpointsIn(slicesOf(view, service), service).map((endpoint) => endpoint.ip)
    : clusterIps(service);
  if (isHeadless(service) && ips.length === 0) return missing(options);
  return found(options, addresses(question, ips));
}

const isHeadless = (service: IService): boolean => service.spec?.clusterIP === 'None';

function clusterIps(service: IService): Ip[] {
  const texts = service.spec?.clusterIPs ?? (service.spec?.clusterIP ? [service.spec.clusterIP] : []);
  return texts.flatMap((text) => {
    const ip = parseIp(text);
    return ip.ok ? [ip.value] : [];
  });
}

function addresses(question: Question, ips: readonly Ip[]): DnsRecord[] {
  const distinct = [...new Set(ips)];
  return [
    ...(question.type === TYPE.A || question.type === TYPE.ANY
      ? distinct.filter(isV4).map((address) => record(question.name, { type: 'A', address }))
      : []),
    ...(question.type === TYPE.AAAA || question.type === TYPE.ANY
      ? distinct.filter((ip) => !isV4(ip)).map((address) => record(question.name, { type: 'AAAA', address }))
      : []),
  ];
}

interface HeadlessEndpoint {
  readonly ip: Ip;
  /** Its first label below the service: the pod's hostname, or the address with dashes. */
  readonly label: string;
  readonly ports: NonNullable<IEndpointSlice['ports']>;
}

const dashed = (ip: Ip): string => ip.replaceAll(isV4(ip) ? '.' : ':', '-');

const slicesOf = (view: DnsView, service: IService): Iterable<IEndpointSlice> =>
  view.slices(service.metadata?.namespace ?? '', service.metadata?.name ?? '');

function endpointsIn(slices: Iterable<IEndpointSlice>, service: IService): HeadlessEndpoint[] {
  const all: HeadlessEndpoint[] = [];
  for (const slice of slices)
    for (const endpoint of slice.endpoints ?? []) {
      if (endpoint.conditions?.ready === false && service.spec?.publishNotReadyAddresses !== true) continue;
      for (const text of endpoint.addresses) {
        const ip = parseIp(text);
        if (ip.ok) all.push({ ip: ip.value, label: endpoint.hostname ?? dashed(ip.value), ports: slice.ports ?? [] });
      }
    }
  return all;
}

/** `_port._protocol.service.namespace.svc.domain`: the port, and where it is. */
function srvAnswer(
  view: DnsView,
  options: DnsOptions,
  question: Question,
  service: IService,
  [port, protocol]: [string, string],
): DnsAnswer {
  const wantedPort = port.slice(1);
  const wantedProtocol = protocol.slice(1);
  const base = `${service.metadata?.name}.${service.metadata?.namespace}.svc.${options.domain}`;
  const matches = (p: { name?: string; protocol?: string }): boolean =>
    (p.name ?? '') === wantedPort && (p.protocol ?? 'TCP').toLowerCase() === wantedProtocol;
  const srv = (target: string, number: number): DnsRecord =>
    record(question.name, { type: 'SRV', priority: 0, weight: 100, port: number, target });
  const answers = isHeadless(service)
    ? endpointsIn(slicesOf(view, service), service).flatMap((endpoint) =>
        endpoint.ports.filter(matches).map((p) => srv(`${endpoint.label}.${base}`, p.port ?? 0)),
      )
    : (service.spec?.ports ?? []).filter(matches).map((p) => srv(base, p.port));
  if (answers.length === 0) return missing(options);
  return question.type === TYPE.SRV || question.type === TYPE.ANY ? found(options, answers) : nothing(options);
}

/** `10-244-1-5.namespace.pod.domain` is the address itself, for namespaces that exist. */
function podAnswer(view: DnsView, options: DnsOptions, question: Question, labels: string[]): DnsAnswer {
  const namespace = labels.pop();
  const name = labels.pop();
  if (namespace === undefined || !view.hasNamespace(namespace))
    return labels.length === 0 && namespace === undefined ? nothing(options) : missing(options);
  if (name === undefined) return nothing(options);
  const ip = parseIp(/^\d+-\d+-\d+-\d+$/.test(name) ? name.replaceAll('-', '.') : name.replaceAll('-', ':'));
  if (labels.length > 0 || !ip.ok) return missing(options);
  return found(options, addresses(question, [ip.value]));
}

function reverse(view: DnsView, options: DnsOptions, question: Question, name: string): DnsAnswer {
  const ip = addressOfReverse(name);
  const ours = options.ranges.some((text) => {
    const range = parseCidr(text);
    return ip !== undefined && range.ok && cidrContains(range.value, ip);
  });
  if (ip === undefined || !ours) return { kind: 'outside' };
  const names: string[] = [];
  for (const service of view.services())
    if (clusterIps(service).includes(ip))
      names.push(`${service.metadata?.name}.${service.metadata?.namespace}.svc.${options.domain}`);
  if (names.length === 0)
    for (const slice of view.allSlices()) {
      const of = slice.metadata?.labels?.['kubernetes.io/service-name'];
      const service = of && view.service(slice.metadata?.namespace ?? '', of);
      if (!service || !isHeadless(service)) continue;
      for (const endpoint of endpointsIn([slice], service))
        if (endpoint.ip === ip)
          names.push(`${endpoint.label}.${of}.${slice.metadata?.namespace}.svc.${options.domain}`);
    }
  if (names.length === 0) return missing(options);
  if (question.type !== TYPE.PTR && question.type !== TYPE.ANY) return nothing(options);
  return found(
    options,
    [...new Set(names)].map((target) => record(question.name, { type: 'PTR', target })),
  );
}

function addressOfReverse(name: string): Ip | undefined {
  const v4 = name.endsWith('.in-addr.arpa');
  const parts = name.split('.').slice(0, -2).reverse();
  const text = v4 ? parts.join('.') : parts.join('').replace(/(.{4})(?=.)/g, '$1:');
  if (parts.length !== (v4 ? 4 : 32)) return undefined;
  const ip = parseIp(text);
  return ip.ok ? ip.value : undefined;
}
