// Reviews: questions about identity and access that are answered and not stored.

import { KubeError, type KubeObject } from '../../client/types.ts';
import { invalid, invalidField, required } from '../errors.ts';
import { isRecord } from '../schema/check.ts';
import type { Store } from '../store/store.ts';
import { type Attributes, authorize, rulesFor } from './rbac.ts';
import type { TokenAuthority } from './tokens.ts';
import { AUTHENTICATED, type UserInfo } from './user.ts';

export interface ReviewContext {
  readonly store: Store;
  readonly tokens: TokenAuthority;
}

/** Answers a review of any kind. @param namespace  of a LocalSubjectAccessReview's URL */
export async function answerReview(
  context: ReviewContext,
  kind: string,
  body: KubeObject,
  asker: UserInfo,
  namespace: string | undefined,
): Promise<KubeObject> {
  const spec = (isRecord((body as { spec?: unknown }).spec) ? (body as { spec: unknown }).spec : {}) as Spec;
  switch (kind) {
    case 'TokenReview':
      return withStatus(body, await reviewToken(context.tokens, spec));
    case 'SelfSubjectReview':
      return withStatus(body, { userInfo: shown(asker) });
    case 'SelfSubjectRulesReview':
      return withStatus(body, rulesStatus(context.store, asker, spec.namespace));
    case 'SelfSubjectAccessReview':
      return withStatus(body, accessStatus(context.store, asker, attributesOf(kind, spec)));
    case 'SubjectAccessReview':
      return withStatus(body, accessStatus(context.store, subjectOf(kind, spec), attributesOf(kind, spec)));
    case 'LocalSubjectAccessReview': {
      if (spec.resourceAttributes?.namespace !== namespace)
        throw refusal(
          kind,
          'spec.resourceAttributes.namespace',
          spec.resourceAttributes?.namespace,
          'must match the namespace of the URL',
        );
      return withStatus(body, accessStatus(context.store, subjectOf(kind, spec), attributesOf(kind, spec)));
    }
    default:
      throw new KubeError(404, 'NotFound', `nobody answers a ${kind}`, {});
  }
}

interface Spec {
  readonly token?: string;
  readonly audiences?: readonly string[];
  readonly namespace?: string;
  readonly user?: string;
  readonly uid?: string;
  readonly groups?: readonly string[];
  readonly resourceAttributes?: {
    readonly namespace?: string;
    readonly verb?: string;
    readonly group?: string;
    readonly resource?: string;
    readonly subresource?: string;
    readonly name?: string;
  };
  readonly nonResourceAttributes?: { readonly path?: string; readonly verb?: string };
}

function withStatus(body: KubeObject, status: object): KubeObject {
  return { ...body, metadata: body.metadata ?? {}, status } as KubeObject;
}

function refusal(kind: string, path: string, value: unknown, detail: string): KubeError {
  const fault = value === undefined ? required(path, detail) : invalidField(path, value, detail);
  const group = kind.includes('Access') ? 'authorization.k8s.io' : 'authentication.k8s.io';
  return invalid({ group, kind }, '', [fault]);
}

async function reviewToken(tokens: TokenAuthority, { token, audiences }: Spec): Promise<object> {
  if (!token) throw refusal('TokenReview', 'spec.token', undefined, 'a token is required');
  const verdict = await tokens.review(token, audiences);
  if (!verdict.ok) return { authenticated: false, user: {}, error: `[invalid bearer token, ${verdict.why}]` };
  return { authenticated: true, user: shown(verdict.user), audiences: verdict.audiences };
}

function shown({ username, uid, groups, extra }: UserInfo): object {
  return { username, ...(uid === undefined ? {} : { uid }), groups, ...(extra === undefined ? {} : { extra }) };
}

function subjectOf(kind: string, { user, uid, groups }: Spec): UserInfo {
  if (!user && !groups?.length)
    throw refusal(kind, 'spec.user', undefined, 'at least one of user or group must be specified');
  return { username: user ?? '', uid, groups: [...(groups ?? []), AUTHENTICATED] };
}

function attributesOf(kind: string, { resourceAttributes: resource, nonResourceAttributes: path }: Spec): Attributes {
  if ((resource === undefined) === (path === undefined))
    throw refusal(
      kind,
      'spec.resourceAttributes',
      undefined,
      'exactly one of nonResourceAttributes or resourceAttributes must be specified',
    );
  if (path !== undefined) return { kind: 'path', verb: (path.verb ?? '').toLowerCase(), path: path.path ?? '' };
  return {
    kind: 'resource',
    verb: resource?.verb ?? '*',
    group: resource?.group ?? '',
    resource: resource?.resource ?? '*',
    subresource: resource?.subresource || undefined,
    namespace: resource?.namespace || undefined,
    name: resource?.name || undefined,
  };
}

function accessStatus(store: Store, user: UserInfo, attributes: Attributes): object {
  const { allowed, reason } = authorize(store, user, attributes);
  return { allowed, ...(reason === '' ? {} : { reason }) };
}

function rulesStatus(store: Store, user: UserInfo, namespace: string | undefined): object {
  const rules = [...rulesFor(store, user, namespace)].map(({ rule }) => rule);
  const plain = ({ verbs, apiGroups = [], resources = [], resourceNames = [] }: (typeof rules)[number]) => ({
    verbs,
    apiGroups,
    resources,
    ...(resourceNames.length === 0 ? {} : { resourceNames }),
  });
  return {
    resourceRules: rules.filter(({ resources }) => resources?.length).map(plain),
    nonResourceRules: rules
      .filter(({ nonResourceURLs }) => nonResourceURLs?.length)
      .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    incomplete: false,
  };
}
