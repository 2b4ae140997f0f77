// Applying manifests as `kubectl apply --server-side` does, object by object, in order; a refusal names the file and
// line, and does not keep the other objects from being applied.

import type { HttpKubeClient } from './client/client.ts';
import { splitApiVersion } from './client/resources.ts';
import { KubeError, type KubeObject, type Resource } from './client/types.ts';
import type { Manifest } from './manifests.ts';

export interface Applied {
  readonly manifest: Manifest;
  readonly resource: Resource;
  readonly object: KubeObject;
}

export interface Refused {
  readonly manifest: Manifest;
  readonly error: string;
}

interface ApiResourceList {
  resources?: { name: string; kind: string; namespaced: boolean }[];
}

/** Finds what the API calls a kind; asked once a group and version. */
export class Discovery {
  readonly #client: HttpKubeClient;
  readonly #lists = new Map<string, Promise<ApiResourceList | undefined>>();

  constructor(client: HttpKubeClient) {
    this.#client = client;
  }

  async find(apiVersion: string, kind: string): Promise<Resource | undefined> {
    const list = this.#lists.get(apiVersion) ?? this.#fetch(apiVersion);
    this.#lists.set(apiVersion, list);
    const found = (await list)?.resources?.find((r) => r.kind === kind && !r.name.includes('/'));
    return found && { ...splitApiVersion(apiVersion), plural: found.name, kind, namespaced: found.namespaced };
  }

  /** A definition was applied: what it defines may be served from now on. */
  forget(): void {
    this.#lists.clear();
  }

  async #fetch(apiVersion: string): Promise<ApiResourceList | undefined> {
    try {
      return JSON.parse(
        await this.#client.text(apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`),
      ) as ApiResourceList;
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }
}

/**
 * Applies all manifests; several at a time where order does not matter.
 * @param namespace  for namespaced objects that name none
 * @returns both in the order of the manifests
 */
export async function applyManifests(
  client: HttpKubeClient,
  manifests: readonly Manifest[],
  options: { namespace?: string; fieldManager?: string } = {},
): Promise<{ applied: Applied[]; refused: Refused[] }> {
  const discovery = new Discovery(client);
  const applied: Applied[] = [];
  const refused: Refused[] = [];
  const one = async (manifest: Manifest): Promise<void> => {
    try {
      applied.push(await applyOne(client, discovery, manifest, options));
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      refused.push({ manifest, error: error.message });
    }
  };
  // In the order they were read: what others need comes first, and each group is complete before the next begins.
  const needed = new Set(['CustomResourceDefinition', 'Namespace', 'ServiceAccount', 'ConfigMap', 'Secret']);
  for (const kind of needed) {
    await Promise.all(manifests.filter((m) => m.object.kind === kind).map(one));
    if (kind === 'CustomResourceDefinition') discovery.forget();
  }
  const rest = manifests.filter((m) => !needed.has(m.object.kind));
  for (let start = 0; start < rest.length; start += 16) await Promise.all(rest.slice(start, start + 16).map(one));
  const place = new Map(manifests.map((manifest, i) => [manifest, i]));
  const asWritten = (a: { manifest: Manifest }, b: { manifest: Manifest }): number =>
    (place.get(a.manifest) ?? 0) - (place.get(b.manifest) ?? 0);
  return { applied: applied.sort(asWritten), refused: refused.sort(asWritten) };
}

/** Removes what the manifests name; what is not there, or has a kind that is not served, is no error. */
export async function removeManifests(client: HttpKubeClient, manifests: readonly Manifest[]): Promise<void> {
  const discovery = new Discovery(client);
  await Promise.all(
    manifests.map(async ({ object: { apiVersion, kind, metadata } }) => {
      const resource = await discovery.find(apiVersion, kind);
      if (resource !== undefined && metadata?.name !== undefined)
        await client.delete(resource, metadata.name, resource.namespaced ? metadata.namespace : undefined);
    }),
  );
}

async function applyOne(
  client: HttpKubeClient,
  discovery: Discovery,
  manifest: Manifest,
  options: { namespace?: string; fieldManager?: string },
): Promise<Applied> {
  const { apiVersion, kind, metadata } = manifest.object;
  const resource = await discovery.find(apiVersion, kind);
  if (resource === undefined)
    throw new KubeError(
      404,
      'NotFound',
      `no kind \`${kind}\` in \`${apiVersion}\` is served; see \`kubectl api-resources\`, or apply its CustomResourceDefinition first`,
    );
  const namespace = resource.namespaced ? (metadata?.namespace ?? options.namespace ?? 'default') : undefined;
  if (metadata?.name === undefined) {
    const object = { ...manifest.object, metadata: { ...metadata, ...(namespace !== undefined && { namespace }) } };
    return { manifest, resource, object: await client.create(resource, object) };
  }
  const body = { ...manifest.object, metadata: { ...metadata, ...(namespace !== undefined && { namespace }) } };
  const object = await client.patch(resource, metadata.name, namespace, 'apply', body, {
    fieldManager: options.fieldManager ?? 'ambit',
    force: true,
  });
  return { manifest, resource, object };
}
