// `ambit analyze`: what is wrong with a mesh, or with files before they are applied. istioctl's flags and exit codes.

import type { Command } from 'commander';
import type { AnalyzeFlags } from '../analyze/flags.ts';

const several = (value: string, before: string[] = []): string[] => [...before, value];
const truth = (value: string | boolean): boolean => value === true || !['false', '0', 'f', 'F'].includes(String(value));

export function analyze(program: Command): void {
  program
    .command('analyze')
    .description('find what is wrong with a mesh, or with files before they are applied')
    .argument('[files...]', 'files and folders to analyse; - is standard input')
    .option('-f, --filename <file>', 'a file or folder, like an argument (repeatable)', several)
    .option('-R, --recursive', 'look into the folders of folders')
    .option('-A, --all-namespaces', 'say what is found in every namespace')
    .option('-k, --use-kube [bool]', 'look at the live mesh too; false: at the files alone', truth, true)
    .option('-L, --list-analyzers', 'list the analyzers')
    .option('--analyzer <name>', 'run this analyzer alone (repeatable)', several)
    .option('-S, --suppress <CODE=Kind name.namespace>', 'leave a message out; * is any text (repeatable)', several)
    .option('--failure-threshold <level>', 'fail at messages of this level or worse: Info, Warning, Error', 'Error')
    .option('--output-threshold <level>', 'print messages of this level or worse', 'Info')
    .option('-o, --output <format>', 'log, json or yaml', 'log')
    .option('--color [bool]', 'colours: true, false; default: on a terminal', truth)
    .option('--meshConfigFile <file>', 'mesh configuration to assume')
    .option('--timeout <time>', 'how long to wait for the live mesh', '30s')
    .option('--ignore-unknown', 'no failure when a file holds something else than objects')
    .option('-v, --verbose', 'say what is analysed')
    .action(async (files: string[], _options: unknown, command: Command) => {
      // The analyzers are loaded for this command alone: the others start without them.
      const { runAnalyze } = await import('../analyze/run.ts');
      process.exitCode = await runAnalyze(files, command.optsWithGlobals<AnalyzeFlags>());
    });
}
