// How commands print: tables for people, JSON or YAML for programs; colours and progress only on a terminal.

import pc from 'picocolors';
import { stringify } from 'yaml';
import { Failure } from './failure.ts';

export type OutputFormat = 'table' | 'json' | 'yaml';

export function outputFormat(text: string | undefined): OutputFormat {
  const format = text === undefined || text === '' || text === 'short' || text === 'summary' ? 'table' : text;
  if (format === 'table' || format === 'json' || format === 'yaml') return format;
  throw new Failure({
    what: `unknown output \`${text}\``,
    why: 'a listing is printed as table, json or yaml',
    fix: 'use -o table, -o json or -o yaml',
    exitCode: 2,
  });
}

/** Columns padded to their widest cell, two or more spaces apart, no trailing blanks (as istioctl and kubectl print). */
export function table(head: readonly string[], rows: readonly (readonly string[])[], gap = 1): string {
  const widths = head.map((cell, i) => Math.max(visible(cell), ...rows.map((row) => visible(row[i] ?? ''))));
  const line = (row: readonly string[]): string =>
    head
      .map(
        (_, i) =>
          (row[i] ?? '') +
          (i === head.length - 1 ? '' : ' '.repeat((widths[i] as number) - visible(row[i] ?? '') + gap)),
      )
      .join('')
      .trimEnd();
  return `${[head, ...rows].map(line).join('\n')}\n`;
}

// Colour codes take no room on the screen.
const visible = (text: string): number => text.replace(/\u001b\[[0-9;]*m/g, '').length;

export function print(format: OutputFormat, value: unknown, asTable: () => string): void {
  if (format === 'json') process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  else if (format === 'yaml') process.stdout.write(stringify(value, { lineWidth: 0 }));
  else process.stdout.write(asTable());
}

export const colours = pc.createColors(pc.isColorSupported && process.stdout.isTTY === true);

/** Stages with their times. A terminal sees the running stage too; a pipe sees nothing (`quiet`) until the end. */
export class Stages {
  readonly #began = performance.now();
  readonly #tty = process.stderr.isTTY === true;
  readonly done: { stage: string; ms: number }[] = [];
  #last = performance.now();
  #current = '';

  begin(stage: string): void {
    this.#current = stage;
    if (this.#tty) process.stderr.write(`\r\u001b[K  … ${stage}`);
  }

  end(detail = ''): void {
    const now = performance.now();
    const ms = Math.round(now - this.#last);
    this.#last = now;
    this.done.push({ stage: this.#current, ms });
    if (this.#tty)
      process.stderr.write(
        `\r\u001b[K  ${pc.green('✓')} ${this.#current}${detail ? ` ${pc.dim(detail)}` : ''} ${pc.dim(`${ms} ms`)}\n`,
      );
  }

  clear(): void {
    if (this.#tty) process.stderr.write('\r\u001b[K');
  }

  get totalMs(): number {
    return Math.round(performance.now() - this.#began);
  }
}

/** `90s`, `2m`, `1h30m`, `500ms` as milliseconds. */
export function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map((p) => p[0]).join('') !== text)
    throw new Failure({
      what: `\`${text}\` is no duration`,
      why: 'a duration is a number with a unit',
      fix: 'write for example 60s, 2m or 1h30m',
      exitCode: 2,
    });
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  return parts.reduce((sum, [, number, name]) => sum + Number(number) * unit[name as keyof typeof unit], 0);
}

/** Age as kubectl writes it: `5s`, `3m10s`, `2h`, `4d`. */
export function age(since: string | undefined, now = Date.now()): string {
  if (since === undefined) return '<unknown>';
  const s = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  if (s < 120) return `${s}s`;
  if (s < 600) return `${Math.floor(s / 60)}m${s % 60 ? `${s % 60}s` : ''}`;
  if (s < 3 * 3600) return `${Math.floor(s / 60)}m`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86400)}d`;
}
