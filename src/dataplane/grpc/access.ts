// What every call to the control plane carries and trusts: trust roots from a file, the system or PEM text; the bearer
// token, read again for each call since the kubelet replaces it; the cluster's name; extra metadata.

import { readFile } from 'node:fs/promises';
import { getCACertificates } from 'node:tls';
import type { Clock } from '../../platform/clock.ts';
import { connectGrpc, type GrpcConnection, GrpcError } from './connection.ts';

export type TrustRoots =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'system' }
  | { readonly kind: 'pem'; readonly pem: string };

export type TokenSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'literal'; readonly token: string }
  | { readonly kind: 'none' };

/** One server of the control plane: discovery or certificates. */
export interface ControlPlaneAccess {
  readonly host: string;
  readonly port: number;
  readonly roots: TrustRoots;
  readonly alternativeName: string | undefined;
  readonly tls12: boolean;
  readonly token: TokenSource;
  readonly clusterId: string;
  /** From `XDS_HEADER_*` or `CA_HEADER_*`; names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

const unreadable = (what: string, path: string, cause: unknown): GrpcError =>
  new GrpcError(
    'Unavailable',
    `${what} \`${path}\` cannot be read: ${cause instanceof Error ? cause.message : cause}`,
    {
      stage: 'start',
      transport: false,
      cause,
    },
  );

/** PEM of the roots as they are now. @throws GrpcError when the file cannot be read or holds no certificate */
export async function readRoots(roots: TrustRoots): Promise<string | readonly string[]> {
  switch (roots.kind) {
    case 'pem':
      return roots.pem;
    case 'system':
      return getCACertificates('system');
    case 'file': {
      const pem = await readFile(roots.path, 'utf8').catch((cause) => {
        throw unreadable('root certificate', roots.path, cause);
      });
      // An empty list would make TLS fall back to the public authorities.
      if (!pem.includes('-----BEGIN CERTIFICATE-----'))
        throw unreadable('root certificate', roots.path, new Error('it holds no certificate'));
      return pem;
    }
  }
}

async function readToken(source: TokenSource): Promise<string | undefined> {
  switch (source.kind) {
    case 'none':
      return undefined;
    case 'literal':
      return source.token;
    case 'file': {
      const text = await readFile(source.path, 'utf8').catch((cause) => {
        throw unreadable('token', source.path, cause);
      });
      return text.trim();
    }
  }
}

/** Metadata of one call, made anew each time. @throws GrpcError when the token cannot be read */
export async function callMetadata(access: ControlPlaneAccess): Promise<Record<string, string>> {
  const token = await readToken(access.token);
  if (token === undefined) return { ...access.headers };
  return { ...access.headers, authorization: `Bearer ${token}`, clusterid: access.clusterId };
}

/** A new connection, trusting `roots` (of `readRoots`). @throws GrpcError */
export const openConnection = (
  access: ControlPlaneAccess,
  roots: string | readonly string[],
  clock: Clock,
  signal?: AbortSignal,
): Promise<GrpcConnection> => connectGrpc({ ...access, roots }, clock, signal);
