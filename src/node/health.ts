// The agent's health and metrics endpoints.

import {
  acceptsOpenMetrics,
  CONTENT_TYPE_OPENMETRICS,
  CONTENT_TYPE_TEXT,
  familyHeader,
  labelText,
  sample,
} from '../telemetry/openmetrics.ts';
import { registerProcessMetrics } from '../telemetry/process-metrics.ts';
import { Registry } from '../telemetry/registry.ts';
import type { Answer, Question } from './http.ts';

/** Everything that must be up before pods may be started on the node; the rest are the names that are missing. */
export class Readiness {
  readonly #missing: Set<string>;
  constructor(...tasks: string[]) {
    this.#missing = new Set(tasks);
  }
  ready(task: string): void {
    this.#missing.delete(task);
  }
  get missing(): readonly string[] {
    return [...this.#missing];
  }
}

/** Istio: `/healthz` as long as the process lives, `/readyz` when it can enrol pods. */
export function answerHealth(question: Question, readiness: Readiness): Answer {
  if (question.method !== 'GET' && question.method !== 'HEAD') return { status: 405, body: 'only GET' };
  if (question.path === '/healthz') return { status: 200, body: 'ok' };
  if (question.path !== '/readyz') return { status: 404, body: 'not found' };
  const { missing } = readiness;
  return missing.length === 0 ? { status: 200, body: 'ok' } : { status: 503, body: `not ready: ${missing.join(', ')}` };
}

export class AgentMetrics {
  readonly #registry = new Registry();
  /** `ztunnel_connected` is Istio's name. */
  readonly proxies = this.#registry.gauge('ztunnel_connected', 'The number of connections to ztunnel');

  /** @param counts read at each scrape */
  constructor(counts: () => { readonly enrolled: number; readonly pending: number; readonly failed: number }) {
    const family = {
      name: 'istio_cni_ambient_pods',
      help: 'Pods of this node by state of their enrolment',
      type: 'gauge',
    } as const;
    this.#registry.collector({
      render: () =>
        familyHeader(family) +
        Object.entries(counts())
          .map(([state, count]) => sample(family.name, labelText(['state'], [state]), count))
          .join(''),
    });
    registerProcessMetrics(this.#registry);
  }

  answer(question: Question): Answer {
    if (question.method !== 'GET' && question.method !== 'HEAD') return { status: 405, body: 'only GET' };
    if (question.path !== '/metrics') return { status: 404, body: 'not found' };
    const type = acceptsOpenMetrics(question.accept) ? CONTENT_TYPE_OPENMETRICS : CONTENT_TYPE_TEXT;
    return { status: 200, body: this.#registry.render(), type };
  }
}
