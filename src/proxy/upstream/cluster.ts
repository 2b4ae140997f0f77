// One service port, or one subset of it: its hosts and what is counted about them, kept in step with the world and the
// configuration. `refresh` runs at every pick and compares a few references; everything else runs when one has changed.

import { type Ip, isLoopback } from '../../model/ip.ts';
import type { ServiceConfig, Subset, TrafficPolicy } from '../../model/proxy/service-config.ts';
import type { Service, Workload } from '../../model/workload.ts';
import type { Endpoint as WorldEndpoint } from '../../model/world.ts';
import { logger } from '../../telemetry/log.ts';
import type { TryOutcome } from '../contracts.ts';
import { Balancer } from './balancer.ts';
import { CircuitBreaker } from './breaker.ts';
import { type Host, newHost } from './host.ts';
import { levelsOf } from './levels.ts';
import { endpointOf, type Member, membersOf } from './members.ts';
import type { Names } from './names.ts';
import { OutlierDetector } from './outlier.ts';

const log = logger('upstream');

/**
 * Who may write a ServiceEntry, or answers for its name, must not reach what listens on the proxy's own loopback: its
 * administration among others. A proxy that is itself on loopback (a development run) has nothing else.
 */
const isOwnMachine = (ip: Ip, place: Workload | undefined): boolean =>
  (isLoopback(ip) || ip === '0.0.0.0' || ip === '::') && place !== undefined && !place.addresses.some(isLoopback);

/** A ServiceEntry's names are those that its endpoints' certificates must have, unless the rule for TLS has its own. */
function withNames(policy: TrafficPolicy, names: readonly string[]): TrafficPolicy {
  const { tls } = policy;
  if (tls === undefined || tls.subjectAltNames.length > 0 || names.length === 0) return policy;
  return { ...policy, tls: { ...tls, subjectAltNames: names.map((value) => ({ kind: 'exact', value }) as const) } };
}

/** What hosts are made from. References are compared: what changes must be another object. */
export interface ClusterInputs {
  readonly config: ServiceConfig;
  readonly service: Service;
  readonly endpoints: readonly WorldEndpoint[];
  readonly place: Workload | undefined;
  readonly network: string;
}

export interface ClusterNeeds {
  readonly names: Names;
  random(): number;
  nowMs(): number;
}

/** Names that one service may have resolved. */
const MAX_HOSTNAMES = 256;
const NO_NAMES: readonly string[] = [];

export class Cluster {
  readonly port: number;
  readonly subset: string | undefined;
  readonly breaker: CircuitBreaker;
  /** What holds: the written one with what the service adds. */
  policy: TrafficPolicy;
  #written: TrafficPolicy | undefined;
  readonly #needs: ClusterNeeds;
  #inputs: ClusterInputs | undefined;
  #members: readonly Member[] = [];
  #hostnames = NO_NAMES;
  #answers: (readonly Ip[])[] = [];
  #hosts: Host[] = [];
  #balancer: Balancer | undefined;
  #outlier: OutlierDetector | undefined;
  #warned = 0;

