// For tests: parsers that write down what they tell, and bytes cut in many ways.

import { Buffer } from 'node:buffer';
import type { Fields } from './fields.ts';
import type { Framing } from './head.ts';
import { HTTP1_LIMITS, type Http1Limits } from './limits.ts';
import type { Refusal } from './refusal.ts';
import type { RequestHead } from './request-head.ts';
import { RequestParser } from './request-parser.ts';
import type { AskedFor, ResponseHead } from './response-head.ts';
import { type ResponseHandler, ResponseParser } from './response-parser.ts';

export const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

export const fieldList = (fields: Fields): [name: string, value: string][] =>
  Array.from({ length: fields.count }, (_, i) => [fields.nameAt(i), fields.valueAt(i)]);

/** What happened, content of one message joined: how it was cut does not matter. */
export type Event =
  | { kind: 'request'; method: string; path: string; authority: string | undefined; fields: [string, string][] }
  | { kind: 'response' | 'interim'; status: number; reason: string; fields: [string, string][] }
  | { kind: 'data'; text: string }
  | { kind: 'end'; trailers: [string, string][] | undefined }
  | { kind: 'error'; code: string; status: number };

class Recorder {
  readonly events: Event[] = [];
  pieces: Buffer[] = [];
  framing: Framing | undefined;
  refusal: Refusal | undefined;
  onEnd: () => void = () => {};
  onData: () => void = () => {};

  data(piece: Buffer): void {
    this.pieces.push(piece);
    const last = this.events.at(-1);
    const text = piece.toString('latin1');
    if (last?.kind === 'data') last.text += text;
    else this.events.push({ kind: 'data', text });
    this.onData();
  }
  end(trailers: Fields | undefined): void {
    this.events.push({ kind: 'end', trailers: trailers === undefined ? undefined : fieldList(trailers) });
    this.onEnd();
  }
  error(refusal: Refusal): void {
    this.refusal = refusal;
    this.events.push({ kind: 'error', code: refusal.code, status: refusal.status });
  }
}

export class RequestRecorder extends Recorder {
  readonly heads: RequestHead[] = [];
  readonly parser: RequestParser;

  constructor(limits: Partial<Http1Limits> = {}) {
    super();
    this.parser = new RequestParser(this, { ...HTTP1_LIMITS, ...limits });
  }
  head(head: RequestHead): void {
    this.heads.push(head);
    this.framing = head.framing;
    const { method, path, authority } = head;
    this.events.push({ kind: 'request', method, path, authority, fields: fieldList(head.fields) });
  }
  send(...chunks: (string | Buffer)[]): this {
    for (const chunk of chunks) this.parser.receive(typeof chunk === 'string' ? latin1(chunk) : chunk);
    return this;
  }
  /** Answers every request at once, so that a pipeline flows. */
  answering(): this {
    this.onEnd = () => this.parser.next();
    return this;
  }
}

export class ResponseRecorder extends Recorder implements ResponseHandler {
  readonly heads: ResponseHead[] = [];
  readonly parser: ResponseParser;

  constructor(asked: Partial<AskedFor> | undefined = {}, limits: Partial<Http1Limits> = {}) {
    super();
    this.parser = new ResponseParser(this, { ...HTTP1_LIMITS, ...limits });
    this.ask(asked);
  }
  ask(asked: Partial<AskedFor> = {}): this {
    this.parser.expect({ method: 'GET', upgrade: false, ...asked });
    return this;
  }
  head(head: ResponseHead): void {
    this.note('response', head);
  }
  interim(head: ResponseHead): void {
    this.note('interim', head);
  }
  private note(kind: 'response' | 'interim', head: ResponseHead): void {
    this.heads.push(head);
    this.framing = head.framing;
    this.events.push({ kind, status: head.status, reason: head.reason, fields: fieldList(head.fields) });
  }
  send(...chunks: (string | Buffer)[]): this {
    for (const chunk of chunks) this.parser.receive(typeof chunk === 'string' ? latin1(chunk) : chunk);
    return this;
  }
}

/** Cuts at the places named by `at` (any numbers; taken modulo the length). */
export function cutAt(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const to of [...places, bytes.length]) {
    if (to > from) pieces.push(bytes.subarray(from, to));
    from = Math.max(from, to);
  }
  return pieces;
}

export const everyByte = (bytes: Buffer): Buffer[] => Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
