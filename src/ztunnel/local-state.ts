// State from a file instead of a control plane (`LOCAL_XDS_PATH`, `LOCAL_XDS`): workloads, services and policies in the shape
// of the configuration dump, for trying things out. Every problem is named with its place; with any, nothing is used.

import type { Predicate } from '../model/facts.ts';
import { DEFAULT_TRUST_DOMAIN, parseSpiffeId, type SpiffeId } from '../model/identity.ts';
import type { AddressUpdate } from '../model/indexed-world.ts';
import { type Cidr, type Ip, parseCidr, parseIp } from '../model/ip.ts';
import type { Policy, PolicyMatch } from '../model/policy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import type { GatewayAddress, PortMapping, Service, Workload } from '../model/workload.ts';

export interface LocalState {
  readonly addresses: readonly AddressUpdate[];
  readonly policies: readonly Policy[];
}

type Mapping = Readonly<Record<string, unknown>>;
const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads a mapping's fields; a field that nobody asked for is a problem. */
class Fields {
  readonly #value: Mapping;
  readonly #place: string;
  readonly #problems: string[];
  readonly #asked = new Set<string>();

  constructor(value: unknown, place: string, problems: string[]) {
    this.#value = isMapping(value) ? value : {};
    this.#place = place;
    this.#problems = problems;
    if (!isMapping(value)) problems.push(`${place} is no mapping`);
  }

