// HTTP/1.0 and 1.1, sans-I/O: messages from bytes and back, and the normal form of paths.

export { ChunkedEncoder } from './chunked.ts';
export { Fields, isFieldValue, isToken, listMembers } from './fields.ts';
export { CHUNKED, type Framing, type MessageHead, NO_CONTENT, TUNNEL, UNTIL_CLOSE } from './head.ts';
export { removeHopByHop } from './hop-by-hop.ts';
export { type RequestHost, readHost } from './host.ts';
export { HTTP1_LIMITS, type Http1Limits } from './limits.ts';
export type { MessageHandler, ParserState } from './parser.ts';
export {
  DEFAULT_PATH_NORMALIZATION,
  type NormalPath,
  normalizePath,
  type PathFault,
  type PathNormalization,
} from './path.ts';
export type { Refusal, RefusalCode } from './refusal.ts';
export type { RequestHead, TargetForm } from './request-head.ts';
export { RequestParser } from './request-parser.ts';
export type { AskedFor, ResponseHead } from './response-head.ts';
export { type ResponseHandler, ResponseParser } from './response-parser.ts';
export { CONTINUE, type RequestToSend, type ResponseToSend, writeRequestHead, writeResponseHead } from './writer.ts';
