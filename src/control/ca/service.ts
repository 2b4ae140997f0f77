// Istio's certificate service: a signing request in, a certificate with its chain and the roots out.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { formatSpiffeId, parseSpiffeId, type SpiffeId } from '../../model/identity.ts';
import type { Clock } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
} from '../../wire/gen/istio/v1/auth/citadel_pb.ts';
import type { Authenticate } from '../auth/authenticate.ts';
import { accountOf, type Caller } from '../auth/caller.ts';
import type { Call, Method } from '../grpc/call.ts';
import { GrpcFailure } from '../grpc/failure.ts';
import type { ControlMetrics } from '../metrics.ts';
import { issueLeaf } from './authority.ts';
import { readCsr } from './csr.ts';
import type { NodePermissions } from './impersonation.ts';
import { issuerChain, rootBundle, type Trust } from './trust.ts';

const log = logger('ca');

export const CREATE_CERTIFICATE_METHOD = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

export interface CertificateServiceOptions {
  readonly authenticate: Authenticate;
  readonly permissions: NodePermissions;
  readonly trust: () => Trust;
  readonly trustDomain: () => string;
  readonly clock: Clock;
  readonly metrics: ControlMetrics;
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
}

export function certificateService(options: CertificateServiceOptions): Method {
  return { kind: 'unary', answer: (call, request) => createCertificate(options, call, request) };
}

async function createCertificate(
  options: CertificateServiceOptions,
  call: Call,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const { metrics, clock } = options;
  metrics.csrs.inc();
  const caller = await options.authenticate(call).catch((error: unknown) => {
    metrics.authenticationFailures.inc();
    if (error instanceof GrpcFailure)
      log.info('certificate refused: the caller is not known', { peer: call.peer, reason: error.message });
    throw error;
  });
  const request = decode(bytes);
  const identity = await subjectOf(options, caller, request);
  const ttlSeconds = lifetime(options, request);
  const publicKey = await readCsr(request.csr);
  if (!publicKey.ok) {
    metrics.csrErrors.inc();
    throw new GrpcFailure('InvalidArgument', `csr: ${publicKey.error}`);
  }
  const trust = options.trust();
  const uri = formatSpiffeId(identity);
  let leaf: string;
  try {
    leaf = await issueLeaf(trust.bundle, publicKey.value, { uri }, ttlSeconds, clock.nowMs());
  } catch (error) {
    metrics.signingErrors.inc();
    log.error('certificate not signed', { identity: uri, error: error as Error });
    throw new GrpcFailure('Internal', 'the certificate could not be signed');
  }
  metrics.issued.inc();
  log.debug('certificate issued', { identity: uri, caller: accountOf(caller), seconds: ttlSeconds });
  const certChain = [leaf, ...issuerChain(trust), rootBundle(trust)];
  return toBinary(IstioCertificateResponseSchema, create(IstioCertificateResponseSchema, { certChain }));
}

function decode(bytes: Uint8Array): IstioCertificateRequest {
  try {
    return fromBinary(IstioCertificateRequestSchema, bytes);
  } catch {
    throw new GrpcFailure('InvalidArgument', 'the message is no IstioCertificateRequest');
  }
}

/** The caller's own identity, or another's that it may act for. @throws GrpcFailure Unauthenticated, as istiod answers */
async function subjectOf(
  { permissions, trustDomain, metrics }: CertificateServiceOptions,
  caller: Caller,
  { metadata }: IstioCertificateRequest,
): Promise<SpiffeId> {
  const { namespace, serviceAccount } = caller;
  const impersonated = metadata?.ImpersonatedIdentity;
  const own: SpiffeId = { trustDomain: trustDomain(), namespace, serviceAccount };
  // A proxy that names itself asks for nothing but its own.
  if (impersonated === undefined || impersonated === '' || impersonated === formatSpiffeId(own)) return own;
  const wanted = typeof impersonated === 'string' ? parseSpiffeId(impersonated) : undefined;
  const refusal = wanted?.ok
    ? await permissions.check(caller, wanted.value)
    : `the wanted identity is not valid${wanted === undefined ? '' : `: ${wanted.error}`}`;
  if (wanted?.ok && refusal === undefined) return wanted.value;
  metrics.idErrors.inc();
  log.warn('certificate refused', {
    caller: accountOf(caller),
    wanted: String(impersonated).slice(0, 300),
    reason: refusal,
  });
  throw new GrpcFailure('Unauthenticated', `may not act for this identity: ${refusal}`);
}

function lifetime(
  { defaultTtlSeconds, maxTtlSeconds }: CertificateServiceOptions,
  { validityDuration }: IstioCertificateRequest,
): number {
  if (validityDuration <= 0n) return defaultTtlSeconds;
  if (validityDuration > BigInt(maxTtlSeconds))
    throw new GrpcFailure(
      'InvalidArgument',
      `validity_duration: ${validityDuration} s is more than the ${maxTtlSeconds} s that are allowed`,
    );
  return Number(validityDuration);
}
