// TcpStream on Node's TCP handle: one read buffer for all connections, writes straight to the kernel.

import type { HostPort } from '../../model/ip.ts';
import { SystemError } from '../linux/errors.ts';
import { lastErrno, libc } from '../linux/libc.ts';
import { localAddress, peerAddress, setResetOnClose } from '../linux/sockets.ts';
import { flushSoon, type Gathering, giveBlock, takeBlock } from './gather.ts';
import { type Handles, handles, type TcpHandle, type WriteRequest } from './handles.ts';
import type { StreamUser, TcpStream } from './stream.ts';

const READ_BYTES = 64 << 10;
/** INVARIANT (lent): filled by the kernel between two calls of `onread`, so nobody may keep any of it. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

/** Pieces from here on are worth a copy if that saves a system call, up to where they are large enough by themselves. */
const GATHER_FROM_BYTES = 8 << 10;
const GATHER_TO_BYTES = 32 << 10;

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
const EINTR = 4;
const EAGAIN = 11;
const UV_EOF = -4095;

/** INVARIANT (there): nobody makes a HandleStream on a Node without handles. */
const { Write, readResult, wroteLater } = (handles ?? {}) as Handles;

const STREAM = Symbol('stream');
interface Owned extends TcpHandle {
  [STREAM]: HandleStream;
}
interface OwnedRequest extends WriteRequest {
  [STREAM]: HandleStream;
}

/** open: may write. ending: `end` was called, bytes still wait. ended: FIN is sent. */
type Writing = 'open' | 'ending' | 'ended';

export class HandleStream implements TcpStream, Gathering {
  #handle: TcpHandle | undefined;
  #fd: number;
  #user: StreamUser | undefined = undefined;
  #reading = false;
  #readEnded = false;
  /** The first chunk may be the last. */
  #mayEnd = false;
  #writing: Writing = 'open';
  #closeAfterEnd = false;
  /** Writes that libuv holds for a slow peer. */
  #pendingWrites = 0;
  /** A `write` returned false; `drained` is owed. */
  #full = false;
  #block: Buffer | undefined = undefined;
  #gathered = 0;
  #clean = false;
  #error: Error | undefined = undefined;

  constructor(handle: TcpHandle) {
    this.#handle = handle;
    this.#fd = handle.fd;
  }

  get fd(): number | undefined {
    return this.#handle === undefined ? undefined : this.#fd;
  }

  remote(): HostPort | undefined {
    return this.#handle === undefined ? undefined : peerAddress(this.#fd);
  }

  local(): HostPort | undefined {
    return this.#handle === undefined ? undefined : localAddress(this.#fd);
  }

  start(user: StreamUser, answersOnce = false): void {
    this.#user = user;
    this.#mayEnd = answersOnce;
    const handle = this.#handle as Owned | undefined;
    if (handle === undefined) return;
    handle[STREAM] = this;
    handle.useUserBuffer(readBuffer);
    handle.onread = onRead;
    this.resume();
  }

