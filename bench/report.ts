// What parts of the benchmark hand back, and how it is shown: one table, and JSON with the machine named.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import pc from 'picocolors';

/**
 * Who was measured: no mesh at all; us; the peer that the budget compares with; our tunnels alone, without capture,
 * policy and telemetry, which says what those add.
 */
export type Subject = 'direct' | 'ambit' | 'envoy' | 'tunnel';

/** `limit` is a ratio to `against`, or absolute in the row's unit. */
export type Budget =
  | { readonly kind: 'ratio'; readonly against: Subject; readonly atLeast?: number; readonly atMost?: number }
  | { readonly kind: 'absolute'; readonly atLeast?: number; readonly atMost?: number };

export interface Row {
  readonly what: string;
  readonly unit: string;
  readonly values: Partial<Record<Subject, number>>;
  readonly budget?: Budget;
  /** Every round's figure, for whoever doubts the middle one. */
  readonly rounds?: Partial<Record<Subject, readonly number[]>>;
}

export interface PartResult {
  readonly part: string;
  readonly title: string;
  readonly rows: readonly Row[];
}

export type Verdict = 'met' | 'missed' | 'none';

const SUBJECTS: readonly Subject[] = ['direct', 'ambit', 'envoy', 'tunnel'];

/** Compares our figure with its budget. */
export function judge(row: Row): { verdict: Verdict; text: string } {
  const { budget } = row;
  const own = row.values.ambit;
  if (budget === undefined || own === undefined) return { verdict: 'none', text: '' };
  const peer = budget.kind === 'ratio' ? row.values[budget.against] : 1;
  if (peer === undefined || peer === 0) return { verdict: 'none', text: '' };
  const measured = own / peer;
  const { atLeast, atMost } = budget;
  const met = (atLeast === undefined || measured >= atLeast) && (atMost === undefined || measured <= atMost);
  const bound = atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`;
  const text = budget.kind === 'ratio' ? `${measured.toFixed(2)}× (${bound}× ${budget.against})` : bound;
  return { verdict: met ? 'met' : 'missed', text };
}

function format(value: number | undefined): string {
  if (value === undefined) return '–';
  if (value >= 1_000) return Math.round(value).toLocaleString('en-US');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function table(results: readonly PartResult[]): string {
  const subjects = SUBJECTS.filter((subject) =>
    results.some(({ rows }) => rows.some((row) => row.values[subject] !== undefined)),
  );
  const lines: string[][] = [['', 'unit', ...subjects, 'budget']];
  const colours: (Verdict | 'title')[] = ['title'];
  for (const result of results) {
    lines.push([result.title]);
    colours.push('title');
    for (const row of result.rows) {
      const { verdict, text } = judge(row);
      const mark = verdict === 'none' ? '' : verdict === 'met' ? ' ✓' : ' ✗';
      lines.push([`  ${row.what}`, row.unit, ...subjects.map((subject) => format(row.values[subject])), text + mark]);
      colours.push(verdict);
    }
  }
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line, i) => {
      const text = line
        .map((cell, column) =>
          column >= 2 && column < 2 + subjects.length
            ? cell.padStart(widths[column] ?? 0)
            : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd();
      const colour = colours[i];
      return colour === 'title' ? pc.bold(text) : colour === 'missed' ? pc.yellow(text) : text;
    })
    .join('\n');
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMB: number;
  readonly kernel: string;
  readonly node: string;
  /** One-minute load when the run began: other work makes every figure worse. */
  readonly load: number;
}

export function machine(): Machine {
  const list = cpus();
  return {
    cpu: list[0]?.model ?? 'unknown',
    cores: list.length,
    memoryMB: Math.round(totalmem() / 1e6),
    kernel: release(),
    node: process.version,
    load: Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]),
  };
}

export function writeJson(path: string, on: Machine, results: readonly PartResult[]): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify({ at: new Date().toISOString(), machine: on, results }, undefined, 2)}\n`);
}
