// `process_open_fds` and `process_max_fds`, read from /proc when somebody scrapes.

import { readdirSync, readFileSync } from 'node:fs';
import { familyHeader, sample } from './openmetrics.ts';
import type { Registry } from './registry.ts';

function maxOpenFiles(): number | undefined {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return soft === undefined ? undefined : Number(soft);
}

export function registerProcessMetrics(registry: Registry): void {
  const gauge = (name: string, help: string, read: () => number | undefined): void =>
    registry.collector({
      render() {
        try {
          const value = read();
          return value === undefined ? '' : familyHeader({ name, help, type: 'gauge' }) + sample(name, '', value);
        } catch {
          return ''; // No /proc, or out of descriptors right now: the other metrics matter more.
        }
      },
    });
  // Listing the folder takes a descriptor of its own.
  gauge('process_open_fds', 'Number of open file descriptors', () => readdirSync('/proc/self/fd').length - 1);
  gauge('process_max_fds', 'Maximum number of open file descriptors', maxOpenFiles);
}
