// Finds out who makes a call: by a verified client certificate, else by its bearer token, as istiod orders them.

import { parseSpiffeId } from '../../model/identity.ts';
import { subjectUris } from '../../platform/tls/der.ts';
import type { Call } from '../grpc/call.ts';
import { GrpcFailure } from '../grpc/failure.ts';
import type { Caller } from './caller.ts';
import type { TokenAuthenticator } from './token.ts';

export type Authenticate = (call: Call) => Promise<Caller>;

/** The account in a certificate of ours, when it is of our trust domain and names exactly one. */
function fromCertificate(der: Uint8Array, trustDomain: string): Caller | undefined {
  const uris = subjectUris(der);
  const id = parseSpiffeId(uris[0] ?? '');
  if (uris.length !== 1 || !id.ok || id.value.trustDomain !== trustDomain) return undefined;
  const { namespace, serviceAccount } = id.value;
  return { namespace, serviceAccount, via: 'certificate', pod: undefined, node: undefined };
}

const BEARER = /^Bearer ([!-~]+)$/;

/** @throws GrpcFailure Unauthenticated; Unavailable when the API server could not be asked */
export const authenticator =
  (tokens: TokenAuthenticator, trustDomain: () => string): Authenticate =>
  async (call) => {
    const caller = call.clientCertificate && fromCertificate(call.clientCertificate, trustDomain());
    if (caller !== undefined) return caller;
    const token = BEARER.exec(call.headers.authorization?.trim() ?? '')?.[1];
    if (token === undefined) throw new GrpcFailure('Unauthenticated', 'no bearer token and no client certificate');
    const verdict = await tokens.authenticate(token);
    if (verdict.ok) return verdict.value;
    const { kind, message } = verdict.error;
    throw new GrpcFailure(kind === 'refused' ? 'Unauthenticated' : 'Unavailable', message);
  };
