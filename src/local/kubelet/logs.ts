// Logs of containers: files below the mesh's state folder, one a start of a container, bounded by turning over; and
// readers that go on from the file to what is being written, in the same process.

import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { formatLogLine, LineCutter, type LogLine, type LogStream, logTime, parseLogLine } from './log-line.ts';

/** A file that grows beyond this becomes `<file>.1`, and what was there goes. */
const MAX_FILE_BYTES = 10 << 20;

const anchorMicros = Date.now() * 1000 - Math.floor(performance.now() * 1000);
/** Never runs backwards between two lines. */
const nowMicros = (): number => anchorMicros + Math.floor(performance.now() * 1000);

type LineListener = (line: LogLine) => void;

/** The log of one start of a container, while it is written and afterwards. */
export class ContainerLog {
  readonly file: string;
  readonly #maxBytes: number;
  readonly #listeners = new Set<LineListener>();
  readonly #onEnd = new Set<() => void>();
  readonly #cutters: Readonly<Record<LogStream, LineCutter>>;
  #fd: number | undefined;
  #bytes = 0;

  constructor(file: string, maxBytes = MAX_FILE_BYTES) {
    this.file = file;
    this.#maxBytes = maxBytes;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    this.#fd = openSync(file, 'a', 0o600);
    this.#bytes = fstatSync(this.#fd).size;
    const cutter = (stream: LogStream): LineCutter => new LineCutter((text, full) => this.#write(stream, text, full));
    this.#cutters = { stdout: cutter('stdout'), stderr: cutter('stderr') };
  }

  get ended(): boolean {
    return this.#fd === undefined;
  }

  push(stream: LogStream, chunk: Buffer): void {
    if (this.#fd !== undefined) this.#cutters[stream].push(chunk);
  }

  /** Both streams have ended. Twice is harmless. */
  end(): void {
    if (this.#fd === undefined) return;
    this.#cutters.stdout.end();
    this.#cutters.stderr.end();
    closeSync(this.#fd);
    this.#fd = undefined;
    for (const listener of this.#onEnd) listener();
    this.#onEnd.clear();
    this.#listeners.clear();
  }

  /** Everything written from now on. @returns a function that stops listening */
  follow(onLine: LineListener, onEnd: () => void): () => void {
    if (this.#fd === undefined) {
      onEnd();
      return () => {};
    }
    this.#listeners.add(onLine);
    this.#onEnd.add(onEnd);
    return () => {
      this.#listeners.delete(onLine);
      this.#onEnd.delete(onEnd);
    };
  }

  /** What is there so far, oldest first. */
  read(): LogLine[] {
    return readLog(this.file);
  }

  #write(stream: LogStream, text: string, full: boolean): void {
    if (this.#fd === undefined) return;
    const at = logTime(nowMicros());
    const line = formatLogLine(at, stream, full, text);
    const bytes = Buffer.byteLength(line);
    if (this.#bytes + bytes > this.#maxBytes) this.#turnOver();
    try {
      writeSync(this.#fd, line);
      this.#bytes += bytes;
    } catch {
      // A full disk: the line is lost, the container is not.
    }
    for (const listener of this.#listeners) listener({ at, stream, full, text });
  }

  #turnOver(): void {
    if (this.#fd === undefined) return;
    renameSync(this.file, `${this.file}.1`);
    closeSync(this.#fd);
    this.#fd = openSync(this.file, 'a', 0o600);
    this.#bytes = 0;
  }
}

/** The lines of a log's file and of what turned over before it. */
export function readLog(file: string): LogLine[] {
  const lines: LogLine[] = [];
  for (const each of [`${file}.1`, file])
    for (const line of textOf(each).split('\n')) {
      const parsed = parseLogLine(line);
      if (parsed !== undefined) lines.push(parsed);
    }
  return lines;
}

const attemptOf = (name: string): number | undefined => {
  const match = /^(\d+)\.log$/.exec(name);
  return match === null ? undefined : Number(match[1]);
};

/** The logs of a container's starts that are kept, the last one last. */
export function logFiles(folder: string): string[] {
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch {
    // it never started
  }
  const attempts = names.map(attemptOf).filter((attempt) => attempt !== undefined);
  return attempts.sort((a, b) => a - b).map((attempt) => join(folder, `${attempt}.log`));
}

/** Keeps the last two: `kubectl logs` and `kubectl logs --previous`. */
export function forgetOldLogs(folder: string): void {
  for (const file of logFiles(folder).slice(0, -2)) {
    rmSync(file, { force: true });
    rmSync(`${file}.1`, { force: true });
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

export interface LogQuery {
  readonly tailLines?: number;
  /** Only lines at or after this time, as the log writes times. */
  readonly since?: string;
  readonly timestamps?: boolean;
  readonly limitBytes?: number;
}

/** The lines that were asked for, joined from their parts, as text to send. */
export function selectLines(lines: readonly LogLine[], query: LogQuery): string {
  const joined = joinParts(lines).filter(({ at }) => query.since === undefined || at >= query.since);
  const chosen = query.tailLines === undefined ? joined : joined.slice(Math.max(0, joined.length - query.tailLines));
  const text = chosen.map((line) => formatForReader(line, query.timestamps === true)).join('');
  return query.limitBytes === undefined ? text : Buffer.from(text).subarray(0, query.limitBytes).toString('utf8');
}

function joinParts(lines: readonly LogLine[]): LogLine[] {
  const joined: LogLine[] = [];
  const open: Partial<Record<LogStream, LogLine>> = {};
  for (const line of lines) {
    const before = open[line.stream];
    const whole = before === undefined ? line : { ...before, full: line.full, text: before.text + line.text };
    if (line.full) {
      delete open[line.stream];
      joined.push(whole);
    } else open[line.stream] = whole;
  }
  return [...joined, ...Object.values(open)];
}

/** For followers, who get a part as soon as it is there. */
export const formatForReader = (line: LogLine, timestamps: boolean): string =>
  `${timestamps ? `${line.at} ` : ''}${line.text}${line.full ? '\n' : ''}`;
