// What a destination means to the pod that dials it: the name as the pod's resolver would find it, its addresses, and the
// port. Names of the cluster come from what the node proxy knows, as its DNS proxy would answer.

import type { IPod } from 'kubernetes-models/v1/Pod';
import { SERVICE_ENTRIES, SERVICES } from '../../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../../kube/client/types.ts';
import { type DnsOptions, dnsLookup } from '../../model/dns.ts';
import { type HostPort, type Ip, parseIp } from '../../model/ip.ts';
import { serviceAt } from '../../model/lookup.ts';
import type { Service, Workload } from '../../model/workload.ts';
import type { World } from '../../model/world.ts';
import { Failure } from '../failure.ts';
import { type Reference, splitName, type Target } from './names.ts';
import { addressOf, podsAt, podsNamed } from './pods.ts';

export interface Destination {
  /** For people. */
  readonly label: string;
  readonly service: Service | undefined;
  /** One for an address; several where the name leads to several addresses, of which the client takes one. */
  readonly dials: readonly HostPort[];
  readonly notes: readonly string[];
}

export interface Resolving {
  readonly client: KubeClient;
  readonly world: World;
  readonly clusterDomain: string;
  readonly source: Workload;
  /** Where a name without one is looked for. */
  readonly namespace: string;
  /** Addresses of a name outside the cluster. */
  readonly resolveHost: (name: string) => Promise<readonly string[]>;
}

interface Port {
  readonly number: number;
  readonly name: string | undefined;
}

const MAX_ALIASES = 4;

/** @throws Failure where nobody is meant, or the port is missing or not one of the service's */
export async function resolveDestination(target: Target, at: Resolving): Promise<Destination> {
  const { reference, port } = target;
  if (reference.kind === 'ip') return atAddress(reference.ip, port, at);
  if (reference.kind === 'any' || reference.kind === 'service') {
    const found = await atService(hostOf(reference, at), port, at, []);
    if (found !== undefined) return found;
  }
  const named = await podsNamed(at.client, reference, at.namespace, ['pod', 'deployment', 'daemonset']);
  if (named !== undefined && reference.kind !== 'service') {
    const dials = named.pods.flatMap((pod) => dialOf(pod, choosePort(portsOfPod(pod), port, named.label)));
    return { label: named.label, service: undefined, dials, notes: [] };
  }
  if (reference.kind === 'any' && reference.namespace === undefined && reference.name.includes('.'))
    return outside(reference.name, port, at);
  throw new Failure({
    what: `\`${reference.name}\` is nobody that \`${at.source.namespace}/${at.source.name}\` could dial`,
    why: `there is no service, pod, deployment or daemon set of that name in namespace \`${reference.namespace ?? at.namespace}\``,
    fix: 'name another namespace as NAMESPACE/NAME; `kubectl get services -A` lists services',
  });
}

/** The name that the pod would look up. `-n` and `namespace/name` make it a full one. */
function hostOf(
  reference: Exclude<Reference, { kind: 'ip' }>,
  { namespace, source, clusterDomain }: Resolving,
): string {
  const { name } = reference;
  if (reference.namespace !== undefined) return `${name}.${reference.namespace}.svc.${clusterDomain}`;
  return name.includes('.') || namespace === source.namespace ? name : `${name}.${namespace}.svc.${clusterDomain}`;
}

async function atService(
  host: string,
  port: Target['port'],
  at: Resolving,
  before: readonly string[],
): Promise<Destination | undefined> {
  const options: DnsOptions = { clusterDomain: at.clusterDomain, ipv6: true };
  const answers = (['A', 'AAAA'] as const).map((type) => dnsLookup(at.world, at.source, host, type, options));
  const service = answers.find((answer) => answer.kind === 'answer')?.service;
  if (service === undefined) return unknownToMesh(host, port, at, before);
  const ips = answers
    .flatMap((answer) => (answer.kind === 'answer' ? answer.records : []))
    .flatMap((record) => (record.type === 'CNAME' ? [] : [record.ip]));
  const label = labelOf(service, at.clusterDomain);
  const number = choosePort(await portsOfService(service, at.client), port, label);
  const headless = service.vips.length === 0;
  const chosen = headless ? ips : ips.slice(0, 1);
  return {
    label,
    service,
    dials: chosen.map((ip) => ({ ip, port: number })),
    notes: [...before, ...(headless ? headlessNotes(service, number) : [])],
  };
}

/** A service of the cluster by its short name, any other by its host name. */
const labelOf = ({ name, namespace, hostname }: Service, clusterDomain: string): string =>
  hostname === `${name}.${namespace}.svc.${clusterDomain}`
    ? `service ${namespace}/${name}`
    : `service ${hostname} of namespace ${namespace}`;

function headlessNotes(service: Service, port: number): string[] {
  const target = service.ports.find(({ servicePort }) => servicePort === port)?.targetPort;
  return [
    `\`${service.hostname}\` is headless: the client dials the pods themselves` +
      (target && target !== port ? `, and port ${port} stays ${port} although the service says ${target}` : ''),
  ];
}

