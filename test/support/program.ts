// Starts a small server of test/support as a process of its own, and ends it.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface Program {
  /** As the program printed them. */
  readonly ports: readonly number[];
  /** The next line that it prints. */
  line(): Promise<string>;
  stop(): Promise<void>;
}

/** @param name  file of test/support, without `.ts` */
export async function startProgram(name: 'authorizer' | 'rate-limiter' | 'collector'): Promise<Program> {
  const file = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<void>((done) => child.once('exit', () => done()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const next = await lines.next();
    if (next.done === true) throw new Error(`${name} ended`);
    return next.value;
  };
  const [word, ...ports] = (await line()).split(' ');
  if (word !== 'listening') throw new Error(`${name} said ${word}`);
  return {
    ports: ports.map(Number),
    line,
    async stop() {
      child.kill();
      await ended;
    },
  };
}
