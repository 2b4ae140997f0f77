// `ambit analyze` from flags to exit code.

import { readFileSync } from 'node:fs';
import { analyze } from '../../analyze/analyze.ts';
import { ANALYZERS } from '../../analyze/analyzers.ts';
import { type Message, reaches } from '../../analyze/message.ts';
import type { MeshSettings } from '../../analyze/world.ts';
import { Failure } from '../failure.ts';
import { openMesh } from '../mesh.ts';
import { readFiles } from './files.ts';
import { type AnalyzeFlags, type AnalyzePlan, planOf } from './flags.ts';
import { type LiveMesh, readMesh, settingsIn } from './live.ts';
import { render } from './print.ts';
import { schemaMessages } from './schemas.ts';

/** istioctl's exit codes. */
const FOUND_ISSUES = 79;
const BAD_DATA = 65;

/** @returns the exit code: 0 when nothing reaches the failure threshold */
export async function runAnalyze(files: readonly string[], flags: AnalyzeFlags): Promise<number> {
  if (flags.listAnalyzers === true) {
    process.stdout.write(ANALYZERS.map(({ name, description }) => `* ${name}:\n    ${description}\n`).join(''));
    return 0;
  }
  const plan = planOf(files, flags);
  const read = readFiles(plan.paths, { namespace: plan.namespace, recursive: flags.recursive === true });
  const live = plan.useKube ? await readLive(flags, plan) : undefined;
  for (const reason of live?.unread ?? []) process.stderr.write(`not looked at, ${reason}\n`);
  const resources = [...(live?.resources ?? []), ...read.resources];
  if (flags.verbose === true) process.stderr.write(`analysing ${resources.length} objects\n`);
  const mesh = meshSettings(flags, live);
  const options = { namespace: plan.scope, suppressions: plan.suppressions, analyzers: plan.analyzers, mesh };
  const wantsSchemas = plan.analyzers?.some(({ codes }) => codes.includes('IST0106')) ?? true;
  const extra = wantsSchemas ? await schemaMessages(read.resources) : [];
  const messages = analyze(resources, options, extra).filter(({ level }) => reaches(level, plan.showFrom));
  const problems = flags.ignoreUnknown === true ? [] : read.problems;
  const colour = flags.color ?? (process.stdout.isTTY === true && process.env.NO_COLOR === undefined);
  process.stdout.write(render(plan.output, messages, problems, colour));
  return conclude(plan, messages, problems.length);
}

async function readLive(flags: AnalyzeFlags, plan: AnalyzePlan): Promise<LiveMesh> {
  const mesh = await openMesh(flags);
  let late: NodeJS.Timeout | undefined;
  try {
    const expired = new Promise<never>((_resolve, reject) => {
      late = setTimeout(
        () =>
          reject(
            new Failure({
              what: 'the live mesh was not read',
              why: `the API took longer than ${flags.timeout}`,
              fix: 'give it more --timeout, or look at files alone with --use-kube=false',
            }),
          ),
        plan.timeoutMs,
      );
    });
    return await Promise.race([readMesh(mesh.client, mesh.istioNamespace), expired]);
  } finally {
    clearTimeout(late);
    mesh.client.close();
  }
}

function meshSettings(flags: AnalyzeFlags, live: LiveMesh | undefined): MeshSettings {
  const namespace = flags.istioNamespace ?? 'istio-system';
  if (flags.meshConfigFile === undefined) return live?.settings ?? settingsIn('', namespace);
  try {
    return settingsIn(readFileSync(flags.meshConfigFile, 'utf8'), namespace);
  } catch (cause) {
    throw new Failure({
      what: `the mesh configuration \`${flags.meshConfigFile}\` was not read`,
      why: cause instanceof Error ? cause.message : String(cause),
      fix: 'name a file with the YAML of a MeshConfig',
      exitCode: 2,
      cause,
    });
  }
}

/** `namespace shop`, `all namespaces`, or the files. */
function targetOf({ paths, scope, useKube }: AnalyzePlan): string {
  if (!useKube) return paths.join(', ');
  return scope === undefined ? 'all namespaces' : `namespace: ${scope}`;
}

function conclude(plan: AnalyzePlan, messages: readonly Message[], problems: number): number {
  const target = targetOf(plan);
  if (messages.some(({ level }) => reaches(level, plan.failAt))) {
    process.stderr.write(
      `Error: Analyzers found issues when analyzing ${target}.\nSee docs/analyze.md for what each code means.\n`,
    );
    return FOUND_ISSUES;
  }
  if (problems > 0) {
    process.stderr.write(`Error: ${problems} ${problems === 1 ? 'document' : 'documents'} could not be read.\n`);
    return BAD_DATA;
  }
  if (messages.length === 0 && plan.output === 'log')
    process.stderr.write(`✔ No validation issues found when analyzing ${target}.\n`);
  return 0;
}
