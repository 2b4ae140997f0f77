// A part of the benchmark: one subject, its own file in bench/parts, listed in bench/main.ts.

import type { Row } from './report.ts';

export interface PartOptions {
  /** Length of one measurement. */
  readonly seconds: number;
  readonly rounds: number;
  /** Names of measurements within the part; all when undefined. */
  readonly only: readonly string[] | undefined;
  /** Measure the programs that budgets compare with. */
  readonly peers: boolean;
  /** Measure our tunnels alone as well, without capture, policy and telemetry. */
  readonly tunnel: boolean;
  /** What is being done now, for a person who waits. */
  readonly progress: (what: string) => void;
}

/** Runs inside namespaces of the benchmark's own: network, mounts and processes. It ends what it starts. */
export interface Part {
  readonly name: string;
  readonly title: string;
  /** Before the namespaces are entered, with the machine's network: installs what is missing. */
  prepare?(options: PartOptions): Promise<void>;
  run(options: PartOptions): Promise<readonly Row[]>;
}
