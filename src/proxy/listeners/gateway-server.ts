// All ports of a gateway, as its configuration says: ports appear and disappear, and nothing else is touched.

import type { ProxyListener } from '../../model/proxy/proxy-config.ts';
import { logger } from '../../telemetry/log.ts';
import { PortServer, type PortServerParts } from './port-server.ts';

const log = logger('gateway');
/** A port that could not be opened is tried again. */
const RETRY_MS = 5_000;

export class GatewayServer {
  readonly #parts: PortServerParts;
  readonly #host: string;
  readonly #ports = new Map<number, PortServer>();
  /** Closed ports whose connections are not over. */
  readonly #leaving = new Set<PortServer>();
  #draining = false;

  constructor(parts: PortServerParts, host: string) {
    this.#parts = parts;
    this.#host = host;
  }

  /** Resolves when every port is open, or could not be opened. */
  async update(listeners: readonly ProxyListener[]): Promise<void> {
    if (this.#draining) return;
    const byPort = Map.groupBy(listeners, ({ port }) => port);
    for (const [port, server] of this.#ports)
      if (!byPort.has(port)) {
        this.#ports.delete(port);
        this.#leave(server);
      }
    const opening: Promise<void>[] = [];
    for (const [port, own] of byPort) {
      const known = this.#ports.get(port);
      if (known !== undefined) known.update(own);
      else {
        const server = new PortServer(this.#parts, port);
        server.update(own);
        this.#ports.set(port, server);
        opening.push(this.#open(server));
      }
    }
    await Promise.all(opening);
  }

  async #open(server: PortServer): Promise<void> {
    try {
      await server.listen(this.#host);
      log.info('port opened', { port: server.port });
    } catch (error) {
      log.error('port not opened', { port: server.port, error: error as Error, retry_ms: RETRY_MS });
      this.#parts.engine.clock.after(RETRY_MS, () => {
        if (this.#ports.get(server.port) === server && !this.#draining) void this.#open(server);
      });
    }
  }

  #leave(server: PortServer): void {
    this.#leaving.add(server);
    server.drain();
    void server.live.idle().then(() => this.#leaving.delete(server));
  }

  certificatesChanged(): void {
    for (const server of this.#ports.values()) server.certificatesChanged();
  }

  get ports(): readonly number[] {
    return [...this.#ports.keys()];
  }

  get connections(): number {
    let open = 0;
    for (const server of [...this.#ports.values(), ...this.#leaving]) open += server.live.size;
    return open;
  }

  drain(): void {
    this.#draining = true;
    for (const server of this.#ports.values()) this.#leave(server);
    this.#ports.clear();
  }

  async idle(): Promise<void> {
    await Promise.all([...this.#leaving].map((server) => server.live.idle()));
  }

  abort(): void {
    this.#draining = true;
    for (const server of [...this.#ports.values(), ...this.#leaving]) server.abort();
  }
}
