// Every connection of one pod, from accept to end: one object each, which is also its byte meter. Registered before it
// is judged, so that no policy change slips between; ended exactly once, whoever ends it.

import type { Failure } from '../dataplane/failure.ts';
import type { ByteMeter, ConnectionInfo, OpenConnection } from '../telemetry/connection.ts';
import type { ResetCode } from '../wire/hbone/index.ts';
import type { Telemetry } from './contracts.ts';

/**
 * deciding   accepted; where it goes is not known yet
 * counted    decided (`info`), opening or open
 * over       finished; sockets are closed or closing
 */
export abstract class TrackedConnection implements ByteMeter {
  toServer = 0;
  toClient = 0;
  info: ConnectionInfo | undefined = undefined;
  over = false;
  protected readonly telemetry: Telemetry;
  readonly #table: ConnectionTable;
  #open: OpenConnection | undefined = undefined;

  constructor(table: ConnectionTable, telemetry: Telemetry) {
    this.#table = table;
    this.telemetry = telemetry;
    table.add(this);
  }

  protected count(info: ConnectionInfo): void {
    this.info = info;
    this.#open = this.telemetry.open(info, this);
  }

  /** The end of the books: metrics and the log line. Repeats are harmless. */
  protected finish(failure: Failure | undefined): void {
    if (this.over) return;
    this.over = true;
    this.#table.delete(this);
    this.#open?.finish({ flag: failure?.flag ?? '-', error: failure?.error });
  }

  /** Ends the connection at whatever stage it is, as a failure. `code` is what a tunnel's peer is told. */
  end(failure: Failure, code: ResetCode): void {
    if (this.over) return;
    this.finish(failure);
    this.release(code);
  }

  /** Closes, at once, what the connection holds; called once. */
  protected abstract release(code: ResetCode): void;

  /** Whether what allowed the connection still holds; asked after every change of policy or of the pod's workload. */
  abstract stillAllowed(): boolean;
}

export class ConnectionTable {
  readonly #all = new Set<TrackedConnection>();
  #idle: PromiseWithResolvers<void> | undefined;

  get size(): number {
    return this.#all.size;
  }

  add(connection: TrackedConnection): void {
    this.#all.add(connection);
  }

  delete(connection: TrackedConnection): void {
    this.#all.delete(connection);
    if (this.#all.size > 0 || this.#idle === undefined) return;
    this.#idle.resolve();
    this.#idle = undefined;
  }

  /** Resolves when no connection is left. */
  idle(): Promise<void> {
    if (this.#all.size === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
  }

  /** Ends every connection that is no longer allowed. @returns how many */
  recheck(failure: Failure): number {
    let ended = 0;
    for (const connection of this.#all) {
      if (connection.stillAllowed()) continue;
      connection.end(failure, 'REFUSED_STREAM');
      ended += 1;
    }
    return ended;
  }

  endAll(failure: Failure): void {
    for (const connection of this.#all) connection.end(failure, 'CONNECT_ERROR');
  }

  /** For the config dump. */
  infos(direction: ConnectionInfo['direction']): ConnectionInfo[] {
    const infos: ConnectionInfo[] = [];
    for (const { info } of this.#all) if (info?.direction === direction) infos.push(info);
    return infos;
  }
}
