// Chunked transfer coding (RFC 9112 §7.1), both ways. Content is never copied; lines are read as text, bounded.

import type { Buffer } from 'node:buffer';
import type { Fields } from './fields.ts';
import { readFields, uncleanText } from './head.ts';
import type { Http1Limits } from './limits.ts';
import type { RefusalCode } from './refusal.ts';

const LF = 0x0a;
const CR = 0x0d;
/** 13 digits are 52 bits. */
const SIZE = /^[0-9A-Fa-f]{1,13}$/;
/** RFC 9112 §7.1.1, without the white space that it calls bad before the first `;`. */
const EXTENSIONS =
  /^(?:;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)+$/;

/**
 * What trailers may not say (RFC 9110 §6.5.1): framing, routing, authentication, how to read the message. A receiver that
 * merged them into the head would see what nobody judged.
 */
const FORBIDDEN_TRAILER =
  /^(?:transfer-encoding|content-(?:length|encoding|type|range|location|disposition)|host|te|trailer|connection|keep-alive|proxy-.*|upgrade|expect|max-forwards|pragma|range|if-.*|cache-control|authorization|www-authenticate|cookie|set-cookie|set-cookie2|age|date|expires|location|retry-after|vary|warning|forwarded|x-forwarded-.*|x-envoy-.*|:.*)$/;

export const isForbiddenTrailer = (key: string): boolean => FORBIDDEN_TRAILER.test(key);

/** size: a chunk-size line; end: the line end after data; trailers: lines up to an empty one. */
type LineKind = 'size' | 'end' | 'trailers';

/** State of one message's coding; the parser asks for lines, and passes data itself. */
export class ChunkedDecoder {
  private readonly limits: Http1Limits;
  private kind: LineKind = 'size';
  /** Beginning of a line that is cut. */
  private line = '';
  private extensionBytes = 0;
  private trailerText = '';
  /** Data of the present chunk that is still to come. */
  dataLeft = 0;
  ended = false;
  trailers: Fields | undefined;

  constructor(limits: Http1Limits) {
    this.limits = limits;
  }

  get inData(): boolean {
    return this.dataLeft > 0;
  }

  reset(): void {
    this.kind = 'size';
    this.line = '';
    this.extensionBytes = 0;
    this.trailerText = '';
    this.dataLeft = 0;
    this.ended = false;
    this.trailers = undefined;
  }

  tookData(length: number): void {
    this.dataLeft -= length;
    if (this.dataLeft === 0) this.kind = 'end';
  }

  /** Reads a line, or as much as there is of it. @returns bytes taken, at least one */
  readLine(chunk: Buffer, at: number): number | RefusalCode {
    if (this.kind === 'end') return this.readDataEnd(chunk, at);
    const bound = this.kind === 'trailers' ? this.limits.maxTrailerBytes : this.limits.maxChunkLineBytes;
    // A little more than may be, so that a line that is too long shows.
    const to = Math.min(chunk.length, at + bound + 3 - this.line.length);
    const lf = chunk.subarray(at, to).indexOf(LF);
    const end = lf < 0 ? to : at + lf;
    const line = this.line + chunk.toString('latin1', at, end);
    const returned = line.charCodeAt(line.length - 1) === CR;
    const content = returned ? line.slice(0, -1) : line;
    if (content.length > bound) return this.tooLong();
    if (lf < 0) {
      this.line = line;
      return end - at;
    }
    if (!returned) return 'bareLineFeed';
    this.line = '';
    return this.takeLine(content) ?? end + 1 - at;
  }

  /** The line end after data, and nothing else. */
  private readDataEnd(chunk: Buffer, at: number): number | RefusalCode {
    const taken = Math.min(2 - this.line.length, chunk.length - at);
    this.line += chunk.toString('latin1', at, at + taken);
    if (!'\r\n'.startsWith(this.line)) return 'chunkEnd';
    if (this.line.length === 2) {
      this.kind = 'size';
      this.line = '';
    }
    return taken;
  }

  private tooLong(): RefusalCode {
    return this.kind === 'trailers' ? 'trailersTooLarge' : 'chunkLineTooLong';
  }

  private takeLine(line: string): RefusalCode | undefined {
    if (this.kind === 'size') return this.takeSize(line);
    return line === '' ? this.takeTrailers() : this.addTrailer(line);
  }

  private takeSize(line: string): RefusalCode | undefined {
    const semicolon = line.indexOf(';');
    const size = semicolon < 0 ? line : line.slice(0, semicolon);
    if (!SIZE.test(size)) return uncleanText(line) ?? 'chunkSize';
    if (semicolon >= 0) {
      const extensions = line.slice(semicolon);
      this.extensionBytes += extensions.length;
      if (this.extensionBytes > this.limits.maxChunkExtensionBytes) return 'chunkExtensionsTooLarge';
      if (!EXTENSIONS.test(extensions)) return uncleanText(line) ?? 'chunkExtension';
    }
    this.dataLeft = Number.parseInt(size, 16);
    if (this.dataLeft === 0) this.kind = 'trailers';
    return undefined;
  }

  private addTrailer(line: string): RefusalCode | undefined {
    if (this.trailerText.length + line.length > this.limits.maxTrailerBytes) return 'trailersTooLarge';
    const unclean = uncleanText(line);
    this.trailerText += this.trailerText === '' ? line : `\r\n${line}`;
    return unclean;
  }

  private takeTrailers(): RefusalCode | undefined {
    this.ended = true;
    if (this.trailerText === '') return undefined;
    const facts = readFields(this.trailerText, 0, this.limits.maxTrailerFields);
    if (typeof facts === 'string') return facts;
    for (let i = 0; i < facts.fields.count; i++)
      if (isForbiddenTrailer(facts.fields.keyAt(i))) return 'forbiddenTrailer';
    this.trailers = facts.fields;
    return undefined;
  }
}

/**
 * Writes content in chunks: before each piece its `prefix`, after the last `last`. The line end of one chunk goes with the
 * prefix of the next, so a piece costs one small write beside itself and no copy.
 */
export class ChunkedEncoder {
  private begun = false;

  /** @param length bytes of the piece; an empty piece has no chunk and gets '' */
  prefix(length: number): string {
    if (length === 0) return '';
    const size = length.toString(16);
    if (this.begun) return `\r\n${size}\r\n`;
    this.begun = true;
    return `${size}\r\n`;
  }

  /** End of the content. Trailers that may not be sent as such are left out. */
  last(trailers?: Fields): string {
    let text = this.begun ? '\r\n0\r\n' : '0\r\n';
    if (trailers !== undefined)
      for (let i = 0; i < trailers.count; i++)
        if (!isForbiddenTrailer(trailers.keyAt(i))) text += `${trailers.nameAt(i)}: ${trailers.valueAt(i)}\r\n`;
    return `${text}\r\n`;
  }
}
