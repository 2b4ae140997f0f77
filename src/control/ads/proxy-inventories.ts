// What each L7 proxy is to be sent, in its encoded form, kept in step with the derivation from the first time that the
// proxy asks. A Gateway that nobody serves costs nothing.

import type { Ambient } from '../../derive/ambient.ts';
import type { Change, Collection } from '../../derive/graph/graph.ts';
import type { ProxyConfig } from '../../model/proxy/proxy-config.ts';
import { logger } from '../../telemetry/log.ts';
import { CERTIFICATE_TYPE, PROXY_TYPE, ROUTE_TYPE, SERVICE_TYPE } from '../../wire/l7/names.ts';
import { encodeCertificate, encodeProxy, encodeRoute, encodeServiceConfig, problems } from '../../wire/l7/resources.ts';
import type { Caller } from '../auth/caller.ts';
import { contentVersion } from './content-version.ts';
import { Inventory } from './inventory.ts';

const log = logger('ads');

export const PROXY_TYPES = [CERTIFICATE_TYPE, SERVICE_TYPE, ROUTE_TYPE, PROXY_TYPE] as const;
export type ProxyType = (typeof PROXY_TYPES)[number];

export const isProxyType = (typeUrl: string): typeUrl is ProxyType =>
  (PROXY_TYPES as readonly string[]).includes(typeUrl);

/** Names that changed, by type. */
export type ProxyChanged = ReadonlyMap<ProxyType, readonly string[]>;

/** One kind of resource: where it comes from, and its bytes. */
interface Feed {
  readonly type: ProxyType;
  /** Follows all changes. */
  subscribe(handler: (changes: readonly Change<unknown>[]) => void): void;
  /** Those of one proxy now. */
  present(proxy: string): readonly (readonly [key: string, value: unknown])[];
  /** What a proxy would say against a value; undefined: nothing. */
  problem(value: unknown): string | undefined;
  encode(value: unknown): Uint8Array;
}

/** `<proxy> <name>`, or the proxy's key alone, which is the name of its own resource. */
const split = (key: string): { readonly proxy: string; readonly name: string } => {
  const at = key.indexOf(' ');
  return at < 0 ? { proxy: key, name: key } : { proxy: key.slice(0, at), name: key.slice(at + 1) };
};

function feed<T extends { readonly proxy: string }, V>(
  type: ProxyType,
  from: Collection<T>,
  nameOf: (item: T) => string,
  read: (item: T) => V,
  problemOf: (value: V) => string | undefined,
  encode: (value: V) => Uint8Array,
): Feed {
  const byProxy = from.index('byProxy', ({ proxy }) => [proxy]);
  return {
    type,
    subscribe: (handler) => from.subscribe(handler),
    present: (proxy) => byProxy.lookup(proxy).map((item) => [`${proxy} ${nameOf(item)}`, item]),
    problem: (item) => problemOf(read(item as T)),
    encode: (item) => encode(read(item as T)),
  };
}

type Inventories = ReadonlyMap<ProxyType, Inventory<ProxyType>>;

export class ProxyInventories {
  readonly #ambient: Ambient;
  readonly #feeds: readonly Feed[];
  readonly #opened = new Map<string, Inventories>();
  #changed = new Map<string, Map<ProxyType, string[]>>();
  #identitiesChanged = false;

  constructor(ambient: Ambient) {
    this.#ambient = ambient;
    const { proxies, routes } = ambient;
    this.#feeds = [
      feed(
        CERTIFICATE_TYPE,
        proxies.certificates,
        ({ name }) => name,
        (item) => item.certificate,
        problems.certificate,
        encodeCertificate,
      ),
      feed(
        SERVICE_TYPE,
        proxies.services,
        ({ config }) => config.key,
        (item) => item.config,
        problems.service,
        encodeServiceConfig,
      ),
      feed(
        ROUTE_TYPE,
        routes,
        ({ name }) => name,
        (item) => item.route,
        problems.route,
        encodeRoute,
      ),
      {
        type: PROXY_TYPE,
        subscribe: (handler) => proxies.configs.subscribe(handler),
        present(proxy) {
          const config = proxies.configs.get(proxy);
          return config === undefined ? [] : [[proxy, config]];
        },
        problem: (value) => problems.proxy(value as ProxyConfig),
        encode: (value) => encodeProxy(value as ProxyConfig),
      },
    ];
    for (const each of this.#feeds) each.subscribe((changes) => this.#follow(each, changes));
    proxies.identities.subscribe(() => {
      this.#identitiesChanged = true;
    });
  }

  /** @returns why a caller may not have a Gateway's configuration; undefined: it may */
  refuses(gateway: string, caller: Caller): string | undefined {
    if (gateway === '') return 'it does not say which Gateway it is of: GATEWAY_NAME is missing in its metadata';
    const identity = this.#ambient.proxies.identities.get(gateway);
    if (identity === undefined) return `there is no Gateway ${gateway} of this control plane`;
    if (identity.namespace === caller.namespace && identity.accounts.includes(caller.serviceAccount)) return undefined;
    return `pods of Gateway ${gateway} have service account ${identity.accounts.join(' or ') || '(none)'}, not ${caller.namespace}/${caller.serviceAccount}`;
  }

  /** The resources of one proxy and type. */
  of(gateway: string, type: ProxyType): Inventory<ProxyType> {
    let opened = this.#opened.get(gateway);
    if (opened === undefined) {
      opened = new Map(PROXY_TYPES.map((each) => [each, new Inventory(each)]));
      this.#opened.set(gateway, opened);
      for (const each of this.#feeds)
        for (const [key, value] of each.present(gateway)) this.#put(each, opened, key, value);
    }
    return opened.get(type) as Inventory<ProxyType>;
  }

  /** What changed since the last call, by Gateway. */
  takeChanged(): { readonly byGateway: ReadonlyMap<string, ProxyChanged>; readonly identities: boolean } {
    const taken = { byGateway: this.#changed, identities: this.#identitiesChanged };
    this.#changed = new Map();
    this.#identitiesChanged = false;
    return taken;
  }

  #follow(from: Feed, changes: readonly Change<unknown>[]): void {
    for (const { key, now } of changes) {
      const { proxy, name } = split(key);
      const opened = this.#opened.get(proxy);
      if (opened === undefined) continue;
      this.#put(from, opened, key, now);
      let byType = this.#changed.get(proxy);
      if (byType === undefined) {
        byType = new Map();
        this.#changed.set(proxy, byType);
      }
      const names = byType.get(from.type);
      if (names === undefined) byType.set(from.type, [name]);
      else names.push(name);
    }
  }

  /** One that the proxy would refuse is not sent: what it held of it before goes, and the log says why. */
  #put(from: Feed, opened: Inventories, key: string, now: unknown): void {
    const { proxy, name } = split(key);
    const inventory = opened.get(from.type) as Inventory<ProxyType>;
    const problem = now === undefined ? undefined : from.problem(now);
    if (now !== undefined && problem === undefined) {
      inventory.set(name, () => {
        const value = from.encode(now);
        return { version: contentVersion(value), value };
      });
      return;
    }
    if (problem !== undefined)
      log.error('resource not sent: no proxy would take it', { gateway: proxy, resource: name, reason: problem });
    inventory.delete(name);
  }
}
