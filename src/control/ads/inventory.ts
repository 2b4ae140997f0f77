// Every resource in its encoded form, kept in step with the derivation: what streams send from. A resource is encoded
// once when it changed and somebody wants it, for all proxies; a first push of everything is one buffer that all of them
// share. A change of very many is encoded a slice a turn, so that nobody else waits for it.

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Ambient } from '../../derive/ambient.ts';
import type { Change, Collection } from '../../derive/graph/graph.ts';
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  serviceAliases,
  WORKLOAD_TYPE,
  workloadAliases,
} from '../../wire/xds/names.ts';
import {
  addressVersion,
  encodeBareWorkload,
  encodePolicy,
  encodeService,
  encodeWorkload,
} from '../../wire/xds/resources.ts';

export const SERVED_TYPES = [AUTHORIZATION_TYPE, ADDRESS_TYPE, WORKLOAD_TYPE] as const;
export type ServedType = (typeof SERVED_TYPES)[number];

export interface Item {
  readonly name: string;
  /** Empty for policies. */
  readonly version: string;
  /** The bytes inside `Any`. */
  readonly value: Uint8Array;
}

type Encoded = Omit<Item, 'name'>;

/** Encodes itself when it is first asked for its bytes. */
class LazyItem implements Item {
  readonly name: string;
  #encode: (() => Encoded) | undefined;
  #encoded: Encoded | undefined;

  constructor(name: string, encode: () => Encoded) {
    this.name = name;
    this.#encode = encode;
  }

  get version(): string {
    return this.encoded().version;
  }
  get value(): Uint8Array {
    return this.encoded().value;
  }

  encoded(): Encoded {
    if (this.#encode !== undefined) {
      this.#encoded = this.#encode();
      this.#encode = undefined; // what it was made from may go
    }
    return this.#encoded as Encoded;
  }
}

/** Encoded in one turn: some 5 ms. */
const SLICE = 256;

const field = (number: number, type: WireType): number => (number << 3) | type;
const BYTES = WireType.LengthDelimited;

/** `DeltaDiscoveryResponse.resources` of one item, tag and length included. */
export function encodeResource(
  typeUrl: string,
  item: Item,
  name = item.name,
  aliases: readonly string[] = [],
): Uint8Array {
  const writer = new BinaryWriter();
  writer.uint32(field(2, BYTES)).fork();
  if (item.version !== '') writer.uint32(field(1, BYTES)).string(item.version);
  writer.uint32(field(2, BYTES)).fork();
  writer.uint32(field(1, BYTES)).string(typeUrl);
  writer.uint32(field(2, BYTES)).bytes(item.value);
  writer.join();
  writer.uint32(field(3, BYTES)).string(name);
  for (const alias of aliases) writer.uint32(field(4, BYTES)).string(alias);
  writer.join();
  return writer.finish();
}

/** All fields of a response but its resources, which may follow: protobuf does not mind the order. */
export function encodeHead(typeUrl: string, version: string, nonce: string, removed: readonly string[]): Uint8Array {
  const writer = new BinaryWriter();
  writer.uint32(field(1, BYTES)).string(version);
  writer.uint32(field(4, BYTES)).string(typeUrl);
  writer.uint32(field(5, BYTES)).string(nonce);
  for (const name of removed) writer.uint32(field(6, BYTES)).string(name);
  return writer.finish();
}

/** The resources of one type. */
export class Inventory<Type extends string = string> {
  readonly typeUrl: Type;
  readonly #items = new Map<string, LazyItem>();
  /** Not encoded yet, as far as is known. */
  #raw = new Set<LazyItem>();
  #encoding: Promise<void> | undefined;
  #whole: Uint8Array | undefined;

  constructor(typeUrl: Type) {
    this.typeUrl = typeUrl;
  }

  get(name: string): Item | undefined {
    return this.#items.get(name);
  }
  get size(): number {
    return this.#items.size;
  }
  items(): IterableIterator<Item> {
    return this.#items.values();
  }

  set(name: string, encode: () => Encoded): void {
    this.#forget(name);
    const item = new LazyItem(name, encode);
    this.#items.set(name, item);
    this.#raw.add(item);
  }
  delete(name: string): void {
    this.#forget(name);
    this.#items.delete(name);
  }
  #forget(name: string): void {
    const before = this.#items.get(name);
    if (before !== undefined) this.#raw.delete(before);
    this.#whole = undefined;
  }

  /** Resolves when everything is encoded: at once, or after as many turns as it takes; streams wait for it together. */
  encoded(): Promise<void> | undefined {
    if (this.#encoding === undefined && this.#raw.size > 0) {
      if (this.#raw.size <= SLICE) this.#encodeSlice();
      else this.#encoding = this.#encodeAll();
    }
    return this.#encoding;
  }

  async #encodeAll(): Promise<void> {
    try {
      while (this.#raw.size > 0) {
        this.#encodeSlice();
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      this.#encoding = undefined;
    }
  }

  #encodeSlice(): void {
    let left = SLICE;
    for (const item of this.#raw) {
      item.encoded();
      this.#raw.delete(item);
      if (--left === 0) return;
    }
  }

  /** Every resource, encoded for a response; made once and shared until something changes. */
  whole(): Uint8Array {
    this.#whole ??= Buffer.concat([...this.#items.values()].map((item) => encodeResource(this.typeUrl, item)));
    return this.#whole;
  }
}

