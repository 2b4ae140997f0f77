// Who may do what: Roles, ClusterRoles and their bindings, evaluated for each request (Kubernetes: "Using RBAC
// Authorization"). Nothing is allowed that no rule allows.

import type { IClusterRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole';
import type { IRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/RoleBinding';
import type { Store } from '../store/store.ts';
import { MASTERS, type UserInfo } from './user.ts';

export type Attributes =
  | {
      readonly kind: 'resource';
      readonly verb: string;
      readonly group: string;
      readonly resource: string;
      readonly subresource?: string | undefined;
      readonly namespace?: string | undefined;
      readonly name?: string | undefined;
    }
  | { readonly kind: 'path'; readonly verb: string; readonly path: string };

export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[] | undefined;
  readonly resources?: readonly string[] | undefined;
  readonly resourceNames?: readonly string[] | undefined;
  readonly nonResourceURLs?: readonly string[] | undefined;
}

export type Verdict =
  | { readonly allowed: true; readonly reason: string }
  | { readonly allowed: false; readonly reason: string };

const RBAC = 'rbac.authorization.k8s.io';
const EVERYTHING: PolicyRule = { verbs: ['*'], apiGroups: ['*'], resources: ['*'], nonResourceURLs: ['*'] };

export function authorize(store: Store, user: UserInfo, attributes: Attributes): Verdict {
  const namespace = attributes.kind === 'resource' ? attributes.namespace : undefined;
  for (const { rule, because } of rulesFor(store, user, namespace))
    if (covers(rule, attributes)) return { allowed: true, reason: because };
  return { allowed: false, reason: '' };
}

interface GrantedRule {
  readonly rule: PolicyRule;
  readonly because: string;
}

/** Rules that a user has in a namespace (undefined: in all of them, cluster-scoped objects and paths). */
export function* rulesFor(store: Store, user: UserInfo, namespace: string | undefined): Generator<GrantedRule> {
  if (user.groups.includes(MASTERS)) yield { rule: EVERYTHING, because: `member of ${MASTERS}` };
  const bindings = [
    ...store.list(`${RBAC}/clusterrolebindings`),
    ...(namespace === undefined ? [] : store.list(`${RBAC}/rolebindings`, namespace)),
  ];
  for (const { object } of bindings) {
    const binding = object as IRoleBinding;
    const subject = binding.subjects?.find((one) => isSubject(one, user));
    if (subject === undefined) continue;
    const { kind, name } = binding.roleRef;
    const role = (
      kind === 'Role'
        ? store.get(`${RBAC}/roles`, binding.metadata?.namespace ?? '', name)
        : store.get(`${RBAC}/clusterroles`, '', name)
    )?.object as IClusterRole | undefined;
    const because = `RBAC: allowed by ${binding.kind} "${binding.metadata?.name}" of ${kind} "${name}" to ${subject.kind} "${subject.name}"`;
    for (const rule of role?.rules ?? []) yield { rule, because };
  }
}

function isSubject(subject: { kind: string; name: string; namespace?: string }, user: UserInfo): boolean {
  switch (subject.kind) {
    case 'User':
      return subject.name === user.username;
    case 'Group':
      return user.groups.includes(subject.name);
    case 'ServiceAccount':
      return user.username === `system:serviceaccount:${subject.namespace ?? ''}:${subject.name}`;
    default:
      return false;
  }
}

function covers(rule: PolicyRule, attributes: Attributes): boolean {
  if (!has(rule.verbs, attributes.verb)) return false;
  if (attributes.kind === 'path')
    return (rule.nonResourceURLs ?? []).some((url) =>
      url.endsWith('*') ? attributes.path.startsWith(url.slice(0, -1)) : url === attributes.path,
    );
  const { group, resource, subresource, name } = attributes;
  const full = subresource === undefined ? resource : `${resource}/${subresource}`;
  if (!has(rule.apiGroups, group)) return false;
  const names = rule.resourceNames ?? [];
  if (names.length > 0 && (name === undefined || !names.includes(name))) return false;
  return (rule.resources ?? []).some(
    (one) => one === '*' || one === full || (subresource !== undefined && one === `*/${subresource}`),
  );
}

function has(list: readonly string[] | undefined, wanted: string): boolean {
  return list?.some((one) => one === '*' || one === wanted) === true;
}

/** The sentence that kubectl's users know. */
export function refusalText(user: UserInfo, attributes: Attributes): string {
  const who = `User "${user.username}" cannot ${attributes.verb}`;
  if (attributes.kind === 'path') return `${who} path "${attributes.path}"`;
  const { resource, subresource, group, namespace } = attributes;
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  return `${who} resource "${what}" in API group "${group}" ${where}`;
}
