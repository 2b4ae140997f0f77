// What the control plane says to this proxy: itself, routes, services, certificates, and the addresses of services. Each
// change is told as the places that it touches, so that only those are made anew.

import type { AppliedBatch, ResourceStore } from '../../dataplane/ads/protocol.ts';
import { type AddressUpdate, IndexedWorld } from '../../model/indexed-world.ts';
import type { ProxyCertificate, ProxyConfig } from '../../model/proxy/proxy-config.ts';
import type { RouteAttachment, RouteResource } from '../../model/proxy/route-resource.ts';
import type { ServiceConfig } from '../../model/proxy/service-config.ts';
import { fail, type Result } from '../../model/result.ts';
import type { ServiceKey } from '../../model/workload.ts';
import { logger } from '../../telemetry/log.ts';
import { decodeCertificate, decodeProxy, decodeRoute, decodeServiceConfig } from '../../wire/l7/resources.ts';
import type { ResourceBytes } from '../../wire/xds/discovery-bytes.ts';
import { decodeAddresses } from '../../wire/xds/resources.ts';

const log = logger('state');

/** Routes of one listener or one service, by the names of their resources. */
export type AttachedRoutes = ReadonlyMap<string, RouteResource>;

export const listenerKey = (name: string): string => `listener ${name}`;
export const serviceRoutesKey = (service: ServiceKey): string => `service ${service}`;

const keyOf = (attachment: RouteAttachment): string =>
  attachment.kind === 'listener' ? listenerKey(attachment.listener) : serviceRoutesKey(attachment.service);

export interface StateListener {
  /** The proxy's own resource, or a certificate: listeners may come, go or change. */
  proxyChanged(): void;
  /** Routes attached there changed, or its service's configuration. */
  placesChanged(keys: ReadonlySet<string>): void;
  certificatesChanged(): void;
}

const NO_ROUTES: AttachedRoutes = new Map();

export class ProxyState {
  readonly world: IndexedWorld;
  #listener: StateListener | undefined;
  #demand: (name: string) => Promise<void> | undefined = () => undefined;
  #proxy: ProxyConfig | undefined;
  readonly #services = new Map<ServiceKey, ServiceConfig>();
  readonly #certificates = new Map<string, ProxyCertificate>();
  readonly #routes = new Map<string, RouteResource>();
  readonly #attached = new Map<string, Map<string, RouteResource>>();

  constructor(network: string) {
    this.world = new IndexedWorld(network);
  }

  listen(listener: StateListener): void {
    this.#listener = listener;
  }

