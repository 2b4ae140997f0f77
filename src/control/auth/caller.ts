// Who is calling: the outcome of authentication, whichever way it was done.

/** A Kubernetes service account, as attested by the API server or by a certificate of ours. */
export interface Caller {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly via: 'token' | 'certificate';
  /** The pod that the token is bound to; only tokens tell. */
  readonly pod: { readonly name: string; readonly uid: string } | undefined;
  /** The node that the token says its pod is on (Kubernetes ≥ 1.32 tells it). */
  readonly node: string | undefined;
}

export const accountOf = (caller: Pick<Caller, 'namespace' | 'serviceAccount'>): string =>
  `${caller.namespace}/${caller.serviceAccount}`;
