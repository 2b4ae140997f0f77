// Validation as an analyzer: what the API would refuse, and what it would warn of.

import type { Analyzer } from '../analyzer.ts';
import { Field, formatPath } from '../field.ts';
import type { Fault } from '../validation/faults.ts';
import { validateObject } from '../validation/validate.ts';

const WORDS: Readonly<Record<Fault['kind'], string>> = {
  required: 'is required',
  invalid: 'is invalid',
  duplicate: 'is a duplicate',
  forbidden: 'is not allowed',
  warning: 'is doubtful',
};

/** `spec.http[0].timeout is invalid: is no duration` */
export function sentenceOf({ kind, path, value, detail }: Fault): string {
  const shown = typeof value === 'string' || typeof value === 'number' ? ` (\`${String(value).slice(0, 100)}\`)` : '';
  return `${formatPath(path)}${shown} ${WORDS[kind]}${detail === '' ? '' : `: ${detail}`}`;
}

export const schemaAnalyzer: Analyzer = {
  name: 'schema.ValidationAnalyzer',
  description: 'objects that the API refuses, or takes with a warning',
  codes: ['IST0106', 'IST0133'],
  analyze(world, report) {
    for (const resource of world.resources)
      for (const fault of validateObject(resource.group, resource.kind, resource.object))
        report(
          fault.kind === 'warning' ? 'IST0133' : 'IST0106',
          resource,
          new Field(undefined, fault.path),
          sentenceOf(fault),
        );
  },
};
