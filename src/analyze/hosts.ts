// Host names of the analysed set: which Service or ServiceEntry a written host means, and what is known of it.

import { isSubset } from '../derive/labels.ts';
import { type Labels, optionalRecord, textRecord } from '../derive/read.ts';
import { kubeHostname } from '../derive/service.ts';
import { resolveHost } from '../derive/traffic/host.ts';
import type { Field } from './field.ts';
import { KIND } from './kinds.ts';
import type { Resource } from './resource.ts';
import { covers } from './validation/virtual-service-parts.ts';

export interface HostPort {
  readonly number: number;
  readonly name: string;
  readonly protocol: string;
}

/** One host that can be called. */
export interface KnownHost {
  readonly host: string;
  readonly resource: Resource;
  readonly ports: readonly HostPort[];
  /** Of the pods behind it. */
  readonly selector: Labels | undefined;
  /** Namespaces that see it; undefined: all. */
  readonly visibleIn: ReadonlySet<string> | undefined;
  readonly headless: boolean;
  readonly externalName: boolean;
}

/** A short name means a service of the object's own namespace; a name with a dot is taken as it is (Istio's rule). */
export function fullHost(written: string, namespace: string, clusterDomain: string): string {
  const host = written.toLowerCase().replace(/\.$/, '');
  return resolveHost(host, namespace, clusterDomain);
}

export class Hosts {
  readonly all: readonly KnownHost[];
  readonly #exact = new Map<string, KnownHost[]>();
  readonly #wildcards: KnownHost[] = [];
  readonly #byResource = new Map<Resource, KnownHost[]>();
  /** Kubernetes Services with a selector, by namespace. */
  readonly #services = new Map<string, KnownHost[]>();
  readonly #clusterDomain: string;

  constructor(services: readonly Resource[], entries: readonly Resource[], clusterDomain: string) {
    this.#clusterDomain = clusterDomain;
    this.all = [...services.map((service) => fromService(service, clusterDomain)), ...entries.flatMap(fromEntry)];
    for (const known of this.all) {
      file(this.#byResource, known.resource, known);
      if (known.resource.type === KIND.service && known.selector !== undefined)
        file(this.#services, known.resource.namespace, known);
      if (known.host.startsWith('*')) this.#wildcards.push(known);
      else file(this.#exact, known.host, known);
    }
  }

  /** What a host written in an object of `namespace` stands for; of several, a Kubernetes Service first. */
  find(written: string, namespace: string): KnownHost | undefined {
    const host = fullHost(written, namespace, this.#clusterDomain);
    const sees = (known: KnownHost): boolean =>
      known.visibleIn === undefined || known.visibleIn.has(namespace) || known.resource.namespace === namespace;
    const exact = this.#exact.get(host)?.filter(sees);
    return exact?.[0] ?? this.#wildcards.find((known) => sees(known) && covers(known.host, host));
  }

  /** Every host that a pattern with a wildcard stands for. */
  matching(written: string, namespace: string): readonly KnownHost[] {
    const pattern = fullHost(written, namespace, this.#clusterDomain);
    if (!pattern.startsWith('*')) {
      const found = this.find(written, namespace);
      return found === undefined ? [] : [found];
    }
    return this.all.filter((known) => covers(pattern, known.host));
  }

  of(resource: Resource): readonly KnownHost[] {
    return this.#byResource.get(resource) ?? [];
  }

  /** Kubernetes Services of a namespace that pick pods with these labels. */
  servicesOf(namespace: string, labels: Labels): readonly KnownHost[] {
    return (this.#services.get(namespace) ?? []).filter(({ selector = {} }) => isSubset(selector, labels));
  }
}

function file<K>(index: Map<K, KnownHost[]>, key: K, known: KnownHost): void {
  const same = index.get(key);
  if (same === undefined) index.set(key, [known]);
  else same.push(known);
}

function portsOf(ports: Field, number: string): readonly HostPort[] {
  return ports.items().flatMap((port) => {
    const value = port.at(number).number;
    const protocol = port.at('appProtocol').text || port.at('protocol').text;
    return value === undefined ? [] : [{ number: value, name: port.at('name').text, protocol }];
  });
}

function fromService(resource: Resource, clusterDomain: string): KnownHost {
  const { spec } = resource;
  const selector = textRecord(spec.at('selector').value);
  return {
    host: kubeHostname(resource.name, resource.namespace, clusterDomain),
    resource,
    ports: portsOf(spec.at('ports'), 'port'),
    selector: Object.keys(selector).length === 0 ? undefined : selector,
    visibleIn: undefined,
    headless: spec.at('clusterIP').text === 'None',
    externalName: spec.at('type').text === 'ExternalName',
  };
}

function fromEntry(resource: Resource): readonly KnownHost[] {
  const { spec } = resource;
  const exportTo = spec
    .at('exportTo')
    .items()
    .map((item) => (item.text === '.' ? resource.namespace : item.text));
  const selector =
    optionalRecord(spec.at('workloadSelector').value) && textRecord(spec.at('workloadSelector', 'labels').value);
  return spec
    .at('hosts')
    .items()
    .map((host) => ({
      host: host.text.toLowerCase(),
      resource,
      ports: portsOf(spec.at('ports'), 'number'),
      selector,
      visibleIn: exportTo.length === 0 || exportTo.includes('*') ? undefined : new Set(exportTo),
      headless: false,
      externalName: false,
    }));
}
