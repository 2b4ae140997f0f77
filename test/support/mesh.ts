// A mesh for one test file: its own name, its own AMBIT_HOME, taken down and purged at the end, whatever happened.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kubectlPath } from './kubectl.ts';

export const ROOT = join(import.meta.dirname, '..', '..');
const NOBODY = 65534;
let counter = 0;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestMeshOptions {
  /** `user`: as an ordinary user (through setpriv when the tests run as root). */
  readonly as?: 'caller' | 'user';
  /** Further flags of `ambit up`; `--detach` and `--name` are given. */
  readonly up: readonly string[];
  readonly input?: string;
}

export class TestMesh {
  readonly name: string;
  readonly home: string;
  readonly #prefix: readonly string[];
  readonly #children = new Set<ChildProcess>();

  private constructor(as: 'caller' | 'user') {
    this.name = `t${process.pid}-${++counter}`;
    this.home = mkdtempSync(join(tmpdir(), 'ambit-test-'));
    const drop = as === 'user' && process.getuid?.() === 0;
    this.#prefix = drop ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] : [];
    if (drop) chownSync(this.home, NOBODY, NOBODY);
  }

  /** Makes the room to work in; `up` starts it. Dispose takes everything down. */
  static create(as: 'caller' | 'user' = 'caller'): TestMesh {
    return new TestMesh(as);
  }

  static async up(options: TestMeshOptions): Promise<TestMesh> {
    const mesh = TestMesh.create(options.as);
    const ran = await mesh.ambit(
      ['up', '--detach', ...options.up],
      options.input === undefined ? {} : { input: options.input },
    );
    if (ran.code !== 0) {
      const log = mesh.supervisorLog();
      await mesh[Symbol.asyncDispose]();
      throw new Error(`ambit up failed (${ran.code}):\n${ran.stderr}${ran.stdout}\n${log}`);
    }
    return mesh;
  }

  get stateDir(): string {
    return join(this.home, this.name);
  }

  get kubeconfig(): string {
    return join(this.stateDir, 'kubeconfig');
  }

  get #env(): NodeJS.ProcessEnv {
    const { KUBECONFIG: _kubeconfig, ...env } = process.env;
    return { ...env, HOME: this.home, AMBIT_HOME: this.home };
  }

  ambit(args: readonly string[], options: { input?: string; timeoutMs?: number } = {}): Promise<Ran> {
    const [verb = '', ...rest] = args;
    // `ambit waypoint --name` names a waypoint, as istioctl's.
    const flag = verb === 'waypoint' ? '--mesh' : '--name';
    return this.#run([join(ROOT, 'ambit'), verb, ...rest, flag, this.name], options);
  }

  kubectl(args: readonly string[], options: { input?: string; timeoutMs?: number } = {}): Promise<Ran> {
    return this.#run([kubectlPath(), '--kubeconfig', this.kubeconfig, ...args], options);
  }

  /** As `kubectl`, throwing when it fails; returns what it printed. */
  async kubectlOk(args: readonly string[], options: { input?: string; timeoutMs?: number } = {}): Promise<string> {
    const ran = await this.kubectl(args, options);
    if (ran.code !== 0) throw new Error(`kubectl ${args.join(' ')} failed (${ran.code}): ${ran.stderr}${ran.stdout}`);
    return ran.stdout;
  }

  /** A command that goes on (`logs -f`, a loop in a pod); ended with the mesh at the latest. */
  spawnKubectl(args: readonly string[], stdin: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
    const child = spawn(
      [...this.#prefix, kubectlPath()][0] as string,
      [...[...this.#prefix, kubectlPath()].slice(1), '--kubeconfig', this.kubeconfig, ...args],
      {
        env: this.#env,
        stdio: [stdin, 'pipe', 'pipe'],
      },
    );
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  supervisorLog(): string {
    try {
      return readFileSync(join(this.stateDir, 'logs', 'supervisor.log'), 'utf8').slice(-8000);
    } catch {
      return '';
    }
  }

  #run(
    command: readonly string[],
    { input, timeoutMs = 120_000 }: { input?: string; timeoutMs?: number },
  ): Promise<Ran> {
    const [file = '', ...args] = [...this.#prefix, ...command];
    return new Promise((resolve) => {
      const child = execFile(
        file,
        args,
        { env: this.#env, timeout: timeoutMs, maxBuffer: 64 << 20 },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
          resolve({ code, stdout, stderr });
        },
      );
      child.stdin?.on('error', () => {});
      child.stdin?.end(input ?? '');
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await this.ambit(['down', '--purge'], { timeoutMs: 60_000 });
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** Looks again until `test` gives a value; fails with the last error after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  test: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 20_000,
  everyMs = 100,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await test();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
