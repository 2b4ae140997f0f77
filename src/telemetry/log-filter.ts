// Which log lines are wanted: `RUST_LOG`'s grammar of targets, so that ztunnel's settings and `istioctl ztunnel-config log`
// work unchanged. Pure. Not the whole of Rust's grammar: conditions on spans (`target[span]=level`) are refused.

import { fail, ok, type Result } from '../model/result.ts';

export const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type Level = (typeof LEVELS)[number];

/** Verbosity as a number: 0 = off, 1 = error … 5 = trace. */
export type Verbosity = number;

export interface LogFilter {
  /** For scopes that no directive names. */
  readonly fallback: Verbosity;
  /** Scope (or its leading part, cut at `::`) to verbosity. */
  readonly scopes: ReadonlyMap<string, Verbosity>;
}

export const verbosityOf = (level: Level): Verbosity => LEVELS.indexOf(level) + 1;

/** A filter text names few scopes; more than this is a mistake or an attack on the admin port. */
const MAX_DIRECTIVES = 100;
const SCOPE = /^[A-Za-z0-9_:.\-/]{1,100}$/;

function parseLevel(text: string): Verbosity | undefined {
  const lower = text.toLowerCase();
  if (lower === 'off') return 0;
  const at = (LEVELS as readonly string[]).indexOf(lower);
  return at < 0 ? undefined : at + 1;
}

/** Istio writes targets as Rust module paths of its own crate; our scopes leave the crate's name out. */
const ownScope = (target: string): string => target.replace(/^ztunnel::/, '');

/**
 * Adds directives to a filter: `info`, `access=debug`, `ztunnel::xds=trace,dns=off`, or a bare scope (= trace).
 * @param base  what holds for everything the text does not mention
 * @returns the new filter, or a sentence naming the first bad directive; nothing is applied then
 */
export function addDirectives(base: LogFilter, text: string): Result<LogFilter, string> {
  let fallback = base.fallback;
  const scopes = new Map(base.scopes);
  const directives = text.split(',').filter((part) => part.trim() !== '');
  if (directives.length > MAX_DIRECTIVES) return fail(`more than ${MAX_DIRECTIVES} log directives`);
  for (const raw of directives) {
    const directive = raw.trim();
    const at = directive.indexOf('=');
    const lone = at < 0 ? parseLevel(directive) : undefined;
    if (lone !== undefined) {
      fallback = lone;
      continue;
    }
    const target = at < 0 ? directive : directive.slice(0, at).trim();
    const level = at < 0 ? verbosityOf('trace') : parseLevel(directive.slice(at + 1).trim());
    if (!SCOPE.test(target)) return fail(`\`${directive}\` is not a log directive: write \`level\` or \`scope=level\``);
    if (level === undefined)
      return fail(`\`${directive}\` has no known level: use off, error, warn, info, debug or trace`);
    scopes.set(ownScope(target), level);
  }
  if (scopes.size > MAX_DIRECTIVES) return fail(`more than ${MAX_DIRECTIVES} scopes with a level of their own`);
  return ok({ fallback, scopes });
}

export const DEFAULT_FILTER: LogFilter = { fallback: verbosityOf('info'), scopes: new Map() };

/** Parses a whole filter; an empty text is the default, `info`. */
export const parseFilter = (text: string): Result<LogFilter, string> => addDirectives(DEFAULT_FILTER, text);

/** The longest directive that names the scope or a leading part of it wins. */
export function verbosityFor(filter: LogFilter, scope: string): Verbosity {
  let name = scope;
  for (;;) {
    const found = filter.scopes.get(name);
    if (found !== undefined) return found;
    const cut = name.lastIndexOf('::');
    if (cut < 0) return filter.fallback;
    name = name.slice(0, cut);
  }
}

/** The text that parses to this filter again. */
export function formatFilter(filter: LogFilter): string {
  const level = (v: Verbosity): string => (v === 0 ? 'off' : (LEVELS[v - 1] as string));
  return [...[...filter.scopes].map(([scope, v]) => `${scope}=${level(v)}`), level(filter.fallback)].join(',');
}
