// AuthorizationPolicy -> the policy that a proxy for requests enforces. Nothing is left out here as it is for ztunnel; what
// cannot be read is taken so that the policy refuses more, never less.

import type { RequestField, TextPredicate } from '../../model/facts.ts';
import { parsePathTemplate } from '../../model/http/path-template.ts';
import type {
  ConditionSet,
  HttpCondition,
  HttpPolicy,
  HttpPolicyAction,
  HttpPolicyRule,
  HttpQuestion,
} from '../../model/http/policy.ts';
import { claimField, headerField } from '../../model/http/request.ts';
import { parseCidr } from '../../model/ip.ts';
import { metaKey } from '../objects/meta.ts';
import type { AuthorizationPolicy, AuthorizationRule, FieldValues } from '../objects/security.ts';
import { integer } from '../read.ts';

export interface AuthorizationContext {
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  /** Whether the mesh configuration has an external authorizer of this name. */
  knowsProvider(name: string): boolean;
}

export interface ConvertedHttpPolicy {
  readonly policy: HttpPolicy;
  /** What was not understood, with its field. */
  readonly problems: readonly string[];
}

/** How the values of a list are read, and what they are asked of. Undefined: the value cannot be read. */
type ReadValue = (value: string, policy: Surroundings) => readonly HttpQuestion[] | undefined;

interface Surroundings extends AuthorizationContext {
  readonly namespace: string;
}

/** `*`: present; `*x`: suffix; `x*`: prefix; anything else: exactly that. */
function readText(value: string): TextPredicate {
  if (value === '*') return { kind: 'present' };
  if (value.startsWith('*')) return { kind: 'suffix', value: value.slice(1) };
  if (value.endsWith('*')) return { kind: 'prefix', value: value.slice(0, -1) };
  return { kind: 'exact', value };
}

const ofText =
  (field: RequestField): ReadValue =>
  (value) => [{ field, predicate: readText(value) }];

const ofRange =
  (field: RequestField): ReadValue =>
  (value) => {
    const range = parseCidr(value);
    return range.ok ? [{ field, predicate: { kind: 'cidr', range: range.value } }] : undefined;
  };

const ofPort: ReadValue = (value) => {
  const port = integer(value);
  if (port === undefined || port < 1 || port > 65_535) return undefined;
  return [{ field: 'destination.port', predicate: { kind: 'port', port } }];
};

/** A client may write its Host with a port; letters of host names have no case. */
const ofHost: ReadValue = (value) => {
  const predicate = readText(value.toLowerCase());
  return [
    { field: 'request.host', predicate },
    { field: 'request.authority', predicate },
  ];
};

const ofPath: ReadValue = (value) => {
  if (!value.includes('{')) return [{ field: 'request.path', predicate: readText(value) }];
  const parts = parsePathTemplate(value);
  return parts.ok ? [{ field: 'request.path', predicate: { kind: 'pathTemplate', parts: parts.value } }] : undefined;
};

const ofAccount: ReadValue = (value, { namespace }) => [
  {
    field: 'source.serviceAccount',
    predicate: { kind: 'exact', value: value.includes('/') ? value : `${namespace}/${value}` },
  },
];

const PRINCIPAL = /^([^/*]+)(\/ns\/[^/]+\/sa\/[^/]+)$/;

/** A whole principal of this mesh stands for the same account under every name that the mesh has. */
const ofPrincipal: ReadValue = (value, { trustDomain, trustDomainAliases }) => {
  const whole = PRINCIPAL.exec(value);
  const names = [trustDomain, ...trustDomainAliases];
  if (whole === null || !(names.includes(whole[1] as string) || whole[1] === 'cluster.local'))
    return [{ field: 'source.principal', predicate: readText(value) }];
  const all = new Set([value, ...names.map((name) => `${name}${whole[2]}`)]);
  return [...all].map((one) => ({ field: 'source.principal', predicate: { kind: 'exact', value: one } }));
};

const SOURCE: Readonly<Record<string, ReadValue>> = {
  principals: ofPrincipal,
  requestPrincipals: ofText('request.principal'),
  namespaces: ofText('source.namespace'),
  serviceAccounts: ofAccount,
  ipBlocks: ofRange('source.ip'),
  remoteIpBlocks: ofRange('remote.ip'),
  trustDomains: ofText('source.trustDomain'),
};
const OPERATION: Readonly<Record<string, ReadValue>> = {
  hosts: ofHost,
  ports: ofPort,
  methods: ofText('request.method'),
  paths: ofPath,
};
const WHEN: Readonly<Record<string, ReadValue>> = {
  'source.ip': ofRange('source.ip'),
  'source.namespace': ofText('source.namespace'),
  'source.principal': ofPrincipal,
  'source.serviceAccount': ofAccount,
  'source.trustDomain': ofText('source.trustDomain'),
  'destination.ip': ofRange('destination.ip'),
  'destination.port': ofPort,
  'remote.ip': ofRange('remote.ip'),
  'connection.sni': ofText('connection.sni'),
  'request.auth.principal': ofText('request.principal'),
  'request.auth.audiences': ofText('request.audience'),
  'request.auth.presenter': ofText('request.presenter'),
};
const HEADER = /^request\.headers\[([^\]]+)\]$/;
const CLAIM = /^request\.auth\.claims((?:\[[^\]]+\])+)$/;

/** `notPaths` -> `paths`, negated. */
function positive(field: string): { readonly name: string; readonly negated: boolean } {
  if (!/^not[A-Z]/.test(field)) return { name: field, negated: false };
  return { name: `${field.charAt(3).toLowerCase()}${field.slice(4)}`, negated: true };
}

