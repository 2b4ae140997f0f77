// The CNI plugin's half: whoever starts pods (a container runtime through the chained plugin, the room's kubelet) calls
// `cniAdd` when a pod's network is ready and before its containers start.
// Istio: excluded namespaces and the agent's own pod pass without a question; a failure means that the pod must not start.

import { request } from 'node:http';
import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { decideEnrolment, type EnrolmentRules, enrolmentPod } from '../derive/enrolment.ts';
import { type Json, textRecord } from '../derive/read.ts';
import { NAMESPACES, PODS } from '../kube/client/resources.ts';
import type { KubeClient } from '../kube/client/types.ts';
import { type Clock, sleep, systemClock } from '../platform/clock.ts';
import { CMD_ADD_PATH, type CniAddEvent, formatCniAdd } from './cni-event.ts';
import { DEFAULT_ENROLMENT } from './settings.ts';

const AGENT_POD_PREFIX = 'istio-cni-node-';
/** Istio: the pod may not be visible to the API yet, thirty tries a second apart. */
const POD_TRIES = 30;
const POD_RETRY_MS = 1_000;
const AGENT_TIMEOUT_MS = 5_000;
const MAX_ANSWER_CHARS = 4_096;

export interface CniAddOptions {
  readonly client: KubeClient;
  /** The node's `pluginevent.sock`. */
  readonly socketPath: string;
  /** Must be the agent's. */
  readonly rules?: EnrolmentRules;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  /** What the caller has at hand, and need not be asked for. */
  readonly pod?: IPod;
  readonly namespace?: INamespace;
}

/** The pod belongs into the mesh and could not be brought there: it must not start; try again. */
export class CniError extends Error {}

/**
 * @returns whether the pod is in the mesh now; `why` when not
 * @throws CniError, or what the Kubernetes client throws
 */
export async function cniAdd(
  event: CniAddEvent,
  options: CniAddOptions,
): Promise<{ readonly enrolled: true } | { readonly enrolled: false; readonly why: string }> {
  const { client, rules = DEFAULT_ENROLMENT } = options;
  if (event.namespace === rules.systemNamespace && event.name.startsWith(AGENT_POD_PREFIX))
    return { enrolled: false, why: 'it is the node agent itself' };
  if (rules.excludedNamespaces.has(event.namespace))
    return { enrolled: false, why: `namespace \`${event.namespace}\` is excluded from the mesh` };
  const pod = options.pod ?? (await waitForPod(event, options));
  const namespace = options.namespace ?? (await client.get(NAMESPACES, event.namespace));
  if (namespace === undefined) throw new CniError(`namespace \`${event.namespace}\` does not exist`);
  const verdict = decideEnrolment(rules, enrolmentPod(pod as unknown as Json), textRecord(namespace.metadata?.labels));
  if (verdict.kind === 'leaveOut') return { enrolled: false, why: verdict.text };
  const { status, body } = await post(options.socketPath, formatCniAdd(event));
  if (status !== 200) throw new CniError(`the node agent did not enrol the pod: ${body} (status ${status})`);
  return { enrolled: true };
}

async function waitForPod(event: CniAddEvent, options: CniAddOptions): Promise<IPod> {
  const { client, clock = systemClock, signal } = options;
  for (let tries = 1; ; tries++) {
    const pod = await client.get(PODS, event.name, event.namespace);
    if (pod !== undefined) return pod;
    if (tries === POD_TRIES) throw new CniError(`pod \`${event.namespace}/${event.name}\` does not exist`);
    await sleep(clock, POD_RETRY_MS, signal);
  }
}

function post(socketPath: string, body: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void =>
      reject(new CniError(`the node agent does not answer at \`${socketPath}\`: ${error.message}`, { cause: error }));
    const call = request(
      {
        socketPath,
        agent: false, // a kept connection would not outlive the agent it was made to
        path: CMD_ADD_PATH,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        signal: AbortSignal.timeout(AGENT_TIMEOUT_MS),
      },
      (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          if (answer.length < MAX_ANSWER_CHARS) answer += text;
        });
        response.on('error', failed);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: answer.slice(0, MAX_ANSWER_CHARS) }),
        );
      },
    );
    call.on('error', failed);
    call.end(body);
  });
}
