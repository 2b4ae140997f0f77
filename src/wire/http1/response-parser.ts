// Responses of one upstream connection. Each must be expected: what comes unasked ends the connection, so bytes that a
// server sent behind one response are never taken for the answer to the next request (response smuggling).

import type { Framing } from './head.ts';
import { HTTP1_LIMITS, type Http1Limits } from './limits.ts';
import { type MessageHandler, MessageParser } from './parser.ts';
import { type Refusal, type RefusalCode, responseRefusal } from './refusal.ts';
import { type AskedFor, type ResponseHead, readResponseHead } from './response-head.ts';

/** `interim` may come several times before `head`: 1xx without 101. */
export interface ResponseHandler extends MessageHandler<ResponseHead> {
  interim(head: ResponseHead): void;
}

export class ResponseParser extends MessageParser<ResponseHead> {
  private readonly responses: ResponseHandler;
  private asked: AskedFor | undefined;
  private interim = 0;
  private fresh = true;
  private keepAlive = false;
  protected override readonly forgivesEmptyLine = false;

  constructor(handler: ResponseHandler, limits: Http1Limits = HTTP1_LIMITS) {
    super('idle', handler, limits);
    this.responses = handler;
  }

  /** Another request may be sent: the last response is complete, let the connection live, and nothing came after it. */
  get reusable(): boolean {
    return this.state === 'idle' && this.fresh && this.heldBytes === 0 && !this.ended;
  }

  /** A request goes out; its response may come from now on, also before the request is complete. */
  expect(asked: AskedFor): void {
    if (!this.reusable) {
      this.refuse('notReusable');
      return;
    }
    this.asked = asked;
    this.interim = 0;
    this.fresh = false;
    this.enter('head');
  }

  protected override takeHead(text: string): Framing | RefusalCode | undefined {
    const { asked } = this;
    if (asked === undefined) return 'unsolicited';
    const read = readResponseHead(text, asked, this.limits);
    if (!read.ok) return read.error;
    const head = read.value;
    if (head.status < 200 && head.status !== 101) {
      if (++this.interim > this.limits.maxInterimResponses) return 'tooManyInterim';
      this.responses.interim(head);
      return undefined;
    }
    this.keepAlive = head.keepAlive;
    this.handler.head(head);
    return head.framing;
  }

  protected override completed(): void {
    this.asked = undefined;
    this.fresh = this.keepAlive;
  }

  protected override endInHead(clean: boolean): void {
    this.refuse(clean && this.interim === 0 ? 'noResponse' : 'truncated');
  }

  protected override whileIdle(): RefusalCode {
    return 'unsolicited';
  }

  protected override toRefusal(code: RefusalCode): Refusal {
    return responseRefusal(code);
  }

  protected override tooLong(): RefusalCode {
    return 'headTooLarge';
  }
}
