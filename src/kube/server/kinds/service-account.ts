// Pods get their service account and a projected volume with its token, the cluster's certificate and their namespace
// (Kubernetes: ServiceAccount admission).

import type { IPod } from 'kubernetes-models/v1/Pod';
import type { IServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import { forbidden } from '../errors.ts';
import type { Store } from '../store/store.ts';

const TOKEN_MOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const TOKEN_SECONDS = 3607;
const MIRROR = 'kubernetes.io/config.mirror';

/** @throws KubeError 403 when the service account does not exist; pods of a young namespace are tried again by their controller */
export function admitServiceAccount(pod: IPod, store: Store): void {
  const { spec, metadata } = pod;
  if (spec === undefined || metadata?.annotations?.[MIRROR] !== undefined) return;
  const name = spec.serviceAccountName || 'default';
  spec.serviceAccountName = name;
  spec.serviceAccount = name;
  const account = store.get('/serviceaccounts', metadata?.namespace ?? '', name)?.object as IServiceAccount | undefined;
  if (account === undefined)
    throw forbidden(
      { group: '', plural: 'pods' },
      metadata?.name ?? '',
      `error looking up service account ${metadata?.namespace}/${name}: serviceaccount "${name}" not found`,
    );
  if (spec.imagePullSecrets === undefined && account.imagePullSecrets !== undefined)
    spec.imagePullSecrets = structuredClone(account.imagePullSecrets);
  if ((spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) === true)
    mountToken(spec, metadata?.name ?? '');
}

function mountToken(spec: NonNullable<IPod['spec']>, podName: string): void {
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const without = containers.filter((one) => !one.volumeMounts?.some((mount) => mount.mountPath === TOKEN_MOUNT));
  if (without.length === 0) return;
  spec.volumes ??= [];
  const existing = spec.volumes.find((volume) => volume.name.startsWith('kube-api-access-'));
  const name = existing?.name ?? `kube-api-access-${suffixOf(podName)}`;
  if (existing === undefined)
    spec.volumes.push({
      name,
      projected: {
        defaultMode: 0o644,
        sources: [
          { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: 'token' } },
          { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
          {
            downwardAPI: {
              items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
            },
          },
        ],
      },
    });
  for (const container of without) {
    container.volumeMounts ??= [];
    container.volumeMounts.push({ name, readOnly: true, mountPath: TOKEN_MOUNT });
  }
}

/** Five characters that the pod's name decides, so that a dry run shows what a real run does. */
function suffixOf(podName: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < podName.length; i++) hash = Math.imul(hash ^ podName.charCodeAt(i), 0x01000193) >>> 0;
  return nameSuffix(() => {
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
    return hash / 2 ** 32;
  });
}

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789'; // no vowels, so no words

/** Five characters for generated names. */
export function nameSuffix(random: () => number): string {
  return Array.from({ length: 5 }, () => ALPHABET[Math.floor(random() * ALPHABET.length)]).join('');
}
