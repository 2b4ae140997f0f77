// Which backend of a rule takes a request. Chance is an argument, so that the choice can be asked again.

import type { Backend } from './route.ts';

export type BackendChoice =
  | { readonly kind: 'backend'; readonly backend: Backend & { readonly target: { readonly kind: 'service' } } }
  | { readonly kind: 'fail'; readonly status: 500 | 503; readonly reason: string };

const NO_BACKEND: BackendChoice = {
  kind: 'fail',
  status: 500,
  reason: 'the rule has no backend with a weight above 0',
};

/**
 * Proportional to weights; weight 0 takes nothing. A rule without backends, or with none above 0, fails with 500; a
 * reference that leads nowhere fails its own share and leaves the rest.
 * @param random from 0 up to, without, 1
 */
export function chooseBackend(backends: readonly Backend[], random: number): BackendChoice {
  let total = 0;
  for (const { weight } of backends) total += weight;
  let left = random * total;
  let last: Backend | undefined;
  for (const backend of backends) {
    if (backend.weight <= 0) continue;
    last = backend;
    if (left < backend.weight) break;
    left -= backend.weight;
  }
  // Rounding may step over the end: the last one with a share takes what is left.
  return last === undefined ? NO_BACKEND : choiceOf(last);
}

function choiceOf(backend: Backend): BackendChoice {
  const { target } = backend;
  if (target.kind === 'service') return { kind: 'backend', backend: { ...backend, target } };
  return { kind: 'fail', status: target.status, reason: `${target.reason}: ${target.detail}` };
}
