// Requests and responses of HTTP/2 as header lists, both ways (RFC 9113 §8.3, RFC 8441). Pure. Runs per message.

import type { Field } from '../hbone/hpack.ts';
import { type Fields, isToken, readHost } from '../http1/index.ts';
import { putFields, splitList, statedLength } from './fields.ts';

/** How much content follows: bytes, nothing, or it shows at the end. */
export type Content = number | 'none' | 'unknown';

export interface RequestHead {
  readonly method: string;
  readonly scheme: 'http' | 'https' | undefined;
  readonly authority: string;
  /** Path with query; empty for CONNECT. */
  readonly target: string;
  /** With `host`, without what is of the connection. */
  readonly fields: Fields;
  readonly content: Content;
  /** `:protocol` of an extended CONNECT, in lower case. */
  readonly upgrade: string | undefined;
  readonly expectsContinue: boolean;
  readonly takesTrailers: boolean;
}

/**
 * malformed  a stream error PROTOCOL_ERROR
 * refused    well-formed, but not a request that is taken: answer with the status
 */
export type ReadRequest =
  | { readonly kind: 'request'; readonly head: RequestHead }
  | { readonly kind: 'refused'; readonly status: number; readonly why: string }
  | { readonly kind: 'malformed'; readonly why: string };

const malformed = (why: string): { readonly kind: 'malformed'; readonly why: string } => ({ kind: 'malformed', why });
const refused = (status: number, why: string): ReadRequest => ({ kind: 'refused', status, why });

