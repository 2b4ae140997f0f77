// Response heads (RFC 9112 §4), whose framing depends on the request that they answer.

import { fail, ok, type Result } from '../../model/result.ts';
import {
  type FieldFacts,
  type Framing,
  type HeadLimits,
  type MessageHead,
  NO_CONTENT,
  readFields,
  readVersion,
  statedFraming,
  TUNNEL,
  UNTIL_CLOSE,
  uncleanText,
} from './head.ts';
import { readConnection } from './hop-by-hop.ts';
import type { RefusalCode } from './refusal.ts';

export interface ResponseHead extends MessageHead {
  /** 100-999. */
  readonly status: number;
  /** As sent, latin1; perhaps empty. */
  readonly reason: string;
}

/** What a response's meaning takes from its request. */
export interface AskedFor {
  readonly method: string;
  /** The request had an Upgrade field, so 101 may come. */
  readonly upgrade: boolean;
}

const STATUS = /^[1-9][0-9]{2}$/;

/** A final status, or 101, that has no content whatever its fields say (RFC 9112 §6.3, first rule). */
const isBodiless = (status: number, method: string): boolean =>
  status < 200 || status === 204 || status === 304 || method === 'HEAD';

/** @param text latin1 text of the head, without the empty line at its end */
export function readResponseHead(text: string, asked: AskedFor, limits: HeadLimits): Result<ResponseHead, RefusalCode> {
  const unclean = uncleanText(text);
  if (unclean !== undefined) return fail(unclean);
  let lineEnd = text.indexOf('\r\n');
  if (lineEnd < 0) lineEnd = text.length;
  const minorVersion = readVersion(text, 0, Math.min(8, lineEnd));
  if (typeof minorVersion === 'string') return fail(minorVersion === 'version' ? 'version' : 'statusLine');
  // The space after the status may be missing where there is no reason: many servers do so, and it has one meaning.
  if (text.charCodeAt(8) !== 0x20 || (lineEnd > 12 && text.charCodeAt(12) !== 0x20)) return fail('statusLine');
  const digits = text.slice(9, 12);
  if (lineEnd < 12 || !STATUS.test(digits)) return fail('statusLine');
  const facts = readFields(text, lineEnd + 2, limits.maxFields);
  if (typeof facts === 'string') return fail(facts);
  const status = Number(digits);
  const framing = responseFraming(status, asked, facts, minorVersion);
  if (typeof framing === 'string') return fail(framing);
  const connection = readConnection(facts, minorVersion);
  if (connection.faulty) return fail('connectionOption');
  return ok({
    status,
    reason: text.slice(13, lineEnd),
    minorVersion,
    fields: facts.fields,
    framing,
    keepAlive: connection.keepAlive && framing.kind !== 'untilClose' && framing.kind !== 'tunnel',
    upgrade: connection.upgrade,
  });
}

function responseFraming(
  status: number,
  asked: AskedFor,
  facts: FieldFacts,
  minorVersion: 0 | 1,
): Framing | RefusalCode {
  const stated = statedFraming(facts, minorVersion);
  if (typeof stated === 'string') return stated;
  if (status === 101) return asked.upgrade ? TUNNEL : 'upgradeUnasked';
  if (asked.method === 'CONNECT' && status >= 200 && status < 300) return TUNNEL;
  if (isBodiless(status, asked.method)) {
    const announces = status === 304 || (asked.method === 'HEAD' && status >= 200 && status !== 204);
    return announces && stated?.kind === 'fixed' ? { kind: 'none', announcedLength: stated.length } : NO_CONTENT;
  }
  return stated ?? UNTIL_CLOSE;
}
