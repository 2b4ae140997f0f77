// What Istio's webhook and the Gateway API's rules in CEL refuse, as rules of the kinds: they hold for every write of an
// object, not for its status.

import { formatPath } from '../../../analyze/field.ts';
import type { Fault } from '../../../analyze/validation/faults.ts';
import { validateObject } from '../../../analyze/validation/validate.ts';
import type { FieldFault } from '../errors.ts';
import type { KindRules } from './kind.ts';

export function meshRules(group: string, kind: string): KindRules {
  return { validate: (object) => validateObject(group, kind, object).flatMap(toFieldFault) };
}

/** Warnings refuse nothing. */
function toFieldFault({ kind, path, value, detail }: Fault): FieldFault[] {
  if (kind === 'warning') return [];
  const place = { type: kind, path: formatPath(path), detail };
  return [value === undefined || kind === 'forbidden' || kind === 'required' ? place : { ...place, value }];
}