  problem(key: string, why: string): void {
    this.#problems.push(`${this.#place}.${key} ${why}`);
  }
  get(key: string): unknown {
    this.#asked.add(key);
    return this.#value[key] ?? undefined;
  }
  text(key: string, fallback?: string): string {
    const value = this.get(key) ?? fallback;
    if (typeof value === 'string') return value;
    this.problem(key, value === undefined ? 'is missing' : 'is no text');
    return '';
  }
  flag(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback;
    if (typeof value === 'boolean') return value;
    this.problem(key, 'is neither true nor false');
    return fallback;
  }
  number(key: string, fallback: number, max: number): number {
    const value = this.get(key) ?? fallback;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
    this.problem(key, `is no whole number up to ${max}`);
    return fallback;
  }
  choice<T extends string>(key: string, choices: Readonly<Record<string, T>>, fallback: T): T {
    const value = this.get(key);
    if (value === undefined) return fallback;
    const found = typeof value === 'string' ? choices[value.toLowerCase()] : undefined;
    if (found !== undefined) return found;
    this.problem(key, `is not one of ${Object.keys(choices).join(', ')}`);
    return fallback;
  }
  list<T>(key: string, read: (item: unknown, place: string) => T): T[] {
    const value = this.get(key) ?? [];
    if (Array.isArray(value)) return value.map((item, i) => read(item, `${this.#place}.${key}[${i}]`));
    this.problem(key, 'is no list');
    return [];
  }
  /** A parsed text, or a stand-in with its problem noted. */
  parsed<T>(text: unknown, place: string, parse: (text: string) => Result<T, string>, standIn: T): T {
    const value = typeof text === 'string' ? parse(text) : fail('is no text');
    if (value.ok) return value.value;
    this.#problems.push(`${place}: ${value.error}`);
    return standIn;
  }
  mapping(key: string): [string, unknown][] {
    const value = this.get(key) ?? {};
    if (isMapping(value)) return Object.entries(value);
    this.problem(key, 'is no mapping');
    return [];
  }
  inner(key: string): Fields | undefined {
    const value = this.get(key);
    return value === undefined ? undefined : new Fields(value, `${this.#place}.${key}`, this.#problems);
  }
  /** Call when all is read. */
  done(): void {
    for (const key of Object.keys(this.#value)) if (!this.#asked.has(key)) this.problem(key, 'is unknown');
  }
}

const NO_IP = '0.0.0.0' as Ip;
const NO_RANGE: Cidr = { ip: NO_IP, length: 32 };
const NOBODY: SpiffeId = { trustDomain: '', namespace: '', serviceAccount: '' };

/** `<network>/<ip>` or `<namespace>/<hostname>`; for an address the network may be empty. */
function parseDestination(text: string): Result<GatewayAddress['destination'], string> {
  const slash = text.indexOf('/');
  if (slash < 0) return fail(`\`${text}\` is neither network/ip nor namespace/hostname`);
  const [before, after] = [text.slice(0, slash), text.slice(slash + 1)];
  const ip = parseIp(after);
  if (ip.ok) return ok({ kind: 'address', network: before, ip: ip.value });
  return ok({ kind: 'hostname', namespace: before, hostname: after });
}

function readGateway(fields: Fields | undefined): GatewayAddress | undefined {
  if (fields === undefined) return undefined;
  const standIn: GatewayAddress['destination'] = { kind: 'address', network: '', ip: NO_IP };
  const destination = fields.parsed(fields.text('destination'), 'destination', parseDestination, standIn);
  const gateway = { destination, hbonePort: fields.number('hboneMtlsPort', 15008, 65_535) };
  fields.done();
  return gateway;
}

function readPorts(fields: Fields, key: string, entries: readonly [string, unknown][]): PortMapping[] {
  return entries.map(([servicePort, targetPort]) => {
    if (
      !/^\d{1,5}$/.test(servicePort) ||
      Number(servicePort) > 65_535 ||
      typeof targetPort !== 'number' ||
      targetPort > 65_535
    )
      fields.problem(key, `has a bad port \`${servicePort}\``);
    return { servicePort: Number(servicePort), targetPort: Number(targetPort), appProtocol: 'unknown' };
  });
}

const PROTOCOLS = { hbone: 'hbone', tcp: 'none' } as const;
const NETWORK_MODES = { standard: 'standard', hostnetwork: 'hostNetwork' } as const;
const STATUSES = { healthy: 'healthy', unhealthy: 'unhealthy' } as const;
const WORKLOAD_TYPES = { deployment: 'deployment', cronjob: 'cronjob', pod: 'pod', job: 'job' } as const;
const TUNNELS = { none: 'none', proxy: 'proxy' } as const;

function readWorkload(value: unknown, place: string, problems: string[]): Workload {
  const f = new Fields(value, place, problems);
  const [name, namespace] = [f.text('name'), f.text('namespace', 'default')];
  const tunnel = f.inner('applicationTunnel');
  const locality = f.inner('locality');
  const workload: Workload = {
    uid: f.text('uid', `Kubernetes//Pod/${namespace}/${name}`),
    name,
    namespace,
    addresses: f.list('workloadIps', (ip, at) => f.parsed(ip, at, parseIp, NO_IP)),
    hostname: f.text('hostname', ''),
    network: f.text('network', ''),
    tunnelProtocol: f.choice('protocol', PROTOCOLS, 'none'),
    trustDomain: f.text('trustDomain', DEFAULT_TRUST_DOMAIN),
    serviceAccount: f.text('serviceAccount', 'default'),
    waypoint: readGateway(f.inner('waypoint')),
    networkGateway: readGateway(f.inner('networkGateway')),
    node: f.text('node', ''),
    canonicalName: f.text('canonicalName', ''),
    canonicalRevision: f.text('canonicalRevision', ''),
    workloadType: f.choice('workloadType', WORKLOAD_TYPES, 'deployment'),
    workloadName: f.text('workloadName', ''),
    nativeTunnel: f.flag('nativeTunnel', false),
    applicationTunnel: tunnel && {
      protocol: tunnel.choice('protocol', TUNNELS, 'none'),
      port: tunnel.number('port', 0, 65_535),
    },
    services: new Map(
      f.mapping('services').map(([key, ports]) => {
        if (key.split('/').length !== 2) f.problem('services', `has \`${key}\`, which is not namespace/hostname`);
        return [key, readPorts(f, 'services', isMapping(ports) ? Object.entries(ports) : [])];
      }),
    ),
    authorizationPolicies: f.list('authorizationPolicies', (key, at) => f.parsed(key, at, ok, '')),
    status: f.choice('status', STATUSES, 'healthy'),
    clusterId: f.text('clusterId', 'Kubernetes'),
    locality: {
      region: locality?.text('region', '') ?? '',
      zone: locality?.text('zone', '') ?? '',
      subzone: locality?.text('subzone', '') ?? '',
    },
    hostNetwork: f.choice('networkMode', NETWORK_MODES, 'standard') === 'hostNetwork',
    capacity: f.number('capacity', 1, 0xffffffff),
  };
  for (const fields of [f, tunnel, locality]) fields?.done();
  return workload;
}

/** `<network>/<ip>`. */
function parseVip(text: string): Result<{ network: string; ip: Ip }, string> {
  const slash = text.indexOf('/');
  const ip = parseIp(text.slice(slash + 1));
  return slash < 0 || !ip.ok
    ? fail(`\`${text}\` is not network/ip`)
    : ok({ network: text.slice(0, slash), ip: ip.value });
}

const MODES = { standard: 'unspecified', strict: 'strict', failover: 'failover', passthrough: 'passthrough' } as const;
const HEALTH_POLICIES = { onlyhealthy: 'onlyHealthy', allowall: 'allowAll' } as const;
const SCOPES = {
  region: 'region',
  zone: 'zone',
  subzone: 'subzone',
  node: 'node',
  cluster: 'cluster',
  network: 'network',
} as const;
const FAMILIES = { ipv4: 'ipv4', ipv6: 'ipv6', dual: 'dual' } as const;
const VISIBILITIES = { public: 'public', namespace: 'namespace' } as const;

function readService(value: unknown, place: string, problems: string[]): Service {
  const f = new Fields(value, place, problems);
  f.get('endpoints'); // Of a dump; they follow from the workloads.
  const balancer = f.inner('loadBalancer');
  const service: Service = {
    name: f.text('name'),
    namespace: f.text('namespace', 'default'),
    hostname: f.text('hostname').toLowerCase(),
    vips: f.list('vips', (vip, at) => f.parsed(vip, at, parseVip, { network: '', ip: NO_IP })),
    cidrVips: f.list('cidrVips', (vip, at) =>
      f.parsed(
        vip,
        at,
        (text) => {
          const range = parseCidr(text.slice(text.indexOf('/') + 1));
          return range.ok ? ok({ network: text.slice(0, text.indexOf('/')), range: range.value }) : range;
        },
        { network: '', range: NO_RANGE },
      ),
    ),
    ports: readPorts(f, 'ports', f.mapping('ports')),
    subjectAltNames: f.list('subjectAltNames', (uri, at) => f.parsed(uri, at, parseSpiffeId, NOBODY)),
    waypoint: readGateway(f.inner('waypoint')),
    weightedWaypoints: f.list('weightedWaypoints', (item, at) => {
      const w = new Fields(item, at, problems);
      const waypoint = readGateway(w.inner('destination'));
      if (waypoint === undefined) problems.push(`${at}.destination is missing`);
      return { waypoint: waypoint as GatewayAddress, weight: w.number('weight', 0, 0xffffffff) };
    }),
    loadBalancing: {
      mode: balancer?.choice('mode', MODES, 'unspecified') ?? 'unspecified',
      preferences:
        balancer?.list('routingPreferences', (scope, at) =>
          balancer.parsed(
            scope,
            at,
            (text) => {
              const found = SCOPES[text.toLowerCase() as keyof typeof SCOPES];
              return found === undefined ? fail(`\`${text}\` is no scope`) : ok(found);
            },
            'network' as (typeof SCOPES)[keyof typeof SCOPES],
          ),
        ) ?? [],
      healthPolicy: balancer?.choice('healthPolicy', HEALTH_POLICIES, 'onlyHealthy') ?? 'onlyHealthy',
    },
    ipFamilies: f.choice<Service['ipFamilies']>('ipFamilies', FAMILIES, 'automatic'),
    canonical: f.flag('canonical', false),
    ingressUseWaypoint: false,
    visibility: f.choice('visibility', VISIBILITIES, 'public'),
  };
  for (const fields of [f, balancer]) fields?.done();
  return service;
}

const POLICY_SCOPES = { global: 'global', namespace: 'namespace', workloadselector: 'workloadSelector' } as const;
const ACTIONS = { allow: 'allow', deny: 'deny' } as const;
const TEXT_LISTS = ['namespaces', 'notNamespaces', 'principals', 'notPrincipals'] as const;
const ACCOUNT_LISTS = ['serviceAccounts', 'notServiceAccounts'] as const;
const RANGE_LISTS = ['sourceIps', 'notSourceIps', 'destinationIps', 'notDestinationIps'] as const;
const PORT_LISTS = ['destinationPorts', 'notDestinationPorts'] as const;

/** `{ Exact: x }`, `{ Prefix: x }`, `{ Suffix: x }`, `{ Presence: [] }`. */
function readText(value: unknown, place: string, problems: string[]): Predicate {
  const [entry, ...more] = isMapping(value) ? Object.entries(value) : [];
  const kind = entry?.[0].toLowerCase();
  if (more.length === 0 && kind === 'presence') return { kind: 'present' };
  const text = entry?.[1];
  if (more.length === 0 && typeof text === 'string' && (kind === 'exact' || kind === 'prefix' || kind === 'suffix'))
    return { kind, value: text };
  problems.push(`${place} is none of Exact, Prefix, Suffix, Presence`);
  return { kind: 'exact', value: '' };
}

function readMatch(value: unknown, place: string, problems: string[]): PolicyMatch {
  const f = new Fields(value, place, problems);
  const read = <K extends string>(keys: readonly K[], one: (item: unknown, at: string) => Predicate) =>
    Object.fromEntries(keys.map((key) => [key, f.list(key, one)])) as Record<K, Predicate[]>;
  const match: PolicyMatch = {
    ...read(TEXT_LISTS, (item, at) => readText(item, at, problems)),
    ...read(ACCOUNT_LISTS, (item, at) => {
      const account = new Fields(item, at, problems);
      const predicate: Predicate = {
        kind: 'exact',
        value: `${account.text('namespace')}/${account.text('serviceAccount')}`,
      };
      account.done();
      return predicate;
    }),
    ...read(RANGE_LISTS, (item, at) => ({ kind: 'cidr', range: f.parsed(item, at, parseCidr, NO_RANGE) })),
    ...read(PORT_LISTS, (item, at) => {
      if (typeof item !== 'number' || !Number.isInteger(item) || item < 0 || item > 65_535)
        problems.push(`${at} is no port`);
      return { kind: 'port', port: Number(item) };
    }),
  };
  f.done();
  return match;
}

function readPolicy(value: unknown, place: string, problems: string[]): Policy {
  const f = new Fields(value, place, problems);
  const [name, namespace] = [f.text('name'), f.text('namespace', '')];
  const nested = <T>(items: unknown, at: string, read: (item: unknown, at: string) => T): T[] => {
    if (Array.isArray(items)) return items.map((item, i) => read(item, `${at}[${i}]`));
    problems.push(`${at} is no list`);
    return [];
  };
  const policy: Policy = {
    key: `${namespace}/${name}`,
    name,
    namespace,
    scope: f.choice('scope', POLICY_SCOPES, 'namespace'),
    action: f.choice('action', ACTIONS, 'deny'),
    dryRun: f.flag('dryRun', false),
    anyRule: f.list('rules', (rule, at) => ({
      everyClause: nested(rule, at, (clause, of) => ({
        anyMatch: nested(clause, of, (match, where) => readMatch(match, where, problems)),
      })),
    })),
  };
  f.done();
  return policy;
}

/** @param value  the parsed YAML; undefined or null is empty */
export function parseLocalState(value: unknown): Result<LocalState, readonly string[]> {
  const problems: string[] = [];
  const f = new Fields(value ?? {}, 'local state', problems);
  const services = f.list('services', (item, at) => readService(item, at, problems));
  const workloads = f.list('workloads', (item, at) => readWorkload(item, at, problems));
  const policies = f.list('policies', (item, at) => readPolicy(item, at, problems));
  f.done();
  if (problems.length > 0) return fail(problems);
  return ok({
    addresses: [
      ...services.map((service) => ({ kind: 'service', service }) as const),
      ...workloads.map((workload) => ({ kind: 'workload', workload }) as const),
    ],
    policies,
  });
}
