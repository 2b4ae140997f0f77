// What a client speaks, told by its first bytes. Leans to going on: bytes that could be nothing that is known are TCP, and
// a client that says nothing for a while is one whose server speaks first.

import type { Clock, Timer } from '../../platform/clock.ts';
import type { ByteSink, ByteStream } from '../streams/byte-stream.ts';
import { type ClientHello, readClientHello } from './client-hello.ts';

export type Detected =
  | { readonly kind: 'http1' }
  | { readonly kind: 'http2' }
  | { readonly kind: 'tls'; readonly hello: ClientHello }
  /** Anything else. */
  | { readonly kind: 'tcp' }
  /** The connection ended, or was refused, before it could be told. */
  | { readonly kind: 'gone' };

/**
 * http  the port is HTTP: only its version is asked
 * tls   the port is TLS: its ClientHello
 * any   everything
 */
export type Expected = 'http' | 'tls' | 'any';

/** RFC 9113 §3.4; no method of HTTP/1 begins so. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const TLS_HANDSHAKE = 0x16;
const METHOD = /^[A-Z][A-Z-]{0,31} /;
const METHOD_BEGINNING = /^[A-Z][A-Z-]{0,31}$/;
/** A ClientHello is not larger; certificates are not in it. */
const MAX_BYTES = 16 << 10;

/** Reads until it is told, puts back what was read, and says what it is, once. */
export function detect(
  stream: ByteStream,
  expected: Expected,
  clock: Clock,
  timeoutMs: number,
  done: (detected: Detected) => void,
): void {
  stream.attach(new Detection(stream, expected, clock, timeoutMs, done));
}

class Detection implements ByteSink {
  readonly #stream: ByteStream;
  readonly #expected: Expected;
  readonly #done: (detected: Detected) => void;
  readonly #timer: Timer;
  #read: Buffer = Buffer.alloc(0);
  #over = false;

  constructor(
    stream: ByteStream,
    expected: Expected,
    clock: Clock,
    timeoutMs: number,
    done: (detected: Detected) => void,
  ) {
    this.#stream = stream;
    this.#expected = expected;
    this.#done = done;
    this.#timer = clock.after(timeoutMs, () => this.#late());
  }

  data(chunk: Buffer): void {
    this.#read = this.#read.length === 0 ? chunk : Buffer.concat([this.#read, chunk]);
    const found = this.#look();
    if (found !== undefined) this.#tell(found);
  }

  #look(): Detected | undefined {
    const read = this.#read;
    if (this.#expected === 'tls') return this.#lookForTls(read);
    const length = Math.min(read.length, PREFACE.length);
    const mayBePreface = read.compare(PREFACE, 0, length, 0, length) === 0;
    if (mayBePreface && read.length >= PREFACE.length) return { kind: 'http2' };
    if (mayBePreface) return undefined;
    if (this.#expected === 'http') return { kind: 'http1' };
    if (read[0] === TLS_HANDSHAKE) return this.#lookForTls(read);
    const text = read.toString('latin1', 0, 33);
    if (METHOD.test(text)) return { kind: 'http1' };
    return METHOD_BEGINNING.test(text) ? undefined : { kind: 'tcp' };
  }

  #lookForTls(read: Buffer): Detected | undefined {
    const hello = readClientHello(read);
    if (hello.kind === 'hello') return { kind: 'tls', hello };
    if (hello.kind === 'partial' && read.length < MAX_BYTES) return undefined;
    return this.#expected === 'tls' ? { kind: 'gone' } : { kind: 'tcp' };
  }

  /** An end before it is told: what came may still mean something to a server. */
  end(): void {
    if (this.#read.length === 0) this.#tell({ kind: 'gone' });
    else this.#late();
  }

  #late(): void {
    this.#tell(
      this.#expected === 'any' ? { kind: 'tcp' } : this.#expected === 'http' ? { kind: 'http1' } : { kind: 'gone' },
    );
  }

  drained(): void {}

  closed(): void {
    this.#tell({ kind: 'gone' });
  }

  #tell(detected: Detected): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    if (this.#read.length > 0) this.#stream.unread(this.#read);
    if (detected.kind === 'gone') {
      this.#stream.attach(NOBODY);
      this.#stream.reset();
    }
    this.#done(detected);
  }
}

const NOBODY: ByteSink = { data() {}, end() {}, drained() {}, closed() {} };
