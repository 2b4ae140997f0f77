// `ambit`: the command line. One file a command in commands/; verbs, flags and columns are istioctl's where it has them.

import { Command, CommanderError } from 'commander';
import { analyze } from './commands/analyze.ts';
import { doctor } from './commands/doctor.ts';
import { down } from './commands/down.ts';
import { logs } from './commands/logs.ts';
import { proxyStatus } from './commands/proxy-status.ts';
import { restart } from './commands/restart.ts';
import { status } from './commands/status.ts';
import { up } from './commands/up.ts';
import { version } from './commands/version.ts';
import { waypoint } from './commands/waypoint.ts';
import { why } from './commands/why.ts';
import { ztunnelConfig } from './commands/ztunnel-config.ts';
import { describe, Failure } from './failure.ts';
import { addGlobalOptions } from './options.ts';

const program = addGlobalOptions(new Command('ambit'))
  .description('a whole ambient service mesh from one command')
  .showHelpAfterError('(see `ambit --help`)')
  .exitOverride();
up(program);
down(program);
status(program);
logs(program);
restart(program);
waypoint(program);
ztunnelConfig(program);
doctor(program);
analyze(program);
why(program);
proxyStatus(program);
version(program);

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0); // the reader has seen enough (`| head`)
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    process.stderr.write(`\r${describe(error)}`);
    process.exitCode = error instanceof Failure ? error.exitCode : 1;
  }
}
