// The cluster's keys: its certificate authority, the serving and admin certificates, and the key that signs service
// accounts' tokens. Made on first start and kept with the objects; the serving and admin certificates are renewed at
// start when they are in the last third of their life.

import { X509Certificate } from 'node:crypto';
import { KUBERNETES_SERVICE_IP, ROOM_ADDRESS } from '../bootstrap.ts';
import { MASTERS } from './user.ts';

export interface KeyPair {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface ClusterIdentity {
  readonly ca: KeyPair;
  readonly serving: KeyPair;
  /** Client certificate of the kubeconfig, a member of system:masters. */
  readonly admin: KeyPair;
  /** PKCS #8, EC P-256. */
  readonly tokenKeyPem: string;
}

/** Where keys are kept: values of the database's `meta` table. */
export interface IdentityStorage {
  read(): string | undefined;
  write(text: string): void;
}

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const LEAF_DAYS = 365;
const RENEW_MS = (LEAF_DAYS / 3) * DAY_MS;

const SERVING_NAMES = [
  'localhost',
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
];
const SERVING_IPS = ['127.0.0.1', '::1', KUBERNETES_SERVICE_IP, ROOM_ADDRESS];

/** Reads the keys, makes what is missing, renews what is old. */
export async function clusterIdentity(storage: IdentityStorage, now: () => Date): Promise<ClusterIdentity> {
  const text = storage.read();
  const known = text === undefined ? undefined : (JSON.parse(text) as ClusterIdentity);
  if (known !== undefined && !isOld(known.serving, now()) && !isOld(known.admin, now())) return known;
  const { issueIdentity } = await import('./issue.ts'); // the certificate library costs 50 ms; most starts do without
  const identity = await issueIdentity(known, now(), {
    caDays: CA_DAYS,
    leafDays: LEAF_DAYS,
    servingNames: SERVING_NAMES,
    servingIps: SERVING_IPS,
    admin: { user: 'kubernetes-admin', group: MASTERS },
  });
  storage.write(JSON.stringify(identity));
  return identity;
}

function isOld({ certPem }: KeyPair, now: Date): boolean {
  return new X509Certificate(certPem).validToDate.getTime() - now.getTime() < RENEW_MS;
}
