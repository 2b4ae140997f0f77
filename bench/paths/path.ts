// One way from a client's namespace to a server in another one.

import type { Pair } from '../network.ts';
import type { Subject } from '../report.ts';

export interface Path {
  readonly subject: Subject;
  /** Where load is made and answered. */
  readonly pair: Pair;
  /** What the client dials to reach a port of the server. */
  address(port: number): { readonly host: string; readonly port: number };
  /** The proxies in between, whose CPU and memory count. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/** No mesh at all. */
export const directPath = (pair: Pair): Path => ({
  subject: 'direct',
  pair,
  address: (port) => ({ host: pair.server.ip, port }),
  pids: [],
  stop: async () => {},
});
