// Requests of one client connection, one after another.

import type { Framing } from './head.ts';
import { HTTP1_LIMITS, type Http1Limits } from './limits.ts';
import { type MessageHandler, MessageParser } from './parser.ts';
import { type Refusal, type RefusalCode, requestRefusal } from './refusal.ts';
import { type RequestHead, readRequestHead } from './request-head.ts';

export class RequestParser extends MessageParser<RequestHead> {
  /** The last request asked for another protocol: by Upgrade, or CONNECT. */
  private maySwitch = false;
  private keepAlive = true;
  protected override readonly forgivesEmptyLine = true;

  constructor(handler: MessageHandler<RequestHead>, limits: Http1Limits = HTTP1_LIMITS) {
    super('head', handler, limits);
  }

  /**
   * The last request was answered in full: reads the next. Harmless unless idle; closes if the last was to be the last.
   * Bytes that a client sent ahead behind a request for another protocol, which it did not get, are refused: they were
   * meant for that protocol, and read as HTTP they could be a request that nobody sent.
   */
  next(): void {
    if (this.state !== 'idle') return;
    if (!this.keepAlive) this.close();
    else if (this.maySwitch && this.heldBytes > 0) this.refuse('earlyData');
    else this.enter('head');
  }

  /** The last request got its other protocol: from here on everything is raw bytes, beginning with those that wait. */
  switchProtocol(): void {
    if (this.state === 'idle' && this.maySwitch) this.enter('tunnel');
  }

  protected override takeHead(text: string): Framing | RefusalCode {
    const read = readRequestHead(text, this.limits);
    if (!read.ok) return read.error;
    this.maySwitch = read.value.upgrade !== undefined || read.value.method === 'CONNECT';
    this.keepAlive = read.value.keepAlive;
    this.handler.head(read.value);
    return read.value.framing;
  }

  protected override toRefusal(code: RefusalCode): Refusal {
    return requestRefusal(code);
  }

  protected override endInHead(clean: boolean): void {
    if (clean) this.close();
    else this.refuse('truncated');
  }

  protected override completed(): void {}

  protected override whileIdle(): undefined {}

  protected override tooLong(beginning: string): RefusalCode {
    return beginning.includes('\r\n') || beginning.indexOf(' ') < 1 ? 'headTooLarge' : 'targetTooLong';
  }
}
