// How containers end: the signal they are asked with, the time they get, and the last word they leave.

import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { ContainerLog } from './logs.ts';
import type { ContainerSpec, PodSpec } from './types.ts';

const MAX_MESSAGE = 4096;
/** Kubernetes: of a log that stands in for a message, the last 80 lines and 2048 characters. */
const FALLBACK_LINES = 80;
const FALLBACK_CHARS = 2048;

/** Seconds between being asked and being killed, when nobody says otherwise. */
export const graceOf = (spec: PodSpec | undefined): number => spec?.terminationGracePeriodSeconds ?? 30;

export function stopSignal(spec: ContainerSpec): NodeJS.Signals {
  const wanted = (spec.lifecycle as { stopSignal?: string } | undefined)?.stopSignal ?? '';
  return wanted in constants.signals ? (wanted as NodeJS.Signals) : 'SIGTERM';
}

/** What the container left in its termination message file, or the end of its log when it failed without a word. */
export function terminationMessage(spec: ContainerSpec, file: string, log: ContainerLog, exitCode: number): string {
  let text = '';
  try {
    text = readFileSync(file, 'utf8').slice(0, MAX_MESSAGE);
  } catch {
    // taken away together with the pod's folder
  }
  if (text !== '' || exitCode === 0 || spec.terminationMessagePolicy !== 'FallbackToLogsOnError') return text;
  const lines = log.read().slice(-FALLBACK_LINES);
  return lines
    .map((line) => line.text)
    .join('\n')
    .slice(-FALLBACK_CHARS);
}
