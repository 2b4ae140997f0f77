// What tests of endpoint choice need: a world with one service, its configuration, a clock and a die that can be set.

import { IndexedWorld } from '../../model/indexed-world.ts';
import { DEFAULT_TRAFFIC_POLICY, type ServiceConfig, type TrafficPolicy } from '../../model/proxy/service-config.ts';
import { ip, ports, service, workload } from '../../model/testing/builders.ts';
import type { Service, Workload } from '../../model/workload.ts';
import type { ClientInfo, Endpoint } from '../contracts.ts';
import { Upstream, type UpstreamPick, type UpstreamSources } from './choice.ts';
import { type Answer, Names } from './names.ts';

export const KEY = 'shop/order.shop.svc.cluster.local';

/** A die that repeats itself: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const pod = (name: string, address: string, set: Partial<Workload> = {}): Workload =>
  workload(name, {
    addresses: address === '' ? [] : [ip(address)],
    services: new Map([[KEY, ports('80:8080')]]),
    ...set,
  });

export const policy = (set: Partial<TrafficPolicy> = {}): TrafficPolicy => ({ ...DEFAULT_TRAFFIC_POLICY, ...set });

export const config = (traffic: Partial<TrafficPolicy>, set: Partial<ServiceConfig> = {}): ServiceConfig => ({
  key: KEY,
  hostname: 'order.shop.svc.cluster.local',
  ports: [{ port: 80, name: 'http', protocol: 'http' }],
  resolution: 'endpoints',
  traffic: { policy: policy(traffic), ports: {}, subsets: [] },
  bound: undefined,
  subjectAltNames: [],
  ...set,
});

export const client = (set: Partial<ClientInfo> = {}): ClientInfo => ({
  source: { ip: ip('10.0.9.9'), port: 40000 },
  destination: { ip: ip('10.96.0.7'), port: 80 },
  identity: undefined,
  peer: undefined,
  serverName: undefined,
  secure: false,
  clientCertificate: undefined,
  ...set,
});

export class Bench {
  readonly world = new IndexedWorld('');
  readonly upstream: Upstream;
  config: ServiceConfig = config({});
  nowMs = 1_000_000;
  place: Workload | undefined = pod('waypoint', '10.0.0.200', { services: new Map() });
  readonly answers = new Map<string, Answer | Error>();
  /** Names that were asked for, in order. */
  readonly asked: string[] = [];

  constructor(pods: readonly Workload[], set: Partial<Service> = {}, role: UpstreamSources['role'] = 'waypoint') {
    this.world.applyAddresses([
      { kind: 'service', service: service('order', { ports: ports('80:8080'), ...set }) },
      ...pods.map((one) => ({ kind: 'workload', workload: one }) as const),
    ]);
    const nowMs = (): number => this.nowMs;
    this.upstream = new Upstream({
      world: this.world,
      config: (key) => (key === this.config.key ? this.config : undefined),
      place: () => this.place,
      role,
      names: new Names({
        nowMs,
        refreshMs: 60_000,
        resolve: async (hostname) => {
          this.asked.push(hostname);
          const answer = this.answers.get(hostname) ?? { addresses: [], ttlMs: undefined };
          if (answer instanceof Error) throw answer;
          return answer;
        },
      }),
      nowMs,
      random: seeded(7),
    });
  }

  add(...pods: readonly Workload[]): void {
    this.world.applyAddresses(pods.map((one) => ({ kind: 'workload', workload: one }) as const));
  }

  remove(one: Workload): void {
    this.world.applyAddresses([], [one.uid]);
  }

  /** @throws Error with the kind of a failure */
  pick(options: { subset?: string; client?: ClientInfo; tried?: readonly Endpoint[] } = {}): UpstreamPick {
    const target = { service: KEY, port: 80, subset: options.subset };
    const picked = this.upstream.pick(target, options.client ?? client(), undefined, options.tried ?? []);
    if (picked instanceof Promise) throw new Error('names are resolved first');
    if ('kind' in picked) throw new Error(picked.kind);
    return picked;
  }

  /** Picks, and ends each at once: how often each workload was chosen. */
  spread(times: number, options: Parameters<Bench['pick']>[0] = {}): Record<string, number> {
    const counts: Record<string, number> = {};
    for (let i = 0; i < times; i++) {
      const picked = this.pick(options);
      const name = picked.endpoint.workload?.name ?? picked.endpoint.address.ip;
      counts[name] = (counts[name] ?? 0) + 1;
      picked.done({ kind: 'status', status: 200 });
    }
    return counts;
  }
}