  /** Connects `demand` to discovery, which sends addresses on demand. */
  demandThrough(demand: (name: string) => Promise<void> | undefined): void {
    this.#demand = demand;
    for (const key of this.#services.keys()) demand(key);
  }

  /** Asks for an address or service; undefined: nothing has to be waited for. */
  demand(name: string): Promise<void> | undefined {
    return this.#demand(name);
  }

  get proxy(): ProxyConfig | undefined {
    return this.#proxy;
  }
  service(key: ServiceKey): ServiceConfig | undefined {
    return this.#services.get(key);
  }
  certificate(name: string): ProxyCertificate | undefined {
    return this.#certificates.get(name);
  }
  attached(key: string): AttachedRoutes {
    return this.#attached.get(key) ?? NO_ROUTES;
  }

  services(): Iterable<ServiceConfig> {
    return this.#services.values();
  }
  routes(): Iterable<readonly [string, RouteResource]> {
    return this.#routes;
  }
  certificateNames(): Iterable<string> {
    return this.#certificates.keys();
  }

  // ---- what discovery writes ----

  readonly proxies: ResourceStore = {
    apply: (resources, removed) =>
      applyEach(resources, removed, decodeProxy, (_, proxy) => {
        this.#proxy = proxy && keepEqual(this.#proxy, proxy);
        this.#listener?.proxyChanged();
      }),
  };

  readonly routeStore: ResourceStore = {
    apply: (resources, removed) => {
      const touched = new Set<string>();
      const batch = applyEach(resources, removed, decodeRoute, (name, route) => this.setRoute(name, route, touched));
      if (touched.size > 0) this.#listener?.placesChanged(touched);
      return batch;
    },
  };

  readonly serviceStore: ResourceStore = {
    apply: (resources, removed) => {
      const touched = new Set<string>();
      const batch = applyEach(resources, removed, decodeServiceConfig, (name, service) =>
        this.setService(name, service, touched),
      );
      if (touched.size > 0) this.#listener?.placesChanged(touched);
      return batch;
    },
  };

  readonly certificateStore: ResourceStore = {
    apply: (resources, removed) => {
      const batch = applyEach(resources, removed, decodeCertificate, (name, certificate) => {
        if (certificate === undefined) this.#certificates.delete(name);
        else this.#certificates.set(name, certificate);
      });
      if (batch.accepted.length + removed.length > 0) this.#listener?.certificatesChanged();
      return batch;
    },
  };

  readonly addresses: ResourceStore = {
    apply: (resources, removed) => {
      const decoded = decodeAddresses(resources);
      for (const warning of decoded.warnings) log.warn('resource accepted with a reservation', { warning });
      this.applyAddresses(
        decoded.accepted.map(({ value }) => value),
        removed,
      );
      return decoded;
    },
  };

  applyAddresses(updates: readonly AddressUpdate[], removed: readonly string[]): void {
    const { services } = this.world.applyAddresses(updates, removed);
    // Where a gateway sends through waypoints, those must be known too.
    for (const { now } of services)
      if (now?.ingressUseWaypoint === true)
        for (const { destination } of [now.waypoint, ...now.weightedWaypoints.map(({ waypoint }) => waypoint)].filter(
          (each) => each !== undefined,
        ))
          this.demand(
            destination.kind === 'address'
              ? `${destination.network}/${destination.ip}`
              : `${destination.namespace}/${destination.hostname}`,
          );
  }

  /** As if the resource had come; for tests, too. */
  setProxy(proxy: ProxyConfig | undefined): void {
    this.#proxy = proxy && keepEqual(this.#proxy, proxy);
    this.#listener?.proxyChanged();
  }

  setCertificate(name: string, certificate: ProxyCertificate): void {
    this.#certificates.set(name, certificate);
    this.#listener?.certificatesChanged();
  }

  /** @param touched  gets the places; without it they are told at once */
  setRoute(name: string, route: RouteResource | undefined, touched?: Set<string>): void {
    const keys = touched ?? new Set<string>();
    const before = this.#routes.get(name);
    for (const attachment of before?.attachments ?? []) {
      const key = keyOf(attachment);
      const routes = this.#attached.get(key);
      routes?.delete(name);
      if (routes?.size === 0) this.#attached.delete(key);
      keys.add(key);
    }
    if (route === undefined) this.#routes.delete(name);
    else {
      this.#routes.set(name, route);
      for (const attachment of route.attachments) {
        const key = keyOf(attachment);
        let routes = this.#attached.get(key);
        if (routes === undefined) {
          routes = new Map();
          this.#attached.set(key, routes);
        }
        routes.set(name, route);
        keys.add(key);
      }
    }
    if (touched === undefined) this.#listener?.placesChanged(keys);
  }

  setService(key: ServiceKey, service: ServiceConfig | undefined, touched?: Set<string>): void {
    const keys = touched ?? new Set<string>();
    keys.add(serviceRoutesKey(key));
    if (service === undefined) this.#services.delete(key);
    else {
      const before = this.#services.get(key);
      const kept = keepEqual(before, service);
      this.#services.set(
        key,
        kept.bound !== undefined && before?.bound !== undefined && kept.bound !== before.bound
          ? { ...kept, bound: keepEqual(before.bound, kept.bound) }
          : kept,
      );
      if (before === undefined) this.#demand(key);
    }
    if (touched === undefined) this.#listener?.placesChanged(keys);
  }
}

/** Decodes and takes in one after the other; a bad one is refused and leaves what was there. */
function applyEach<T>(
  resources: Iterable<ResourceBytes>,
  removed: readonly string[],
  decode: (name: string, bytes: Uint8Array) => Result<T, string>,
  take: (name: string, value: T | undefined) => void,
): AppliedBatch {
  const accepted: { name: string; version: string }[] = [];
  const rejected: { name: string; reason: string }[] = [];
  for (const { name, version, resource } of resources) {
    const decoded = resource === undefined ? fail('holds no resource') : decode(name, resource.value);
    if (decoded.ok) {
      take(name, decoded.value);
      accepted.push({ name, version });
    } else rejected.push({ name, reason: decoded.error });
  }
  for (const name of removed) take(name, undefined);
  return { accepted, rejected };
}

/**
 * Parts that say the same stay the same objects: what was made of them (buckets of rate limits, keys, compiled policies)
 * outlives a change of something else.
 */
function keepEqual<T extends object>(before: T | undefined, now: T): T {
  if (before === undefined) return now;
  const kept = { ...now };
  let all = true;
  for (const key of Object.keys(now) as (keyof T)[]) {
    if (typeof now[key] !== 'object' || JSON.stringify(before[key]) !== JSON.stringify(now[key])) {
      all &&= before[key] === now[key];
      continue;
    }
    kept[key] = before[key];
  }
  return all && Object.keys(before).length === Object.keys(now).length ? before : kept;
}
