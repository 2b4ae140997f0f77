// What one listener serves right now, so that it can be drained: connections finish what is under way and take no more.

/** An accepted connection, of whatever kind. */
export interface Draining {
  /** No more requests or tunnels; those under way finish. Twice is harmless. */
  drain(): void;
  /** At once. */
  abort(): void;
}

export class LiveConnections {
  readonly #live = new Set<Draining>();
  #idle: PromiseWithResolvers<void> | undefined = undefined;
  #draining = false;

  get size(): number {
    return this.#live.size;
  }

  get draining(): boolean {
    return this.#draining;
  }

  add(connection: Draining): void {
    this.#live.add(connection);
    if (this.#draining) connection.drain();
  }

  delete(connection: Draining): void {
    if (!this.#live.delete(connection) || this.#live.size > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  drain(): void {
    this.#draining = true;
    for (const connection of [...this.#live]) connection.drain();
  }

  abort(): void {
    for (const connection of [...this.#live]) connection.abort();
  }

  /** Resolves when nothing is left. */
  idle(): Promise<void> {
    if (this.#live.size === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
  }
}
