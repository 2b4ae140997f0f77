// Service accounts' tokens: issued by TokenRequest, bound to a pod, checked on every request and by TokenReview
// (Kubernetes: "Managing Service Accounts", bound tokens).

import { createHash, createPrivateKey, createPublicKey, type KeyObject, randomUUID } from 'node:crypto';
import { errors, exportJWK, type JWK, jwtVerify, SignJWT } from 'jose';
import type { ITokenRequest } from 'kubernetes-models/authentication.k8s.io/v1/TokenRequest';
import type { KubeError, KubeObject } from '../../client/types.ts';
import { conflict, type FieldFault, invalid, invalidField, notFound } from '../errors.ts';
import { isRecord } from '../schema/check.ts';
import type { Store } from '../store/store.ts';
import { serviceAccountGroups, serviceAccountUser, type UserInfo } from './user.ts';

export const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const DEFAULT_SECONDS = 3600;
const MIN_SECONDS = 600;
const MAX_SECONDS = 86_400 * 365;
const MAX_AUDIENCES = 16;
const MAX_KNOWN = 4096;
const MAX_TOKEN_CHARS = 16_384;

interface BoundObject {
  readonly name: string;
  readonly uid: string;
}

interface Claims {
  readonly namespace: string;
  readonly serviceaccount: BoundObject;
  readonly pod?: BoundObject | undefined;
  readonly secret?: BoundObject | undefined;
  readonly node?: BoundObject | undefined;
}

interface Verified {
  readonly claims: Claims;
  readonly audiences: readonly string[];
  readonly expiresMs: number;
  readonly id: string;
}

export type TokenVerdict =
  | { readonly ok: true; readonly user: UserInfo; readonly audiences: readonly string[] }
  | { readonly ok: false; readonly why: string };

export class TokenAuthority {
  readonly #store: Store;
  readonly #now: () => Date;
  readonly #privateKey: KeyObject;
  readonly #publicKey: KeyObject;
  readonly #keyId: string;
  /** Signatures that were found good, by token; what they are bound to is looked up every time. */
  readonly #known = new Map<string, Verified>();

  constructor(keyPem: string, store: Store, now: () => Date) {
    this.#store = store;
    this.#now = now;
    this.#privateKey = createPrivateKey(keyPem);
    this.#publicKey = createPublicKey(this.#privateKey);
    const der = this.#publicKey.export({ type: 'spki', format: 'der' });
    this.#keyId = createHash('sha256').update(der).digest('base64url');
  }

