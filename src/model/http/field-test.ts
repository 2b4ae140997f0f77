// Predicates on one field as closures over a request: what compiled routes and policies are made of.

import { compileRange, words } from '../compiled-policies.ts';
import type { RequestField, RequestPredicate, TextPredicate } from '../facts.ts';
import type { Ip } from '../ip.ts';
import {
  claimPath,
  claimValues,
  firstOfQuery,
  type HttpRequest,
  headerOf,
  hostOf,
  isManyValued,
  textOf,
} from './request.ts';
import { compileAnyText } from './text.ts';

export type RequestTest = (request: HttpRequest) => boolean;

const never: RequestTest = () => false;
export const always: RequestTest = () => true;

/** Whether one of the predicates holds for the field. */
export function compileField(field: RequestField, predicates: readonly RequestPredicate[]): RequestTest {
  const simple: TextPredicate[] = [];
  const tests: RequestTest[] = [];
  for (const predicate of predicates)
    if (predicate.kind === 'eachLine' || predicate.kind === 'someLine') tests.push(compileLines(field, predicate));
    else simple.push(predicate);
  if (simple.length > 0) tests.push(compileSimple(field, simple));
  return anyTest(tests);
}

export function anyTest(tests: readonly RequestTest[]): RequestTest {
  const [first, second] = tests;
  if (first === undefined) return never;
  if (second === undefined) return first;
  return (request) => tests.some((test) => test(request));
}

export function everyTest(tests: readonly RequestTest[]): RequestTest {
  const [first, second, third] = tests;
  if (first === undefined) return always;
  if (second === undefined) return first;
  if (third === undefined) return (request) => first(request) && second(request);
  return (request) => tests.every((test) => test(request));
}

function compileLines(
  field: RequestField,
  { kind, anyOf }: Extract<RequestPredicate, { readonly kind: 'eachLine' | 'someLine' }>,
): RequestTest {
  const name = headerOf(field);
  if (name === undefined) return never;
  const test = compileAnyText(anyOf);
  if (kind === 'eachLine')
    return ({ headers }) => {
      const lines = headers.all(name);
      return lines.length > 0 && lines.every(test);
    };
  return ({ headers }) => {
    const lines = headers.all(name);
    return lines.length > 0 && (lines.some(test) || (lines.length > 1 && test(lines.join(','))));
  };
}

function compileSimple(field: RequestField, predicates: readonly TextPredicate[]): RequestTest {
  if (field === 'destination.port') return compilePorts(predicates);
  if (field === 'source.ip' || field === 'destination.ip' || field === 'remote.ip')
    return compileAddresses(field, predicates);
  const test = compileAnyText(predicates);
  const read = readerOf(field);
  if (typeof read !== 'function') return (request) => read.many(request).some(test);
  return (request) => {
    const text = read(request);
    return text !== undefined && test(text);
  };
}

function compilePorts(predicates: readonly TextPredicate[]): RequestTest {
  if (predicates.some(({ kind }) => kind === 'present')) return () => true;
  const ports = new Set(predicates.flatMap((predicate) => (predicate.kind === 'port' ? [predicate.port] : [])));
  return ({ connection }) => ports.has(connection.destination.port);
}

function compileAddresses(
  field: 'source.ip' | 'destination.ip' | 'remote.ip',
  predicates: readonly TextPredicate[],
): RequestTest {
  const ranges = predicates.flatMap((p) => (p.kind === 'cidr' ? [compileRange(p.range)] : []));
  const rest = compileAnyText(predicates.filter(({ kind }) => kind !== 'cidr'));
  return (request) => {
    const ip = textOf(request, field) as Ip | undefined;
    if (ip === undefined) return false;
    if (ranges.length > 0) {
      const bits = words(ip);
      if (ranges.some((contains) => contains(bits))) return true;
    }
    return rest(ip);
  };
}

type Reader =
  | ((request: HttpRequest) => string | undefined)
  | { readonly many: (request: HttpRequest) => readonly string[] };

function readerOf(field: Exclude<RequestField, 'destination.port'>): Reader {
  if (field === 'request.path') return ({ path }) => path;
  if (field === 'request.method') return ({ method }) => method;
  if (field === 'request.host') return ({ authority }) => hostOf(authority);
  if (isManyValued(field)) {
    if (field === 'request.audience') return { many: ({ token }) => token?.audiences ?? [] };
    const path = claimPath(field);
    return { many: ({ token }) => (token === undefined ? [] : claimValues(token.claims, path)) };
  }
  const header = headerOf(field);
  if (header !== undefined) return ({ headers }) => headers.joined(header);
  if (field.startsWith('request.query:')) {
    const name = field.slice('request.query:'.length);
    return ({ query }) => firstOfQuery(query, name);
  }
  return (request) => textOf(request, field);
}
