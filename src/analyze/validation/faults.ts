// What validation finds in one object, collected with the field it is about.

import { durationMs } from '../../derive/traffic/duration.ts';
import { compileRegex } from '../../model/http/regex.ts';
import { parseCidr, parseIp } from '../../model/ip.ts';
import type { Field, Path } from '../field.ts';
import { hostProblem, isDnsLabel, isLabelKey, isLabelValue } from './values.ts';

export interface Fault {
  /** A warning is told and the object is taken; everything else refuses it. */
  readonly kind: 'required' | 'invalid' | 'duplicate' | 'forbidden' | 'warning';
  readonly path: Path;
  readonly value?: unknown;
  /** Lower case, no full stop. Empty where the kind says it all. */
  readonly detail: string;
}

/** An object with hundreds of faults is told about the first. */
const MOST_FAULTS = 32;
const MOST_PORT = 65_535;

/** Collects, and knows the checks of single values that many kinds share. */
export class Faults {
  readonly found: Fault[] = [];

  add(kind: Fault['kind'], at: Field, detail: string): void {
    if (this.found.length >= MOST_FAULTS) return;
    const shown = at.value === undefined || typeof at.value === 'object' ? {} : { value: at.value };
    this.found.push({ kind, path: at.path, detail, ...shown });
  }

  required = (at: Field, detail = ''): void => this.add('required', at, detail);
  invalid = (at: Field, detail: string): void => this.add('invalid', at, detail);
  duplicate = (at: Field): void => this.add('duplicate', at, '');
  forbidden = (at: Field, detail: string): void => this.add('forbidden', at, detail);
  warn = (at: Field, detail: string): void => this.add('warning', at, detail);

  /** Exactly this must be written. @returns whether it is */
  needs(at: Field, detail = ''): boolean {
    const there = at.isSet && at.value !== '';
    if (!there) this.required(at, detail);
    return there;
  }

  /** At most one of the names may be set in `at`. */
  onlyOne(at: Field, ...names: readonly string[]): void {
    const set = at.among(...names);
    if (set.length > 1) this.invalid(at, `only one of ${names.join(', ')} may be set, found ${set.join(' and ')}`);
  }

  host(at: Field, options: { readonly wildcard: boolean }): void {
    const problem = hostProblem(at.text, options.wildcard);
    if (problem !== undefined) this.invalid(at, problem);
  }

  address(at: Field): void {
    if (!parseIp(at.text).ok) this.invalid(at, 'is no IP address');
  }

  range(at: Field): void {
    if (!parseCidr(at.text).ok) this.invalid(at, 'is no IP address or range');
  }

  port(at: Field): void {
    const { number } = at;
    if (number === undefined || !Number.isInteger(number) || number < 1 || number > MOST_PORT)
      this.invalid(at, `must be a port from 1 to ${MOST_PORT}`);
  }

  percent(at: Field): void {
    if (at.isSet && (at.number === undefined || at.number < 0 || at.number > 100))
      this.invalid(at, 'must be from 0 to 100');
  }

  notNegative(at: Field): void {
    if (at.isSet && (at.number ?? 0) < 0) this.invalid(at, 'must not be negative');
  }

  /** @param leastMs  what a duration must be at least, in milliseconds */
  duration(at: Field, leastMs = 1): void {
    if (!at.isSet) return;
    const ms = durationMs(at.text);
    if (ms === undefined) this.invalid(at, 'is no duration: write for example 500ms, 2s or 1m30s');
    else if (ms < leastMs) this.invalid(at, `must be at least ${leastMs}ms`);
    else if (Math.abs(ms - Math.round(ms)) > 1e-6) this.invalid(at, 'must be whole milliseconds');
  }

  regex(at: Field): void {
    const compiled = compileRegex(at.text);
    if (!compiled.ok) this.invalid(at, compiled.error);
  }

  label(at: Field): void {
    if (!isDnsLabel(at.text)) this.invalid(at, 'must be a DNS label: lower-case letters, digits and -');
  }

  /** A mapping of labels, as selectors and subsets have them. */
  labels(at: Field): void {
    for (const [key, value] of at.entries()) {
      if (!isLabelKey(key)) this.invalid(value, `\`${key}\` is no label name`);
      if (typeof value.value !== 'string' || !isLabelValue(value.text)) this.invalid(value, 'is no label value');
      if (value.text.includes('*') || key.includes('*'))
        this.invalid(value, 'wildcards are not supported in a selector');
    }
  }

  /** Values that must not repeat. */
  unique(fields: readonly Field[], keyOf: (field: Field) => string | undefined): void {
    const seen = new Set<string>();
    for (const field of fields) {
      const key = keyOf(field);
      if (key === undefined) continue;
      if (seen.has(key)) this.duplicate(field);
      seen.add(key);
    }
  }
}
