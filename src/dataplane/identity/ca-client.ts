// Asks the certificate service (istiod's, port 15012) for a workload's certificate. The private key is made here, stays in
// this process, and only the request and its public key leave.

import { formatSpiffeId, type SpiffeId, sameSpiffeId } from '../../model/identity.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import { ProtoReader } from '../../wire/protobuf/reader.ts';
import { ProtoWriter } from '../../wire/protobuf/writer.ts';
import { type ControlPlaneAccess, callMetadata, openConnection, readRoots } from '../grpc/access.ts';
import { type GrpcConnection, GrpcError } from '../grpc/connection.ts';
import { makeCertificateRequest } from './csr.ts';
import { readCertificateReply } from './reply.ts';
import type { WorkloadCertificate } from './workload-certificate.ts';

const PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate';
const TIMEOUT_MS = 10_000;
const MAX_REPLY_BYTES = 4 * 1024 * 1024;

const log = logger('ca');

/** `istio.v1.auth.IstioCertificateRequest` */
function writeRequest(csrPem: string, ttlSeconds: number, impersonated: SpiffeId | undefined): Uint8Array {
  const writer = new ProtoWriter().string(1, csrPem).number(3, ttlSeconds);
  return (
    impersonated === undefined ? writer : writer.struct(4, { ImpersonatedIdentity: formatSpiffeId(impersonated) })
  ).finish();
}

/** `istio.v1.auth.IstioCertificateResponse` @throws ProtoError */
function readChain(bytes: Uint8Array): string[] {
  const chain: string[] = [];
  const r = new ProtoReader(bytes);
  while (r.next())
    if (r.field === 1) chain.push(r.string());
    else r.skip();
  return chain;
}

/** Whoever can certify an identity; the cache needs nothing more of it. */
export interface CertificateSource {
  /** @throws Error with a message for people; GrpcError when the service could not be asked or refused */
  fetch(id: SpiffeId, signal: AbortSignal): Promise<WorkloadCertificate>;
}

export interface CaClientParts {
  readonly access: ControlPlaneAccess;
  /** Asked for; the service may give less. */
  readonly ttlSeconds: number;
  readonly clock: Clock;
  /** Whom the token itself proves: asked for without impersonation, which Istio grants to node proxies only. */
  readonly own?: SpiffeId;
}

interface Channel {
  readonly connection: GrpcConnection;
  /** PEM that it was opened with. */
  readonly roots: string;
}

export class CaClient implements CertificateSource {
  readonly #parts: CaClientParts;
  #channel: Channel | undefined;
  readonly #retired = new Set<{ readonly connection: GrpcConnection; readonly timer: Timer }>();
  #opening: Promise<GrpcConnection> | undefined;

  constructor(parts: CaClientParts) {
    this.#parts = parts;
  }

  async fetch(id: SpiffeId, signal: AbortSignal): Promise<WorkloadCertificate> {
    const { access, clock, own, ttlSeconds } = this.#parts;
    const { csrPem, privateKey } = await makeCertificateRequest(id);
    const isOwn = own !== undefined && sameSpiffeId(own, id);
    const request = writeRequest(csrPem, ttlSeconds, isOwn ? undefined : id);
    const connection = await this.#connection();
    const metadata = await callMetadata(access);
    const limits = { timeoutMs: TIMEOUT_MS, maxMessageBytes: MAX_REPLY_BYTES, signal };
    const bytes = await connection.unary(PATH, metadata, request, limits);
    let chain: string[];
    try {
      chain = readChain(bytes);
    } catch (cause) {
      throw new Error('the answer of the certificate service is not its message', { cause });
    }
    const certificate = readCertificateReply(chain, id, privateKey, clock.nowMs());
    if (!certificate.ok) throw new Error(certificate.error);
    return certificate.value;
  }

  /** Ends the connection; requests under way fail. */
  close(): void {
    this.#channel?.connection.close();
    this.#channel = undefined;
    for (const { connection, timer } of this.#retired) {
      timer.cancel();
      connection.close();
    }
    this.#retired.clear();
  }

  /** Requests on the present connection may finish. */
  #retire(): void {
    const before = this.#channel?.connection;
    if (before === undefined) return;
    const timer = this.#parts.clock.after(TIMEOUT_MS, () => {
      this.#retired.delete(retired);
      before.close();
    });
    const retired = { connection: before, timer };
    this.#retired.add(retired);
  }

  /** The one connection, opened again when it ended or when the trusted roots changed. */
  #connection(): Promise<GrpcConnection> {
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<GrpcConnection> {
    const { access, clock } = this.#parts;
    const held = this.#channel?.connection.usable ? this.#channel : undefined;
    let roots: string | readonly string[];
    try {
      roots = await readRoots(access.roots);
    } catch (error) {
      if (held === undefined) throw error;
      log.warn('trusted roots not read again; the present connection stays', { error: error as Error });
      return held.connection;
    }
    const text = [roots].flat().join('');
    if (held !== undefined && held.roots === text) return held.connection;
    try {
      const connection = await openConnection(access, roots, clock);
      this.#retire();
      this.#channel = { connection, roots: text };
      return connection;
    } catch (error) {
      if (held === undefined) throw error;
      log.warn('connection with the new trusted roots not made; the present one stays', { error: error as GrpcError });
      return held.connection;
    }
  }
}

/** What to write in an access log about a fetch that failed. */
export const describeFailure = (error: unknown): string =>
  error instanceof GrpcError
    ? `certificate service: ${error.status}: ${error.message}`
    : error instanceof Error
      ? error.message
      : String(error);
