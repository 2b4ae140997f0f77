// WebSocket between HTTP versions: HTTP/2 needs no key and no answer to it (RFC 8441 §5.1), HTTP/1.1 insists on both
// (RFC 6455 §1.3). Each codec of HTTP/2 makes what the other side of the proxy may want. Runs per WebSocket.

import { createHash, randomBytes } from 'node:crypto';
import type { Fields } from '../../wire/http1/index.ts';

const KEY = 'sec-websocket-key';
const ACCEPT = 'sec-websocket-accept';
/** RFC 6455 §1.3 */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Of a request that came by HTTP/2. */
export function giveKey(fields: Fields): void {
  if (!fields.has(KEY)) fields.append('Sec-WebSocket-Key', randomBytes(16).toString('base64'));
}

/** Of a request that goes by HTTP/2: the key is for `answerKey` alone. */
export function takeKey(fields: Fields): { readonly fields: Fields; readonly key: string | undefined } {
  const key = fields.get(KEY);
  if (key === undefined) return { fields, key };
  const rest = fields.clone();
  rest.delete(KEY);
  return { fields: rest, key };
}

/** Of a response that came by HTTP/2. */
export function answerKey(fields: Fields, key: string | undefined): void {
  if (key === undefined) return;
  fields.set('Sec-WebSocket-Accept', createHash('sha1').update(`${key}${GUID}`).digest('base64'));
}

/** Of a response that goes by HTTP/2. */
export function dropAnswer(fields: Fields): Fields {
  if (!fields.has(ACCEPT)) return fields;
  const rest = fields.clone();
  rest.delete(ACCEPT);
  return rest;
}
