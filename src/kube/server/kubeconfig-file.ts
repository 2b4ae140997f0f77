// The kubeconfig that people and the room use: one cluster, one user with a client certificate. Readable by its owner.

import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ClusterIdentity } from './auth/identity.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** YAML, written out: the values are our own and need no quoting. @param context  `ambit` for the mesh of that name */
export function kubeconfigText(server: string, context: string, { ca, admin }: ClusterIdentity): string {
  return `apiVersion: v1
kind: Config
clusters:
- name: ${context}
  cluster:
    server: ${server}
    certificate-authority-data: ${base64(ca.certPem)}
users:
- name: ${context}
  user:
    client-certificate-data: ${base64(admin.certPem)}
    client-key-data: ${base64(admin.keyPem)}
contexts:
- name: ${context}
  context:
    cluster: ${context}
    user: ${context}
current-context: ${context}
`;
}

/** The same for programs: JSON is YAML too, and its reader need not be loaded first (25 ms). */
export function kubeconfigJson(server: string, context: string, { ca, admin }: ClusterIdentity): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: context, cluster: { server, 'certificate-authority-data': base64(ca.certPem) } }],
    users: [
      {
        name: context,
        user: { 'client-certificate-data': base64(admin.certPem), 'client-key-data': base64(admin.keyPem) },
      },
    ],
    contexts: [{ name: context, context: { cluster: context, user: context } }],
    'current-context': context,
  });
}

/** Replaces the file in one step, mode 0600. */
export function writePrivateFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, text, { mode: 0o600 });
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
}