/** Services that the control plane does not tell the mesh about: an alias, or one that it was told to pass over. */
async function unknownToMesh(
  host: string,
  port: Target['port'],
  at: Resolving,
  before: readonly string[],
): Promise<Destination | undefined> {
  const short = host
    .replace(/\.$/, '')
    .replace(new RegExp(`\\.svc(\\.${at.clusterDomain.replaceAll('.', '\\.')})?$`), '');
  if (short.split('.').length > 2) return undefined;
  const { name, namespace } = splitName(short, at.source.namespace);
  const service = await at.client.get(SERVICES, name, namespace);
  if (service === undefined) return undefined;
  const label = `service ${namespace}/${name}`;
  const { type, externalName, clusterIP, ports = [] } = service.spec ?? {};
  if (type === 'ExternalName' && externalName) {
    if (before.length >= MAX_ALIASES)
      throw new Failure({
        what: `\`${host}\` leads nowhere`,
        why: `more than ${MAX_ALIASES} aliases follow each other: ${before.join(', ')}`,
        fix: 'mend the externalName of these services',
      });
    const notes = [...before, `${label} is an alias of \`${externalName}\``];
    // The alias says nothing of ports: an only port of its own is the one meant.
    const wanted = port ?? (ports.length === 1 ? ports[0]?.port : undefined);
    return (await atService(externalName, wanted, at, notes)) ?? outside(externalName, wanted, at, notes);
  }
  const ip = parseIp(clusterIP ?? '');
  if (!ip.ok) return undefined;
  const named = ports.map((p) => ({ number: p.port, name: p.name }));
  return {
    label,
    service: undefined,
    dials: [{ ip: ip.value, port: choosePort(named, port, label) }],
    notes: [...before, `the mesh does not know ${label}`],
  };
}

async function atAddress(ip: Ip, port: Target['port'], at: Resolving): Promise<Destination> {
  const service = serviceAt(at.world, at.source.network, ip, at.source);
  if (service !== undefined) {
    const label = labelOf(service, at.clusterDomain);
    const number = choosePort(await portsOfService(service, at.client), port, label);
    return { label, service, dials: [{ ip, port: number }], notes: [] };
  }
  const [pod] = await podsAt(at.client, ip);
  const label = pod === undefined ? ip : `pod ${pod.metadata?.namespace}/${pod.metadata?.name}`;
  const number = choosePort(pod === undefined ? [] : portsOfPod(pod), port, label);
  return { label, service: undefined, dials: [{ ip, port: number }], notes: [] };
}

async function outside(
  host: string,
  port: Target['port'],
  at: Resolving,
  before: readonly string[] = [],
): Promise<Destination> {
  const number = choosePort([], port, `\`${host}\``);
  let found: readonly string[];
  try {
    found = await at.resolveHost(host);
  } catch (cause) {
    throw new Failure({
      what: `nobody knows \`${host}\``,
      why: `the mesh has no service of that name, and it cannot be resolved here: ${cause instanceof Error ? cause.message : String(cause)}`,
      fix: 'check the name, or give an address',
      cause,
    });
  }
  const ip = parseIp(found[0] ?? '');
  if (!ip.ok)
    throw new Failure({ what: `\`${host}\` has no address`, why: 'its name resolves to none', fix: 'give an address' });
  return {
    label: host,
    service: undefined,
    dials: [{ ip: ip.value, port: number }],
    notes: [...before, `\`${host}\` is outside the cluster; on this machine it resolves to ${ip.value}`],
  };
}

/**
 * The port that is meant: by number, by name, or the only one.
 * @param known none: any number is one
 */
function choosePort(known: readonly Port[], wanted: Target['port'], label: string): number {
  const listed = known.map(({ number, name }) => (name ? `${number} (${name})` : `${number}`)).join(', ');
  const failure = (what: string, why: string): Failure =>
    new Failure({
      what,
      why,
      fix: known.length > 0 ? `write one of its ports behind a colon: ${listed}` : 'write a port number behind a colon',
      exitCode: 2,
    });
  if (typeof wanted === 'number') return wanted;
  if (wanted !== undefined) {
    const found = known.find(({ name }) => name === wanted);
    if (found !== undefined) return found.number;
    throw failure(
      `${label} has no port \`${wanted}\``,
      known.length > 0 ? `it has ${listed}` : 'its ports have no names',
    );
  }
  const numbers = new Set(known.map(({ number }) => number));
  const [only] = numbers;
  if (numbers.size === 1 && only !== undefined) return only;
  throw failure(
    `no port is given for ${label}`,
    numbers.size === 0 ? 'it declares none that could be meant' : `it has ${listed}`,
  );
}

/** The node proxy knows numbers only; names stand in the objects. */
async function portsOfService(service: Service, client: KubeClient): Promise<Port[]> {
  const objects = await Promise.all([
    client.get(SERVICES, service.name, service.namespace),
    client.get(SERVICE_ENTRIES, service.name, service.namespace).catch(unlessNotInstalled),
  ]);
  const named = objects.flatMap(
    (object): { port?: number; number?: number; name?: string }[] => object?.spec?.ports ?? [],
  );
  return service.ports.map(({ servicePort }) => ({
    number: servicePort,
    name: named.find((port) => (port.port ?? port.number) === servicePort)?.name,
  }));
}

function unlessNotInstalled(error: unknown): undefined {
  if (error instanceof KubeError && (error.code === 404 || error.code === 403)) return undefined;
  throw error;
}

const portsOfPod = (pod: IPod): Port[] =>
  (pod.spec?.containers ?? [])
    .flatMap((container) => container.ports ?? [])
    .filter(({ protocol }) => (protocol ?? 'TCP') === 'TCP')
    .map(({ containerPort, name }) => ({ number: containerPort, name }));

function dialOf(pod: IPod, port: number): HostPort[] {
  const ip = parseIp(addressOf(pod) ?? '');
  return ip.ok ? [{ ip: ip.value, port }] : [];
}
