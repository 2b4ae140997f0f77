// Shapes that several resources share, and the bounds of texts and lists.

import type { RequestField, TemplatePart, TextPredicate } from '../../model/facts.ts';
import type { HeaderFilter, HeaderValue } from '../../model/http/route.ts';
import { type Cidr, type Ip, parseIp } from '../../model/ip.ts';
import { either, integer, list, number, object, type Shape, text, textWhere, union, word, words } from './shape.ts';

/** Names of Kubernetes objects, ports, subsets and the like. */
export const MAX_NAME = 253;
/** `<namespace>/<hostname>`, `<kind>/<namespace>/<name>`. */
export const MAX_KEY = 1024;
export const MAX_HOST = 255;
/** Values that are matched, header values, templates. */
export const MAX_TEXT = 16_384;
/** Certificates, keys, bundles of roots. */
export const MAX_PEM = 1_048_576;
/** Endpoints of one service. */
export const MAX_MEMBERS = 100_000;
/** Anything that people write one by one. */
export const MAX_ITEMS = 4096;
export const MAX_MS = Number.MAX_SAFE_INTEGER;
const MAX_PARTS = 256;

export const name = text(MAX_NAME);
export const host = text(MAX_HOST);
export const value = text(MAX_TEXT);
export const key = text(MAX_KEY);
/** With fractions: `1.5ms` is a duration, too. */
export const milliseconds = number(0, MAX_MS);
export const port = integer(0, 65_535);

const isIp = (written: string): boolean => {
  const parsed = parseIp(written);
  return parsed.ok && parsed.value === written;
};

const cidrFields = object<Cidr>({ ip: textWhere<Ip>(45, 'IP address', isIp), length: integer(0, 128) });
export const cidr: Shape<Cidr> = (given) => {
  const problem = cidrFields(given);
  if (problem !== undefined) return problem;
  const { ip, length } = given as Cidr;
  return !ip.includes(':') && length > 32 ? '.length: is more than 32' : undefined;
};

const PLAIN_FIELDS: ReadonlySet<string> = new Set(
  Object.keys({
    'source.principal': true,
    'source.namespace': true,
    'source.serviceAccount': true,
    'source.ip': true,
    'source.trustDomain': true,
    'remote.ip': true,
    'destination.ip': true,
    'destination.port': true,
    'connection.sni': true,
    'request.method': true,
    'request.scheme': true,
    'request.authority': true,
    'request.host': true,
    'request.path': true,
    'request.principal': true,
    'request.presenter': true,
    'request.audience': true,
  } satisfies Record<Exclude<RequestField, `request.${'claim' | 'header' | 'query'}:${string}`>, true>),
);
const NAMED_FIELD = /^request\.(?:claim|header|query):./s;

/** What can be asked of a request. */
export const requestField = textWhere<RequestField>(
  MAX_KEY,
  'field of a request',
  (written) => PLAIN_FIELDS.has(written) || NAMED_FIELD.test(written),
);

const templatePart: Shape<TemplatePart> = either(
  (part) => typeof part === 'string',
  words<'one' | 'rest'>({ one: true, rest: true }),
  object<{ readonly text: string }>({ text: value }),
);

export const textPredicate: Shape<TextPredicate> = union<TextPredicate, 'kind'>('kind', {
  exact: object({ kind: word('exact'), value }),
  prefix: object({ kind: word('prefix'), value }),
  suffix: object({ kind: word('suffix'), value }),
  present: object({ kind: word('present') }),
  cidr: object({ kind: word('cidr'), range: cidr }),
  port: object({ kind: word('port'), port }),
  exactIgnoringCase: object({ kind: word('exactIgnoringCase'), value }),
  prefixIgnoringCase: object({ kind: word('prefixIgnoringCase'), value }),
  pathPrefix: object({ kind: word('pathPrefix'), value }),
  pathTemplate: object({ kind: word('pathTemplate'), parts: list(templatePart, MAX_PARTS) }),
  regex: object({ kind: word('regex'), pattern: value }),
});

export const headerValue: Shape<HeaderValue> = object<HeaderValue>({ name: key, value });
export const headerValues = list(headerValue, MAX_ITEMS);

export const headerFilter: Shape<HeaderFilter> = object<HeaderFilter>({
  kind: words<HeaderFilter['kind']>({ requestHeaders: true, responseHeaders: true }),
  set: headerValues,
  add: headerValues,
  remove: list(key, MAX_ITEMS),
});