  /** The key set that others may verify tokens with. */
  async keySet(): Promise<{ keys: JWK[] }> {
    return { keys: [{ ...(await exportJWK(this.#publicKey)), use: 'sig', alg: 'ES256', kid: this.#keyId }] };
  }

  /**
   * Answers a TokenRequest.
   * @throws KubeError 404 for what does not exist, 409 for a pod of another uid, 422 for what may not be asked
   */
  async request(namespace: string, name: string, body: unknown): Promise<ITokenRequest> {
    const account = this.#store.get('/serviceaccounts', namespace, name)?.object;
    if (account === undefined) throw notFound({ group: '', plural: 'serviceaccounts' }, name);
    const spec = (isRecord(body) && isRecord(body.spec) ? body.spec : {}) as Partial<
      NonNullable<ITokenRequest['spec']>
    >;
    refuseInvalid(name, spec);
    const audiences = spec.audiences?.length ? [...spec.audiences] : [ISSUER];
    const seconds = Math.min(spec.expirationSeconds ?? DEFAULT_SECONDS, MAX_SECONDS);
    const issuedAt = Math.floor(this.#now().getTime() / 1000);
    const claims: Claims = {
      namespace,
      serviceaccount: { name, uid: account.metadata?.uid ?? '' },
      ...this.#bound(namespace, name, spec.boundObjectRef),
    };
    const token = await new SignJWT({ 'kubernetes.io': claims })
      .setProtectedHeader({ alg: 'ES256', kid: this.#keyId })
      .setIssuer(ISSUER)
      .setSubject(serviceAccountUser(namespace, name))
      .setAudience(audiences)
      .setIssuedAt(issuedAt)
      .setNotBefore(issuedAt)
      .setExpirationTime(issuedAt + seconds)
      .setJti(randomUUID())
      .sign(this.#privateKey);
    const { boundObjectRef } = spec;
    return {
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      metadata: { name, namespace },
      spec: { audiences, expirationSeconds: seconds, ...(boundObjectRef ? { boundObjectRef } : {}) },
      status: { token, expirationTimestamp: new Date((issuedAt + seconds) * 1000).toISOString().replace('.000Z', 'Z') },
    };
  }

  #bound(
    namespace: string,
    account: string,
    ref: { kind?: string; name?: string; uid?: string } | undefined,
  ): Partial<Claims> {
    if (ref === undefined) return {};
    const { kind = '', name = '' } = ref;
    const plural = BINDABLE[kind];
    if (plural === undefined)
      throw badBinding(account, invalidField('spec.boundObjectRef.kind', kind, 'use Pod, Secret or Node'));
    const object = this.#store.get(`/${plural}`, kind === 'Node' ? '' : namespace, name)?.object as BoundTo | undefined;
    if (object === undefined) throw notFound({ group: '', plural }, name);
    const uid = object.metadata?.uid ?? '';
    if (ref.uid && ref.uid !== uid)
      throw conflict(
        { group: '', plural },
        name,
        `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
      );
    if (kind === 'Secret') return { secret: { name, uid } };
    if (kind === 'Node') return { node: { name, uid } };
    if (object.spec?.serviceAccountName !== account)
      throw badBinding(
        account,
        invalidField(
          'spec.boundObjectRef.name',
          name,
          `cannot bind token for serviceaccount "${account}" to pod running with different serviceaccount name`,
        ),
      );
    const node = this.#store.get('/nodes', '', object.spec.nodeName ?? '')?.object;
    return {
      pod: { name, uid },
      ...(node === undefined ? {} : { node: { name: node.metadata?.name ?? '', uid: node.metadata?.uid ?? '' } }),
    };
  }

  /**
   * Who a token belongs to, if it is one of ours, in time, meant for one of these audiences, and what it is bound to lives.
   * @param audiences  undefined: the API's own
   */
  async review(token: string, audiences: readonly string[] | undefined): Promise<TokenVerdict> {
    const wanted = audiences?.length ? audiences : [ISSUER];
    const verified = await this.#verify(token);
    if (typeof verified === 'string') return { ok: false, why: verified };
    const shared = wanted.filter((audience) => verified.audiences.includes(audience));
    if (shared.length === 0)
      return {
        ok: false,
        why: `token audiences ${JSON.stringify(verified.audiences)} is invalid for the target audiences ${JSON.stringify(wanted)}`,
      };
    const why = this.#whyDead(verified.claims);
    return why === undefined ? { ok: true, user: userOf(verified), audiences: shared } : { ok: false, why };
  }

  async #verify(token: string): Promise<Verified | string> {
    const nowMs = this.#now().getTime();
    const known = this.#known.get(token);
    if (known !== undefined) {
      if (nowMs < known.expiresMs) return known;
      this.#known.delete(token);
      return 'the token has expired';
    }
    if (token.length > MAX_TOKEN_CHARS) return 'the token is too long';
    try {
      const { payload } = await jwtVerify(token, this.#publicKey, {
        issuer: ISSUER,
        algorithms: ['ES256'],
        currentDate: new Date(nowMs),
        requiredClaims: ['exp', 'aud'],
      });
      const claims = payload['kubernetes.io'];
      if (!isClaims(claims)) return 'the token has no claims of a service account';
      const audiences = Array.isArray(payload.aud) ? payload.aud : [payload.aud ?? ''];
      const verified = { claims, audiences, expiresMs: (payload.exp ?? 0) * 1000, id: payload.jti ?? '' };
      if (this.#known.size >= MAX_KNOWN) this.#known.delete(this.#known.keys().next().value ?? '');
      this.#known.set(token, verified);
      return verified;
    } catch (error) {
      if (error instanceof errors.JWTExpired) return 'the token has expired';
      return 'the token is not signed by this cluster';
    }
  }

  #whyDead({ namespace, serviceaccount, pod, secret }: Claims): string | undefined {
    const alive = (collection: string, { name, uid }: BoundObject) =>
      this.#store.get(collection, namespace, name)?.object.metadata?.uid === uid;
    if (!alive('/serviceaccounts', serviceaccount)) return 'service account has been deleted';
    if (pod !== undefined && !alive('/pods', pod)) return 'pod has been deleted';
    if (secret !== undefined && !alive('/secrets', secret)) return 'secret has been deleted';
    return undefined;
  }
}

type BoundTo = KubeObject & { spec?: { serviceAccountName?: string; nodeName?: string } };

const BINDABLE: Readonly<Record<string, string>> = { Pod: 'pods', Secret: 'secrets', Node: 'nodes' };

function refuseInvalid(
  name: string,
  { expirationSeconds, audiences }: Partial<NonNullable<ITokenRequest['spec']>>,
): void {
  const faults: FieldFault[] = [];
  if (expirationSeconds !== undefined && !(Number.isInteger(expirationSeconds) && expirationSeconds >= MIN_SECONDS))
    faults.push(
      invalidField('spec.expirationSeconds', expirationSeconds, 'may not specify a duration less than 10 minutes'),
    );
  if (
    audiences !== undefined &&
    !(
      Array.isArray(audiences) &&
      audiences.length <= MAX_AUDIENCES &&
      audiences.every((one) => typeof one === 'string')
    )
  )
    faults.push(invalidField('spec.audiences', undefined, `must be a list of at most ${MAX_AUDIENCES} names`));
  if (faults.length > 0) throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, name, faults);
}

function badBinding(name: string, fault: FieldFault): KubeError {
  return invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, name, [fault]);
}

function isClaims(value: unknown): value is Claims {
  return isRecord(value) && typeof value.namespace === 'string' && isRecord(value.serviceaccount);
}

function userOf({ claims, id }: Verified): UserInfo {
  const { namespace, serviceaccount, pod, node } = claims;
  return {
    username: serviceAccountUser(namespace, serviceaccount.name),
    uid: serviceaccount.uid,
    groups: serviceAccountGroups(namespace),
    extra: {
      'authentication.kubernetes.io/credential-id': [`JTI=${id}`],
      ...(node === undefined
        ? {}
        : {
            'authentication.kubernetes.io/node-name': [node.name],
            'authentication.kubernetes.io/node-uid': [node.uid],
          }),
      ...(pod === undefined
        ? {}
        : {
            'authentication.kubernetes.io/pod-name': [pod.name],
            'authentication.kubernetes.io/pod-uid': [pod.uid],
          }),
    },
  };
}