  pause(): void {
    if (!this.#reading) return;
    this.#reading = false;
    this.#handle?.readStop();
  }

  resume(): void {
    if (this.#reading || this.#readEnded || this.#handle === undefined || this.#user === undefined) return;
    this.#reading = true;
    const code = this.#handle.readStart();
    if (code < 0) this.#fail('read', -code);
  }

  /** @param result  bytes in the read buffer, or a negative errno */
  onRead(result: number): void {
    if (this.#handle === undefined) return;
    if (result > 0) {
      this.#user?.received(readBuffer.subarray(0, result));
      if (this.#mayEnd) this.#lookForEnd();
    } else if (result === UV_EOF) this.#ended();
    else if (result < 0) this.#fail('read', -result);
  }

  /**
   * Who answers once and closes sends its FIN right behind: taken now, the end travels with the data, where libuv would
   * tell it in another turn. Measured, new connections: reads of the server's proxy 2.4 -> 1.4 a connection (and this
   * one), records towards the client 0.49 -> 0.41.
   */
  #lookForEnd(): void {
    this.#mayEnd = false;
    if (!this.#reading) return;
    const bytes = Number(libc.recv(this.#fd, readBuffer, READ_BYTES, MSG_DONTWAIT));
    if (bytes > 0) this.#user?.received(readBuffer.subarray(0, bytes));
    else if (bytes === 0) {
      this.#handle?.readStop();
      this.#ended();
    }
  }

  #ended(): void {
    this.#readEnded = true;
    this.#reading = false;
    this.#user?.ended();
    this.#closeIfDone();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#handle === undefined || this.#writing !== 'open' || bytes.length === 0) return true;
    if (this.#block !== undefined || (bytes.length >= GATHER_FROM_BYTES && bytes.length < GATHER_TO_BYTES))
      return this.#gather(bytes);
    return this.#send(bytes, undefined);
  }

  #gather(bytes: Uint8Array): boolean {
    let block = this.#block;
    if (block !== undefined && this.#gathered + bytes.length > block.length) {
      this.flushGathered();
      block = undefined;
      if (bytes.length > GATHER_TO_BYTES || this.#handle === undefined) return this.#send(bytes, undefined);
    }
    // What has to wait is copied to its own size: a block for each piece would be sixteen times the memory.
    if (this.#pendingWrites > 0) return this.#send(bytes, undefined);
    if (block === undefined) {
      block = takeBlock();
      this.#block = block;
      this.#gathered = 0;
      flushSoon(this);
    }
    block.set(bytes, this.#gathered);
    this.#gathered += bytes.length;
    return true;
  }

  flushGathered(): void {
    const block = this.#block;
    if (block === undefined) return;
    this.#block = undefined;
    if (this.#handle === undefined) giveBlock(block);
    else this.#send(block.subarray(0, this.#gathered), block);
    if (this.#writing === 'ending') this.#endIfSent();
  }

  /** @param block  whose memory `bytes` are; given back when they have left. Undefined: they are lent. */
  #send(bytes: Uint8Array, block: Buffer | undefined): boolean {
    let sent = 0;
    if (this.#pendingWrites === 0) {
      sent = Number(libc.send(this.#fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL));
      if (sent < 0) {
        const errno = lastErrno();
        if (errno !== EAGAIN && errno !== EINTR) {
          if (block !== undefined) giveBlock(block);
          this.#fail('send', errno);
          return true;
        }
        sent = 0;
      }
      if (sent === bytes.length) {
        if (block !== undefined) giveBlock(block);
        return true;
      }
    }
    const rest = bytes.subarray(sent);
    const keepsBlock = block !== undefined && rest.length > block.length / 2;
    const request = new Write() as OwnedRequest;
    request.oncomplete = onWritten;
    request[STREAM] = this;
    request.bytes = keepsBlock ? rest : Buffer.from(rest);
    if (block !== undefined && !keepsBlock) giveBlock(block);
    const code = (this.#handle as TcpHandle).writeBuffer(request, request.bytes);
    if (code !== 0) {
      this.#fail('write', -code);
      return true;
    }
    if (!wroteLater()) return true;
    this.#pendingWrites += 1;
    this.#full = true;
    return false;
  }

  onWritten(status: number): void {
    this.#pendingWrites -= 1;
    if (this.#handle === undefined) return;
    if (status < 0) {
      this.#fail('write', -status);
      return;
    }
    if (this.#pendingWrites > 0) return;
    if (this.#full) {
      this.#full = false;
      this.#user?.drained();
    }
    if (this.#writing === 'ending') this.#endIfSent();
  }

  end(): void {
    if (this.#writing !== 'open' || this.#handle === undefined) return;
    this.#writing = 'ending';
    this.flushGathered();
    this.#endIfSent();
  }

  endAndClose(): void {
    this.#closeAfterEnd = true;
    if (this.#writing === 'ended') this.#closeIfDone();
    else this.end();
  }

  #endIfSent(): void {
    if (this.#pendingWrites > 0 || this.#block !== undefined || this.#handle === undefined) return;
    if (this.#writing !== 'ending') return;
    this.#writing = 'ended';
    // Closing sends the FIN as well. Otherwise it fails only when the peer has gone, which reading tells too.
    if (!this.#readEnded && !this.#closeAfterEnd) libc.shutdown(this.#fd, SHUT_WR);
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#writing !== 'ended' || !(this.#readEnded || this.#closeAfterEnd)) return;
    this.#clean = this.#readEnded;
    this.destroy();
  }

  destroy(): void {
    const handle = this.#handle;
    if (handle === undefined) return;
    this.#handle = undefined;
    this.#reading = false;
    handle.close(() => this.#closed());
  }

  reset(): void {
    if (this.#handle !== undefined) setResetOnClose(this.#fd);
    this.destroy();
  }

  #closed(): void {
    const user = this.#user;
    this.#user = undefined;
    user?.closed(this.#clean, this.#error);
  }

  #fail(call: string, errno: number): void {
    if (this.#handle === undefined) return;
    this.#error = new SystemError('the connection broke', call, errno);
    this.destroy();
  }
}

function onRead(this: TcpHandle): void {
  (this as Owned)[STREAM].onRead(readResult());
}
function onWritten(this: WriteRequest, status: number): void {
  (this as OwnedRequest)[STREAM].onWritten(status);
}
