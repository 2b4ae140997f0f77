// The shape of message heads, and reading the fields that both kinds share. Runs once a message: one pass over the text
// with compiled searches, strict as RFC 9110 and 9112 allow and stricter where two readers could disagree.

import { Fields, isToken, trimBlanks } from './fields.ts';
import type { Http1Limits } from './limits.ts';
import type { RefusalCode } from './refusal.ts';

/**
 * How a message's end is found (RFC 9112 §6.3).
 * none        no content. `announcedLength` is what a response to HEAD, or a 304, says that it would have had
 * fixed       exactly that many bytes; 0 was said, not left out
 * chunked     chunks, then perhaps trailers
 * untilClose  a response that the end of the connection ends
 * tunnel      no message any more: bytes both ways (101, or 2xx to CONNECT)
 */
export type Framing =
  | { readonly kind: 'none'; readonly announcedLength?: number }
  | { readonly kind: 'fixed'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'untilClose' }
  | { readonly kind: 'tunnel' };

export const NO_CONTENT: Framing = { kind: 'none' };
export const CHUNKED: Framing = { kind: 'chunked' };
export const UNTIL_CLOSE: Framing = { kind: 'untilClose' };
export const TUNNEL: Framing = { kind: 'tunnel' };

/** What requests and responses share. */
export interface MessageHead {
  /** 0: HTTP/1.0, 1: HTTP/1.1. */
  readonly minorVersion: 0 | 1;
  readonly fields: Fields;
  readonly framing: Framing;
  /** The sender is ready for another message on this connection (RFC 9112 §9.3). */
  readonly keepAlive: boolean;
  /** Value of Upgrade, where Connection names it too (RFC 9110 §7.8); lower case. */
  readonly upgrade: string | undefined;
}

/** What the fields of one head say about the connection and the framing; lists joined with commas. */
export interface FieldFacts {
  readonly fields: Fields;
  hosts: number;
  host: string | undefined;
  contentLengths: number;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  connection: string | undefined;
  upgrade: string | undefined;
  expect: string | undefined;
}

/** A line end is CR LF together and nothing else; no control character but tab in lines. */
const UNCLEAN = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/;

/** First thing in `text` that no head may have. @returns undefined for clean text */
export function uncleanText(text: string): RefusalCode | undefined {
  const match = UNCLEAN.exec(text);
  if (match === null) return undefined;
  if (match[0] === '\r') return 'bareCarriageReturn';
  return match[0] === '\n' ? 'bareLineFeed' : 'controlCharacter';
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;
const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before},${value}`;

/**
 * Reads field lines.
 * @param text   clean text (`uncleanText`), without the empty line at the end
 * @param start  where the first line begins; at or beyond the end: no fields
 */
export function readFields(text: string, start: number, maxFields: number): FieldFacts | RefusalCode {
  const fields = new Fields();
  const facts: FieldFacts = {
    fields,
    hosts: 0,
    host: undefined,
    contentLengths: 0,
    contentLength: undefined,
    transferEncoding: undefined,
    connection: undefined,
    upgrade: undefined,
    expect: undefined,
  };
  let count = 0;
  for (let at = start; at < text.length; ) {
    if (++count > maxFields) return 'tooManyFields';
    let end = text.indexOf('\r\n', at);
    if (end < 0) end = text.length;
    const colon = text.indexOf(':', at);
    if (colon < 0 || colon >= end || colon === at || isBlank(text.charCodeAt(at))) return faultyLine(text, at, colon);
    const name = text.slice(at, colon);
    if (!isToken(name)) return isBlank(text.charCodeAt(colon - 1)) ? 'spaceBeforeColon' : 'fieldName';
    const key = name.toLowerCase();
    const value = trimBlanks(text.slice(colon + 1, end));
    fields.appendChecked(key, name, value);
    note(facts, key, value);
    at = end + 2;
  }
  return facts;
}

function faultyLine(text: string, at: number, colon: number): RefusalCode {
  if (isBlank(text.charCodeAt(at))) return 'obsoleteFolding';
  return colon === at ? 'emptyFieldName' : 'noColon';
}

function note(facts: FieldFacts, key: string, value: string): void {
  switch (key) {
    case 'host':
      facts.hosts++;
      facts.host = value;
      break;
    case 'content-length':
      facts.contentLengths++;
      facts.contentLength = value;
      break;
    case 'transfer-encoding':
      facts.transferEncoding = joined(facts.transferEncoding, value);
      break;
    case 'connection':
      facts.connection = joined(facts.connection, value);
      break;
    case 'upgrade':
      facts.upgrade = joined(facts.upgrade, value);
      break;
    case 'expect':
      facts.expect = joined(facts.expect, value);
      break;
  }
}

/** 15 digits are below 2^53; more is no length of this world. */
const LENGTH = /^[0-9]{1,15}$/;

/**
 * The length that the fields state (RFC 9112 §6.2, §6.3).
 * Stricter than it must be: a length repeated is refused even where the copies agree.
 * @returns undefined where they leave it to the kind of message
 */
export function statedFraming(facts: FieldFacts, minorVersion: 0 | 1): Framing | RefusalCode | undefined {
  const { transferEncoding, contentLength } = facts;
  if (transferEncoding !== undefined) {
    if (contentLength !== undefined) return 'lengthAndCoding';
    if (minorVersion === 0) return 'transferCodingVersion';
    return transferEncoding.toLowerCase() === 'chunked' ? CHUNKED : otherCoding(transferEncoding);
  }
  if (contentLength === undefined) return undefined;
  if (facts.contentLengths > 1) return 'contentLengthRepeated';
  if (!LENGTH.test(contentLength)) return contentLength.includes(',') ? 'contentLengthRepeated' : 'contentLength';
  return { kind: 'fixed', length: Number(contentLength) };
}

function otherCoding(transferEncoding: string): RefusalCode {
  const codings = transferEncoding.split(',').map((coding) => trimBlanks(coding).toLowerCase());
  // RFC 9112 §6.1: a known end after codings that we do not have is 501; anything else has no certain end.
  const known = codings.length > 1 && codings.indexOf('chunked') === codings.length - 1;
  return known && codings.every(isToken) ? 'transferCodingUnknown' : 'transferCoding';
}

/** Version of `HTTP/1.x` at `at`, which must be followed by nothing within `end`. */
export function readVersion(text: string, at: number, end: number): 0 | 1 | RefusalCode {
  if (end - at !== 8 || !text.startsWith('HTTP/', at)) return 'requestLine';
  if (text.startsWith('1.1', at + 5)) return 1;
  if (text.startsWith('1.0', at + 5)) return 0;
  return /^[0-9]\.[0-9]$/.test(text.slice(at + 5, end)) ? 'version' : 'requestLine';
}

/** The limits that reading a head needs. */
export type HeadLimits = Pick<Http1Limits, 'maxFields' | 'maxMethodBytes' | 'maxTargetBytes'>;
