// Helpers of tests: YAML in, messages out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AnalysisOptions, analyze } from '../analyze.ts';
import type { Code } from '../codes.ts';
import { parseDocuments } from '../documents.ts';
import type { Message } from '../message.ts';
import { Resource } from '../resource.ts';

/** One code: a manifest that raises it, and the change after which it does not. */
export interface CodeCase {
  readonly code: Code;
  readonly yaml: string;
  /** Where: `Kind namespace/name field`. */
  readonly at: string;
  /** The text that is replaced, and its replacement. */
  readonly cure: readonly [string, string];
  /** The objects come from an API, not from a file. */
  readonly live?: true;
}

export function resourcesOf(yaml: string, live = false): readonly Resource[] {
  const { resources, problems } = parseDocuments('test.yaml', yaml, 'default');
  assert.deepEqual(problems, []);
  return live ? resources.map((resource) => new Resource(resource.object, 'default')) : resources;
}

export const messagesOf = (yaml: string, options: AnalysisOptions = {}, live = false): readonly Message[] =>
  analyze(resourcesOf(yaml, live), options);

const placeOf = ({ resource, field }: Message): string => `${resource.kind} ${resource.key} ${field}`.trim();

export function testCase({ code, yaml, at, cure: [from, to], live = undefined }: CodeCase): void {
  test(`${code} at ${at}`, () => {
    const found = messagesOf(yaml, {}, live).filter((message) => message.code === code);
    const all = messagesOf(yaml, {}, live).map((message) => `${message.code} ${placeOf(message)}`);
    assert.ok(found.map(placeOf).includes(at), `found ${JSON.stringify(all)}`);
    assert.equal(found[0]?.line === undefined, live === true, 'objects of files have lines, others none');
    assert.ok(yaml.includes(from), `\`${from}\` is not in the manifest`);
    const cured = messagesOf(yaml.replaceAll(from, to), {}, live).filter((message) => message.code === code);
    assert.deepEqual(
      cured.map((message) => message.text),
      [],
    );
  });
}
