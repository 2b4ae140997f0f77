// One way from the client's namespace to the server in the other one.

import type { Subject } from '../report.ts';

export interface Path {
  readonly subject: Subject;
  /** What the client dials to reach a port of the server. */
  address(port: number): { readonly host: string; readonly port: number };
  /** The proxies in between, whose CPU and memory count. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}
