// The rules in CEL that the Gateway API's definition of HTTPRoute and GRPCRoute carry.

import { durationMs } from '../../derive/traffic/duration.ts';
import type { Field } from '../field.ts';
import type { Faults } from './faults.ts';
import { checkBackendRef, checkParentRefs, checkRules } from './gateway-api.ts';

/** `type` of a filter to the field that goes with it. */
const FILTER_FIELDS: Readonly<Record<string, string>> = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestMirror: 'requestMirror',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  ExtensionRef: 'extensionRef',
  CORS: 'cors',
  ExternalAuth: 'externalAuth',
};
const ONCE: ReadonlySet<string> = new Set([
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestRedirect',
  'URLRewrite',
  'CORS',
]);
/** RFC 3986: characters of a path, and escapes. */
const PATH_CHARACTERS = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$/;
const IN_NO_PATH = ['//', '/./', '/../', '%2f', '%2F', '#'];

export function validateHttpRoute(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkParentRefs(spec, faults);
  for (const rule of checkRules(spec, faults)) checkHttpRule(rule, faults);
}

export function validateGrpcRoute(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  checkParentRefs(spec, faults);
  for (const rule of checkRules(spec, faults)) {
    for (const match of rule.at('matches').items()) {
      const method = match.at('method');
      if (method.isSet && method.at('service').text === '' && method.at('method').text === '')
        faults.required(method, 'one or both of service or method must be specified');
      if ((method.at('type').text || 'Exact') === 'Exact') checkMethodNames(method, faults);
      else for (const name of method.among('service', 'method')) faults.regex(method.at(name));
      checkListMap(match.at('headers'), faults);
    }
    checkFilters(rule.at('filters'), faults);
    for (const ref of rule.at('backendRefs').items()) {
      checkBackendRef(ref, faults);
      checkFilters(ref.at('filters'), faults);
    }
    checkPersistence(rule.at('sessionPersistence'), faults);
  }
}

function checkMethodNames(method: Field, faults: Faults): void {
  if (
    method.at('service').text !== '' &&
    !/^\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*$/.test(method.at('service').text)
  )
    faults.invalid(method.at('service'), 'is no name of a gRPC service');
  if (method.at('method').text !== '' && !/^[A-Za-z_][A-Za-z_0-9]*$/.test(method.at('method').text))
    faults.invalid(method.at('method'), 'is no name of a gRPC method');
}

/** Lists keyed by `name`: an API server refuses two entries of one name. */
function checkListMap(items: Field, faults: Faults): void {
  faults.unique(items.items(), (item) => item.at('name').text || undefined);
}

function checkHttpRule(rule: Field, faults: Faults): void {
  const matches = rule.at('matches').items();
  for (const match of matches) {
    checkPath(match.at('path'), faults);
    checkListMap(match.at('headers'), faults);
    checkListMap(match.at('queryParams'), faults);
    for (const item of [...match.at('headers').items(), ...match.at('queryParams').items()])
      if (item.at('type').text === 'RegularExpression') faults.regex(item.at('value'));
  }
  const filters = checkFilters(rule.at('filters'), faults);
  const backends = rule.at('backendRefs').items();
  if (filters.has('RequestRedirect') && backends.length > 0)
    faults.invalid(rule, 'RequestRedirect filter must not be used together with backendRefs');
  checkPrefixReplacement(rule.at('filters'), matches, faults);
  for (const ref of backends) {
    checkBackendRef(ref, faults);
    checkFilters(ref.at('filters'), faults);
    checkPrefixReplacement(ref.at('filters'), matches, faults);
  }
  checkTimeouts(rule.at('timeouts'), faults);
  checkPersistence(rule.at('sessionPersistence'), faults);
}

function checkPath(path: Field, faults: Faults): void {
  if (!path.isSet) return;
  const value = path.at('value');
  const text = value.isSet ? value.text : '/';
  if (path.at('type').text === 'RegularExpression') {
    faults.regex(value);
    return;
  }
  if (!text.startsWith('/')) faults.invalid(value, "must be an absolute path and start with '/'");
  for (const part of IN_NO_PATH) if (text.includes(part)) faults.invalid(value, `must not contain '${part}'`);
  for (const end of ['/..', '/.']) if (text.endsWith(end)) faults.invalid(value, `must not end with '${end}'`);
  if (!text.includes('#') && !PATH_CHARACTERS.test(text)) faults.invalid(value, 'has characters that no path has');
}

