// Why a message was refused. Every refusal ends its connection: where a message ends is then unknown or in doubt, so
// nothing after it can be trusted to be the next one (RFC 9112 §11.2).

/** Status to answer a request with, and what is wrong. Input is never repeated in the text. */
const REFUSALS = {
  headTooLarge: [431, 'head larger than allowed'],
  tooManyFields: [431, 'more header fields than allowed'],
  targetTooLong: [414, 'request target longer than allowed'],
  methodTooLong: [501, 'method longer than any that is known'],
  bareCarriageReturn: [400, 'carriage return without line feed'],
  bareLineFeed: [400, 'line feed without carriage return'],
  controlCharacter: [400, 'control character in a head'],
  requestLine: [400, 'request line is not method, target and version with one space between'],
  method: [400, 'method is not a token'],
  methodCase: [400, 'method with small letters'],
  target: [400, 'request target has no form that the method allows'],
  version: [505, 'version is neither HTTP/1.0 nor HTTP/1.1'],
  statusLine: [400, 'status line is not version, three digits and a reason'],
  obsoleteFolding: [400, 'header field continued on the next line'],
  noColon: [400, 'header line without a colon'],
  emptyFieldName: [400, 'header field without a name'],
  spaceBeforeColon: [400, 'space between a header field name and its colon'],
  fieldName: [400, 'header field name is not a token'],
  hostMissing: [400, 'no Host field'],
  hostRepeated: [400, 'more than one Host field'],
  host: [400, 'Host is not a host with an optional port'],
  contentLength: [400, 'Content-Length is not one number'],
  contentLengthRepeated: [400, 'more than one Content-Length'],
  lengthAndCoding: [400, 'both Content-Length and Transfer-Encoding'],
  transferCoding: [400, 'Transfer-Encoding does not end in one chunked'],
  transferCodingUnknown: [501, 'transfer coding other than chunked'],
  transferCodingVersion: [400, 'Transfer-Encoding in HTTP/1.0'],
  connectContent: [400, 'CONNECT with content'],
  expectation: [417, 'expectation other than 100-continue'],
  connectionOption: [400, 'Connection names a field that is not for one connection'],
  chunkSize: [400, 'malformed chunk size'],
  chunkLineTooLong: [400, 'chunk line longer than allowed'],
  chunkExtension: [400, 'malformed chunk extension'],
  chunkExtensionsTooLarge: [400, 'more chunk extensions than allowed'],
  chunkEnd: [400, 'chunk data does not end where its size says'],
  trailersTooLarge: [431, 'trailers larger than allowed'],
  forbiddenTrailer: [400, 'trailer field that has no place there'],
  truncated: [400, 'connection ended inside a message'],
  noResponse: [400, 'connection ended without a byte of the response'],
  earlyData: [400, 'bytes after a request for another protocol, before the answer'],
  overrun: [400, 'more bytes sent ahead than allowed'],
  unsolicited: [400, 'bytes that answer no request'],
  notReusable: [400, 'connection cannot carry another request'],
  upgradeUnasked: [400, 'switch to another protocol that was not asked for'],
  tooManyInterim: [400, 'more interim responses than allowed'],
} as const satisfies Record<string, readonly [status: number, text: string]>;

export type RefusalCode = keyof typeof REFUSALS;

export interface Refusal {
  readonly code: RefusalCode;
  /** What to answer downstream: the request's own fault (4xx, 5xx), or 502 for a faulty response. */
  readonly status: number;
  readonly text: string;
}

export const requestRefusal = (code: RefusalCode): Refusal => ({
  code,
  status: REFUSALS[code][0],
  text: REFUSALS[code][1],
});

export const responseRefusal = (code: RefusalCode): Refusal => ({ code, status: 502, text: REFUSALS[code][1] });
