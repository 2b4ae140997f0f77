// The logger that every role shares: `logger('xds').info('stream established', { id: 1 })`.
// A scope is a short lower-case name, parts joined with `::`; levels per scope can change while the process runs.
// Never give a token, a private key or a CSR's key to it.

import type { Result } from '../model/result.ts';
import { ok } from '../model/result.ts';
import {
  addDirectives,
  DEFAULT_FILTER,
  formatFilter,
  type Level,
  type LogFilter,
  parseFilter,
  type Verbosity,
  verbosityFor,
  verbosityOf,
} from './log-filter.ts';
import { type Fields, formatLine, formatTime, type LogFormat } from './log-layout.ts';
import { fdSink, type LogSink } from './log-sink.ts';

export type { Level } from './log-filter.ts';
export { type Bare, bare, errorText, type Fields, type FieldValue, type LogFormat } from './log-layout.ts';
export type { LogSink } from './log-sink.ts';

export interface Logger {
  readonly scope: string;
  error(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  debug(message: string, fields?: Fields): void;
  trace(message: string, fields?: Fields): void;
  /** For callers whose fields cost something to make. */
  enabled(level: Level): boolean;
  /** The same scope with fields that every line carries, after its own. */
  with(fields: Fields): Logger;
}

export interface LogSettings {
  readonly format?: LogFormat;
  /** `RUST_LOG` grammar. Also what `resetLogFilter` goes back to. */
  readonly filter?: string;
  /** Default: standard output, as ztunnel. Commands for people take 2, standard error. */
  readonly fd?: 1 | 2;
  /** Replaces the descriptor, for tests. */
  readonly sink?: LogSink;
  /** Unix time in microseconds, for tests. */
  readonly nowMicros?: () => number;
}

let anchor = performance.timeOrigin;
/** Wall clock with microseconds; follows the clock when it is set by hand. */
function wallClockMicros(): number {
  const wall = Date.now();
  const fine = anchor + performance.now();
  if (fine >= wall - 1 && fine < wall + 2) return fine * 1000;
  anchor = wall - performance.now();
  return wall * 1000;
}

const droppedNotice = (lines: number): string =>
  formatLine(format, formatTime(nowMicros()), 'warn', 'log', 'log lines dropped: the reader is too slow', { lines });

let format: LogFormat = 'plain';
let nowMicros = wallClockMicros;
let initial: LogFilter = DEFAULT_FILTER;
let filter: LogFilter = DEFAULT_FILTER;
let fd: 1 | 2 = 1;
let sink: LogSink | undefined;

/** scope -> what is wanted of it, shared by all loggers of that scope and rewritten when the filter changes */
const scopes = new Map<string, { wanted: Verbosity }>();

function applyFilter(next: LogFilter): void {
  filter = next;
  for (const [scope, state] of scopes) state.wanted = verbosityFor(next, scope);
}

/**
 * Sets up logging for this process; without it lines are plain, at `info`, on standard output.
 * @returns a sentence about a bad filter; the other settings hold all the same
 */
export function configureLogging(settings: LogSettings): Result<void, string> {
  format = settings.format ?? format;
  nowMicros = settings.nowMicros ?? nowMicros;
  if (settings.sink !== undefined) sink = settings.sink;
  else if (settings.fd !== undefined && settings.fd !== fd) {
    fd = settings.fd;
    sink = undefined;
  }
  if (settings.filter === undefined) return ok(undefined);
  const parsed = parseFilter(settings.filter);
  if (!parsed.ok) return parsed;
  initial = parsed.value;
  applyFilter(initial);
  return ok(undefined);
}

/** The filter in force, as text that `addLogDirectives` understands. */
export const currentLogFilter = (): string => formatFilter(filter);

/** Adds `level` or `scope=level,…` to the filter in force; on a bad text nothing changes. */
export function addLogDirectives(text: string): Result<void, string> {
  const next = addDirectives(filter, text);
  if (!next.ok) return next;
  applyFilter(next.value);
  return ok(undefined);
}

export const resetLogFilter = (): void => applyFilter(initial);

/** Before an orderly exit: resolves when all lines have left. */
export const flushLogs = (): Promise<void> => sink?.flush() ?? Promise.resolve();

function emit(level: Level, scope: string, message: string, fields: Fields | undefined): void {
  sink ??= fdSink(fd, droppedNotice);
  sink.write(formatLine(format, formatTime(nowMicros()), level, scope, message, fields));
}

const [ERROR, WARN, INFO, DEBUG, TRACE] = (['error', 'warn', 'info', 'debug', 'trace'] as const).map(verbosityOf) as [
  Verbosity,
  Verbosity,
  Verbosity,
  Verbosity,
  Verbosity,
];

export function logger(scope: string, context?: Fields): Logger {
  let state = scopes.get(scope);
  if (state === undefined) {
    state = { wanted: verbosityFor(filter, scope) };
    scopes.set(scope, state);
  }
  const of = state;
  const all = context === undefined ? (fields?: Fields) => fields : (fields?: Fields) => ({ ...fields, ...context });
  return {
    scope,
    error: (message, fields) => void (of.wanted >= ERROR && emit('error', scope, message, all(fields))),
    warn: (message, fields) => void (of.wanted >= WARN && emit('warn', scope, message, all(fields))),
    info: (message, fields) => void (of.wanted >= INFO && emit('info', scope, message, all(fields))),
    debug: (message, fields) => void (of.wanted >= DEBUG && emit('debug', scope, message, all(fields))),
    trace: (message, fields) => void (of.wanted >= TRACE && emit('trace', scope, message, all(fields))),
    enabled: (level) => of.wanted >= verbosityOf(level),
    with: (fields) => logger(scope, { ...context, ...fields }),
  };
}