/** @returns the types that are there */
function checkFilters(at: Field, faults: Faults): ReadonlySet<string> {
  const seen = new Set<string>();
  for (const filter of at.items()) {
    const type = filter.at('type').text;
    checkFilterFields(filter, type, faults);
    if (ONCE.has(type) && seen.has(type)) faults.invalid(at, `${type} filter cannot be repeated`);
    seen.add(type);
  }
  if (seen.has('RequestRedirect') && seen.has('URLRewrite'))
    faults.invalid(at, 'may specify either RequestRedirect or URLRewrite, but not both');
  return seen;
}

function checkFilterFields(filter: Field, type: string, faults: Faults): void {
  for (const [wanted, name] of Object.entries(FILTER_FIELDS)) {
    if (type === wanted && !filter.at(name).isSet)
      faults.required(filter.at(name), `must be specified for type ${wanted}`);
    if (type !== wanted && filter.at(name).isSet)
      faults.forbidden(filter.at(name), `must be nil if type is not ${wanted}`);
  }
  for (const name of ['requestHeaderModifier', 'responseHeaderModifier']) {
    for (const list of ['set', 'add']) checkListMap(filter.at(name, list), faults);
    faults.unique(filter.at(name, 'remove').items(), (item) => item.text);
  }
  checkPathModifier(filter.at('requestRedirect', 'path'), faults);
  checkPathModifier(filter.at('urlRewrite', 'path'), faults);
  checkMirror(filter.at('requestMirror'), faults);
  const cors = filter.at('cors');
  for (const name of ['allowMethods', 'allowHeaders', 'exposeHeaders', 'allowOrigins']) {
    const items = cors.at(name).items();
    if (items.length > 1 && items.some((item) => item.text === '*'))
      faults.invalid(cors.at(name), "'*' must be the only entry");
  }
}

function checkPathModifier(path: Field, faults: Faults): void {
  if (!path.isSet) return;
  for (const [type, name] of [
    ['ReplaceFullPath', 'replaceFullPath'],
    ['ReplacePrefixMatch', 'replacePrefixMatch'],
  ] as const) {
    const isType = path.at('type').text === type;
    if (isType && !path.at(name).isSet) faults.required(path.at(name), `must be specified when type is ${type}`);
    if (!isType && path.at(name).isSet) faults.forbidden(path.at(name), `must not be set when type is not ${type}`);
  }
}

function checkMirror(mirror: Field, faults: Faults): void {
  if (!mirror.isSet) return;
  checkBackendRef(mirror.at('backendRef'), faults);
  if (mirror.among('percent', 'fraction').length > 1)
    faults.invalid(mirror, 'only one of percent or fraction may be specified');
  const [share, whole] = [mirror.at('fraction', 'numerator'), mirror.at('fraction', 'denominator').number ?? 100];
  if ((share.number ?? 0) > whole) faults.invalid(share, `must not be above the denominator ${whole}`);
}

/** Replacing a prefix has a meaning only where exactly one prefix matched. */
function checkPrefixReplacement(filters: Field, matches: readonly Field[], faults: Faults): void {
  for (const filter of filters.items())
    for (const name of ['requestRedirect', 'urlRewrite']) {
      const path = filter.at(name, 'path');
      if (path.at('type').text !== 'ReplacePrefixMatch' && !path.at('replacePrefixMatch').isSet) continue;
      // No match at all is one match of the prefix `/`.
      const types = matches.map((match) => match.at('path', 'type').text || 'PathPrefix');
      if (types.length > 1 || types.some((type) => type !== 'PathPrefix'))
        faults.invalid(path, 'replacePrefixMatch needs exactly one match of the rule, with a path of type PathPrefix');
    }
}

function checkTimeouts(timeouts: Field, faults: Faults): void {
  const [request, backend] = [timeouts.at('request'), timeouts.at('backendRequest')];
  const [whole, one] = [durationMs(request.text), durationMs(backend.text)];
  if (whole !== undefined && one !== undefined && whole !== 0 && one > whole)
    faults.invalid(backend, 'backendRequest timeout cannot be longer than request timeout');
}

function checkPersistence(persistence: Field, faults: Faults): void {
  if (!persistence.isSet) return;
  const cookie = persistence.at('cookieConfig');
  if (cookie.at('lifetimeType').text === 'Permanent' && !persistence.at('absoluteTimeout').isSet)
    faults.required(persistence.at('absoluteTimeout'), 'must be specified when cookie lifetimeType is Permanent');
  if (cookie.isSet && persistence.at('type').text === 'Header')
    faults.forbidden(cookie, 'can only be set with type Cookie');
}