  constructor(port: number, subset: string | undefined, policy: TrafficPolicy, needs: ClusterNeeds) {
    this.port = port;
    this.subset = subset;
    this.policy = policy;
    this.breaker = new CircuitBreaker(policy);
    this.#needs = needs;
  }

  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  /** Brings the hosts up to date. @returns what to wait for where names are not resolved yet */
  refresh(inputs: ClusterInputs, policy: TrafficPolicy, subset: Subset | undefined): Promise<unknown> | undefined {
    const before = this.#inputs;
    const changed =
      before === undefined ||
      before.endpoints !== inputs.endpoints ||
      before.service !== inputs.service ||
      before.config !== inputs.config ||
      before.place !== inputs.place;
    if (changed) this.#take(inputs, policy, subset);
    const waits = this.#hostnames.length > 0 ? this.#resolve() : undefined;
    if (this.#outlier?.look(this.#needs.nowMs())) this.#balancer = undefined;
    return waits;
  }

  /** @returns undefined: nobody is healthy */
  choose(hash: number | undefined): Host | undefined {
    this.#balancer ??= this.#balance();
    return this.#balancer.choose(hash);
  }

  /** For a retry: one that is not `unwanted`, where there is one. */
  chooseOther(unwanted: (host: Host) => boolean): Host | undefined {
    this.#balancer ??= this.#balance();
    return this.#balancer.chooseOther(unwanted);
  }

  /** @returns the host of this name (`ip:port`), unless there is none or it is ill */
  healthyHost(name: string): Host | undefined {
    const host = this.#hosts.find((each) => each.name === name);
    const ill = host === undefined || host.record.ejected || host.endpoint.workload?.status === 'unhealthy';
    return ill ? undefined : host;
  }

  /** How a try at this host went. */
  record(host: Host, outcome: TryOutcome): void {
    if (this.#outlier?.record(host.record, outcome, this.#needs.nowMs())) this.#balancer = undefined;
  }

  #take(inputs: ClusterInputs, policy: TrafficPolicy, subset: Subset | undefined): void {
    const { config, service, endpoints, network, place } = inputs;
    const names = config.subjectAltNames;
    if (policy !== this.#written || names !== this.#inputs?.config.subjectAltNames) {
      this.#written = policy;
      this.policy = withNames(policy, names);
      this.breaker.policy = this.policy;
      if (policy.outlier === undefined) this.#stopDetection();
      else if (this.#outlier === undefined) this.#outlier = new OutlierDetector(policy.outlier);
      else this.#outlier.rules = policy.outlier;
    }
    this.#inputs = inputs;
    const { members, unreachable } = membersOf(endpoints, service, this.port, subset, network, place);
    if (unreachable > 0 && unreachable !== this.#warned)
      log.warn('endpoints on another network are left out: tunnels between networks are not supported', {
        service: service.hostname,
        endpoints: unreachable,
      });
    this.#warned = unreachable;
    this.#members = members.length > 0 ? members : this.#impliedMembers(inputs);
    this.#hostnames = this.#namesOfMembers();
    this.#answers = this.#hostnames.map((name) => this.#needs.names.known(name));
    this.#rebuild();
  }

  /** Who was left out is in again. */
  #stopDetection(): void {
    this.#outlier = undefined;
    for (const { record } of this.#hosts) record.ejected = false;
  }

  /** A service that is resolved by DNS and lists no endpoint is its own name's. */
  #impliedMembers({ config, service, endpoints }: ClusterInputs): readonly Member[] {
    const byName = config.resolution === 'dns' || config.resolution === 'dnsRoundRobin';
    if (!byName || endpoints.length > 0 || config.hostname.startsWith('*')) return [];
    const port = service.ports.find(({ servicePort }) => servicePort === this.port)?.targetPort || this.port;
    return [{ kind: 'hostname', hostname: config.hostname, port, workload: undefined, weight: 1 }];
  }

  #namesOfMembers(): readonly string[] {
    const names = new Set<string>();
    for (const member of this.#members)
      if (member.kind === 'hostname' && names.size < MAX_HOSTNAMES) names.add(member.hostname);
    return names.size === 0 ? NO_NAMES : [...names];
  }

  #resolve(): Promise<unknown> | undefined {
    const { names } = this.#needs;
    let changed = false;
    let waits: Promise<void>[] | undefined;
    for (let i = 0; i < this.#hostnames.length; i++) {
      const hostname = this.#hostnames[i] as string;
      const answer = names.known(hostname);
      if (answer !== this.#answers[i]) {
        this.#answers[i] = answer;
        changed = true;
      }
      const wait = names.wait(hostname);
      if (wait !== undefined) {
        waits ??= [];
        waits.push(wait);
      }
    }
    if (changed) this.#rebuild();
    // One that answers is enough to go on with.
    return waits !== undefined && this.#hosts.length === 0 ? Promise.race(waits) : undefined;
  }

  /** Makes the list of hosts again; those that stay keep their counts. */
  #rebuild(): void {
    const { service, config, place } = this.#inputs as ClusterInputs;
    const now = this.#needs.nowMs();
    const before = new Map(this.#hosts.map((host) => [host.name, host]));
    const hosts = new Map<string, Host>();
    const add = (ip: Ip, port: number, workload: Workload | undefined, weight: number): void => {
      if (isOwnMachine(ip, place)) return;
      const name = `${ip}:${port}`;
      const known = before.get(name) ?? hosts.get(name);
      if (known === undefined) {
        hosts.set(name, newHost(name, endpointOf(workload, { ip, port }, service), weight, now));
        return;
      }
      if (known.endpoint.workload !== workload || (workload !== undefined && known.endpoint.tunnel !== undefined))
        known.endpoint = endpointOf(workload, { ip, port }, service);
      known.weight = weight;
      hosts.set(name, known);
    };
    for (const member of this.#members) {
      if (member.kind === 'address') {
        add(member.address.ip, member.address.port, member.workload, member.weight);
        continue;
      }
      const answer = this.#answers[this.#hostnames.indexOf(member.hostname)] ?? [];
      // DNS_ROUND_ROBIN: one address at a time, as the name server hands them out (Envoy: logical DNS).
      const addresses = config.resolution === 'dnsRoundRobin' ? answer.slice(0, 1) : answer;
      for (const ip of addresses) add(ip, member.port, member.workload, member.weight);
    }
    this.#hosts = [...hosts.values()];
    this.#outlier?.watch(
      this.#hosts.map(({ record }) => record),
      now,
    );
    this.#balancer = undefined;
  }

  #balance(): Balancer {
    const { service, place } = this.#inputs as ClusterInputs;
    const { policy } = this;
    const { random, nowMs } = this.#needs;
    const levels = levelsOf(this.#hosts, place, policy, service.loadBalancing);
    const panicPercent = policy.outlier?.minHealthPercent ?? 0;
    return new Balancer(policy.loadBalancer, levels, panicPercent, { slowStart: policy.slowStart, random, nowMs });
  }
}
