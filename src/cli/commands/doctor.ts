// `ambit doctor`: can this machine hold a mesh? Each check with its result and, where something is missing, what to do.

import { type Command, Option } from 'commander';
import { diagnose, type Finding } from '../doctor.ts';
import { colours, outputFormat, print, table } from '../output.ts';

interface Options {
  output?: string;
  inside?: boolean;
}

export function doctor(program: Command): void {
  program
    .command('doctor')
    .description('checks that this machine has what a local mesh needs')
    .option('-o, --output <format>', 'table, json or yaml')
    .addOption(new Option('--inside', 'run by itself in a trial room').hideHelp())
    .action(async (options: Options) => {
      if (options.inside) {
        const { probeRoom } = await import('../../platform/linux/features.ts');
        process.stdout.write(JSON.stringify(await probeRoom()));
        return;
      }
      const format = outputFormat(options.output);
      const findings = await diagnose();
      const ok = findings.every((finding) => finding.ok || !finding.essential);
      print(format, { ok, checks: findings }, () => inWords(findings, ok));
      if (!ok) process.exitCode = 1;
    });
}

function inWords(findings: readonly Finding[], ok: boolean): string {
  const mark = (finding: Finding): string =>
    finding.ok ? colours.green('ok') : finding.essential ? colours.red('missing') : colours.yellow('weak');
  const rows = findings.map((finding) => [finding.name, mark(finding), finding.result]);
  const fixes = findings.filter((finding) => !finding.ok).map((finding) => `fix   ${finding.name}: ${finding.fix}`);
  const verdict = ok ? 'this machine can hold a mesh: ambit up' : 'this machine cannot hold a mesh yet';
  return [table(['CHECK', 'STATE', 'RESULT'], rows, 2), ...fixes, verdict, ''].join('\n');
}
