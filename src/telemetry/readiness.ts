// Readiness as a set of named tasks: ready when none is pending. Served at `/healthz/ready`.

import { type HttpHandler, methodNotAllowed, NOT_FOUND, text } from './http-endpoint.ts';

export interface ReadinessTask {
  ready(): void;
  pending(): void;
}

export class ReadinessTasks {
  /** In the order in which they were named. */
  readonly #tasks = new Map<string, boolean>();

  /** A task by name; pending at first. */
  task(name: string): ReadinessTask {
    this.#tasks.set(name, false);
    return {
      ready: () => void this.#tasks.set(name, true),
      pending: () => void this.#tasks.set(name, false),
    };
  }

  get pendingTasks(): readonly string[] {
    return [...this.#tasks].filter(([, ready]) => !ready).map(([name]) => name);
  }
}

export const readinessHandler =
  (tasks: ReadinessTasks): HttpHandler =>
  ({ method, path }) => {
    if (path !== '/healthz/ready') return NOT_FOUND;
    if (method !== 'GET') return methodNotAllowed('GET');
    const pending = tasks.pendingTasks;
    return pending.length === 0 ? text(200, 'ready\n') : text(500, `not ready, waiting for: ${pending.join(', ')}\n`);
  };
