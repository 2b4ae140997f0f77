// `ambit down`: ends a mesh; its objects stay, unless --purge. Safe to repeat.

import { existsSync, rmSync } from 'node:fs';
import type { Command } from 'commander';
import { stateDirOf } from '../home.ts';
import type { GlobalOptions } from '../options.ts';
import { outputFormat, print, Stages } from '../output.ts';
import { attachSettledRoom } from '../room-process.ts';

interface Options extends GlobalOptions {
  purge?: boolean;
  output?: string;
}

export function down(program: Command): void {
  program
    .command('down')
    .description('ends a mesh; its objects come back with the next `up`')
    .option('--purge', 'also remove its objects and logs')
    .option('-o, --output <format>', 'table, json or yaml')
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const name = options.name ?? 'default';
      const stateDir = stateDirOf(name);
      const stages = new Stages();
      const room = await attachSettledRoom(stateDir);
      if (room !== undefined) {
        stages.begin('ending the pods');
        await room.stop();
        stages.end();
      }
      const purged = options.purge === true && existsSync(stateDir);
      if (purged) rmSync(stateDir, { recursive: true, force: true });
      const was = room === undefined ? 'was not running' : 'is down';
      print(
        outputFormat(options.output),
        { name, wasRunning: room !== undefined, purged },
        () => `mesh \`${name}\` ${was}${purged ? ', its objects are removed' : ''}\n`,
      );
    });
}
