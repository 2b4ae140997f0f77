// Request heads (RFC 9112 §3): method, target in its four forms, version, Host and framing.

import { fail, ok, type Result } from '../../model/result.ts';
import { isToken } from './fields.ts';
import {
  type FieldFacts,
  type Framing,
  type HeadLimits,
  type MessageHead,
  NO_CONTENT,
  readFields,
  readVersion,
  statedFraming,
  uncleanText,
} from './head.ts';
import { readConnection } from './hop-by-hop.ts';
import { type RequestHost, readHost } from './host.ts';
import type { RefusalCode } from './refusal.ts';

/** RFC 9112 §3.2; authority: CONNECT alone, asterisk: OPTIONS alone. */
export type TargetForm = 'origin' | 'absolute' | 'authority' | 'asterisk';

export interface RequestHead extends MessageHead {
  readonly method: string;
  readonly form: TargetForm;
  /** Said by an absolute target only; nothing is to be trusted for it. */
  readonly scheme: 'http' | 'https' | undefined;
  /**
   * `host[:port]` as sent: of the target where it has one, else of Host. The Host field agrees with it always (a proxy
   * ignores a Host that differs from the target, RFC 9112 §3.2.2). Undefined in HTTP/1.0 without Host.
   */
  readonly authority: string | undefined;
  readonly host: RequestHost | undefined;
  /** Path with query as sent, not yet normalised; `*`; empty for CONNECT. */
  readonly path: string;
  /** The sender waits for 100 before it sends the content. */
  readonly expectContinue: boolean;
}

interface Target {
  readonly form: TargetForm;
  readonly scheme: 'http' | 'https' | undefined;
  readonly authority: string | undefined;
  readonly path: string;
}

const VISIBLE = /^[\x21-\x7e]+$/;
const ABSOLUTE = /^(https?):\/\/([^/?#]*)(.*)$/i;
const SMALL_LETTER = /[a-z]/;

/** @param text latin1 text of the head, without the empty line at its end */
export function readRequestHead(text: string, limits: HeadLimits): Result<RequestHead, RefusalCode> {
  const unclean = uncleanText(text);
  if (unclean !== undefined) return fail(unclean);
  let lineEnd = text.indexOf('\r\n');
  if (lineEnd < 0) lineEnd = text.length;
  const methodEnd = text.indexOf(' ');
  const targetEnd = methodEnd < 0 ? -1 : text.indexOf(' ', methodEnd + 1);
  if (targetEnd < 0 || targetEnd > lineEnd) return fail('requestLine');
  if (methodEnd > limits.maxMethodBytes) return fail('methodTooLong');
  const method = text.slice(0, methodEnd);
  if (!isToken(method)) return fail('method');
  if (SMALL_LETTER.test(method)) return fail('methodCase'); // methods are case-sensitive; Istio answers 400
  if (targetEnd - methodEnd - 1 > limits.maxTargetBytes) return fail('targetTooLong');
  const minorVersion = readVersion(text, targetEnd + 1, lineEnd);
  if (typeof minorVersion === 'string') return fail(minorVersion);
  const target = readTarget(method, text.slice(methodEnd + 1, targetEnd));
  if (target === undefined) return fail('target');
  const facts = readFields(text, lineEnd + 2, limits.maxFields);
  if (typeof facts === 'string') return fail(facts);
  return completeRequest(method, target, minorVersion, facts);
}

function readTarget(method: string, target: string): Target | undefined {
  if (!VISIBLE.test(target)) return undefined;
  if (method === 'CONNECT') return { form: 'authority', scheme: undefined, authority: target, path: '' };
  if (target.charCodeAt(0) === 0x2f) return { form: 'origin', scheme: undefined, authority: undefined, path: target };
  if (target === '*')
    return method === 'OPTIONS' ? { form: 'asterisk', scheme: undefined, authority: undefined, path: '*' } : undefined;
  const match = ABSOLUTE.exec(target);
  if (match === null) return undefined;
  const rest = match[3] ?? '';
  // RFC 9112 §3.2.4: OPTIONS for a URI without a path is for the whole server.
  const path = rest === '' && method === 'OPTIONS' ? '*' : rest.startsWith('/') ? rest : `/${rest}`;
  const scheme = match[1]?.toLowerCase() === 'https' ? 'https' : 'http';
  return { form: 'absolute', scheme, authority: match[2] ?? '', path };
}

function completeRequest(
  method: string,
  target: Target,
  minorVersion: 0 | 1,
  facts: FieldFacts,
): Result<RequestHead, RefusalCode> {
  const { fields } = facts;
  // RFC 9112 §3.2: one valid Host in HTTP/1.1, whatever the form of the target.
  if (facts.hosts > 1) return fail('hostRepeated');
  if (facts.host === undefined && minorVersion === 1) return fail('hostMissing');
  let host = facts.host === undefined ? undefined : readHost(facts.host);
  if (facts.host !== undefined && host === undefined) return fail('host');
  let authority = facts.host;
  if (target.authority !== undefined) {
    host = readHost(target.authority);
    if (host === undefined || (target.form === 'authority' && host.port === undefined)) return fail('target');
    if (authority !== target.authority) fields.set('Host', target.authority);
    authority = target.authority;
  }
  const stated = statedFraming(facts, minorVersion);
  if (typeof stated === 'string') return fail(stated);
  const framing: Framing = stated ?? NO_CONTENT;
  const empty = framing.kind === 'none' || (framing.kind === 'fixed' && framing.length === 0);
  if (method === 'CONNECT' && !empty) return fail('connectContent');
  const connection = readConnection(facts, minorVersion);
  if (connection.faulty) return fail('connectionOption');
  // RFC 9110 §10.1.1: ignored in HTTP/1.0; anything but 100-continue is 417.
  const expects = facts.expect !== undefined && minorVersion === 1;
  if (expects && facts.expect?.toLowerCase() !== '100-continue') return fail('expectation');
  return ok({
    method,
    form: target.form,
    scheme: target.scheme,
    authority,
    host,
    path: target.path,
    minorVersion,
    fields,
    framing,
    keepAlive: connection.keepAlive,
    upgrade: connection.upgrade,
    expectContinue: expects && !empty,
  });
}
