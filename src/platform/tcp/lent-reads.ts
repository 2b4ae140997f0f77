// Reading a net.Socket, TLS or not, into one buffer for all connections, past the socket's stream: net's `onread` option,
// for sockets that exist already.

import type { Socket } from 'node:net';
import { type Handles, handles, type TcpHandle } from './handles.ts';

/** TLS hands over one record at a time. */
const READ_BYTES = 16 << 10;
/** INVARIANT (lent): overwritten by the next read of any connection. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

export interface Reader {
  /** `chunk` is lent: its bytes are others' as soon as this returns. */
  receive(chunk: Buffer): void;
}

const READER = Symbol('reader');
const ENDED = Symbol('ended');
interface Read extends TcpHandle {
  [READER]: Reader;
  [ENDED]: TcpHandle['onread'];
}
const { readResult } = (handles ?? {}) as Handles;

/**
 * From now on everything that arrives goes to `reader`; the end and errors stay the socket's events, which must be flowing
 * (`resume`).
 * @returns false: this Node cannot; nothing has changed then
 */
export function readLent(socket: Socket, reader: Reader): boolean {
  const handle = (socket as unknown as { readonly _handle?: Partial<Read> | null })._handle;
  if (handles === undefined || typeof handle?.useUserBuffer !== 'function' || typeof handle.onread !== 'function')
    return false;
  handle[READER] = reader;
  handle[ENDED] = handle.onread;
  handle.useUserBuffer(readBuffer);
  handle.onread = onRead;
  // What the stream took before.
  for (let early = socket.read() as Buffer | null; early !== null; early = socket.read() as Buffer | null)
    reader.receive(early);
  return true;
}

function onRead(this: TcpHandle): unknown {
  const bytes = readResult();
  if (bytes > 0) (this as Read)[READER].receive(readBuffer.subarray(0, bytes));
  else return (this as Read)[ENDED]();
}
