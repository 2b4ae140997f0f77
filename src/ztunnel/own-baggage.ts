// The `baggage` header that describes a workload to its peers, made once for each version of it.

import type { Workload } from '../model/workload.ts';
import { encodeBaggage } from '../wire/baggage.ts';

const made = new WeakMap<Workload, string>();

export function baggageOf(workload: Workload): string {
  let baggage = made.get(workload);
  if (baggage === undefined) {
    baggage = encodeBaggage(workload);
    made.set(workload, baggage);
  }
  return baggage;
}
