// What Istio refuses in an AuthorizationPolicy.

import { parsePathTemplate } from '../../model/http/path-template.ts';
import type { Field } from '../field.ts';
import { checkAttachment } from './common.ts';
import type { Faults } from './faults.ts';

const SOURCE_PAIRS = [
  'principals',
  'requestPrincipals',
  'namespaces',
  'serviceAccounts',
  'ipBlocks',
  'remoteIpBlocks',
  'trustDomains',
] as const;
const OPERATION_PAIRS = ['hosts', 'ports', 'methods', 'paths'] as const;
/** Whole names of `when` keys; those with `[…]` behind them are told by their beginning. */
const KEYS: ReadonlySet<string> = new Set([
  'source.ip',
  'remote.ip',
  'source.namespace',
  'source.serviceAccount',
  'source.principal',
  'source.trustDomain',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'destination.ip',
  'destination.port',
  'connection.sni',
]);
const KEYS_WITH_NAMES = ['request.headers', 'request.auth.claims', 'experimental.envoy.filters.'];

const negated = (name: string): string => `not${name[0]?.toUpperCase()}${name.slice(1)}`;

export function validateAuthorizationPolicy(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkAttachment(spec, faults);
  const action = spec.at('action').text || 'ALLOW';
  checkProvider(spec, action, faults);
  for (const rule of spec.at('rules').items()) {
    for (const source of entriesOf(rule, 'from', 'source', faults)) checkSource(source, action, faults);
    for (const operation of entriesOf(rule, 'to', 'operation', faults)) checkOperation(operation, faults);
    for (const condition of rule.at('when').items()) checkCondition(condition, action, faults);
    if (action === 'DENY') warnOfTcp(rule, faults);
  }
}

function checkProvider(spec: Field, action: string, faults: Faults): void {
  if (action === 'CUSTOM') {
    faults.needs(spec.at('provider', 'name'), 'action CUSTOM asks the authorizer that provider.name names');
    if (spec.at('rules').items().length === 0)
      faults.warn(spec, 'without rules nothing is asked of the authorizer: `rules: [{}]` asks about everything');
  } else if (spec.at('provider').isSet)
    faults.forbidden(spec.at('provider'), `only action CUSTOM asks a provider, not ${action}`);
}

/** Entries of `from` and `to`: an empty one would look like a restriction and be none. */
function entriesOf(rule: Field, name: 'from' | 'to', inner: string, faults: Faults): Field[] {
  const entries = rule.at(name).items();
  if (rule.at(name).isSet && entries.length === 0)
    faults.invalid(rule.at(name), 'must not be empty: leave it out to match everything');
  return entries.flatMap((entry) => {
    if (Object.keys(entry.at(inner).record).length > 0) return [entry.at(inner)];
    faults.required(entry.at(inner), 'must set at least one field');
    return [];
  });
}

/** Every list that is written must have values, none of them empty. */
function listsOf(at: Field, pairs: readonly string[], faults: Faults): [string, Field[]][] {
  return pairs.flatMap((name) =>
    [name, negated(name)].flatMap((field): [string, Field[]][] => {
      if (!at.at(field).isSet) return [];
      const values = at.at(field).items();
      if (values.length === 0) faults.invalid(at.at(field), 'must not be empty: leave it out to match everything');
      for (const value of values) if (value.text === '') faults.invalid(value, 'must not be empty');
      return [[name, values]];
    }),
  );
}

function checkSource(source: Field, action: string, faults: Faults): void {
  const both = ['serviceAccounts', 'notServiceAccounts'].some((name) => source.at(name).isSet);
  if (both && source.among('principals', 'notPrincipals', 'namespaces', 'notNamespaces').length > 0)
    faults.invalid(source, 'serviceAccounts cannot be combined with principals or namespaces');
  for (const [name, values] of listsOf(source, SOURCE_PAIRS, faults))
    for (const value of values) {
      if (name === 'ipBlocks' || name === 'remoteIpBlocks') faults.range(value);
      if (name === 'serviceAccounts') checkAccount(value, faults);
      if (name === 'principals' && value.text.startsWith('spiffe://'))
        faults.warn(value, 'a principal is written without `spiffe://`: with it, it never matches');
      if (name === 'requestPrincipals' && action === 'CUSTOM')
        faults.forbidden(value, 'action CUSTOM is decided before tokens are read: take out requestPrincipals');
    }
}

