// The flags of `ambit analyze`, as typed and as meant. What cannot be meant is refused before anything is read.

import type { Analyzer } from '../../analyze/analyzer.ts';
import { ANALYZERS } from '../../analyze/analyzers.ts';
import type { Level } from '../../analyze/codes.ts';
import { parseSuppression, type Suppression } from '../../analyze/suppress.ts';
import { Failure } from '../failure.ts';
import type { GlobalOptions } from '../options.ts';
import { parseDuration } from '../output.ts';

export interface AnalyzeFlags extends GlobalOptions {
  readonly filename?: readonly string[];
  readonly recursive?: boolean;
  readonly allNamespaces?: boolean;
  readonly useKube: boolean;
  readonly listAnalyzers?: boolean;
  readonly analyzer?: readonly string[];
  readonly suppress?: readonly string[];
  readonly failureThreshold: string;
  readonly outputThreshold: string;
  readonly output: string;
  readonly color?: boolean;
  readonly meshConfigFile?: string;
  readonly timeout: string;
  readonly ignoreUnknown?: boolean;
  readonly verbose?: boolean;
}

export type AnalyzeOutput = 'log' | 'json' | 'yaml';

export interface AnalyzePlan {
  readonly paths: readonly string[];
  readonly useKube: boolean;
  /** Of objects that name none, and the one that messages are about. */
  readonly namespace: string;
  /** Messages about this namespace alone; undefined: about all. */
  readonly scope: string | undefined;
  readonly failAt: Level;
  readonly showFrom: Level;
  readonly output: AnalyzeOutput;
  readonly analyzers: readonly Analyzer[] | undefined;
  readonly suppressions: readonly Suppression[];
  readonly timeoutMs: number;
}

const LEVELS: readonly Level[] = ['Info', 'Warning', 'Error'];

const refuse = (what: string, why: string, fix: string): Failure => new Failure({ what, why, fix, exitCode: 2 });

/** @throws Failure, with exit code 2, for flags that mean nothing */
export function planOf(files: readonly string[], flags: AnalyzeFlags): AnalyzePlan {
  const paths = [...files, ...(flags.filename ?? [])];
  if (paths.length === 0 && !flags.useKube)
    throw refuse(
      'there is nothing to analyse',
      '--use-kube=false leaves the live mesh out, and no file is named',
      'name files or folders, or leave --use-kube=false out',
    );
  const namespace = flags.namespace ?? 'default';
  const everything = flags.allNamespaces === true || (!flags.useKube && flags.namespace === undefined);
  return {
    paths,
    useKube: flags.useKube,
    namespace,
    scope: everything ? undefined : namespace,
    failAt: levelOf('--failure-threshold', flags.failureThreshold),
    showFrom: levelOf('--output-threshold', flags.outputThreshold),
    output: outputOf(flags.output),
    analyzers: flags.analyzer?.map(analyzerNamed),
    suppressions: (flags.suppress ?? []).map(suppressionOf),
    timeoutMs: parseDuration(flags.timeout),
  };
}

function levelOf(flag: string, written: string): Level {
  const level = LEVELS.find((one) => one.toLowerCase() === written.toLowerCase());
  if (level !== undefined) return level;
  throw refuse(`unknown level \`${written}\` of ${flag}`, `levels are ${LEVELS.join(', ')}`, `use ${flag} Warning`);
}

function outputOf(written: string): AnalyzeOutput {
  if (written === 'log' || written === 'json' || written === 'yaml') return written;
  throw refuse(`unknown output \`${written}\``, 'messages are printed as log, json or yaml', 'use -o json');
}

function analyzerNamed(name: string): Analyzer {
  const found = ANALYZERS.find((analyzer) => analyzer.name === name);
  if (found !== undefined) return found;
  throw refuse(`there is no analyzer \`${name}\``, 'names are taken letter by letter', 'see `ambit analyze -L`');
}

function suppressionOf(written: string): Suppression {
  const parsed = parseSuppression(written);
  if (parsed.ok) return parsed.value;
  throw refuse(
    'a message cannot be left out',
    parsed.error,
    'write -S "IST0102=Namespace shop", or with wildcards "AMB0009=HTTPRoute *.shop"',
  );
}