function whenReader(key: string): ReadValue | undefined {
  if (Object.hasOwn(WHEN, key)) return WHEN[key];
  const header = HEADER.exec(key)?.[1];
  if (header !== undefined) return ofText(headerField(header));
  const claims = CLAIM.exec(key)?.[1];
  return claims === undefined
    ? undefined
    : ofText(claimField([...claims.matchAll(/\[([^\]]+)\]/g)].map(([, name = '']) => name)));
}

/** Marks a rule of ALLOW that must not match, since a restriction of it cannot be read. */
const NOTHING = 'nothing';
type Read = ConditionSet | typeof NOTHING;

class RuleConverter {
  readonly problems: string[] = [];
  private readonly allows: boolean;
  private readonly around: Surroundings;

  constructor(action: HttpPolicyAction['kind'], around: Surroundings) {
    this.allows = action === 'allow';
    this.around = around;
  }

  convert(rule: AuthorizationRule, place: string): HttpPolicyRule | undefined {
    for (const malformed of rule.malformed) this.problems.push(`${place}.${malformed}: not of the right type`);
    if (rule.malformed.length > 0 && this.allows) return undefined;
    const from = this.sets(rule.from, SOURCE, `${place}.from`, 'source');
    const to = this.sets(rule.to, OPERATION, `${place}.to`, 'operation');
    const when = this.when(rule, place);
    if (from === NOTHING || to === NOTHING || when === NOTHING) return undefined;
    return { from, to, when };
  }

  /** Entries are alternatives: one that cannot be read is left out, and if none is left the whole matches nothing. */
  private sets(
    entries: readonly FieldValues[],
    readers: Readonly<Record<string, ReadValue>>,
    place: string,
    what: string,
  ): readonly ConditionSet[] | typeof NOTHING {
    const read = entries.map((entry, at) => this.set(entry, readers, `${place}[${at}].${what}`));
    const good = read.filter((set): set is ConditionSet => set !== NOTHING);
    return entries.length > 0 && good.length === 0 ? NOTHING : good;
  }

  private set(entry: FieldValues, readers: Readonly<Record<string, ReadValue>>, place: string): Read {
    const conditions: HttpCondition[] = [];
    for (const [field, values] of Object.entries(entry)) {
      const { name, negated } = positive(field);
      const reader = Object.hasOwn(readers, name) ? readers[name] : undefined;
      const condition = this.condition(field, values, negated, reader, `${place}.${field}`);
      if (condition === NOTHING) return NOTHING;
      if (condition !== undefined) conditions.push(condition);
    }
    return conditions;
  }

  private when({ when }: AuthorizationRule, place: string): Read {
    const conditions: HttpCondition[] = [];
    for (const [at, { key, values, notValues }] of when.entries()) {
      const reader = whenReader(key);
      for (const [list, negated] of [
        [values, false],
        [notValues, true],
      ] as const) {
        if (list.length === 0 && reader !== undefined) continue;
        const condition = this.condition(key, list, negated, reader, `${place}.when[${at}].${key}`);
        if (condition === NOTHING) return NOTHING;
        if (condition !== undefined) conditions.push(condition);
      }
    }
    return conditions;
  }

  /**
   * @returns undefined where a condition must fall away: in a policy that does not allow, a restriction that cannot be read
   */
  private condition(
    list: string,
    values: readonly string[],
    negated: boolean,
    reader: ReadValue | undefined,
    place: string,
  ): HttpCondition | typeof NOTHING | undefined {
    if (reader === undefined) {
      this.problems.push(`${place}: not known`);
      return this.allows ? NOTHING : undefined;
    }
    const anyOf: HttpQuestion[] = [];
    let unread = 0;
    for (const value of values) {
      const questions = reader(value, this.around);
      if (questions === undefined) {
        unread++;
        this.problems.push(`${place}: \`${value}\` cannot be read`);
      } else anyOf.push(...questions);
    }
    if (unread > 0 && this.allows && negated) return NOTHING; // an exception got lost
    if (unread === values.length && unread > 0) return this.allows ? NOTHING : undefined;
    return { list, negated, anyOf };
  }
}

function actionOf(policy: AuthorizationPolicy, context: AuthorizationContext): HttpPolicyAction | undefined {
  switch (policy.action) {
    case 'ALLOW':
      return { kind: 'allow' };
    case 'DENY':
      return { kind: 'deny' };
    case 'AUDIT':
      return { kind: 'audit' };
    case 'CUSTOM':
      return { kind: 'custom', provider: { name: policy.provider, known: context.knowsProvider(policy.provider) } };
    default:
      return undefined;
  }
}

/** @returns a policy that denies everything for an action that is not known */
export function toHttpPolicy(source: AuthorizationPolicy, context: AuthorizationContext): ConvertedHttpPolicy {
  const key = metaKey(source);
  const action = actionOf(source, context);
  if (action === undefined) {
    const problems = [`action: \`${source.action}\` is not known; everything is denied`];
    return { policy: { key, action: { kind: 'deny' }, dryRun: false, anyRule: [EVERYTHING] }, problems };
  }
  const converter = new RuleConverter(action.kind, { ...context, namespace: source.namespace });
  const anyRule = source.rules.flatMap((rule, at) => converter.convert(rule, `rules[${at}]`) ?? []);
  return { policy: { key, action, dryRun: source.dryRun, anyRule }, problems: converter.problems };
}

const EVERYTHING: HttpPolicyRule = { from: [], to: [], when: [] };