function checkAccount(value: Field, faults: Faults): void {
  if (value.text.includes('*')) faults.invalid(value, 'service accounts take no wildcards');
  if (value.text.split('/').length > 2 || value.text.split('/').includes(''))
    faults.invalid(value, 'must be <account> or <namespace>/<account>');
}

function checkOperation(operation: Field, faults: Faults): void {
  for (const [name, values] of listsOf(operation, OPERATION_PAIRS, faults))
    for (const value of values) {
      if (name === 'ports') checkPortText(value, faults);
      if (name === 'paths' && /[{}]/.test(value.text)) {
        const template = parsePathTemplate(value.text);
        if (!template.ok) faults.invalid(value, template.error);
      }
      if (name === 'methods' && value.text !== value.text.toUpperCase())
        faults.warn(value, 'methods are compared letter by letter: this one never matches');
    }
}

function checkPortText(value: Field, faults: Faults): void {
  if (!/^\d{1,5}$/.test(value.text) || Number(value.text) < 1 || Number(value.text) > 65_535)
    faults.invalid(value, 'must be a port from 1 to 65535, written as text');
}

function checkCondition(condition: Field, action: string, faults: Faults): void {
  const key = condition.at('key');
  if (!faults.needs(key)) return;
  const named = KEYS_WITH_NAMES.find((prefix) => key.text.startsWith(prefix));
  if (named === undefined && !KEYS.has(key.text)) faults.invalid(key, 'is no attribute that a condition may ask about');
  else if (named === 'request.headers' && !/^request\.headers\[[^[\]]+\]$/.test(key.text))
    faults.invalid(key, 'must name a header: request.headers[x-name]');
  else if (named === 'request.auth.claims' && !/^request\.auth\.claims(\[[^[\]]+\])+$/.test(key.text))
    faults.invalid(key, 'must name a claim: request.auth.claims[name]');
  if (key.text.startsWith('request.auth.') && action === 'CUSTOM')
    faults.forbidden(key, 'action CUSTOM is decided before tokens are read');
  const values = [...condition.at('values').items(), ...condition.at('notValues').items()];
  if (values.length === 0) faults.required(condition, 'values or notValues must be set');
  for (const value of values) {
    if (key.text.endsWith('.ip')) faults.range(value);
    if (key.text === 'destination.port') checkPortText(value, faults);
    if (key.text === 'source.serviceAccount') checkAccount(value, faults);
  }
}

const HTTP_ONLY = ['hosts', 'methods', 'paths', 'requestPrincipals', 'remoteIpBlocks'];

/** On a TCP port the HTTP parts of a DENY are ignored: a rule that has only those denies every connection. */
function warnOfTcp(rule: Field, faults: Faults): void {
  const sources = rule
    .at('from')
    .items()
    .map((entry) => entry.at('source'));
  const operations = rule
    .at('to')
    .items()
    .map((entry) => entry.at('operation'));
  const keys = rule
    .at('when')
    .items()
    .map((condition) => condition.at('key').text);
  const fields = [...sources, ...operations].flatMap((entry) => Object.keys(entry.record));
  const isHttp = (name: string): boolean =>
    HTTP_ONLY.some((field) => name === field || name === negated(field)) || /^(request|remote)\./.test(name);
  const all = [...fields, ...keys];
  if (all.length > 0 && all.every(isHttp))
    faults.warn(
      rule,
      'only HTTP attributes in a DENY rule: it denies all connections to TCP ports in its scope; name the ports with `to.operation.ports`',
    );
}
