// Keeps the embedded Kubernetes API running. Its listening socket belongs to the room, so clients of the host only see a
// pause when it dies: the next one accepts what has queued up.

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { API_PORT, FABRIC_GATEWAY } from '../network/addresses.ts';
import type { RoomSettings } from './messages.ts';

export const ROOM_KUBECONFIG = '/run/ambit/admin.kubeconfig';
const MIN_RESTART_MS = 50;
const MAX_RESTART_MS = 5_000;
const STABLE_MS = 10_000;
const CHILD_API_FD = 3;

export class ApiProcess {
  readonly #settings: RoomSettings;
  readonly #log: (message: string) => void;
  #child: ChildProcess | undefined;
  #backoffMs = MIN_RESTART_MS;
  #stopped = false;

  constructor(settings: RoomSettings, log: (message: string) => void) {
    this.#settings = settings;
    this.#log = log;
  }

  /** Resolves when the API answers for the first time; rejects when the first one dies before. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#spawn(resolve, reject));
  }

  /** Ends it, after everything that needs it has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const kill = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await gone;
    clearTimeout(kill);
  }

  #spawn(onReady: () => void, onFailure: (error: Error) => void): void {
    const { stateDir, apiPort, apiFd, packageRoot, name } = this.#settings;
    const log = openSync(join(stateDir, 'logs', 'api.log'), 'a', 0o600);
    const child = spawn(process.execPath, [join(packageRoot, 'dist', 'api.mjs')], {
      stdio: ['ignore', log, log, apiFd, 'ipc'],
      env: {
        ...process.env,
        AMBIT_STATE_DIR: stateDir,
        AMBIT_MESH_NAME: name,
        AMBIT_API_FD: String(CHILD_API_FD),
        AMBIT_API_PORT: String(apiPort),
        AMBIT_API_LISTEN: `${FABRIC_GATEWAY}:${API_PORT}`,
        AMBIT_ROOM_KUBECONFIG: ROOM_KUBECONFIG,
      },
    });
    closeSync(log);
    this.#child = child;
    const born = Date.now();
    child.on('message', (message: { ready?: boolean }) => {
      if (message.ready === true) onReady();
    });
    child.once('error', onFailure);
    child.once('exit', (code, signal) => {
      if (this.#stopped) return;
      onFailure(
        new Error(
          `the Kubernetes API ended (${signal ?? `exit code ${code}`}); its log is ${join(stateDir, 'logs', 'api.log')}`,
        ),
      );
      this.#backoffMs = Date.now() - born > STABLE_MS ? MIN_RESTART_MS : Math.min(MAX_RESTART_MS, this.#backoffMs * 2);
      this.#log(`the Kubernetes API ended (${signal ?? code}); again in ${this.#backoffMs} ms`);
      setTimeout(() => {
        if (!this.#stopped)
          this.#spawn(
            () => {},
            () => {},
          );
      }, this.#backoffMs);
    });
  }
}