const REQUEST_PSEUDO: ReadonlySet<string> = new Set([':method', ':scheme', ':path', ':authority', ':protocol']);
const SMALL_LETTER = /[a-z]/;
/** Visible ASCII without `#`: a fragment is never sent (RFC 9113 §8.3.1). */
const TARGET = /^(?:\/[!-"$-~]*|\*)$/;
const MAX_TARGET_BYTES = 32 << 10;
const MAX_METHOD_BYTES = 32;

/** @param ended  END_STREAM came with the head */
export function readRequest(list: readonly Field[], ended: boolean): ReadRequest {
  const split = splitList(list);
  if (split === 'tooMany') return refused(431, 'too many fields');
  if ('malformed' in split) return malformed(split.malformed);
  const { pseudo, fields, takesTrailers } = split;
  for (const name of pseudo.keys()) if (!REQUEST_PSEUDO.has(name)) return malformed(`unknown field ${name}`);
  const method = pseudo.get(':method');
  if (method === undefined || !isToken(method)) return malformed('no :method');
  const protocol = pseudo.get(':protocol');
  const connects = method === 'CONNECT' && protocol === undefined;
  const problem = pseudoProblem(pseudo, method, connects);
  if (problem !== undefined) return malformed(problem);

  const length = statedLength(fields);
  if (length === 'bad') return malformed('content-length is not one number');
  if (ended && length !== undefined && length > 0) return malformed('content-length without content');
  if (SMALL_LETTER.test(method)) return refused(400, 'the method is not in capitals');
  if (method.length > MAX_METHOD_BYTES) return refused(400, 'the method is too long');
  const target = connects ? '' : (pseudo.get(':path') ?? '');
  if (target.length > MAX_TARGET_BYTES) return refused(414, 'the path is too long');
  if (!connects && (!TARGET.test(target) || (target === '*' && method !== 'OPTIONS')))
    return refused(400, 'the path is not in origin form');
  const authority = authorityOf(pseudo.get(':authority'), fields);
  if (authority === undefined) return refused(400, 'no valid authority');
  if (connects && readHost(authority)?.port === undefined) return refused(400, 'CONNECT without a port');
  if (protocol !== undefined && !isToken(protocol)) return refused(400, ':protocol is not a name');
  const expect = fields.get('expect');
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') return refused(417, 'unknown expectation');
  const scheme = pseudo.get(':scheme')?.toLowerCase();
  if (!connects && scheme !== 'http' && scheme !== 'https') return refused(400, 'a scheme other than http and https');
  const switches = connects || protocol !== undefined;
  return {
    kind: 'request',
    head: {
      method: protocol === undefined ? method : 'GET',
      scheme: scheme === 'http' || scheme === 'https' ? scheme : undefined,
      authority,
      target,
      fields,
      content: ended || switches ? 'none' : (length ?? 'unknown'),
      upgrade: protocol?.toLowerCase(),
      expectsContinue: expect !== undefined && !ended,
      takesTrailers,
    },
  };
}

function pseudoProblem(pseudo: ReadonlyMap<string, string>, method: string, connects: boolean): string | undefined {
  // RFC 9113 §8.5: exactly :method and :authority; RFC 8441 §4: with :protocol, all of them
  if (connects)
    return pseudo.size === 2 && pseudo.has(':authority') ? undefined : 'CONNECT with other pseudo-header fields';
  if (!pseudo.get(':scheme') || !pseudo.get(':path')) return 'no :scheme or :path';
  if (!pseudo.has(':protocol')) return undefined;
  return method === 'CONNECT' && pseudo.has(':authority') ? undefined : ':protocol out of place';
}

/** Authority and Host must agree where both are said (RFC 9113 §8.3.1). Afterwards Host is there, once. */
function authorityOf(authority: string | undefined, fields: Fields): string | undefined {
  const hosts = fields.all('host');
  if (hosts.length > 1) return undefined;
  const [host] = hosts;
  const said = authority ?? host;
  if (said === undefined || readHost(said) === undefined) return undefined;
  if (host === undefined) fields.append('host', said);
  else if (authority !== undefined && host.toLowerCase() !== authority.toLowerCase()) return undefined;
  return said;
}

export interface ResponseHead {
  readonly status: number;
  readonly fields: Fields;
  /** `content-length`, if one was said: of a response to HEAD it is no promise. */
  readonly length: number | undefined;
}

export type ReadResponse =
  | { readonly kind: 'response'; readonly head: ResponseHead }
  | { readonly kind: 'malformed'; readonly why: string };

export function readResponse(list: readonly Field[]): ReadResponse {
  const split = splitList(list);
  if (split === 'tooMany') return malformed('too many fields');
  if ('malformed' in split) return malformed(split.malformed);
  const { pseudo, fields } = split;
  const status = pseudo.get(':status');
  if (status === undefined || pseudo.size !== 1 || !/^[1-5][0-9]{2}$/.test(status))
    return malformed('not exactly one :status of three digits');
  const length = statedLength(fields);
  if (length === 'bad') return malformed('content-length is not one number');
  return { kind: 'response', head: { status: Number(status), fields, length } };
}

export interface RequestToSend {
  readonly method: string;
  readonly scheme: 'http' | 'https';
  readonly authority: string;
  /** Path with query; of CONNECT `host:port`. */
  readonly target: string;
  readonly fields: Fields;
  readonly content: Content;
  readonly upgrade: string | undefined;
}

/** The list of a request. Trailers are welcome in the response of a gRPC call, which has no status without them. */
export function requestList(request: RequestToSend): Field[] {
  const { method, scheme, authority, target, fields, content, upgrade } = request;
  if (method === 'CONNECT' && upgrade === undefined) {
    const list: Field[] = [
      [':method', 'CONNECT'],
      [':authority', target],
    ];
    putFields(list, fields);
    return list;
  }
  const list: Field[] = [
    [':method', upgrade === undefined ? method : 'CONNECT'],
    [':scheme', scheme],
    [':authority', authority],
    [':path', target],
  ];
  if (upgrade !== undefined) list.push([':protocol', upgrade]);
  putFields(list, fields);
  if (typeof content === 'number' && upgrade === undefined) list.push(['content-length', String(content)]);
  if (fields.get('content-type')?.startsWith('application/grpc') === true) list.push(['te', 'trailers']);
  return list;
}

export function responseList(status: number, fields: Fields | undefined, content: Content): Field[] {
  const list: Field[] = [[':status', String(status)]];
  if (fields !== undefined) putFields(list, fields);
  if (typeof content === 'number') list.push(['content-length', String(content)]);
  return list;
}

export function trailerList(fields: Fields): Field[] {
  const list: Field[] = [];
  putFields(list, fields);
  return list;
}
