// Heads -> text to be sent as latin1. What the parser would refuse is never written: names and values are checked when
// they enter `Fields`, the rest here, and the fields that say where a message ends come from its framing alone.

import { type Fields, isFieldValue, isToken } from './fields.ts';
import type { Framing } from './head.ts';
import { readHost } from './host.ts';

export interface RequestToSend {
  readonly method: string;
  /** Origin form, `*`, or the authority for CONNECT. */
  readonly target: string;
  /** `host[:port]`; becomes the one Host field. */
  readonly authority: string;
  readonly fields: Fields;
  readonly framing: Framing;
  /** The connection ends after this message. */
  readonly close?: boolean;
  /** Asks the server for 100 before the content is sent. */
  readonly expectContinue?: boolean;
  /** Protocol to ask for; tells the server by Upgrade and Connection. */
  readonly upgrade?: string | undefined;
}

export interface ResponseToSend {
  readonly status: number;
  /** Empty: none. */
  readonly reason: string;
  readonly fields: Fields;
  readonly framing: Framing;
  /** Method of the request: a response to HEAD has no content. */
  readonly method: string;
  /** `untilClose` implies it. */
  readonly close?: boolean;
  /** The protocol of a 101. */
  readonly upgrade?: string | undefined;
  /** HTTP/1.0 clients must be told that the connection is kept. */
  readonly keepAlive?: boolean;
}

/** Interim response that lets the sender of `Expect: 100-continue` go on. */
export const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

const TARGET = /^[\x21-\x7e]+$/;
const REASON = /^[\t -~\x80-\xff]*$/;
/** Written by the writer, or for one connection only: whatever stands in the list is left out. */
const OWN = new Set(['connection', 'keep-alive', 'proxy-connection', 'content-length', 'transfer-encoding', 'upgrade']);

/** Throws for a request that no server could read in one way: that is a broken invariant here, not input. */
export function writeRequestHead(request: RequestToSend): string {
  const { method, target, authority, framing } = request;
  if (!isToken(method) || /[a-z]/.test(method)) throw new TypeError('method is not a token in capitals');
  if (!targetFits(method, target)) throw new TypeError('request target has no form that the method allows');
  if (readHost(authority) === undefined) throw new TypeError('authority is not host[:port]');
  if (framing.kind === 'untilClose') throw new TypeError('a request cannot end with its connection');
  if (method === 'CONNECT' && framing.kind !== 'none' && framing.kind !== 'tunnel')
    throw new TypeError('CONNECT has no content');
  let text = `${method} ${target} HTTP/1.1\r\nHost: ${authority}\r\n`;
  text += fieldLines(request.fields, true) + framingLine(framing);
  if (request.expectContinue === true) text += 'Expect: 100-continue\r\n';
  return `${text}${connectionLines(request.close === true, request.upgrade, false)}\r\n`;
}

function targetFits(method: string, target: string): boolean {
  if (!TARGET.test(target)) return false;
  if (method === 'CONNECT') return readHost(target)?.port !== undefined;
  return target.charCodeAt(0) === 0x2f || (target === '*' && method === 'OPTIONS');
}

/** Throws as `writeRequestHead`. */
export function writeResponseHead(response: ResponseToSend): string {
  const { status, reason, method, framing } = response;
  if (!Number.isInteger(status) || status < 100 || status > 999) throw new TypeError('status is not 100-999');
  if (!REASON.test(reason)) throw new TypeError('reason cannot be sent in a status line');
  let text = `HTTP/1.1 ${status} ${reason}\r\n${fieldLines(response.fields, false)}`;
  text += framingLine(responseFraming(status, method, framing));
  const close = response.close === true || (framing.kind === 'untilClose' && status >= 200);
  return `${text}${connectionLines(close, response.upgrade, response.keepAlive === true)}\r\n`;
}

function responseFraming(status: number, method: string, framing: Framing): Framing {
  // RFC 9110 §8.6: no length in 1xx, 204, or 2xx to CONNECT.
  if (status < 200 || status === 204 || (method === 'CONNECT' && status < 300)) return { kind: 'none' };
  if (method === 'HEAD' || status === 304)
    return framing.kind === 'fixed' ? { kind: 'none', announcedLength: framing.length } : framing;
  // Nothing to send, and nothing that says so: without a length the client would wait for the end.
  return framing.kind === 'none' || framing.kind === 'tunnel' ? { kind: 'fixed', length: 0 } : framing;
}

function framingLine(framing: Framing): string {
  switch (framing.kind) {
    case 'fixed':
      return `Content-Length: ${checkedLength(framing.length)}\r\n`;
    case 'chunked':
      return 'Transfer-Encoding: chunked\r\n';
    case 'none':
      return framing.announcedLength === undefined
        ? ''
        : `Content-Length: ${checkedLength(framing.announcedLength)}\r\n`;
    default:
      return '';
  }
}

function checkedLength(length: number): number {
  if (!Number.isSafeInteger(length) || length < 0 || length >= 1e15) throw new TypeError('length is no byte count');
  return length;
}

function connectionLines(close: boolean, upgrade: string | undefined, keepAlive: boolean): string {
  if (upgrade !== undefined) {
    if (upgrade === '' || !isFieldValue(upgrade)) throw new TypeError('protocol cannot be sent in a field');
    return `Connection: ${close ? 'close, ' : ''}Upgrade\r\nUpgrade: ${upgrade}\r\n`;
  }
  return close ? 'Connection: close\r\n' : keepAlive ? 'Connection: keep-alive\r\n' : '';
}

function fieldLines(fields: Fields, request: boolean): string {
  let text = '';
  for (let i = 0; i < fields.count; i++) {
    const key = fields.keyAt(i);
    if (OWN.has(key) || (request && (key === 'host' || key === 'expect'))) continue;
    text += `${fields.nameAt(i)}: ${fields.valueAt(i)}\r\n`;
  }
  return text;
}
