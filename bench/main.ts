// `npm run bench [-- PART… --seconds N --rounds N --only NAME,… --no-peers]`: one table, and JSON in bench/results.
// Runs itself again inside namespaces of its own (as an ordinary user inside a user namespace), so that neither the
// machine's network nor its processes are touched and nothing is left behind.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { Links } from '../src/platform/linux/links.ts';
import { mountTmpfs } from '../src/platform/linux/mounts.ts';
import { Netns } from '../src/platform/linux/netns.ts';
import type { Part, PartOptions } from './part.ts';
import { control } from './parts/control.ts';
import { l4 } from './parts/l4.ts';
import { l7 } from './parts/l7.ts';
import { room } from './parts/room.ts';
import { judge, machine, type PartResult, table, writeJson } from './report.ts';

const PARTS: readonly Part[] = [l4, l7, room, control];
const INSIDE = 'AMBIT_BENCH_INSIDE';

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 is wanted');
  return value;
}

const command = new Command('bench')
  .description('measures Ambit against its budgets')
  .argument('[parts...]', `parts to run: ${PARTS.map((part) => part.name).join(', ')}`)
  .option('--seconds <n>', 'length of one measurement', positive, 3)
  .option('--rounds <n>', 'times that each is repeated', positive, 3)
  .option('--only <names>', 'measurements within a part, comma-separated', (text) => text.split(','))
  .option('--no-peers', 'leave out the programs that budgets compare with')
  .option('--tunnel', 'also our tunnels alone, without capture, policy and telemetry', false)
  .option(
    '--out <file>',
    'where the JSON goes',
    join(import.meta.dirname, 'results', `${new Date().toISOString().replaceAll(':', '-')}.json`),
  );

interface Flags {
  readonly seconds: number;
  readonly rounds: number;
  readonly only?: readonly string[];
  readonly peers: boolean;
  readonly tunnel: boolean;
  readonly out: string;
}

function chosenParts(): readonly Part[] {
  const unknown = command.args.filter((name) => !PARTS.some((part) => part.name === name));
  if (unknown.length > 0)
    command.error(`no part \`${unknown.join(' ')}\`; there are ${PARTS.map((part) => part.name).join(', ')}`);
  return command.args.length === 0 ? PARTS : PARTS.filter((part) => command.args.includes(part.name));
}

/** @returns the exit code of the run inside */
function again(): Promise<number> {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const unshare = [...user, '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const self = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const env = { ...process.env, [INSIDE]: '1' };
  const child = spawn('unshare', [...unshare, '--', ...self], { stdio: 'inherit', env });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    child.on('exit', (code) => resolve(code ?? 1));
    child.on('error', (error) =>
      reject(new Error(`namespaces for the benchmark not made: ${error.message}; install util-linux`)),
    );
  });
}

/** The benchmark's own namespace begins with every interface down. */
function loopbackUp(): void {
  using here = Netns.current();
  using links = new Links(here);
  links.up('lo');
}

async function runParts(parts: readonly Part[], options: PartOptions, out: string): Promise<number> {
  mountTmpfs('/run'); // `ip netns` keeps its names there
  loopbackUp();
  const on = machine();
  const results: PartResult[] = [];
  for (const part of parts) results.push({ part: part.name, title: part.title, rows: await part.run(options) });
  options.progress('');
  console.log(`${on.cpu}, ${on.cores} cores, Linux ${on.kernel}, Node ${on.node}, load ${on.load}`);
  console.log(table(results));
  writeJson(out, on, results);
  console.log(`\n${out}`);
  return results.some(({ rows }) => rows.some((row) => judge(row).verdict === 'missed')) ? 2 : 0;
}

command.parse();
const flags = command.opts<Flags>();
const parts = chosenParts();
const options: PartOptions = {
  seconds: flags.seconds,
  rounds: flags.rounds,
  only: flags.only,
  peers: flags.peers,
  tunnel: flags.tunnel,
  progress: (what) => void process.stderr.write(process.stderr.isTTY ? `\x1b[2K\r${what}` : ''),
};
if (process.env[INSIDE] !== undefined) process.exitCode = await runParts(parts, options, flags.out);
else {
  for (const part of parts) await part.prepare?.(options);
  process.exitCode = await again();
}
