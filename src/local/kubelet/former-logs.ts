// Logs of the mesh's parts that were replaced. The API forgets a pod's log with the pod; what a node proxy told of the
// connections before it was replaced is kept a while longer, for `ambit why`: `logs/former/<node>/<part>/<when>_<pod>`.

import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { logFiles, readLog } from './logs.ts';
import { type Pod, podName } from './types.ts';

/** Of each part on each node. A log is at most 20 MB. */
const KEPT = 3;

/** Files sort by it. */
const stamp = (ms: number): string => String(ms).padStart(15, '0');
const folderOf = (stateDir: string, node: string, part: string): string =>
  join(stateDir, 'logs', 'former', node, part.replaceAll('/', '_'));

function newestLast(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // none was replaced yet
  }
}

/** Moves the log folder of a pod that is gone there; the pod's label `app` says which part it was. */
export function keepFormerLogs(logFolder: string, pod: Pod, stateDir: string, node: string, nowMs: number): void {
  const folder = folderOf(stateDir, node, pod.metadata?.labels?.app ?? 'other');
  const to = join(folder, `${stamp(nowMs)}_${podName(pod)}`);
  try {
    mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
    renameSync(logFolder, to);
  } catch {
    rmSync(logFolder, { recursive: true, force: true }); // it never logged, or the disk is full
  }
  for (const old of newestLast(folder).slice(0, -KEPT)) rmSync(join(folder, old), { recursive: true, force: true });
}

/**
 * The last lines of a part's former pods on a node, oldest first.
 * @param container the one that is meant; at most `limit` lines of each of its starts
 */
export function formerLogLines(
  stateDir: string,
  node: string,
  part: string,
  container: string,
  limit: number,
): readonly string[] {
  const folder = folderOf(stateDir, node, part);
  return newestLast(folder).flatMap((pod) =>
    logFiles(join(folder, pod, container)).flatMap((file) =>
      readLog(file)
        .slice(-limit)
        .map(({ text }) => text),
    ),
  );
}