/** What an on-demand client may ask about addresses, and how a changed resource touches what it asked for. */
export interface AddressDirectory {
  /** Primary name of what a key (uid, `network/ip`, `namespace/hostname`) means now. */
  resolve(key: string): string | undefined;
  aliasesOf(name: string): readonly string[];
  /** Keys of the services a workload is behind; empty for anything else. */
  servicesOf(name: string): Iterable<string>;
  /** Uids of the workloads behind a service; empty for anything else. */
  workloadsOf(name: string): readonly string[];
  nodeOf(name: string): string;
  onNode(nodeName: string): readonly string[];
}

export function addressDirectory(ambient: Ambient): AddressDirectory {
  const { workloads, services, workloadsByAddress, servicesByAddress, workloadsByService, workloadsByNode } = ambient;
  return {
    resolve(key) {
      if (workloads.has(key)) return key;
      const workload = workloadsByAddress.lookup(key)[0];
      if (workload !== undefined) return workload.uid;
      if (services.has(key)) return key;
      const service = servicesByAddress.lookup(key)[0];
      return service && `${service.namespace}/${service.hostname}`;
    },
    aliasesOf(name) {
      const workload = workloads.get(name);
      if (workload !== undefined) return workloadAliases(workload);
      const service = services.get(name);
      return service === undefined ? [] : serviceAliases(service);
    },
    servicesOf: (name) => workloads.get(name)?.services.keys() ?? [],
    workloadsOf: (name) => workloadsByService.lookup(name).map(({ uid }) => uid),
    nodeOf: (name) => workloads.get(name)?.node ?? '',
    onNode: (nodeName) => (nodeName === '' ? [] : workloadsByNode.lookup(nodeName).map(({ uid }) => uid)),
  };
}

/** Names that changed in a flush, by type. */
export type Changed = ReadonlyMap<ServedType, readonly string[]>;

/** The inventories of all types, following a derivation. */
export class Inventories {
  readonly directory: AddressDirectory;
  readonly #ambient: Ambient;
  readonly #byType = new Map<ServedType, Inventory<ServedType>>();
  readonly #changed = new Map<ServedType, string[]>();

  constructor(ambient: Ambient) {
    this.#ambient = ambient;
    this.directory = addressDirectory(ambient);
    const policies = this.#make(AUTHORIZATION_TYPE);
    this.#follow(ambient.policies, policies, (policy) => ({ version: '', value: encodePolicy(policy) }));
    const addresses = this.#make(ADDRESS_TYPE);
    this.#follow(ambient.workloads, addresses, (workload) => versioned(encodeWorkload(workload)));
    this.#follow(ambient.services, addresses, (service) => versioned(encodeService(service)));
  }

  /** Undefined for a type that is not served. Bare workloads, which node proxies never ask for, are kept from first use. */
  of(typeUrl: string): Inventory<ServedType> | undefined {
    if (!(SERVED_TYPES as readonly string[]).includes(typeUrl)) return undefined;
    const type = typeUrl as ServedType;
    const kept = this.#byType.get(type);
    if (kept !== undefined) return kept;
    const made = this.#make(type);
    this.#follow(this.#ambient.workloads, made, (workload) => versioned(encodeBareWorkload(workload)));
    return made;
  }

  #make(type: ServedType): Inventory<ServedType> {
    const made = new Inventory(type);
    this.#byType.set(type, made);
    return made;
  }

  /** What changed since the last call. */
  takeChanged(): Changed {
    const changed = new Map(this.#changed);
    this.#changed.clear();
    return changed;
  }

  #follow<T>(from: Collection<T>, into: Inventory<ServedType>, encode: (value: T) => Encoded): void {
    const apply = (changes: Iterable<Pick<Change<T>, 'key' | 'now'>>): void => {
      const names = this.#changed.get(into.typeUrl) ?? [];
      this.#changed.set(into.typeUrl, names);
      for (const { key, now } of changes) {
        if (now === undefined) into.delete(key);
        else into.set(key, () => encode(now));
        names.push(key);
      }
    };
    from.subscribe(apply);
    apply([...from.entries()].map(([key, now]) => ({ key, now })));
  }
}

const versioned = (value: Uint8Array): Encoded => ({ version: addressVersion(value), value });
