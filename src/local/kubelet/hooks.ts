// postStart and preStop (Kubernetes: container lifecycle hooks): a command, a request, or a sleep.

import { dial, httpGet, type Place, portNumber } from './endpoint.ts';
import { type Running, runCommand } from './exec.ts';
import type { ContainerSpec } from './types.ts';

type Lifecycle = NonNullable<ContainerSpec['lifecycle']>;
export type Hook = NonNullable<Lifecycle['postStart']>;

/** The grace period ends a hook that hangs; this bounds one that has none. */
const MAX_HOOK_MS = 3_600_000;

/** Runs a hook to its end. @returns undefined when it went well, else why not */
export async function runHook(hook: Hook, at: Running & Place): Promise<string | undefined> {
  try {
    if (hook.sleep !== undefined) {
      const ms = (hook.sleep.seconds ?? 0) * 1000;
      await new Promise((resolve) => setTimeout(resolve, ms));
      return undefined;
    }
    if (hook.exec !== undefined) {
      const result = await runCommand(at, hook.exec.command ?? [], MAX_HOOK_MS);
      if (result === undefined || result.exitCode === 0) return undefined;
      return `command '${(hook.exec.command ?? []).join(' ')}' exited with ${result.exitCode}: ${result.output}`;
    }
    if (hook.httpGet !== undefined) {
      const { code } = await httpGet(hook.httpGet, at, MAX_HOOK_MS);
      return code >= 200 && code < 400 ? undefined : `HTTP hook answered with status code ${code}`;
    }
    if (hook.tcpSocket !== undefined) {
      const { host, port } = hook.tcpSocket;
      (await dial(host || at.podIp, portNumber(port, at), at, MAX_HOOK_MS)).destroy();
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
