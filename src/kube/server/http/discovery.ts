// What is served: /api, /apis, resource lists of each group and version, and all of it at once (aggregated discovery v2).

import type { Kind } from '../kinds/kind.ts';
import type { Registry } from '../kinds/registry.ts';

/** Groups in the order in which kubectl resolves a name that several have. */
const GROUP_ORDER = ['', 'apps', 'discovery.k8s.io', 'coordination.k8s.io', 'rbac.authorization.k8s.io'];
const UNLISTED = 1000;

interface GroupVersion {
  readonly group: string;
  readonly version: string;
  readonly kinds: readonly Kind[];
}

interface Group {
  readonly name: string;
  /** Preferred first. */
  readonly versions: readonly GroupVersion[];
}

export class Discovery {
  readonly #registry: Registry;
  #revision = -1;
  readonly #cache = new Map<string, object>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** The document of a path; undefined when that group or version is not served. */
  document(path: string, aggregated: boolean): object | undefined {
    if (this.#revision !== this.#registry.revision) {
      this.#cache.clear();
      this.#revision = this.#registry.revision;
    }
    const key = `${aggregated ? 'aggregated ' : ''}${path}`;
    const known = this.#cache.get(key);
    if (known !== undefined) return known;
    const made = this.#make(path, aggregated);
    if (made !== undefined) this.#cache.set(key, made);
    return made;
  }

  groups(): Group[] {
    const byName = new Map<string, Kind[]>();
    for (const kind of this.#registry.kinds) byName.set(kind.group, [...(byName.get(kind.group) ?? []), kind]);
    const rank = (name: string) => {
      const at = GROUP_ORDER.indexOf(name);
      return at < 0 ? UNLISTED : at;
    };
    return [...byName]
      .toSorted(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1))
      .map(([name, kinds]) => ({
        name,
        versions: versionsOf(kinds).map((version) => ({
          group: name,
          version,
          kinds: kinds.filter(({ versions }) => versions.includes(version)),
        })),
      }));
  }

  #make(path: string, aggregated: boolean): object | undefined {
    const groups = this.groups();
    const [, root, group, version] = path.split('/');
    if (root === 'api' && group === undefined)
      return aggregated ? aggregatedList(groups.filter(({ name }) => name === '')) : coreVersions();
    if (root === 'apis' && group === undefined)
      return aggregated
        ? aggregatedList(groups.filter(({ name }) => name !== ''))
        : {
            kind: 'APIGroupList',
            apiVersion: 'v1',
            groups: groups.filter(({ name }) => name !== '').map(groupDocument),
          };
    if (root === 'api' && version === undefined) return resourceList(groups, '', group ?? '');
    if (root !== 'apis') return undefined;
    if (version !== undefined) return resourceList(groups, group ?? '', version);
    const found = groups.find(({ name }) => name !== '' && name === group);
    return found === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...groupDocument(found) };
  }
}

function coreVersions(): object {
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: 'kubernetes.default.svc:443' }],
  };
}

/** Versions as Kubernetes prefers them: stable before beta before alpha, higher numbers first. */
export function versionsOf(kinds: readonly Kind[]): string[] {
  return [...new Set(kinds.flatMap(({ versions }) => versions))].toSorted(compareVersions);
}

export function compareVersions(a: string, b: string): number {
  const rank = (version: string): [number, number, number] => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
    if (!match) return [3, 0, 0];
    const stage = match[2] === undefined ? 0 : match[2] === 'beta' ? 1 : 2;
    return [stage, -Number(match[1]), -Number(match[3] ?? 0)];
  };
  const [left, right] = [rank(a), rank(b)];
  return left[0] - right[0] || left[1] - right[1] || left[2] - right[2] || (a < b ? -1 : 1);
}

function groupDocument({ name, versions }: Group): object {
  const list = versions.map(({ version }) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: list, preferredVersion: list[0] };
}

function resourceList(groups: readonly Group[], group: string, version: string): object | undefined {
  const found = groups.find(({ name }) => name === group)?.versions.find((one) => one.version === version);
  if (found === undefined) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: group === '' ? version : `${group}/${version}`,
    resources: found.kinds.flatMap((kind) => {
      const { plural, singular, namespaced, verbs, shortNames, categories } = kind;
      const main = {
        name: plural,
        singularName: singular,
        namespaced,
        kind: kind.kind,
        verbs: [...verbs],
        ...(shortNames.length === 0 ? {} : { shortNames: [...shortNames] }),
        ...(categories.length === 0 ? {} : { categories: [...categories] }),
      };
      const subs = subresourcesOf(kind, version).map(({ name, responseKind, verbs: can }) => ({
        name: `${plural}/${name}`,
        singularName: '',
        namespaced,
        ...responseKind,
        verbs: [...can],
      }));
      return [main, ...subs];
    }),
  };
}

interface SubresourceDocument {
  readonly name: string;
  readonly responseKind: { readonly group?: string; readonly version?: string; readonly kind: string };
  readonly verbs: readonly string[];
}

const WRITABLE = ['get', 'patch', 'update'];

function subresourcesOf(kind: Kind, version: string): SubresourceDocument[] {
  const listed: SubresourceDocument[] = Object.entries(kind.subresources).map(([name, { verbs, ...responseKind }]) => ({
    name,
    responseKind,
    verbs,
  }));
  if (kind.status)
    listed.push({ name: 'status', responseKind: { group: kind.group, version, kind: kind.kind }, verbs: WRITABLE });
  if (kind.scale !== undefined)
    listed.push({
      name: 'scale',
      responseKind: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
      verbs: WRITABLE,
    });
  return listed;
}

function aggregatedList(groups: readonly Group[]): object {
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(({ name, versions }) => ({
      metadata: { name, creationTimestamp: null },
      versions: versions.map(({ group, version, kinds }) => ({
        version,
        freshness: 'Current',
        resources: kinds.map((kind) => aggregatedResource(kind, group, version)),
      })),
    })),
  };
}

function aggregatedResource(kind: Kind, group: string, version: string): object {
  const subresources = subresourcesOf(kind, version).map(({ name, responseKind, verbs }) => ({
    subresource: name,
    responseKind: {
      group: responseKind.group ?? group,
      version: responseKind.version ?? version,
      kind: responseKind.kind,
    },
    verbs,
  }));
  return {
    resource: kind.plural,
    responseKind: { group, version, kind: kind.kind },
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.singular,
    verbs: kind.verbs,
    ...(kind.shortNames.length === 0 ? {} : { shortNames: kind.shortNames }),
    ...(kind.categories.length === 0 ? {} : { categories: kind.categories }),
    ...(subresources.length === 0 ? {} : { subresources }),
  };
}
