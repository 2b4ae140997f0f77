// What stands in the files of a volume that is made from objects: ConfigMap, Secret, downward API, projections of these,
// and tokens. Pure over the objects that it is given; a token is one of them.

import { fieldValue, type PodPlace, resourceValue } from './downward.ts';
import type { NamespaceObjects } from './environment.ts';
import { type ContainerSpec, type Pod, PodProblem, type VolumeSpec } from './types.ts';

export interface VolumeFile {
  readonly data: Buffer;
  readonly mode: number;
}
/** By path below the volume. */
export type VolumeFiles = ReadonlyMap<string, VolumeFile>;

export interface TokenWish {
  /** Empty: the API's own. */
  readonly audience: string;
  readonly expirationSeconds: number;
}

export interface VolumeInput {
  readonly pod: Pod;
  readonly place: PodPlace;
  readonly objects: NamespaceObjects;
  /** The token that was asked for, once it is there. */
  token(wish: TokenWish): string | undefined;
}

const DEFAULT_MODE = 0o644;
const DEFAULT_TOKEN_SECONDS = 3600;
const MIN_TOKEN_SECONDS = 600;

const mountError = (message: string): PodProblem => new PodProblem('FailedMount', message);

/** Kinds of volume that `filesOf` can make. */
export const isMadeOfObjects = (volume: VolumeSpec): boolean =>
  volume.configMap !== undefined ||
  volume.secret !== undefined ||
  volume.downwardAPI !== undefined ||
  volume.projected !== undefined;

interface KeyToPath {
  readonly key: string;
  readonly path: string;
  readonly mode?: number;
}

/** A path of a file in a volume: relative, and not out of it. */
function checkedPath(path: string): string {
  if (path === '' || path.startsWith('/') || path.split('/').includes('..'))
    throw mountError(`path \`${path}\` of a volume leads out of it`);
  return path;
}

function selected(
  files: Map<string, VolumeFile>,
  all: ReadonlyMap<string, Buffer>,
  items: readonly KeyToPath[] | undefined,
  mode: number,
  missing: (key: string) => void,
): void {
  if (items === undefined || items.length === 0) {
    for (const [key, data] of all) files.set(checkedPath(key), { data, mode });
    return;
  }
  for (const item of items) {
    const data = all.get(item.key);
    if (data === undefined) missing(item.key);
    else files.set(checkedPath(item.path), { data, mode: item.mode ?? mode });
  }
}

function fromConfigMap(
  input: VolumeInput,
  name: string,
  items: readonly KeyToPath[] | undefined,
  optional: boolean,
  mode: number,
  files: Map<string, VolumeFile>,
): void {
  const map = input.objects.configMap(name);
  if (map === undefined) {
    if (optional) return;
    throw mountError(`configmap "${name}" not found`);
  }
  const all = new Map<string, Buffer>();
  for (const [key, value] of Object.entries(map.data ?? {})) all.set(key, Buffer.from(value));
  for (const [key, value] of Object.entries(map.binaryData ?? {})) all.set(key, Buffer.from(value, 'base64'));
  selected(files, all, items, mode, (key) => {
    if (!optional) throw mountError(`configmap references non-existent config key: ${key}`);
  });
}

function fromSecret(
  input: VolumeInput,
  name: string,
  items: readonly KeyToPath[] | undefined,
  optional: boolean,
  mode: number,
  files: Map<string, VolumeFile>,
): void {
  const secret = input.objects.secret(name);
  if (secret === undefined) {
    if (optional) return;
    throw mountError(`secret "${name}" not found`);
  }
  const all = new Map(Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]));
  selected(files, all, items, mode, (key) => {
    if (!optional) throw mountError(`references non-existent secret key: ${key}`);
  });
}

type DownwardItem = NonNullable<NonNullable<VolumeSpec['downwardAPI']>['items']>[number];

function fromDownward(
  input: VolumeInput,
  items: readonly DownwardItem[],
  mode: number,
  files: Map<string, VolumeFile>,
): void {
  const containers: readonly ContainerSpec[] = [
    ...(input.pod.spec?.containers ?? []),
    ...(input.pod.spec?.initContainers ?? []),
  ];
  for (const item of items) {
    let value: ReturnType<typeof fieldValue> | undefined;
    if (item.fieldRef !== undefined) value = fieldValue(item.fieldRef.fieldPath, input.pod, input.place);
    else if (item.resourceFieldRef !== undefined) {
      const { containerName, resource, divisor } = item.resourceFieldRef;
      const container = containers.find(({ name }) => name === containerName);
      if (container === undefined) throw mountError(`container ${containerName ?? ''} not found`);
      value = resourceValue({ resource, ...(divisor !== undefined && { divisor }) }, container, input.place);
    }
    if (value === undefined) throw mountError(`item \`${item.path}\` of a downward volume refers to nothing`);
    if (!value.ok) throw mountError(value.error);
    files.set(checkedPath(item.path), { data: Buffer.from(value.value), mode: item.mode ?? mode });
  }
}

/**
 * Every file of the volume.
 * @throws PodProblem FailedMount naming what is missing; worth trying again when it appears
 */
export function filesOf(volume: VolumeSpec, input: VolumeInput): VolumeFiles {
  const files = new Map<string, VolumeFile>();
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap)
    fromConfigMap(
      input,
      configMap.name ?? '',
      configMap.items,
      configMap.optional === true,
      configMap.defaultMode ?? DEFAULT_MODE,
      files,
    );
  if (secret)
    fromSecret(
      input,
      secret.secretName ?? '',
      secret.items,
      secret.optional === true,
      secret.defaultMode ?? DEFAULT_MODE,
      files,
    );
  if (downwardAPI) fromDownward(input, downwardAPI.items ?? [], downwardAPI.defaultMode ?? DEFAULT_MODE, files);
  for (const source of projected?.sources ?? []) {
    const mode = projected?.defaultMode ?? DEFAULT_MODE;
    if (source.configMap)
      fromConfigMap(
        input,
        source.configMap.name ?? '',
        source.configMap.items,
        source.configMap.optional === true,
        mode,
        files,
      );
    if (source.secret)
      fromSecret(input, source.secret.name ?? '', source.secret.items, source.secret.optional === true, mode, files);
    if (source.downwardAPI) fromDownward(input, source.downwardAPI.items ?? [], mode, files);
    if (source.serviceAccountToken) {
      const token = input.token(tokenWish(source.serviceAccountToken));
      if (token === undefined) throw mountError('the service account token is not there yet');
      files.set(checkedPath(source.serviceAccountToken.path), { data: Buffer.from(token), mode });
    }
    if (source.clusterTrustBundle) throw mountError('volumes of a clusterTrustBundle are not supported');
  }
  return files;
}

const tokenWish = (source: { readonly audience?: string; readonly expirationSeconds?: number }): TokenWish => ({
  audience: source.audience ?? '',
  expirationSeconds: Math.max(MIN_TOKEN_SECONDS, source.expirationSeconds ?? DEFAULT_TOKEN_SECONDS),
});

/** Every token that the volumes ask for. */
export const tokenWishes = (volumes: readonly VolumeSpec[]): TokenWish[] =>
  volumes.flatMap((volume) =>
    (volume.projected?.sources ?? []).flatMap(({ serviceAccountToken }) =>
      serviceAccountToken ? [tokenWish(serviceAccountToken)] : [],
    ),
  );
