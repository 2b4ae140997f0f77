// The whole analysis: resources in, messages out. Pure.

import type { Analyzer } from './analyzer.ts';
import { ANALYZERS } from './analyzers.ts';
import { Field } from './field.ts';
import { inOrder, type Message, type Report, toMessage } from './message.ts';
import type { Resource } from './resource.ts';
import { isSuppressed, type Suppression } from './suppress.ts';
import { type MeshSettings, World } from './world.ts';

export interface AnalysisOptions {
  /** Only these analyzers; all when undefined. */
  readonly analyzers?: readonly Analyzer[] | undefined;
  /** Messages about objects of this namespace alone, and about those of none; all when undefined. */
  readonly namespace?: string | undefined;
  readonly suppressions?: readonly Suppression[];
  readonly mesh?: MeshSettings;
}

/** One object that stands several times counts as its last: files overlay what the API holds. */
function settle(resources: readonly Resource[]): readonly Resource[] {
  const byKey = new Map<string, Resource>();
  for (const resource of resources) byKey.set(`${resource.type}/${resource.key}`, resource);
  return [...byKey.values()];
}

/**
 * Runs the analyzers over a set of objects.
 * @param resources  what there is: the more of a mesh is among them, the more can be said
 * @param more       messages from elsewhere (schemas), which are suppressed and scoped alike
 * @returns the messages that are not suppressed, worst first, each once
 */
export function analyze(
  resources: readonly Resource[],
  options: AnalysisOptions = {},
  more: readonly Message[] = [],
): readonly Message[] {
  const world = new World(settle(resources), options.mesh);
  const found = new Map<string, Message>();
  const add = (message: Message): void => {
    const { code, resource, field, text } = message;
    found.set([code, resource.type, resource.key, field, text].join('\n'), message);
  };
  for (const message of more) add(message);
  for (const analyzer of options.analyzers ?? ANALYZERS) {
    const report: Report = (code, resource, field, ...parameters) => add(toMessage(code, resource, field, parameters));
    try {
      analyzer.analyze(world, report);
    } catch (error) {
      const [first] = world.resources;
      const detail = `${analyzer.name}: ${error instanceof Error ? error.message : String(error)}`;
      if (first !== undefined) report('IST0001', first, new Field(undefined), detail);
    }
  }
  const { namespace, suppressions = [] } = options;
  return inOrder([...found.values()]).filter(
    (message) =>
      (namespace === undefined || message.resource.namespace === '' || message.resource.namespace === namespace) &&
      !isSuppressed(message, suppressions),
  );
}
