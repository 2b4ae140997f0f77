// What Istio's webhook and the Gateway API's rules in CEL refuse, as rules of the kinds: they hold for every write of an
// object, not for its status.

import { formatPath } from '../../../analyze/field.ts';
import type { Fault } from '../../../analyze/validation/faults.ts';
import type { KubeObject } from '../../client/types.ts';
import type { FieldFault } from '../errors.ts';
import { sameJson, valueAt } from '../json.ts';
import { collectionOf, type DeepValidator, type Kind, type WriteContext } from './kind.ts';

type Validate = (group: string, kind: string, object: unknown) => readonly Fault[];

/**
 * The rules of one kind. They come with a library of regular expressions that a start should not wait for (17 ms), so
 * that the deep validator, which every write of a mesh kind asks for first, loads them too.
 */
export function meshRules(
  { group, kind, plural }: Pick<Kind, 'group' | 'kind' | 'plural'>,
  deep: () => Promise<DeepValidator>,
): Pick<Kind, 'rules' | 'deepValidator'> {
  let validate: Validate | undefined;
  const judge = (object: KubeObject, { store }: WriteContext): readonly Fault[] => {
    if (validate === undefined) throw new Error(`the rules of ${kind} were asked before they were loaded`);
    const { namespace = '', name = '' } = object.metadata ?? {};
    const stored = store.get(collectionOf({ group, plural }), namespace, name);
    // What stands already is not refused for what this write leaves alone: a finalizer must always come off.
    if (stored !== undefined && sameJson(valueAt(stored.object, 'spec'), valueAt(object, 'spec'))) return [];
    return validate(group, kind, object);
  };
  return {
    deepValidator: async () => {
      validate ??= (await import('../../../analyze/validation/validate.ts')).validateObject;
      return deep();
    },
    rules: {
      validate: (object, context) => judge(object, context).flatMap(toFieldFault),
      warnings: (object, context) =>
        judge(object, context)
          .filter((fault) => fault.kind === 'warning')
          .map(({ path, detail }) => `${formatPath(path)}: ${detail}`),
    },
  };
}

/** Warnings refuse nothing. */
function toFieldFault({ kind, path, value, detail }: Fault): FieldFault[] {
  if (kind === 'warning') return [];
  const place = { type: kind, path: formatPath(path), detail };
  return [value === undefined || kind === 'forbidden' || kind === 'required' ? place : { ...place, value }];
}
