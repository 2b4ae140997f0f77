// One line of a container's log as it lies on disk, in the form that container runtimes agreed on (CRI):
// `2026-05-04T09:08:07.123456789Z stdout F text`; `P` instead of `F` for a part of a line that goes on. Pure.

export type LogStream = 'stdout' | 'stderr';

/** A longer line is cut into parts of this many bytes. */
export const MAX_PART_BYTES = 16_384;

export interface LogLine {
  readonly at: string;
  readonly stream: LogStream;
  /** Whether the line ends here. */
  readonly full: boolean;
  readonly text: string;
}

/** @param micros Unix time, microseconds */
export function logTime(micros: number): string {
  const seconds = Math.floor(micros / 1_000_000);
  const fraction = String(micros - seconds * 1_000_000).padStart(6, '0');
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${fraction}000Z`;
}

export function formatLogLine(at: string, stream: LogStream, full: boolean, text: string): string {
  return `${at} ${stream} ${full ? 'F' : 'P'} ${text}\n`;
}

/** Undefined for anything that is no such line. */
export function parseLogLine(line: string): LogLine | undefined {
  const match = /^(\S+) (stdout|stderr) ([FP])(?: (.*))?$/s.exec(line);
  if (match === null) return undefined;
  const [, at = '', stream, tag, text = ''] = match;
  return { at, stream: stream as LogStream, full: tag === 'F', text };
}

/** Cuts a stream of bytes into lines; a line that does not end is given in parts. */
export class LineCutter {
  readonly #onLine: (text: string, full: boolean) => void;
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(onLine: (text: string, full: boolean) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(10, start);
      this.#hold(chunk.subarray(start, end < 0 ? undefined : end));
      if (end < 0) return;
      this.#emit(true);
      start = end + 1;
    }
  }

  /** What is left when the stream has ended without a line end. */
  end(): void {
    if (this.#heldBytes > 0) this.#emit(true);
  }

  #hold(piece: Buffer): void {
    let rest = piece;
    while (this.#heldBytes + rest.length > MAX_PART_BYTES) {
      const room = MAX_PART_BYTES - this.#heldBytes;
      this.#held.push(rest.subarray(0, room));
      this.#heldBytes += room;
      this.#emit(false);
      rest = rest.subarray(room);
    }
    if (rest.length === 0) return;
    this.#held.push(rest);
    this.#heldBytes += rest.length;
  }

  #emit(full: boolean): void {
    const text = Buffer.concat(this.#held).toString('utf8');
    this.#held = [];
    this.#heldBytes = 0;
    this.#onLine(text, full);
  }
}
